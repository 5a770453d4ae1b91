// What C sees of the kernels: the layout of their structures, and a status instead of exceptions.
#pragma once

#include <cstddef>
#include <vector>

// Size and last offset of a structure, which wavedil/runtime/structures.py compares with its own.
#define LAYOUT(structure, last) \
  extern "C" const long layout_##structure[] = {sizeof(structure), offsetof(structure, last)};

// 0, or 1 where memory is missing; nothing else throws.
template <class Body>
int status(Body body) noexcept {
  try {
    body();
    return 0;
  } catch (...) {
    return 1;
  }
}

// Values for each thread, allocated before they begin: an exception inside a parallel region ends the process.
template <class T>
class Room {
 public:
  Room(long threads, long size) : size_(size), all_(threads * size) {}
  T* of(long thread) { return all_.data() + thread * size_; }

 private:
  long size_;
  std::vector<T> all_;
};

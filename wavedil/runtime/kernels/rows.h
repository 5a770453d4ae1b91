// The rows of a signal: which are a thread's, and what stands before the first and after the last.
#pragma once

#include <memory>

#include "boundary.h"
#include "product.h"

struct Range {
  long first, last;
};

// Rows with zeros before and after, which gradients at the ends of a signal read; of rows that are not written to their
// last value, the rest is zero too.
class Surrounded {
 public:
  Surrounded(long rows, long around, long stride, bool filled = true)
      : data_(new bf16[(rows + 2 * around) * stride]), first_(data_.get() + around * stride) {
    std::memset(data_.get(), 0, sizeof(bf16) * (filled ? around : around + rows) * stride);
    std::memset(first_ + rows * stride, 0, sizeof(bf16) * around * stride);
  }
  bf16* first() const { return first_; }

 private:
  std::unique_ptr<bf16[]> data_;
  bf16* first_;
};

// The rows of one thread: a run of whole tiles.
inline Range share(long rows, long thread, long threads) {
  const long tiles = (rows + kTile - 1) / kTile;
  const long last = tiles * (thread + 1) / threads * kTile;
  return {tiles * thread / threads * kTile, last < rows ? last : rows};
}

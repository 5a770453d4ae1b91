// A causal convolution and the batch normalisation of its output, with their gradients, for the rows of one thread.
#pragma once

#include <algorithm>

#include "normalise.h"

// Filled in by wavedil/runtime/modules.py; lengths in values, rows before the first hold the past.
struct Convolution {
  // Of the matrix, as torch has it: (outputs, inputs, bins_read, n_taps).
  long outputs, inputs, bins_read, n_taps;
  const long* taps;  // rows from the present, oldest first, none above 0
  const float* weight;
  // Of the rows: each of `bins` outputs starts `step` values further in its row.
  long rows, bins, input_channels, step, stride;
  const bf16* x;
  bf16* y;    // (rows, bins * width)
  Norm norm;  // of y
  float* grad_weight;

  long width() const { return padded(outputs); }
  long run() const { return ((bins_read - 1) * input_channels + inputs + 1) / 2 * 2; }  // a window, in whole pairs
  long back_width() const { return padded(run()); }                                     // of its gradient
  long out_stride() const { return bins * width(); }
  // Calls visit(place, tap, k, column) for each weight: where torch has it, and which row and column of a tap it is.
  template <class Visit>
  void each_weight(Visit visit) const {
    long place = 0;
    for (long column = 0; column < outputs; ++column)
      for (long input = 0; input < inputs; ++input)
        for (long bin = 0; bin < bins_read; ++bin)
          for (long tap = 0; tap < n_taps; ++tap) visit(place++, tap, bin * input_channels + input, column);
  }
};

// The matrices as `product` reads them, into zeros: from inputs to outputs, and back.
inline void pack_forward(const Convolution& conv, bf16* matrices) {
  const long run = conv.run(), width = conv.width();
  conv.each_weight([=, &conv](long place, long tap, long k, long n) {
    matrices[tap * run * width + packed(k, n, width)] = rounded(conv.weight[place]);
  });
}

inline void pack_backward(const Convolution& conv, bf16* matrices) {
  const long run = conv.back_width(), width = conv.width();
  conv.each_weight([=, &conv](long place, long tap, long k, long n) {
    matrices[tap * run * width + packed(n, k, run)] = rounded(conv.weight[place]);
  });
}

inline void convolve(const Convolution& conv, const bf16* matrix, const Moments& moments, Range mine) {
  moments.clear();
  for (long first = mine.first; first < mine.last; first += kTile) {
    const long last = std::min(first + kTile, mine.last);
    for (long bin = 0; bin < conv.bins; ++bin) {
      const Windows windows{conv.x + bin * conv.step, conv.stride, conv.taps, conv.n_taps, conv.run()};
      bf16* const y = conv.y + bin * conv.width();
      product(windows, first, last, matrix, conv.width(), zero,
              [&](long row, long column, vec sum) { store(y + row * conv.out_stride() + column, sum); });
      gather(moments, 0, conv.width(), y + first * conv.out_stride(), conv.out_stride(), last - first);
      moments.count() += last - first;
    }
  }
}

// The gradient of the normalised output is `grad`, rows of out_stride(), and `sums` (2, width) of all threads are its
// sum and that of its products with the normalised output. This turns it into that of the raw output, for the rows of
// one thread, and adds to the gradient of the matrix, `partial` (n_taps, run, width).
inline void backward(const Convolution& conv, bf16* grad, const float* sums, Range mine, float* partial,
                     float* coefficients, uint32_t* pairs) {
  const long width = conv.width(), run = conv.run(), stride = conv.out_stride();
  const Slopes to{coefficients, coefficients + width, coefficients + 2 * width};
  slopes(conv.norm, to, sums, static_cast<float>(conv.rows * conv.bins));
  uint32_t* const of_output = pairs + kTile / 2 * conv.stride;
  for (long first = mine.first; first < mine.last; first += kTile) {
    const long rows = std::min(kTile, mine.last - first);
    for (long row = first; row < first + rows; ++row)
      for (long c = 0; c < width; c += kLanes)
        for (long at = row * stride + c; at < (row + 1) * stride; at += width)
          store(grad + at, to(load(grad + at), load(conv.y + at), c));
    const long count_pairs = pair_up(of_output, grad + first * stride, stride, rows, stride);
    for (long j = 0; j < conv.n_taps; ++j) {
      pair_up(pairs, conv.x + (first + conv.taps[j]) * conv.stride, conv.stride, rows, conv.stride);
      for (long bin = 0; bin < conv.bins; ++bin)
        outer(partial + j * run * width, width, pairs + bin * conv.step, conv.stride, run, of_output + bin * width,
              stride, count_pairs);
    }
  }
}

// The windows of the gradient that an input row takes part in; rows before the first and after the last are zero.
inline Windows outputs_of(const Convolution& conv, const bf16* grad, long bin, const long* ahead) {
  return {grad + bin * conv.width(), conv.out_stride(), ahead, conv.n_taps, conv.width()};
}

// Writes the gradients of the weights, from those of all threads.
inline void collect(const Convolution& conv, const float* partial, long partial_stride, long threads,
                    const float* sums) {
  const long width = conv.width(), run = conv.run();
  conv.each_weight([=, &conv](long place, long tap, long k, long n) {
    float total = 0;
    for (long t = 0; t < threads; ++t) total += partial[t * partial_stride + (tap * run + k) * width + n];
    conv.grad_weight[place] = total;
  });
  collect(conv.norm, sums);
}

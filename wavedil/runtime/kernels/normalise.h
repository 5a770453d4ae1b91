// Batch normalisation of rows: statistics that threads gather tile by tile, and what follows from them.
#pragma once

#include <cmath>

#include "rows.h"

// Count, mean and sum of squared deviations of some rows, of each channel: (1 + 2 * width) floats.
struct Moments {
  float* data;
  long width;
  float& count() const { return data[0]; }
  float* mean() const { return data + 1; }
  float* squares() const { return data + 1 + width; }
  void clear() const { std::memset(data, 0, sizeof(float) * (1 + 2 * width)); }
};

// Adds what is known of other rows to that of 16 channels; the count is added by the caller, for all channels at once.
inline void merge(const Moments& into, long channel, float count, vec mean, vec squares) {
  const float total = into.count() + count, portion = count / total;
  float* const means = into.mean() + channel;
  float* const sums = into.squares() + channel;
  const vec before = _mm512_loadu_ps(means), difference = _mm512_sub_ps(mean, before);
  _mm512_storeu_ps(means, _mm512_fmadd_ps(difference, _mm512_set1_ps(portion), before));
  const vec between = _mm512_mul_ps(_mm512_mul_ps(difference, difference), _mm512_set1_ps(into.count() * portion));
  _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_add_ps(squares, between)));
}

inline void merge(const Moments& into, const Moments& other) {
  if (other.count() == 0) return;
  for (long c = 0; c < into.width; c += kLanes)
    merge(into, c, other.count(), _mm512_loadu_ps(other.mean() + c), _mm512_loadu_ps(other.squares() + c));
  into.count() += other.count();
}

// Adds the rows of a tile, of `width` columns from `column` on; differences from its first row keep the squares small.
// The caller adds the rows to the count.
inline void gather(const Moments& into, long column, long width, const bf16* x, long stride, long rows) {
  for (long c = 0; c < width; c += kLanes) {
    const vec origin = load(x + c);
    vec sum = _mm512_setzero_ps(), square = _mm512_setzero_ps();
    for (long row = 1; row < rows; ++row) {
      const vec difference = _mm512_sub_ps(load(x + row * stride + c), origin);
      sum = _mm512_add_ps(sum, difference);
      square = _mm512_fmadd_ps(difference, difference, square);
    }
    const vec mean = _mm512_div_ps(sum, _mm512_set1_ps(rows));
    merge(into, column + c, rows, _mm512_add_ps(origin, mean), _mm512_fnmadd_ps(mean, sum, square));
  }
}

// A batch normalisation. Filled in by wavedil/runtime/modules.py. Its columns are the channels of each band of
// frequency in turn, filled up to whole vectors; torch has the bands of each channel in turn.
struct Norm {
  long channels, bands;
  const float* gamma;
  const float* beta;
  const float* bias;  // of what is normalised, which takes it out again, but the running mean has it; null for none
  float* moments;     // mean and reciprocal deviation of each column, (2, width)
  float* running_mean;
  float* running_var;
  float momentum, eps;
  float* grad_gamma;
  float* grad_beta;

  long width() const { return bands * padded(channels); }
  // Where torch has a column, or -1 for one that only fills a vector.
  long place(long column) const {
    const long channel = column % padded(channels);
    return channel < channels ? channel * bands + column / padded(channels) : -1;
  }
};

// x -> x * scale + shift, of each column.
struct Affine {
  float *scale, *shift;
  ALWAYS vec operator()(vec x, long column) const {
    return _mm512_fmadd_ps(x, _mm512_loadu_ps(scale + column), _mm512_loadu_ps(shift + column));
  }
};

// What normalises, from the moments of all threads, `partial` (threads, 1 + 2 * width); one thread keeps what training
// needs of it. `scratch` has room for moments.
inline void normaliser(const Norm& norm, Affine affine, const float* partial, long threads, bool keeps,
                       float* scratch) {
  const long width = norm.width();
  const Moments all{scratch, width};
  all.clear();
  for (long t = 0; t < threads; ++t) merge(all, Moments{const_cast<float*>(partial) + t * (1 + 2 * width), width});
  for (long c = 0; c < width; ++c) {
    const long place = norm.place(c);
    const float mean = all.mean()[c], variance = all.squares()[c] / all.count();
    const float rstd = 1.f / std::sqrt(variance + norm.eps);
    affine.scale[c] = place < 0 ? 0.f : norm.gamma[place] * rstd;
    affine.shift[c] = place < 0 ? 0.f : norm.beta[place] - mean * affine.scale[c];
    if (!keeps) continue;
    norm.moments[c] = mean;
    norm.moments[width + c] = rstd;
    if (place < 0 || !norm.running_mean) continue;
    const float whole_mean = mean + (norm.bias ? norm.bias[place] : 0.f);
    const float unbiased = variance * all.count() / (all.count() - 1);
    norm.running_mean[place] += norm.momentum * (whole_mean - norm.running_mean[place]);
    norm.running_var[place] += norm.momentum * (unbiased - norm.running_var[place]);
  }
}

// The same from what was kept.
inline void normaliser(const Norm& norm, Affine affine) {
  for (long c = 0; c < norm.width(); ++c) {
    const long place = norm.place(c);
    affine.scale[c] = place < 0 ? 0.f : norm.gamma[place] * norm.moments[norm.width() + c];
    affine.shift[c] = place < 0 ? 0.f : norm.beta[place] - norm.moments[c] * affine.scale[c];
  }
}

// The gradient of what is normalised: that of the result times `by_grad`, plus the value times `by_value`, plus
// `fixed`.
struct Slopes {
  float *by_grad, *by_value, *fixed;
  ALWAYS vec operator()(vec grad, vec value, long column) const {
    const vec rest = _mm512_fmadd_ps(value, _mm512_loadu_ps(by_value + column), _mm512_loadu_ps(fixed + column));
    return _mm512_fmadd_ps(grad, _mm512_loadu_ps(by_grad + column), rest);
  }
};

// Those slopes, from `sums` (2, width) over `count` values: of the gradients of the results, and of their products with
// the normalised values.
inline void slopes(const Norm& norm, Slopes to, const float* sums, float count) {
  const long width = norm.width();
  for (long c = 0; c < width; ++c) {
    const long place = norm.place(c);
    const float mean = norm.moments[c], rstd = norm.moments[width + c];
    to.by_grad[c] = place < 0 ? 0.f : norm.gamma[place] * rstd;
    to.by_value[c] = -to.by_grad[c] * rstd * sums[width + c] / count;
    to.fixed[c] = -to.by_grad[c] * sums[c] / count - to.by_value[c] * mean;
  }
}

// Adds up what each of the threads summed, `partial` (threads, stride).
inline void total(float* sums, const float* partial, long stride, long threads, long count) {
  for (long c = 0; c < count; ++c) {
    sums[c] = 0;
    for (long t = 0; t < threads; ++t) sums[c] += partial[t * stride + c];
  }
}

// Writes the gradients of gamma and beta.
inline void collect(const Norm& norm, const float* sums) {
  for (long c = 0; c < norm.width(); ++c) {
    const long place = norm.place(c);
    if (place < 0) continue;
    norm.grad_beta[place] = sums[c];
    norm.grad_gamma[place] = sums[norm.width() + c];
  }
}

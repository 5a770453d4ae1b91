// The broadcast residual block, as wavedil.layers.BroadcastResidualBlock trains behind its change of channels, and the
// depthwise convolution that ends a body of them: forward and backward.
#include <omp.h>

#include <algorithm>

#include "gate.h"
#include "normalise.h"

// Filled in by wavedil/runtime/broadcast.py. Weights as torch has them; signals as rows of bfloat16, channels filled up
// to whole vectors.
struct Broadcast {
  long rows, channels, bins_in, bins, stride, is_residual, n_taps, threads;
  const long* taps;        // of the convolution over time: rows from the present, oldest first
  const float* frequency;  // (channels, 3)
  const float* time;       // (channels, n_taps)
  const float* mix;        // (channels, channels)
  Norm by_band, by_frame;
  const bf16* x;  // (rows, bins_in, channels)
  bf16* f;        // (rows, bins, channels), the convolution over frequency
  bf16* mean;     // (rows, channels), of the normalised one over frequency; rows before the first hold the past
  bf16* d;        // (rows, channels), the convolution over time
  bf16* y;        // (rows, bins, channels)
  const bf16* grad_y;
  bf16* grad_x;
  bf16* grad_past;  // (rows before the first, channels); null where none is wanted
  float* grad_frequency;
  float* grad_time;
  float* grad_mix;
};

// A convolution of each channel by itself that reads as many bins as there are.
struct Depthwise {
  long rows, channels, bins, n_taps, threads;
  const long* taps;
  const float* weight;  // (channels, bins, n_taps)
  const bf16* x;        // (rows, bins, channels); rows before the first hold the past
  bf16* y;              // (rows, channels)
  const bf16* grad_y;
  bf16* grad_x;
  bf16* grad_past;  // null where none is wanted
  float* grad_weight;
};

namespace {

constexpr long kFew = 8;  // rows of all bins that stay in the nearest cache

ALWAYS vec at(const float* p) { return _mm512_loadu_ps(p); }
ALWAYS void put(float* p, vec x) { _mm512_storeu_ps(p, x); }
ALWAYS void add(float* p, vec x) { put(p, _mm512_add_ps(at(p), x)); }
ALWAYS vec times(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }

// The weights of each tap, channels side by side: (count, width), from (channels, count).
std::vector<float> by_tap(const float* weight, long channels, long count) {
  std::vector<float> turned(count * padded(channels));
  for (long c = 0; c < channels; ++c)
    for (long i = 0; i < count; ++i) turned[i * padded(channels) + c] = weight[c * count + i];
  return turned;
}

// The inverse, summed over threads.
void from_taps(float* weight, const float* turned, long stride, long threads, long channels, long count) {
  for (long c = 0; c < channels; ++c)
    for (long i = 0; i < count; ++i) {
      weight[c * count + i] = 0;
      for (long t = 0; t < threads; ++t) weight[c * count + i] += turned[t * stride + i * padded(channels) + c];
    }
}

// The column at which the band of each bin begins.
std::vector<long> bands_of(const Broadcast& b) {
  std::vector<long> columns(b.bins);
  for (long bin = 0; bin < b.bins; ++bin) columns[bin] = bin / (b.bins / b.by_band.bands) * padded(b.channels);
  return columns;
}

// Calls visit(i, tap) for the bins of the input that output `bin` reads.
template <class Visit>
ALWAYS void each_tap(const Broadcast& b, long bin, Visit visit) {
  const long middle = bin * b.stride;
  if (middle > 0) visit(middle - 1, 0);
  visit(middle, 1);
  if (middle + 1 < b.bins_in) visit(middle + 1, 2);
}

void forward(const Broadcast& b) {
  const long width = padded(b.channels), in = b.bins_in * width, out = b.bins * width, banded = b.by_band.width();
  const long in_band = b.bins / b.by_band.bands;
  const std::vector<long> bands = bands_of(b);
  const std::vector<float> frequency = by_tap(b.frequency, b.channels, 3), time = by_tap(b.time, b.channels, b.n_taps);
  std::vector<bf16> mix(width * width);
  pack(mix.data(), width, width,
       [&](long k, long n) { return k < b.channels && n < b.channels ? b.mix[n * b.channels + k] : 0.f; });
  std::vector<float> partial(b.threads * (1 + 2 * banded)), partial_frame(b.threads * (1 + 2 * width));
  Room<float> norms(b.threads, 2 * banded + 2 * width + 1 + 2 * banded), tiles(b.threads, kTile * width);
  Room<bf16> actives(b.threads, kTile * width);
#pragma omp parallel num_threads(b.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const Range mine = share(b.rows, thread, threads);
    float *const own = norms.of(thread), *const tile = tiles.of(thread);
    bf16* const active = actives.of(thread);
    const Affine norm{own, own + banded};
    const Affine frame{own + 2 * banded, own + 2 * banded + width};
    float* const scratch = own + 2 * banded + 2 * width;
    const Moments moments{partial.data() + thread * (1 + 2 * banded), banded};
    moments.clear();
    for (long first = mine.first; first < mine.last; first += kFew) {
      const long last = std::min(first + kFew, mine.last);
      for (long c = 0; c < width; c += kLanes) {
        const vec taps[] = {at(&frequency[c]), at(&frequency[width + c]), at(&frequency[2 * width + c])};
        for (long row = first; row < last; ++row)
          for (long bin = 0; bin < b.bins; ++bin) {
            vec sum = _mm512_setzero_ps();
            each_tap(b, bin,
                     [&](long i, long tap) { sum = times(load(b.x + row * in + i * width + c), taps[tap], sum); });
            store(b.f + row * out + bin * width + c, sum);
          }
      }
      for (long k = 0; k < in_band; ++k) {
        for (long band = 0; band < b.by_band.bands; ++band)
          gather(moments, band * width, width, b.f + first * out + (band * in_band + k) * width, out, last - first);
        moments.count() += last - first;
      }
    }
#pragma omp barrier
    normaliser(b.by_band, norm, partial.data(), threads, thread == 0, scratch);
    const vec portion = constant(1.f / b.bins);
    for (long row = mine.first; row < mine.last; ++row)
      for (long c = 0; c < width; c += kLanes) {
        vec sum = _mm512_setzero_ps();
        for (long bin = 0; bin < b.bins; ++bin)
          sum = _mm512_add_ps(sum, norm(load(b.f + row * out + bin * width + c), bands[bin] + c));
        store(b.mean + row * width + c, _mm512_mul_ps(sum, portion));
      }
#pragma omp barrier
    const Moments frames{partial_frame.data() + thread * (1 + 2 * width), width};
    frames.clear();
    for (long first = mine.first; first < mine.last; first += kTile) {
      const long last = std::min(first + kTile, mine.last);
      for (long row = first; row < last; ++row)
        for (long c = 0; c < width; c += kLanes) {
          vec sum = _mm512_setzero_ps();
          for (long j = 0; j < b.n_taps; ++j)
            sum = times(load(b.mean + (row + b.taps[j]) * width + c), at(&time[j * width + c]), sum);
          store(b.d + row * width + c, sum);
        }
      gather(frames, 0, width, b.d + first * width, width, last - first);
      frames.count() += last - first;
    }
#pragma omp barrier
    normaliser(b.by_frame, frame, partial_frame.data(), threads, thread == 0, scratch);
    const long here = 0;
    for (long first = mine.first; first < mine.last; first += kTile) {
      const long rows = std::min(kTile, mine.last - first);
      for (long row = 0; row < rows; ++row)
        for (long c = 0; c < width; c += kLanes) {
          const vec n = frame(load(b.d + (first + row) * width + c), c);
          store(&active[row * width + c], _mm512_mul_ps(n, sigmoid(n)));
        }
      product(Windows{active, width, &here, 1, width}, 0, rows, mix.data(), width, zero,
              [&](long row, long c, vec sum) { put(&tile[row * width + c], sum); });
      for (long row = 0; row < rows; ++row)
        for (long c = 0; c < width; c += kLanes) {
          const vec by_frame = at(&tile[row * width + c]);
          for (long bin = 0; bin < b.bins; ++bin) {
            const long place = (first + row) * out + bin * width + c;
            vec sum = _mm512_add_ps(norm(load(b.f + place), bands[bin] + c), by_frame);
            if (b.is_residual) sum = _mm512_add_ps(sum, load(b.x + place));
            store(b.y + place, _mm512_max_ps(_mm512_setzero_ps(), sum));
          }
        }
    }
  }
}

// The gradient of the sum that ReLU makes y of.
ALWAYS vec before_relu(const Broadcast& b, long place) {
  const __mmask16 open = _mm512_cmp_ps_mask(load(b.y + place), _mm512_setzero_ps(), _CMP_GT_OQ);
  return _mm512_maskz_mov_ps(open, load(b.grad_y + place));
}

void backward(const Broadcast& b) {
  const long width = padded(b.channels), in = b.bins_in * width, out = b.bins * width, banded = b.by_band.width();
  const std::vector<float> frequency = by_tap(b.frequency, b.channels, 3), time = by_tap(b.time, b.channels, b.n_taps);
  const std::vector<long> bands = bands_of(b);
  std::vector<bf16> mix(width * width);
  pack(mix.data(), width, width,
       [&](long n, long k) { return k < b.channels && n < b.channels ? b.mix[n * b.channels + k] : 0.f; });
  // Of a thread: the sums for both norms, the weights over frequency, over time, and the mixing matrix.
  const long sums_frame = 2 * banded, weights = sums_frame + 2 * width, over_time = weights + 3 * width;
  const long matrix = over_time + b.n_taps * width, size = matrix + width * width;
  std::vector<float> partials(b.threads * size), totals(2 * banded + 2 * width);
  const Surrounded grads(b.rows, -b.taps[0], width);
  bf16* const by_time = grads.first();
  const std::unique_ptr<bf16[]> of_f(new bf16[b.rows * out]);
  Room<float> scratches(b.threads, 5 * (banded + width)), tiles(b.threads, kTile * width);
  // Of one row and 16 channels: the gradients of the outputs, each where its middle tap is, with zeros between them.
  Room<float> all_spaced(b.threads, (b.bins_in + 3) * kLanes);
  Room<bf16> actives(b.threads, kTile * width), all_by_frame(b.threads, kTile * width);
  Room<uint32_t> all_pairs(b.threads, kTile * width);
#pragma omp parallel num_threads(b.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const Range mine = share(b.rows, thread, threads);
    float* const own = partials.data() + thread * size;
    float *const scratch = scratches.of(thread), *const tile = tiles.of(thread), *const spaced = all_spaced.of(thread);
    bf16 *const active = actives.of(thread), *const by_frame = all_by_frame.of(thread);
    uint32_t* const pairs = all_pairs.of(thread);
    const Affine frame{scratch, scratch + width};
    normaliser(b.by_frame, frame);
    const vec one = constant(1.f), portion = constant(1.f / b.bins);
    const long here = 0;
    const float* const moments = b.by_frame.moments;
    for (long first = mine.first; first < mine.last; first += kTile) {
      const long rows = std::min(kTile, mine.last - first);
      for (long row = 0; row < rows; ++row)
        for (long c = 0; c < width; c += kLanes) {
          vec sum = _mm512_setzero_ps();
          for (long bin = 0; bin < b.bins; ++bin)
            sum = _mm512_add_ps(sum, before_relu(b, (first + row) * out + bin * width + c));
          store(&by_frame[row * width + c], sum);
        }
      product(Windows{by_frame, width, &here, 1, width}, 0, rows, mix.data(), width, zero,
              [&](long row, long c, vec sum) { put(&tile[row * width + c], sum); });
      for (long c = 0; c < width; c += kLanes) {
        const vec mean = at(moments + c), rstd = at(moments + width + c);
        vec sum = _mm512_setzero_ps(), with_value = _mm512_setzero_ps();
        for (long row = 0; row < rows; ++row) {
          const vec raw = load(b.d + (first + row) * width + c), n = frame(raw, c), open = sigmoid(n);
          const vec value = _mm512_mul_ps(n, open);
          store(&active[row * width + c], value);
          const vec slope = times(value, _mm512_sub_ps(one, open), open);  // of SiLU
          const vec grad = _mm512_mul_ps(at(&tile[row * width + c]), slope);
          store(by_time + (first + row) * width + c, grad);
          sum = _mm512_add_ps(sum, grad);
          with_value = times(grad, _mm512_sub_ps(raw, mean), with_value);
        }
        add(own + sums_frame + c, sum);
        add(own + sums_frame + width + c, _mm512_mul_ps(with_value, rstd));
      }
      uint32_t* const of_grad = pairs + kTile / 2 * width;
      const long count = pair_up(pairs, active, width, rows, width);
      pair_up(of_grad, by_frame, width, rows, width);
      outer(own + matrix, width, pairs, width, width, of_grad, width, count);
    }
#pragma omp barrier
    float* const sums = scratch + 3 * (banded + width);
    total(sums, partials.data() + sums_frame, size, threads, 2 * width);
    if (thread == 0) std::copy_n(sums, 2 * width, totals.data() + 2 * banded);
    const Slopes of_frame{scratch, scratch + width, scratch + 2 * width};
    slopes(b.by_frame, of_frame, sums, static_cast<float>(b.rows));
    for (long first = mine.first; first < mine.last; first += kTile)
      for (long c = 0; c < width; c += kLanes) {
        const long last = std::min(first + kTile, mine.last);
        for (long row = first; row < last; ++row) {
          bf16* const place = by_time + row * width + c;
          store(place, of_frame(load(place), load(b.d + row * width + c), c));
        }
        for (long j = 0; j < b.n_taps; ++j) {
          vec sum = _mm512_setzero_ps();
          for (long row = first; row < last; ++row)
            sum = times(load(by_time + row * width + c), load(b.mean + (row + b.taps[j]) * width + c), sum);
          add(own + over_time + j * width + c, sum);
        }
      }
#pragma omp barrier
    const auto of_mean = [&](long row, long c) {
      vec sum = _mm512_setzero_ps();
      for (long j = 0; j < b.n_taps; ++j)
        sum = times(load(by_time + (row - b.taps[j]) * width + c), at(&time[j * width + c]), sum);
      return sum;
    };
    for (long first = mine.first; first < mine.last; first += kFew)
      for (long c = 0; c < width; c += kLanes) {
        const long last = std::min(first + kFew, mine.last);
        for (long row = first; row < last; ++row)
          put(&tile[(row - first) * kLanes], _mm512_mul_ps(of_mean(row, c), portion));
        for (long bin = 0; bin < b.bins; ++bin) {
          const long band = bands[bin] + c;
          const vec centre = at(b.by_band.moments + band);
          vec sum = _mm512_setzero_ps(), with_value = _mm512_setzero_ps();
          for (long row = first; row < last; ++row) {
            const long place = row * out + bin * width + c;
            const vec grad = _mm512_add_ps(before_relu(b, place), at(&tile[(row - first) * kLanes]));
            store(of_f.get() + place, grad);
            sum = _mm512_add_ps(sum, grad);
            with_value = times(grad, _mm512_sub_ps(load(b.f + place), centre), with_value);
          }
          add(own + band, sum);
          add(own + banded + band, _mm512_mul_ps(with_value, at(b.by_band.moments + banded + band)));
        }
      }
    if (b.grad_past) {
      const Range past = share(-b.taps[0], thread, threads);
      for (long row = past.first; row < past.last; ++row)
        for (long c = 0; c < width; c += kLanes) store(b.grad_past + row * width + c, of_mean(row + b.taps[0], c));
    }
#pragma omp barrier
    total(sums, partials.data(), size, threads, 2 * banded);
    if (thread == 0) std::copy_n(sums, 2 * banded, totals.data());
    const Slopes of_band{scratch, scratch + banded, scratch + 2 * banded};
    slopes(b.by_band, of_band, sums, static_cast<float>(b.rows * (b.bins / b.by_band.bands)));
    for (long first = mine.first; first < mine.last; first += kFew)
      for (long c = 0; c < width; c += kLanes) {
        const vec taps[] = {at(&frequency[c]), at(&frequency[width + c]), at(&frequency[2 * width + c])};
        vec by_tap[] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        for (long row = first; row < std::min(first + kFew, mine.last); ++row) {
          float* const middles = spaced + kLanes;
          for (long bin = 0; bin < b.bins; ++bin) {
            const long place = row * out + bin * width + c;
            const vec grad = of_band(load(of_f.get() + place), load(b.f + place), bands[bin] + c);
            put(middles + bin * b.stride * kLanes, grad);
            each_tap(b, bin, [&](long i, long tap) {
              by_tap[tap] = times(grad, load(b.x + row * in + i * width + c), by_tap[tap]);
            });
          }
          for (long bin = 0; bin < b.bins_in; ++bin) {
            const float* const middle = middles + bin * kLanes;
            vec sum = b.is_residual ? before_relu(b, row * out + bin * width + c) : _mm512_setzero_ps();
            sum = times(at(middle + kLanes), taps[0],
                        times(at(middle), taps[1], times(at(middle - kLanes), taps[2], sum)));
            store(b.grad_x + row * in + bin * width + c, sum);
          }
        }
        for (long i = 0; i < 3; ++i) add(own + weights + i * width + c, by_tap[i]);
      }
  }
  collect(b.by_band, totals.data());
  collect(b.by_frame, totals.data() + 2 * banded);
  from_taps(b.grad_frequency, partials.data() + weights, size, b.threads, b.channels, 3);
  from_taps(b.grad_time, partials.data() + over_time, size, b.threads, b.channels, b.n_taps);
  for (long n = 0; n < b.channels; ++n)
    for (long k = 0; k < b.channels; ++k)
      total(b.grad_mix + n * b.channels + k, partials.data() + matrix + k * width + n, size, b.threads, 1);
}

void forward(const Depthwise& d) {
  const long width = padded(d.channels), stride = d.bins * width;
  const std::vector<float> weight = by_tap(d.weight, d.channels, d.bins * d.n_taps);
#pragma omp parallel for num_threads(d.threads)
  for (long row = 0; row < d.rows; ++row)
    for (long c = 0; c < width; c += kLanes) {
      vec sum = _mm512_setzero_ps();
      for (long bin = 0; bin < d.bins; ++bin)
        for (long j = 0; j < d.n_taps; ++j)
          sum = times(load(d.x + (row + d.taps[j]) * stride + bin * width + c),
                      at(&weight[(bin * d.n_taps + j) * width + c]), sum);
      store(d.y + row * width + c, sum);
    }
}

void backward(const Depthwise& d) {
  const long width = padded(d.channels), stride = d.bins * width, before = -d.taps[0], size = d.bins * d.n_taps * width;
  const std::vector<float> weight = by_tap(d.weight, d.channels, d.bins * d.n_taps);
  std::vector<float> partials(d.threads * size);
  const Surrounded grads(d.rows, before, width);
  std::copy_n(d.grad_y, d.rows * width, grads.first());
#pragma omp parallel num_threads(d.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const Range mine = share(d.rows, thread, threads);
    float* const own = partials.data() + thread * size;
    const auto of_input = [&](bf16* to, long row) {
      for (long bin = 0; bin < d.bins; ++bin)
        for (long c = 0; c < width; c += kLanes) {
          vec sum = _mm512_setzero_ps();
          for (long j = 0; j < d.n_taps; ++j)
            sum = times(load(grads.first() + (row - d.taps[j]) * width + c),
                        at(&weight[(bin * d.n_taps + j) * width + c]), sum);
          store(to + bin * width + c, sum);
        }
    };
    for (long row = mine.first; row < mine.last; ++row) of_input(d.grad_x + row * stride, row);
    if (d.grad_past) {
      const Range past = share(before, thread, threads);
      for (long row = past.first; row < past.last; ++row) of_input(d.grad_past + row * stride, row - before);
    }
    for (long first = mine.first; first < mine.last; first += kTile)
      for (long bin = 0; bin < d.bins; ++bin)
        for (long j = 0; j < d.n_taps; ++j)
          for (long c = 0; c < width; c += kLanes) {
            vec sum = _mm512_setzero_ps();
            for (long row = first; row < std::min(first + kTile, mine.last); ++row)
              sum = times(load(d.grad_y + row * width + c), load(d.x + (row + d.taps[j]) * stride + bin * width + c),
                          sum);
            add(own + (bin * d.n_taps + j) * width + c, sum);
          }
  }
  from_taps(d.grad_weight, partials.data(), size, d.threads, d.channels, d.bins * d.n_taps);
}

}  // namespace

LAYOUT(Broadcast, grad_mix)
LAYOUT(Depthwise, grad_weight)
extern "C" int broadcast_forward(const Broadcast* b) {
  return status([=] { forward(*b); });
}
extern "C" int broadcast_backward(const Broadcast* b) {
  return status([=] { backward(*b); });
}
extern "C" int depthwise_forward(const Depthwise* d) {
  return status([=] { forward(*d); });
}
extern "C" int depthwise_backward(const Depthwise* d) {
  return status([=] { backward(*d); });
}

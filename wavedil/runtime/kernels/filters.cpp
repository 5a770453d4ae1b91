// The log energies of learned filters in quadrature, as wavedil.filterbank.FilterEnergies has them, and the gradient of
// the filters. In float32, since the energies of quiet frames vanish in half precision.
#include <omp.h>

#include <algorithm>
#include <array>
#include <utility>

#include "boundary.h"
#include "product.h"

// Filled in by wavedil/runtime/filters.py.
struct Filters {
  long clips, samples, before, frames, bands, span, hop, threads;
  const float* x;       // (clips, samples)
  const float* past;    // (before,), the samples before each clip
  const float* weight;  // (2 * bands, span): in phase, then in quadrature
  float scale;          // of the weights
  float floor;          // under the energies
  float* y;             // (clips, bands, frames)
  float* filtered;      // (clips, vectors of bands, frames, 2, 16)
  const float* grad_y;
  float* grad_weight;
};

namespace {

constexpr long kPair = 2 * kLanes;  // 16 bands in phase, then in quadrature
constexpr long kMost = 12;          // rows of a block, of two vectors each

using Rows = void (*)(const float*, long, const float*, long, float*);

// sums[r] += x[r * stride + k * next] * y[k] over k, for the pairs of vectors y[k], for R rows.
template <long R>
void add_products(const float* x, long stride, long next, const float* y, long count, float* sums) {
  vec sum[R][2];
#pragma GCC unroll 12
  for (long r = 0; r < R; ++r)
    for (long half = 0; half < 2; ++half) sum[r][half] = _mm512_loadu_ps(sums + r * kPair + half * kLanes);
  const float* thirds[(R + 2) / 3];  // a pointer for three rows, which one index register reaches
#pragma GCC unroll 4
  for (long r = 0; r < R; r += 3) thirds[r / 3] = x + r * stride;
  for (long k = 0; k < count; ++k, y += kPair) {
    const vec first = _mm512_loadu_ps(y), second = _mm512_loadu_ps(y + kLanes);
#pragma GCC unroll 12
    for (long r = 0; r < R; ++r) {
      const vec value = _mm512_set1_ps(thirds[r / 3][r % 3 * stride]);
      sum[r][0] = _mm512_fmadd_ps(value, first, sum[r][0]);
      sum[r][1] = _mm512_fmadd_ps(value, second, sum[r][1]);
    }
#pragma GCC unroll 4
    for (const float*& third : thirds) third += next;
  }
#pragma GCC unroll 12
  for (long r = 0; r < R; ++r)
    for (long half = 0; half < 2; ++half) _mm512_storeu_ps(sums + r * kPair + half * kLanes, sum[r][half]);
}

// The same for any number of rows, in blocks of much the same height.
template <long... R>
void add_all_products(long rows, const float* x, long stride, long next, const float* y, long count, float* sums,
                      std::integer_sequence<long, R...>) {
  static constexpr std::array blocks{add_products<R + 1>...};
  const long n_blocks = (rows + kMost - 1) / kMost, height = (rows + n_blocks - 1) / std::max(n_blocks, 1L);
  for (long row = 0; row < rows; row += height)
    blocks[std::min(height, rows - row) - 1](x + row * stride, stride, next, y, count, sums + row * kPair);
}

void add_all_products(long rows, const float* x, long stride, long next, const float* y, long count, float* sums) {
  add_all_products(rows, x, stride, next, y, count, sums, std::make_integer_sequence<long, kMost>());
}

// By the series of the area tangent, of what lies between 0.75 and 1.5.
ALWAYS vec logarithm(vec x) {
  const vec one = _mm512_set1_ps(1.f);
  const vec part = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src);
  const vec exponent = _mm512_sub_ps(_mm512_getexp_ps(x), _mm512_getexp_ps(part));
  const vec s = _mm512_div_ps(_mm512_sub_ps(part, one), _mm512_add_ps(part, one)), square = _mm512_mul_ps(s, s);
  vec sum = _mm512_set1_ps(1.f / 9);
  for (const float c : {1.f / 7, 1.f / 5, 1.f / 3, 1.f}) sum = _mm512_fmadd_ps(sum, square, _mm512_set1_ps(c));
  return _mm512_fmadd_ps(exponent, _mm512_set1_ps(0.693147181f), _mm512_mul_ps(_mm512_add_ps(s, s), sum));
}

struct Sizes {
  long vectors, matrix;
  explicit Sizes(const Filters& f) : vectors(padded(f.bands) / kLanes), matrix(f.span * kPair) {}
};

// A clip with what was before it.
void fetch(const Filters& f, long clip, float* to) {
  std::copy_n(f.past, f.before, to);
  std::copy_n(f.x + clip * f.samples, f.samples, to + f.before);
}

// Where in the weights, or past their end, the filter of a lane of a vector of bands begins.
ALWAYS const float* filter_of(const Filters& f, const float* weight, long vector, long lane) {
  const long band = vector * kLanes + lane % kLanes;
  return band < f.bands ? weight + (lane / kLanes * f.bands + band) * f.span : nullptr;
}

void pack(const Filters& f, long vector, float* to) {
  for (long lane = 0; lane < kPair; ++lane) {
    const float* const filter = filter_of(f, f.weight, vector, lane);
    for (long k = 0; k < f.span; ++k) to[k * kPair + lane] = filter ? filter[k] * f.scale : 0.f;
  }
}

ALWAYS vec energy(const Filters& f, vec in_phase, vec quadrature) {
  return _mm512_add_ps(_mm512_fmadd_ps(in_phase, in_phase, _mm512_mul_ps(quadrature, quadrature)),
                       _mm512_set1_ps(f.floor));
}

// Of 16 bands, what stands frame by frame in `from` (frames, 16), as logarithms band by band into `to` (bands, frames).
void write_logarithms(const Filters& f, long vector, const float* from, float* to) {
  const __m512i places = _mm512_slli_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), 4);
  for (long band = 0; band < std::min(kLanes, f.bands - vector * kLanes); ++band)
    for (long t = 0; t < f.frames; t += kLanes) {
      const __mmask16 real = first_lanes(f.frames - t);
      const vec e = _mm512_mask_i32gather_ps(_mm512_set1_ps(1.f), real, places, from + t * kLanes + band, 4);
      _mm512_mask_storeu_ps(to + (vector * kLanes + band) * f.frames + t, real, logarithm(e));
    }
}

void forward(const Filters& f) {
  const Sizes n(f);
  std::vector<float> packed(n.vectors * n.matrix);
  Room<float> signals(f.threads, f.before + f.samples), all_energies(f.threads, f.frames * kLanes);
#pragma omp parallel num_threads(f.threads)
  {
#pragma omp for
    for (long v = 0; v < n.vectors; ++v) pack(f, v, packed.data() + v * n.matrix);
    const long thread = omp_get_thread_num();
    float *const signal = signals.of(thread), *const energies = all_energies.of(thread);
#pragma omp for
    for (long clip = 0; clip < f.clips; ++clip) {
      fetch(f, clip, signal);
      for (long v = 0; v < n.vectors; ++v) {
        float* const to = f.filtered + (clip * n.vectors + v) * f.frames * kPair;
        std::fill_n(to, f.frames * kPair, 0.f);
        add_all_products(f.frames, signal, f.hop, 1, packed.data() + v * n.matrix, f.span, to);
        for (long t = 0; t < f.frames; ++t)
          _mm512_storeu_ps(energies + t * kLanes,
                           energy(f, _mm512_loadu_ps(to + t * kPair), _mm512_loadu_ps(to + t * kPair + kLanes)));
        write_logarithms(f, v, energies, f.y + clip * f.bands * f.frames);
      }
    }
  }
}

void backward(const Filters& f) {
  const Sizes n(f);
  const long size = n.vectors * n.matrix;
  std::vector<float> partials(f.threads * size);
  Room<float> signals(f.threads, f.before + f.samples), all_grads(f.threads, f.frames * kPair);
#pragma omp parallel num_threads(f.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    float* const own = partials.data() + thread * size;
    float *const signal = signals.of(thread), *const grads = all_grads.of(thread);
    const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i places = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(static_cast<int>(f.frames)));
    const vec twice = _mm512_set1_ps(2 * f.scale);
#pragma omp for
    for (long clip = 0; clip < f.clips; ++clip) {
      fetch(f, clip, signal);
      for (long v = 0; v < n.vectors; ++v) {
        const float* const filtered = f.filtered + (clip * n.vectors + v) * f.frames * kPair;
        const float* const by = f.grad_y + (clip * f.bands + v * kLanes) * f.frames;
        const __mmask16 real = first_lanes(f.bands - v * kLanes);
        for (long t = 0; t < f.frames; ++t) {
          const vec in_phase = _mm512_loadu_ps(filtered + t * kPair);
          const vec quadrature = _mm512_loadu_ps(filtered + t * kPair + kLanes);
          const vec grad = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), real, places, by + t, 4);
          const vec by_half = _mm512_div_ps(_mm512_mul_ps(grad, twice), energy(f, in_phase, quadrature));
          _mm512_storeu_ps(grads + t * kPair, _mm512_mul_ps(by_half, in_phase));
          _mm512_storeu_ps(grads + t * kPair + kLanes, _mm512_mul_ps(by_half, quadrature));
        }
        add_all_products(f.span, signal, 1, f.hop, grads, f.frames, own + v * n.matrix);
      }
    }
#pragma omp for
    for (long v = 0; v < n.vectors; ++v)
      for (long lane = 0; lane < kPair; ++lane) {
        float* const to = const_cast<float*>(filter_of(f, f.grad_weight, v, lane));
        for (long k = 0; k < f.span && to; ++k) {
          to[k] = 0;
          for (long t = 0; t < threads; ++t) to[k] += partials[t * size + v * n.matrix + k * kPair + lane];
        }
      }
  }
}

}  // namespace

LAYOUT(Filters, grad_weight)
extern "C" int filters_forward(const Filters* f) {
  return status([=] { forward(*f); });
}
extern "C" int filters_backward(const Filters* f) {
  return status([=] { backward(*f); });
}

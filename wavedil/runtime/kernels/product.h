// Products of bfloat16 rows, in blocks that stay in registers. A signal is rows, one for each frame, channels side by
// side and filled up to whole vectors; a convolution multiplies windows of earlier rows by a matrix.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define ALWAYS inline __attribute__((always_inline))  // a call would spill what stands in registers

using bf16 = uint16_t;
using vec = __m512;

constexpr long kLanes = 16;                  // float32 in a vector
constexpr long kTile = 48;                   // rows at a time: whole blocks of each height in kHeight
#ifdef __AVX512BF16__
constexpr int kHeight[] = {0, 12, 8, 8, 6};  // rows of a block that is 1, 2, 3 or 4 vectors wide
#else
constexpr int kHeight[] = {0, 12, 8, 8, 4};  // pairs take twice the registers
#endif

ALWAYS long padded(long channels) { return (channels + kLanes - 1) / kLanes * kLanes; }

ALWAYS vec load(const bf16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

#ifdef __AVX512BF16__
using Pairs = __m512bh;  // of values whose products are added up
ALWAYS Pairs as_pairs(__m512i x) { return reinterpret_cast<Pairs>(x); }
ALWAYS vec multiply_add(vec sum, Pairs a, Pairs b) { return _mm512_dpbf16_ps(sum, a, b); }
ALWAYS __m256i rounded(vec x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }
#else
struct Pairs {
  vec first, second;
};
ALWAYS Pairs as_pairs(__m512i x) {
  const __m512i upper = _mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xffff0000)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)), _mm512_castsi512_ps(upper)};
}
ALWAYS vec multiply_add(vec sum, const Pairs& a, const Pairs& b) {
  return _mm512_fmadd_ps(a.second, b.second, _mm512_fmadd_ps(a.first, b.first, sum));
}
// To the nearest, of two to the even one; what is not a number stays so.
ALWAYS __m256i rounded(vec x) {
  const __m512i bits = _mm512_castps_si512(x), upper = _mm512_srli_epi32(bits, 16);
  const __m512i half = _mm512_add_epi32(_mm512_and_si512(upper, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
  const __m512i near = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
  const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(near, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), quiet));
}
#endif

ALWAYS void store(bf16* p, vec x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), rounded(x)); }

ALWAYS __mmask16 first_lanes(long count) { return count < kLanes ? (1u << count) - 1 : 0xffff; }

ALWAYS void store(bf16* p, vec x, __mmask16 which) { _mm256_mask_storeu_epi16(p, which, rounded(x)); }

ALWAYS bf16 rounded(float x) {
  return static_cast<bf16>(_mm_extract_epi16(_mm256_castsi256_si128(rounded(_mm512_set1_ps(x))), 0));
}

// The rows that a product reads: for each row and tap, `run` values (an even number) of row `row + taps[j]`.
struct Windows {
  const bf16* x;
  long stride;
  const long* taps;
  long n_taps;
  long run;
};

template <int R, int V, class Begin, class End>
inline void block(Windows in, long row, long column, const bf16* matrix, long width, Begin begin, End end) {
  vec sum[R][V];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = begin(row + r, column + v * kLanes);
  matrix += 2 * column;
  for (long j = 0; j < in.n_taps; ++j) {
    const bf16* thirds[(R + 2) / 3];  // a pointer for three rows, which one index register reaches
#pragma GCC unroll 4
    for (int r = 0; r < R; r += 3) thirds[r / 3] = in.x + (row + in.taps[j] + r) * in.stride;
    for (long k = 0; k < in.run; k += 2, matrix += 2 * width) {
      Pairs columns[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) columns[v] = as_pairs(_mm512_loadu_si512(matrix + 2 * kLanes * v));
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        int pair;
        std::memcpy(&pair, thirds[r / 3] + r % 3 * in.stride, sizeof pair);
        const Pairs values = as_pairs(_mm512_set1_epi32(pair));
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(sum[r][v], values, columns[v]);
      }
#pragma GCC unroll 4
      for (const bf16*& x : thirds) x += 2;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) end(row + r, column + v * kLanes, sum[r][v]);
}

template <int V, class Begin, class End>
inline void strip(const Windows& in, long first, long last, long column, const bf16* matrix, long width, Begin begin,
                  End end) {
  constexpr int R = kHeight[V];
  long row = first;
  for (; row + R <= last; row += R) block<R, V>(in, row, column, matrix, width, begin, end);
  for (; row < last; ++row) block<1, V>(in, row, column, matrix, width, begin, end);
}

// Rows [first, last) of windows times a matrix, which `pack` made, `width` columns wide. `begin(row, column)` gives the
// vector that a sum starts from, `end(row, column, sum)` takes it.
template <class Begin, class End>
inline void product(const Windows& in, long first, long last, const bf16* matrix, long width, Begin begin, End end) {
  long column = 0;
  for (; width - column >= 4 * kLanes; column += 4 * kLanes)
    strip<4>(in, first, last, column, matrix, width, begin, end);
  switch ((width - column) / kLanes) {
    case 3:
      strip<3>(in, first, last, column, matrix, width, begin, end);
      break;
    case 2:
      strip<2>(in, first, last, column, matrix, width, begin, end);
      break;
    case 1:
      strip<1>(in, first, last, column, matrix, width, begin, end);
      break;
  }
}

inline vec zero(long, long) { return _mm512_setzero_ps(); }

// Where `product` reads element (k, n) of a matrix `width` columns wide: pairs of rows stand side by side.
inline long packed(long k, long n, long width) { return (k / 2 * width + n) * 2 + k % 2; }

// Packs a matrix of `height` rows, an even number.
template <class Value>
inline void pack(bf16* matrix, long height, long width, Value value) {
  for (long k = 0; k < height; ++k)
    for (long n = 0; n < width; ++n) matrix[packed(k, n, width)] = rounded(value(k, n));
}

// Pairs of rows side by side, the last one with zeros where it is alone; returns how many.
inline long pair_up(uint32_t* pairs, const bf16* x, long stride, long rows, long width) {
  for (long row = 0; row < rows; row += 2, pairs += width)
    for (long k = 0; k < width; k += kLanes) {
      const bf16* p = x + row * stride + k;
      const __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
      __m512i odd = _mm512_setzero_si512();
      if (row + 1 < rows) odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + stride)));
      _mm512_storeu_si512(pairs + k, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
  return (rows + 1) / 2;
}

template <int A, int V>
inline void outer_block(float* sums, long width, const uint32_t* x, long x_stride, const uint32_t* y, long y_stride,
                        long pairs) {
  vec sum[A][V];
#pragma GCC unroll 12
  for (int a = 0; a < A; ++a)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[a][v] = _mm512_loadu_ps(sums + a * width + v * kLanes);
  for (long p = 0; p < pairs; ++p, x += x_stride, y += y_stride) {
    Pairs columns[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) columns[v] = as_pairs(_mm512_loadu_si512(y + v * kLanes));
#pragma GCC unroll 12
    for (int a = 0; a < A; ++a) {
      const Pairs values = as_pairs(_mm512_set1_epi32(static_cast<int>(x[a])));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[a][v] = multiply_add(sum[a][v], values, columns[v]);
    }
  }
#pragma GCC unroll 12
  for (int a = 0; a < A; ++a)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) _mm512_storeu_ps(sums + a * width + v * kLanes, sum[a][v]);
}

template <int V>
inline void outer_strip(float* sums, long width, const uint32_t* x, long x_stride, long height, const uint32_t* y,
                        long y_stride, long pairs) {
  constexpr int A = kHeight[V];
  long k = 0;
  for (; k + A <= height; k += A) outer_block<A, V>(sums + k * width, width, x + k, x_stride, y, y_stride, pairs);
  for (; k + 2 <= height; k += 2) outer_block<2, V>(sums + k * width, width, x + k, x_stride, y, y_stride, pairs);
}

// sums (height, width) += the sum over pairs of rows of x (height) times y (width): the gradient of a matrix.
inline void outer(float* sums, long width, const uint32_t* x, long x_stride, long height, const uint32_t* y,
                  long y_stride, long pairs) {
  long n = 0;
  for (; width - n >= 4 * kLanes; n += 4 * kLanes)
    outer_strip<4>(sums + n, width, x, x_stride, height, y + n, y_stride, pairs);
  switch ((width - n) / kLanes) {
    case 3:
      outer_strip<3>(sums + n, width, x, x_stride, height, y + n, y_stride, pairs);
      break;
    case 2:
      outer_strip<2>(sums + n, width, x, x_stride, height, y + n, y_stride, pairs);
      break;
    case 1:
      outer_strip<1>(sums + n, width, x, x_stride, height, y + n, y_stride, pairs);
      break;
  }
}

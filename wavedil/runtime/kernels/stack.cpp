// A stack of gated residual blocks with batch normalisation, as wavedil.layers.DilatedStack trains: forward and
// backward.
#include <omp.h>

#include "convolution.h"
#include "gate.h"

// Filled in by wavedil/runtime/stack.py. Weights as torch has them; signals as rows of bfloat16.
struct Pointwise {
  const float* residual;  // (channels, channels); null in the last block
  const float* residual_bias;
  const float* skip;  // (skip_channels, channels)
  const float* skip_bias;
  float* grad_residual;
  float* grad_residual_bias;
  float* grad_skip;
  float* grad_skip_bias;
};

struct Stack {
  long blocks, channels, skip_channels, rows, threads, is_glu;
  const Convolution* convs;  // each reads its own copy of the residual signal
  const Pointwise* pointwise;
  bf16* z;    // (rows, blocks * channels), the gates' outputs
  bf16* out;  // (rows, skip_channels)
  const bf16* grad_out;
  bf16* grad_input;        // (rows, channels)
  bf16* const* grad_past;  // of each block, of what came before the first row; null where none is wanted
};

namespace {

struct Sizes {
  long channels, run, skip, all, hidden, taps, threads;
  explicit Sizes(const Stack& s)
      : channels(padded(s.channels)),
        run((s.channels + 1) / 2 * 2),
        skip(padded(s.skip_channels)),
        all(s.blocks * channels),
        hidden(padded(2 * s.channels)),
        taps(s.convs[0].n_taps),
        threads(s.threads) {}
};

float element(const float* matrix, long rows, long columns, long row, long column) {
  return row < rows && column < columns ? matrix[row * columns + column] : 0.f;
}

// The two halves of a gate, from the raw outputs of its convolution.
struct Gate {
  vec value, open;
};

// What turns 16 channels of the raw output of a convolution into a gate; the gates' own begin `gates` channels later.
// The last channels of a signal may be fewer: what stands beside them is read, and not used.
template <bool glu>
struct Gating {
  vec scale[2], shift[2];
  ALWAYS Gating(Affine norm, long column, long gates) {
    for (long half = 0; half < 2; ++half) {
      scale[half] = _mm512_loadu_ps(norm.scale + half * gates + column);
      shift[half] = _mm512_loadu_ps(norm.shift + half * gates + column);
    }
  }
  ALWAYS Gate operator()(vec filtered, vec gated) const {
    const vec x = _mm512_fmadd_ps(filtered, scale[0], shift[0]);
    return {glu ? x : hyperbolic_tangent(x), sigmoid(_mm512_fmadd_ps(gated, scale[1], shift[1]))};
  }
};

template <bool glu>
void forward(const Stack& s) {
  const Sizes n(s);
  std::vector<bf16> to_hidden(s.blocks * n.taps * n.channels * n.hidden),
      to_residual(s.blocks * n.channels * n.channels), to_skip(n.all * n.skip);
  std::vector<float> skip_bias(n.skip), residual_bias(s.blocks * n.channels), partial(n.threads * (1 + 2 * n.hidden));
  Room<float> norms(n.threads, 1 + 4 * n.hidden + kLanes);
#pragma omp parallel num_threads(n.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const Range mine = share(s.rows, thread, threads);
    float* const own = norms.of(thread);
    const Affine norm{own, own + n.hidden};
#pragma omp for
    for (long i = 0; i < s.blocks; ++i) {
      const Pointwise& p = s.pointwise[i];
      pack_forward(s.convs[i], to_hidden.data() + i * n.taps * n.channels * n.hidden);
      if (p.residual)
        pack(to_residual.data() + i * n.channels * n.channels, n.channels, n.channels,
             [&](long k, long o) { return element(p.residual, s.channels, s.channels, o, k); });
      pack(to_skip.data() + i * n.channels * n.skip, n.channels, n.skip,
           [&](long k, long o) { return element(p.skip, s.skip_channels, s.channels, o, k); });
      if (p.residual_bias) std::copy_n(p.residual_bias, s.channels, residual_bias.data() + i * n.channels);
    }
#pragma omp single
    for (long i = 0; i < s.blocks; ++i)
      for (long c = 0; c < s.skip_channels && s.pointwise[i].skip_bias; ++c)
        skip_bias[c] += s.pointwise[i].skip_bias[c];
    const long here = 0;
    for (long i = 0; i < s.blocks; ++i) {
      const Convolution& conv = s.convs[i];
      convolve(conv, to_hidden.data() + i * n.taps * n.channels * n.hidden,
               Moments{partial.data() + thread * (1 + 2 * n.hidden), n.hidden}, mine);
#pragma omp barrier
      normaliser(conv.norm, norm, partial.data(), threads, thread == 0, own + 2 * n.hidden);
      const float* const bias = residual_bias.data() + i * n.channels;
      for (long first = mine.first; first < mine.last; first += kTile) {
        const long last = std::min(first + kTile, mine.last);
        bf16* const z = s.z + i * n.channels;
        for (long c = 0; c < n.channels; c += kLanes) {
          const Gating<glu> gating(norm, c, s.channels);
          const __mmask16 real = first_lanes(s.channels - c);
          for (long row = first; row < last; ++row) {
            const bf16* const y = conv.y + row * n.hidden + c;
            const Gate gate = gating(load(y), load(y + s.channels));
            store(z + row * n.all + c, _mm512_maskz_mul_ps(real, gate.value, gate.open));
          }
        }
        if (!s.pointwise[i].residual) continue;
        const bf16* const x = conv.x;
        bf16* const next = const_cast<bf16*>(s.convs[i + 1].x);
        product(
            Windows{z, n.all, &here, 1, n.run}, first, last, to_residual.data() + i * n.channels * n.channels,
            n.channels,
            [&](long row, long c) { return _mm512_add_ps(load(x + row * n.channels + c), _mm512_loadu_ps(bias + c)); },
            [&](long row, long c, vec sum) { store(next + row * n.channels + c, sum); });
      }
#pragma omp barrier
    }
    product(
        Windows{s.z, n.all, &here, 1, n.all}, mine.first, mine.last, to_skip.data(), n.skip,
        [&](long, long c) { return _mm512_loadu_ps(skip_bias.data() + c); },
        [&](long row, long c, vec sum) { store(s.out + row * n.skip + c, sum); });
  }
}

// What a thread sums up of the gradients of the weights.
struct Partial {
  float *hidden, *residual, *residual_bias, *skip, *skip_bias, *norms;
  static long size(const Stack& s, const Sizes& n) {
    return s.blocks * (n.taps * n.channels * n.hidden + n.channels * (n.channels + 1)) + (n.all + 1) * n.skip +
           2 * n.hidden;
  }
  Partial(const Stack& s, const Sizes& n, float* data) {
    hidden = data;
    residual = hidden + s.blocks * n.taps * n.channels * n.hidden;
    residual_bias = residual + s.blocks * n.channels * n.channels;
    skip = residual_bias + s.blocks * n.channels;
    skip_bias = skip + n.all * n.skip;
    norms = skip_bias + n.skip;
  }
};

void add_rows(float* sums, const bf16* x, long stride, long rows, long width) {
  for (long c = 0; c < width; c += kLanes) {
    vec sum = _mm512_loadu_ps(sums + c);
    for (long row = 0; row < rows; ++row) sum = _mm512_add_ps(sum, load(x + row * stride + c));
    _mm512_storeu_ps(sums + c, sum);
  }
}

// The gradients of the normalised inputs of the gates of rows [first, last), into `to` (rows, hidden), from those of
// their outputs, `grad` (a tile, channels). Adds to `sums` (2, hidden): of the gradients, and of their products with
// the normalised inputs.
template <bool glu>
void ungate(const Convolution& conv, Affine norm, long first, long last, const float* grad, bf16* to, float* sums) {
  const long gates = conv.outputs / 2, channels = padded(gates), hidden = conv.width();
  const vec one = constant(1.f);
  for (long c = 0; c < channels; c += kLanes) {
    const Gating<glu> gating(norm, c, gates);
    const long at[] = {c, gates + c};
    const __mmask16 real = first_lanes(gates - c);
    vec mean[2], sum[2], product[2];
    for (int half = 0; half < 2; ++half) {
      mean[half] = _mm512_maskz_loadu_ps(real, conv.norm.moments + at[half]);
      sum[half] = product[half] = _mm512_setzero_ps();
    }
    for (long row = first; row < last; ++row) {
      const vec raw[] = {load(conv.y + row * hidden + at[0]), load(conv.y + row * hidden + at[1])};
      const Gate gate = gating(raw[0], raw[1]);
      const vec by_value = _mm512_mul_ps(_mm512_loadu_ps(grad + (row - first) * channels + c), gate.open);
      const vec by[] = {glu ? by_value : _mm512_mul_ps(by_value, _mm512_fnmadd_ps(gate.value, gate.value, one)),
                        _mm512_mul_ps(_mm512_mul_ps(by_value, gate.value), _mm512_sub_ps(one, gate.open))};
      for (int half = 0; half < 2; ++half) {
        store(to + row * hidden + at[half], by[half], real);
        sum[half] = _mm512_add_ps(sum[half], by[half]);
        product[half] = _mm512_fmadd_ps(by[half], _mm512_sub_ps(raw[half], mean[half]), product[half]);
      }
    }
    for (int half = 0; half < 2; ++half) {
      float* const total = sums + at[half];
      const vec rstd = _mm512_maskz_loadu_ps(real, conv.norm.moments + hidden + at[half]);
      const vec before = _mm512_maskz_loadu_ps(real, total),
                product_before = _mm512_maskz_loadu_ps(real, total + hidden);
      _mm512_mask_storeu_ps(total, real, _mm512_add_ps(before, sum[half]));
      _mm512_mask_storeu_ps(total + hidden, real, _mm512_fmadd_ps(product[half], rstd, product_before));
    }
  }
}

template <bool glu>
void backward(const Stack& s) {
  const Sizes n(s);
  const long size = Partial::size(s, n), square = n.channels * n.channels, matrix = n.taps * n.channels * n.hidden;
  std::vector<bf16> from_hidden(s.blocks * matrix), from_residual(s.blocks * square), from_skip(n.all * n.skip);
  std::vector<float> partials(n.threads * size), norms(s.blocks * 2 * n.hidden);
  long longest = 0;
  for (long i = 0; i < s.blocks; ++i) longest = std::max(longest, -s.convs[i].taps[0]);
  // Of the hidden signal; two, since a thread writes the next while others read the last.
  const bool filled = n.hidden == 2 * s.channels;
  const Surrounded grads[] = {{s.rows, longest, n.hidden, filled}, {s.rows, longest, n.hidden, filled}};
  const std::unique_ptr<bf16[]> grad_x(new bf16[s.rows * n.channels]);
  Room<float> scratches(n.threads, 5 * n.hidden + kLanes), tiles(n.threads, kTile * n.channels);
  Room<uint32_t> all_pairs(n.threads, kTile / 2 * (n.channels + std::max(n.hidden, std::max(n.channels, n.skip))));
  Room<long> all_ahead(n.threads, n.taps);
#pragma omp parallel num_threads(n.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const Range mine = share(s.rows, thread, threads);
    const Partial own(s, n, partials.data() + thread * size);
    float *const scratch = scratches.of(thread), *const tile = tiles.of(thread);
    uint32_t* const pairs = all_pairs.of(thread);
    long* const ahead = all_ahead.of(thread);
    const long here = 0;
#pragma omp for
    for (long i = 0; i < s.blocks; ++i) {
      const Pointwise& p = s.pointwise[i];
      pack_backward(s.convs[i], from_hidden.data() + i * matrix);
      if (p.residual)
        pack(from_residual.data() + i * square, n.channels, n.channels,
             [&](long o, long k) { return element(p.residual, s.channels, s.channels, o, k); });
      pack(from_skip.data() + i * n.channels * n.skip, n.skip, n.channels,
           [&](long o, long k) { return element(p.skip, s.skip_channels, s.channels, o, k); });
    }
    for (long first = mine.first; first < mine.last; first += kTile)
      add_rows(own.skip_bias, s.grad_out + first * n.skip, n.skip, std::min(kTile, mine.last - first), n.skip);
    for (long i = s.blocks - 1; i >= 0; --i) {
      const Convolution& conv = s.convs[i];
      const bool last_block = !s.pointwise[i].residual;
      bf16* const grad = grads[i % 2].first();
      const Affine norm{scratch, scratch + n.hidden};
      normaliser(conv.norm, norm);
      std::fill_n(own.norms, 2 * n.hidden, 0.f);
      for (long first = mine.first; first < mine.last; first += kTile) {
        const long last = std::min(first + kTile, mine.last), rows = last - first;
        if (!last_block)
          product(Windows{grad_x.get(), n.channels, &here, 1, n.run}, first, last, from_residual.data() + i * square,
                  n.channels, zero,
                  [&](long row, long c, vec sum) { _mm512_storeu_ps(tile + (row - first) * n.channels + c, sum); });
        product(
            Windows{s.grad_out, n.skip, &here, 1, n.skip}, first, last, from_skip.data() + i * n.channels * n.skip,
            n.channels,
            [&](long row, long c) {
              return last_block ? _mm512_setzero_ps() : _mm512_loadu_ps(tile + (row - first) * n.channels + c);
            },
            [&](long row, long c, vec sum) { _mm512_storeu_ps(tile + (row - first) * n.channels + c, sum); });
        ungate<glu>(conv, norm, first, last, tile, grad, own.norms);
        uint32_t* const of_z = pairs;
        uint32_t* const of_grad = of_z + kTile / 2 * n.channels;
        const long count = pair_up(of_z, s.z + first * n.all + i * n.channels, n.all, rows, n.channels);
        pair_up(of_grad, s.grad_out + first * n.skip, n.skip, rows, n.skip);
        outer(own.skip + i * n.channels * n.skip, n.skip, of_z, n.channels, n.run, of_grad, n.skip, count);
        if (last_block) continue;
        pair_up(of_grad, grad_x.get() + first * n.channels, n.channels, rows, n.channels);
        outer(own.residual + i * square, n.channels, of_z, n.channels, n.run, of_grad, n.channels, count);
        add_rows(own.residual_bias + i * n.channels, grad_x.get() + first * n.channels, n.channels, rows, n.channels);
      }
#pragma omp barrier
      float* const sums = scratch + 3 * n.hidden;
      total(sums, Partial(s, n, partials.data()).norms, size, threads, 2 * n.hidden);
      if (thread == 0) std::copy_n(sums, 2 * n.hidden, norms.data() + i * 2 * n.hidden);
      backward(conv, grad, sums, mine, own.hidden + i * matrix, scratch, pairs);
#pragma omp barrier
      for (long j = 0; j < n.taps; ++j) ahead[j] = -conv.taps[j];
      const Windows windows = outputs_of(conv, grad, 0, ahead);
      bf16* const into = i ? grad_x.get() : s.grad_input;
      product(
          windows, mine.first, mine.last, from_hidden.data() + i * matrix, n.channels,
          [&](long row, long c) {
            return last_block ? _mm512_setzero_ps() : load(grad_x.get() + row * n.channels + c);
          },
          [&](long row, long c, vec sum) { store(into + row * n.channels + c, sum); });
      if (s.grad_past[i] && conv.taps[0] < 0) {
        const long before = -conv.taps[0];
        const Range past = share(before, thread, threads);
        product(windows, past.first - before, past.last - before, from_hidden.data() + i * matrix, n.channels, zero,
                [&](long row, long c, vec sum) { store(s.grad_past[i] + (row + before) * n.channels + c, sum); });
      }
    }
#pragma omp barrier
    const float* const all = partials.data();
    const auto summed = [&](const float* of_first) {
      float sum = 0;
      for (long t = 0; t < threads; ++t) sum += of_first[t * size];
      return sum;
    };
    const Partial first(s, n, partials.data());
#pragma omp for
    for (long i = 0; i < s.blocks; ++i) {
      const Pointwise& p = s.pointwise[i];
      collect(s.convs[i], all + i * matrix, size, threads, norms.data() + i * 2 * n.hidden);
      for (long k = 0; k < s.channels; ++k) {
        for (long o = 0; o < s.channels && p.residual; ++o)
          p.grad_residual[o * s.channels + k] = summed(first.residual + i * square + k * n.channels + o);
        for (long o = 0; o < s.skip_channels; ++o)
          p.grad_skip[o * s.channels + k] = summed(first.skip + (i * n.channels + k) * n.skip + o);
      }
      for (long o = 0; o < s.channels && p.residual_bias; ++o)
        p.grad_residual_bias[o] = summed(first.residual_bias + i * n.channels + o);
      for (long o = 0; o < s.skip_channels && p.skip_bias; ++o) p.grad_skip_bias[o] = summed(first.skip_bias + o);
    }
  }
}

}  // namespace

LAYOUT(Pointwise, grad_skip_bias)
LAYOUT(Stack, grad_past)
extern "C" int stack_forward(const Stack* s) {
  return status([=] { s->is_glu ? forward<true>(*s) : forward<false>(*s); });
}
extern "C" int stack_backward(const Stack* s) {
  return status([=] { s->is_glu ? backward<true>(*s) : backward<false>(*s); });
}

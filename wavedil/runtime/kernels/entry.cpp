// Convolutions over spectrograms, each with batch normalisation and ReLU, as an entry to a stack trains: forward and
// backward.
#include <omp.h>

#include "convolution.h"

// Filled in by wavedil/runtime/entry.py.
struct Layer {
  Convolution conv;
  long lead;        // values of its row before the first bin
  bf16* grad_past;  // (rows before the first, stride), as its input; null where none is wanted
};

struct Entry {
  long layers, threads;
  const Layer* layer;
  bf16* out;  // (rows, bins * width) of the last layer
  const bf16* grad_out;
  bf16* grad_input;  // (rows, stride) of the first layer; null where none is wanted
};

namespace {

// Where the output of a layer goes: its own bins, or those of the next layer's input.
struct Rows {
  bf16* x;
  long stride;
};

Rows target(const Entry& e, long i) {
  if (i + 1 == e.layers) return {e.out, e.layer[i].conv.out_stride()};
  const Layer& next = e.layer[i + 1];
  return {const_cast<bf16*>(next.conv.x) + next.lead, next.conv.stride};
}

void forward(const Entry& e) {
  std::vector<std::vector<bf16>> matrices(e.layers);
  long widest = 0;
  for (long i = 0; i < e.layers; ++i) {
    const Convolution& conv = e.layer[i].conv;
    widest = std::max(widest, conv.width());
    matrices[i].resize(conv.n_taps * conv.run() * conv.width());
    pack_forward(conv, matrices[i].data());
  }
  std::vector<float> partial(e.threads * (1 + 2 * widest));
  Room<float> norms(e.threads, 1 + 4 * widest);
#pragma omp parallel num_threads(e.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    float* const own = norms.of(thread);
    for (long i = 0; i < e.layers; ++i) {
      const Convolution& conv = e.layer[i].conv;
      const Range mine = share(conv.rows, thread, threads);
      const long width = conv.width();
      const Affine norm{own, own + width};
      convolve(conv, matrices[i].data(), Moments{partial.data() + thread * (1 + 2 * width), width}, mine);
#pragma omp barrier
      normaliser(conv.norm, norm, partial.data(), threads, thread == 0, own + 2 * width);
      const Rows to = target(e, i);
      for (long row = mine.first; row < mine.last; ++row)
        for (long bin = 0; bin < conv.bins; ++bin)
          for (long c = 0; c < width; c += kLanes) {
            const long at = bin * width + c;
            const vec y = norm(load(conv.y + row * conv.out_stride() + at), c);
            store(to.x + row * to.stride + at, _mm512_max_ps(_mm512_setzero_ps(), y));
          }
#pragma omp barrier
    }
  }
}

// The gradient of a layer's normalised output from that of its ReLU, of one row; `given(at)` is the latter.
template <class Given>
void before_relu(const Convolution& conv, Affine norm, long row, bf16* grad, float* sums, Given given) {
  const long width = conv.width();
  for (long c = 0; c < width; c += kLanes) {
    const vec mean = _mm512_loadu_ps(conv.norm.moments + c), rstd = _mm512_loadu_ps(conv.norm.moments + width + c);
    vec sum = _mm512_loadu_ps(sums + c), product = _mm512_loadu_ps(sums + width + c);
    for (long bin = 0; bin < conv.bins; ++bin) {
      const long at = bin * width + c;
      const vec y = load(conv.y + row * conv.out_stride() + at);
      const __mmask16 open = _mm512_cmp_ps_mask(norm(y, c), _mm512_setzero_ps(), _CMP_GT_OQ);
      const vec g = _mm512_maskz_mov_ps(open, given(at));
      store(grad + row * conv.out_stride() + at, g);
      sum = _mm512_add_ps(sum, g);
      product = _mm512_fmadd_ps(g, _mm512_mul_ps(_mm512_sub_ps(y, mean), rstd), product);
    }
    _mm512_storeu_ps(sums + c, sum);
    _mm512_storeu_ps(sums + width + c, product);
  }
}

// The gradients of the inputs of rows [first, last), which are at most a tile, into `to` (rows, stride).
void of_input(const Convolution& conv, const bf16* grad, const bf16* matrix, long first, long last, const long* ahead,
              float* to) {
  std::fill_n(to, (last - first) * conv.stride, 0.f);
  for (long bin = 0; bin < conv.bins; ++bin) {
    float* const window = to + bin * conv.step - first * conv.stride;
    product(
        outputs_of(conv, grad, bin, ahead), first, last, matrix, conv.back_width(),
        [&](long row, long k) { return _mm512_loadu_ps(window + row * conv.stride + k); },
        [&](long row, long k, vec sum) { _mm512_storeu_ps(window + row * conv.stride + k, sum); });
  }
}

void backward(const Entry& e) {
  std::vector<std::vector<bf16>> matrices(e.layers);
  std::vector<Surrounded> grads;
  std::vector<std::vector<float>> partials(e.layers);
  long widest = 0, longest = 0, longest_out = 0, most_taps = 0;
  for (long i = 0; i < e.layers; ++i) {
    const Convolution& conv = e.layer[i].conv;
    widest = std::max(widest, conv.width());
    longest = std::max(longest, conv.stride);
    longest_out = std::max(longest_out, conv.out_stride());
    most_taps = std::max(most_taps, conv.n_taps);
    matrices[i].resize(conv.n_taps * conv.back_width() * conv.width());
    pack_backward(conv, matrices[i].data());
    partials[i].resize(e.threads * matrices[i].size());
    grads.emplace_back(conv.rows, -conv.taps[0], conv.out_stride());
  }
  std::vector<float> norms(e.threads * 2 * widest), totals(e.layers * 2 * widest);
  Room<float> scratches(e.threads, 5 * widest), tiles(e.threads, kTile * longest);
  Room<uint32_t> all_pairs(e.threads, kTile / 2 * (longest + longest_out));
  Room<long> all_ahead(e.threads, most_taps);
#pragma omp parallel num_threads(e.threads)
  {
    const long thread = omp_get_thread_num(), threads = omp_get_num_threads();
    float *const scratch = scratches.of(thread), *const tile = tiles.of(thread);
    uint32_t* const pairs = all_pairs.of(thread);
    long* const ahead = all_ahead.of(thread);
    float* const own = norms.data() + thread * 2 * widest;
    for (long i = e.layers - 1; i >= 0; --i) {
      const Layer& layer = e.layer[i];
      const Convolution& conv = layer.conv;
      const Range mine = share(conv.rows, thread, threads);
      const long width = conv.width();
      bf16* const grad = grads[i].first();
      const Affine norm{scratch, scratch + width};
      normaliser(conv.norm, norm);
      std::fill_n(own, 2 * width, 0.f);
      for (long first = mine.first; first < mine.last; first += kTile) {
        const long last = std::min(first + kTile, mine.last);
        if (i + 1 == e.layers) {
          for (long row = first; row < last; ++row)
            before_relu(conv, norm, row, grad, own,
                        [&](long at) { return load(e.grad_out + row * conv.out_stride() + at); });
          continue;
        }
        const Layer& next = e.layer[i + 1];
        of_input(next.conv, grads[i + 1].first(), matrices[i + 1].data(), first, last, ahead, tile);
        for (long row = first; row < last; ++row)
          before_relu(conv, norm, row, grad, own, [&](long at) {
            return _mm512_loadu_ps(tile + (row - first) * next.conv.stride + next.lead + at);
          });
      }
#pragma omp barrier
      float* const sums = scratch + 3 * width;
      total(sums, norms.data(), 2 * widest, threads, 2 * width);
      if (thread == 0) std::copy_n(sums, 2 * width, totals.data() + i * 2 * widest);
      backward(conv, grad, sums, mine, partials[i].data() + thread * matrices[i].size(), scratch, pairs);
      for (long j = 0; j < conv.n_taps; ++j) ahead[j] = -conv.taps[j];
#pragma omp barrier
      const auto write = [&](bf16* to, long begin, Range range) {  // `to` is of row `begin`
        for (long first = range.first; first < range.last; first += kTile) {
          const long last = std::min(first + kTile, range.last);
          of_input(conv, grad, matrices[i].data(), first, last, ahead, tile);
          bf16* const rows = to + (first - begin) * conv.stride;
          for (long at = 0; at < (last - first) * conv.stride; at += kLanes)
            store(rows + at, _mm512_loadu_ps(tile + at));
        }
      };
      if (i == 0 && e.grad_input) write(e.grad_input, 0, mine);
      if (layer.grad_past) {
        const Range past = share(-conv.taps[0], thread, threads);
        write(layer.grad_past, conv.taps[0], {past.first + conv.taps[0], past.last + conv.taps[0]});
      }
    }
  }
  for (long i = 0; i < e.layers; ++i)
    collect(e.layer[i].conv, partials[i].data(), matrices[i].size(), e.threads, totals.data() + i * 2 * widest);
}

}  // namespace

LAYOUT(Norm, grad_beta)
LAYOUT(Convolution, grad_weight)
LAYOUT(Layer, grad_past)
LAYOUT(Entry, grad_input)
extern "C" int entry_forward(const Entry* e) {
  return status([=] { forward(*e); });
}
extern "C" int entry_backward(const Entry* e) {
  return status([=] { backward(*e); });
}

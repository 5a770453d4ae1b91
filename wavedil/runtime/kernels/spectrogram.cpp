// Augmentation of log spectrograms, as wavedil.data.spectrogram_augment has it, in two passes over the clips: warped in
// frequency, in the style of another clip, filtered, masked.
#include <algorithm>
#include <cmath>

#include "boundary.h"
#include "product.h"

// Filled in by wavedil/runtime/spectrogram.py.
struct Spectrogram {
  long clips, bands, frames, threads;
  const float* x;               // (clips, bands, frames)
  const long* above;            // (clips, bands), the upper of the two bands that each is read from; null for no warp
  const float* share;           // (clips, bands), of the upper one
  const float* style;           // (clips,), the share of another clip's style; null for none
  const long* other;            // (clips,), whose; each clip is that of one
  const float* response;        // (clips, bands), added; null for none
  const uint8_t* frame_masked;  // (clips, frames); null for no masks
  const uint8_t* band_masked;   // (clips, bands)
  float least;                  // added to a variance
  float* y;
  float* mean;       // (clips, bands), of the warped bands
  float* deviation;  // likewise
  const float* grad_y;
  float* grad_x;
};

namespace {

// Calls back for each vector of a row, with its place and which of its lanes there are.
template <class Body>
ALWAYS void each_vector(long frames, Body body) {
  for (long t = 0; t < frames; t += kLanes) body(t, first_lanes(frames - t));
}

// A band of a clip as it is read.
struct Warped {
  const float *low, *high;
  vec share;
  ALWAYS Warped(const Spectrogram& s, long clip, long band) {
    const long at = clip * s.bands + band;
    high = s.x + (s.above ? clip * s.bands + s.above[at] : at) * s.frames;
    low = s.above ? high - s.frames : high;
    share = _mm512_set1_ps(s.above ? s.share[at] : 0.f);
  }
  ALWAYS vec operator()(long t, __mmask16 real) const {
    const vec a = _mm512_maskz_loadu_ps(real, low + t), b = _mm512_maskz_loadu_ps(real, high + t);
    return _mm512_fmadd_ps(share, _mm512_sub_ps(b, a), a);
  }
};

// What a band is multiplied by, about its mean, and where that mean goes.
struct Style {
  float mean, scale, shift, share, deviation, ratio;
  ALWAYS Style(const Spectrogram& s, long clip, long band) {
    const long at = clip * s.bands + band, its = s.other[clip] * s.bands + band;
    share = s.style[clip], mean = s.mean[at], deviation = s.deviation[at];
    ratio = s.deviation[its] / deviation;
    scale = 1 + share * (ratio - 1);
    shift = mean + share * (s.mean[its] - mean);
  }
};

void warp(const Spectrogram& s, long clip) {
  for (long band = 0; band < s.bands; ++band) {
    const long at = clip * s.bands + band;
    const Warped read(s, clip, band);
    float* const y = s.y + at * s.frames;
    vec sum = _mm512_setzero_ps(), squares = sum;
    each_vector(s.frames, [&](long t, __mmask16 real) {
      const vec w = read(t, real);
      _mm512_mask_storeu_ps(y + t, real, w);
      sum = _mm512_add_ps(sum, w);
    });
    if (!s.style) continue;
    s.mean[at] = _mm512_reduce_add_ps(sum) / s.frames;
    const vec mean = _mm512_set1_ps(s.mean[at]);
    each_vector(s.frames, [&](long t, __mmask16 real) {
      const vec centred = _mm512_maskz_sub_ps(real, _mm512_maskz_loadu_ps(real, y + t), mean);
      squares = _mm512_fmadd_ps(centred, centred, squares);
    });
    s.deviation[at] = std::sqrt(_mm512_reduce_add_ps(squares) / s.frames + s.least);
  }
}

// Of a band, which of 16 frames are masked.
ALWAYS __mmask16 masked(const Spectrogram& s, long clip, long band, long t, __mmask16 real) {
  if (s.band_masked[clip * s.bands + band]) return real;
  return _mm_test_epi8_mask(_mm_maskz_loadu_epi8(real, s.frame_masked + clip * s.frames + t), _mm_set1_epi8(-1));
}

void finish(const Spectrogram& s, long clip) {
  vec sum = _mm512_setzero_ps();
  for (long band = 0; band < s.bands; ++band) {
    const long at = clip * s.bands + band;
    float* const y = s.y + at * s.frames;
    float mean = 0, scale = 1, shift = s.response ? s.response[at] : 0.f;
    if (s.style) {
      const Style style(s, clip, band);
      mean = style.mean, scale = style.scale, shift += style.shift;
    }
    const vec mean_ = _mm512_set1_ps(mean), scale_ = _mm512_set1_ps(scale), shift_ = _mm512_set1_ps(shift);
    each_vector(s.frames, [&](long t, __mmask16 real) {
      const vec centred = _mm512_sub_ps(_mm512_maskz_loadu_ps(real, y + t), mean_);
      const vec styled = _mm512_maskz_fmadd_ps(real, centred, scale_, shift_);
      _mm512_mask_storeu_ps(y + t, real, styled);
      sum = _mm512_add_ps(sum, styled);
    });
  }
  if (!s.band_masked) return;
  const vec mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (s.bands * s.frames));
  for (long band = 0; band < s.bands; ++band)
    each_vector(s.frames, [&](long t, __mmask16 real) {
      _mm512_mask_storeu_ps(s.y + (clip * s.bands + band) * s.frames + t, masked(s, clip, band, t, real), mean);
    });
}

void forward(const Spectrogram& s) {
#pragma omp parallel num_threads(s.threads)
  {
#pragma omp for
    for (long clip = 0; clip < s.clips; ++clip) warp(s, clip);
#pragma omp for
    for (long clip = 0; clip < s.clips; ++clip) finish(s, clip);
  }
}

// The gradients of what was masked, 16 frames of a band.
struct Unmasked {
  const Spectrogram& s;
  long clip;
  vec spread;  // what the mean of a clip hands on to each of its values
  ALWAYS Unmasked(const Spectrogram& s, long clip) : s(s), clip(clip), spread(_mm512_setzero_ps()) {
    if (!s.band_masked) return;
    vec sum = spread;
    for (long band = 0; band < s.bands; ++band)
      each_vector(s.frames, [&](long t, __mmask16 real) {
        sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(masked(s, clip, band, t, real), row(band) + t));
      });
    spread = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / (s.bands * s.frames));
  }
  ALWAYS const float* row(long band) const { return s.grad_y + (clip * s.bands + band) * s.frames; }
  ALWAYS vec operator()(long band, long t, __mmask16 real) const {
    const __mmask16 kept = s.band_masked ? real & ~masked(s, clip, band, t, real) : real;
    return _mm512_maskz_mov_ps(real, _mm512_add_ps(_mm512_maskz_loadu_ps(kept, row(band) + t), spread));
  }
};

// Of each band, the sums of the gradients, of their products with what they are the gradients of, about its mean, and of
// the latter: what rounding has left of the mean, which counts where a band hardly moves about it.
void add_up(const Spectrogram& s, long clip, float* sums, float* products, float* rests) {
  const Unmasked grad(s, clip);
  for (long band = 0; band < s.bands; ++band) {
    const long at = clip * s.bands + band;
    const Warped read(s, clip, band);
    const vec mean = _mm512_set1_ps(s.mean[at]);
    vec sum = _mm512_setzero_ps(), product = sum, rest = sum;
    each_vector(s.frames, [&](long t, __mmask16 real) {
      const vec g = grad(band, t, real), centred = _mm512_maskz_sub_ps(real, read(t, real), mean);
      sum = _mm512_add_ps(sum, g);
      product = _mm512_fmadd_ps(g, centred, product);
      rest = _mm512_add_ps(rest, centred);
    });
    sums[at] = _mm512_reduce_add_ps(sum), products[at] = _mm512_reduce_add_ps(product);
    rests[at] = _mm512_reduce_add_ps(rest);
  }
}

void unwarp(const Spectrogram& s, long clip, long wearer, const float* sums, const float* products,
            const float* rests) {
  const Unmasked grad(s, clip);
  float* const grad_x = s.grad_x + clip * s.bands * s.frames;
  std::fill_n(grad_x, s.bands * s.frames, 0.f);
  for (long band = 0; band < s.bands; ++band) {
    const long at = clip * s.bands + band, upper = s.above ? s.above[at] : band;
    const Warped read(s, clip, band);
    float mean = 0, scale = 1, by_mean = 0, by_centred = 0;
    if (s.style) {
      const Style style(s, clip, band), worn(s, wearer, band);  // the style of the clip, and on whom it was put
      const long there = wearer * s.bands + band;
      mean = style.mean, scale = style.scale;
      by_mean = (1 - style.share - scale) * sums[at] + worn.share * sums[there];
      const float by_deviation =
          worn.share * products[there] / worn.deviation - style.share * products[at] * style.ratio / style.deviation;
      by_centred = by_deviation / (s.frames * style.deviation);
      by_mean = (by_mean - by_centred * rests[at]) / s.frames;
    }
    const vec mean_ = _mm512_set1_ps(mean), scale_ = _mm512_set1_ps(scale), by_mean_ = _mm512_set1_ps(by_mean);
    const vec by_centred_ = _mm512_set1_ps(by_centred);
    float *const high = grad_x + upper * s.frames, *const low = s.above ? high - s.frames : nullptr;
    each_vector(s.frames, [&](long t, __mmask16 real) {
      vec g = _mm512_fmadd_ps(grad(band, t, real), scale_, by_mean_);
      g = _mm512_fmadd_ps(by_centred_, _mm512_sub_ps(read(t, real), mean_), g);
      if (!low) return _mm512_mask_storeu_ps(high + t, real, g);
      const vec to_high = _mm512_mul_ps(g, read.share), to_low = _mm512_sub_ps(g, to_high);
      _mm512_mask_storeu_ps(high + t, real, _mm512_add_ps(_mm512_maskz_loadu_ps(real, high + t), to_high));
      _mm512_mask_storeu_ps(low + t, real, _mm512_add_ps(_mm512_maskz_loadu_ps(real, low + t), to_low));
    });
  }
}

void backward(const Spectrogram& s) {
  std::vector<float> sums(s.style ? s.clips * s.bands : 0), products(sums.size()), rests(sums.size());
  std::vector<long> wearer(s.clips);  // of whose style each clip has a share, the other way round
  for (long clip = 0; clip < s.clips && s.style; ++clip) wearer[s.other[clip]] = clip;
#pragma omp parallel num_threads(s.threads)
  {
    if (s.style)
#pragma omp for
      for (long clip = 0; clip < s.clips; ++clip) add_up(s, clip, sums.data(), products.data(), rests.data());
#pragma omp for
    for (long clip = 0; clip < s.clips; ++clip) unwarp(s, clip, wearer[clip], sums.data(), products.data(), rests.data());
  }
}

}  // namespace

LAYOUT(Spectrogram, grad_x)
extern "C" int spectrogram_forward(const Spectrogram* s) {
  return status([=] { forward(*s); });
}
extern "C" int spectrogram_backward(const Spectrogram* s) {
  return status([=] { backward(*s); });
}

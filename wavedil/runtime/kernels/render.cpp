// Clips as an augmentation wants them: stretched, moved, scaled, with noise, in one pass.
#include <algorithm>
#include <cmath>

#include "boundary.h"
#include "product.h"

// Filled in by wavedil/runtime/render.py; each pointer but out is to a value for each clip, or to samples.
struct Render {
  long clips, samples, threads;
  const int16_t* x;      // (clips, samples)
  const long* start;     // where in its clip the first output lies
  const long* length;    // of the stretch that is spread over all outputs
  const float* gain;     // of a step of int16
  const int16_t* noise;  // null for none
  const long* noise_start;
  const float* noise_gain;
  float* out;  // (clips, samples)
};

namespace {

ALWAYS float sample(const int16_t* x, long samples, long at) { return at < 0 || at >= samples ? 0.f : x[at]; }

ALWAYS vec from_pair(__m512i pairs, bool second) {
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(second ? pairs : _mm512_slli_epi32(pairs, 16), 16));
}

void render(const Render& r, long clip) {
  const int16_t* const x = r.x + clip * r.samples;
  float* const out = r.out + clip * r.samples;
  const double step = static_cast<double>(r.length[clip]) / r.samples, start = r.start[clip];
  const vec gain = _mm512_set1_ps(r.gain[clip]);
  const vec noise_gain = _mm512_set1_ps(r.noise ? r.noise_gain[clip] : 0.f);
  const int16_t* const noise = r.noise ? r.noise + r.noise_start[clip] : nullptr;
  const __m512d lanes = _mm512_set_pd(7, 6, 5, 4, 3, 2, 1, 0), steps = _mm512_set1_pd(step);
  for (long i = 0; i < r.samples; i += kLanes) {
    const long count = std::min(kLanes, r.samples - i);
    const double first = start + i * step, last = first + (kLanes - 1) * step;
    vec before, after, share;
    if (first >= 0 && last < r.samples - 2) {
      const __m512d low = _mm512_fmadd_pd(lanes, steps, _mm512_set1_pd(first));
      const __m512d high = _mm512_add_pd(low, _mm512_set1_pd(8 * step));
      const __m512d whole_low = _mm512_floor_pd(low), whole_high = _mm512_floor_pd(high);
      const __m512i places = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvttpd_epi32(whole_low)),
                                                _mm512_cvttpd_epi32(whole_high), 1);
      const __m512i pairs = _mm512_i32gather_epi32(places, x, 2);  // two samples at a time
      before = from_pair(pairs, false), after = from_pair(pairs, true);
      share = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_sub_pd(low, whole_low))),
                                 _mm512_cvtpd_ps(_mm512_sub_pd(high, whole_high)), 1);
    } else {
      float a[kLanes], b[kLanes], s[kLanes];
      for (long lane = 0; lane < kLanes; ++lane) {
        const double place = first + lane * step, whole = std::floor(place);
        a[lane] = sample(x, r.samples, static_cast<long>(whole));
        b[lane] = sample(x, r.samples, static_cast<long>(whole) + 1);
        s[lane] = static_cast<float>(place - whole);
      }
      before = _mm512_loadu_ps(a), after = _mm512_loadu_ps(b), share = _mm512_loadu_ps(s);
    }
    vec y = _mm512_mul_ps(_mm512_fmadd_ps(share, _mm512_sub_ps(after, before), before), gain);
    const __mmask16 real = first_lanes(count);
    if (noise) {
      const __m512i wide = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(real, noise + i));
      y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(wide), noise_gain, y);
    }
    _mm512_mask_storeu_ps(out + i, real, y);
  }
}

}  // namespace

LAYOUT(Render, out)
extern "C" int render_clips(const Render* r) {
#pragma omp parallel for num_threads(r->threads)
  for (long clip = 0; clip < r->clips; ++clip) render(*r, clip);
  return 0;
}

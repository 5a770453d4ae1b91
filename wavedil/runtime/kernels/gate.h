// tanh and sigmoid, to about 1e-6.
#pragma once

#include "product.h"

ALWAYS vec constant(float x) { return _mm512_set1_ps(x); }

ALWAYS vec exponential(vec x) {
  x = _mm512_min_ps(constant(87.f), _mm512_max_ps(constant(-87.f), x));  // in this order, which keeps a NaN
  const vec scaled = _mm512_mul_ps(x, constant(1.44269504f));
  const vec whole = _mm512_roundscale_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const vec rest = _mm512_mul_ps(_mm512_sub_ps(scaled, whole), constant(0.693147181f));
  vec sum = constant(1.f / 120);
  for (const float c : {1.f / 24, 1.f / 6, 0.5f, 1.f, 1.f}) sum = _mm512_fmadd_ps(sum, rest, constant(c));
  return _mm512_scalef_ps(sum, whole);
}

ALWAYS vec reciprocal(vec x) {
  const vec guess = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(guess, _mm512_fnmadd_ps(x, guess, constant(2.f)));
}

ALWAYS vec sigmoid(vec x) {
  return reciprocal(_mm512_add_ps(constant(1.f), exponential(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

ALWAYS vec hyperbolic_tangent(vec x) {
  return _mm512_fmsub_ps(constant(2.f), sigmoid(_mm512_add_ps(x, x)), constant(1.f));
}

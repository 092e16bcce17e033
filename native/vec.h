// Vectors of W floats, by the vector extensions of GCC and Clang: the compiler lowers them to whatever the translation unit
// is compiled for, so that the kernels are written once. W is 16 for AVX-512, 8 for AVX2, 4 for what every machine has.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef W
#error "define W before vec.h"
#endif

namespace {

typedef float F __attribute__((vector_size(W * 4)));
typedef int32_t I __attribute__((vector_size(W * 4)));
typedef float Fu __attribute__((vector_size(W * 4), aligned(4)));  // at any address

inline F load(const float* p) { return *reinterpret_cast<const Fu*>(p); }
inline void store(float* p, F v) { *reinterpret_cast<Fu*>(p) = v; }
inline F all(float x) { return F{} + x; }
inline I bits(F v) { I r; __builtin_memcpy(&r, &v, sizeof r); return r; }
inline F floats(I v) { F r; __builtin_memcpy(&r, &v, sizeof r); return r; }
inline F pick(I mask, F a, F b) { return floats((mask & bits(a)) | (~mask & bits(b))); }
inline F larger(F a, F b) { return pick(a > b, a, b); }
inline F absolute(F v) { return floats(bits(v) & 0x7fffffff); }
inline F to_float(I v) { return __builtin_convertvector(v, F); }

// Lanes are folded in one order, whatever the vector's width is lowered to.
inline float sum(F v) {
  float x[W];
  __builtin_memcpy(x, &v, sizeof x);
  for (int half = W / 2; half; half /= 2)
    for (int i = 0; i < half; i++) x[i] += x[i + half];
  return x[0];
}
inline float maximum(F v) {
  float x[W];
  __builtin_memcpy(x, &v, sizeof x);
  for (int half = W / 2; half; half /= 2)
    for (int i = 0; i < half; i++) x[i] = x[i] > x[i + half] ? x[i] : x[i + half];
  return x[0];
}

// True if a comparison holds in some lane.
#if defined(__AVX512F__) && W == 16
inline bool any(I mask) { return _mm512_test_epi32_mask(reinterpret_cast<__m512i&>(mask), reinterpret_cast<__m512i&>(mask)); }
#elif defined(__AVX2__) && W == 8
inline bool any(I mask) { return _mm256_movemask_epi8(reinterpret_cast<__m256i&>(mask)); }
#else
inline bool any(I mask) {
  int32_t found = 0;
  for (int i = 0; i < W; i++) found |= mask[i];
  return found;
}
#endif

// To the nearest integer, halves to even: adding 1.5 * 2^23 leaves no bits for a fraction. For |v| < 2^22.
inline F nearest(F v) {
  volatile float magic = 12582912.0f;  // so that no optimiser takes the two additions for nothing
  F m = all(magic);
  return (v + m) - m;
}
inline I to_int(F v) { return __builtin_convertvector(nearest(v), I); }

// exp by 2^n * p(r), Cephes' polynomial: relative error below 2e-7; what lies below -87 becomes the least normal number.
inline F exponential(F x) {
  x = larger(x, all(-87.0f));
  F n = nearest(x * 1.44269504f);
  F r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  F p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  F y = p * (r * r) + r + 1.0f;
  return y * floats((__builtin_convertvector(n, I) + 127) << 23);
}

// 1/x for x >= 1, to the last bit or two: a division costs as much as the rest of GELU where there is no estimate.
#if defined(__AVX512F__) && W == 16
inline F reciprocal(F x) {
  __m512 e = _mm512_rcp14_ps(reinterpret_cast<__m512&>(x));
  F y = reinterpret_cast<F&>(e);
  return y * (2.0f - x * y);
}
#elif defined(__AVX2__) && W == 8
inline F reciprocal(F x) {
  __m256 e = _mm256_rcp_ps(reinterpret_cast<__m256&>(x));
  F y = reinterpret_cast<F&>(e);
  return y * (2.0f - x * y);
}
#else
inline F reciprocal(F x) { return 1.0f / x; }
#endif

// GELU as BERT has it, x * Phi(x), with erf of Abramowitz and Stegun 7.1.26: absolute error 1.5e-7.
inline F gelu(F x) {
  F z = absolute(x) * 0.70710678f;
  F t = reciprocal(z * 0.3275911f + 1.0f);
  F p = all(1.061405429f);
  p = p * t - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = (p * t + 0.254829592f) * t;
  F erf = 1.0f - p * exponential(-(z * z));
  return 0.5f * x * (1.0f + pick(x < 0.0f, -erf, erf));
}

}  // namespace

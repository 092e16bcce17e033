// AVX2 with VNNI, of processors that have no AVX-512: 32 bytes against 32 bytes an instruction.
#include <cpuid.h>
#include <immintrin.h>
#define W 8
#define VECTORS 2
#define ROWS 6
#define TALL 6

#include "vec.h"

namespace munjang {
namespace {
struct Dot {
  typedef int8_t Code;
  typedef uint8_t Input;  // codes + 128: the instruction multiplies bytes without a sign by bytes with one
  typedef __m256i Sum;
  typedef __m256i Wide;
  static constexpr int step = 4, offset = 128;
  static Sum sum(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Wide wide(const Code* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Wide broadcast(const Input* p) { int32_t four; __builtin_memcpy(&four, p, 4); return _mm256_set1_epi32(four); }
  static void add(Sum& c, Wide a, Wide b) { __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(c) : "x"(a), "x"(b)); }
  static F floats(Sum c) { __m256 f = _mm256_cvtepi32_ps(c); return reinterpret_cast<F&>(f); }
  static void write(Input* to, I v) {
    for (int i = 0; i < W; i++) to[i] = static_cast<Input>(v[i] + offset);
  }
};
}  // namespace
}  // namespace munjang

#include "kernels_impl.h"

namespace munjang {
static bool available() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool vnni = __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
  return vnni && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
const Kernels& avx2vnni() {
  static const Kernels table = {"avx2-vnni", BLOCK, 1, available, pack, product, normalise, attend, attention_room, scan, round_rows, pack_rows};
  return table;
}
}  // namespace munjang

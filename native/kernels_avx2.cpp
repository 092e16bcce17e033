// AVX2 alone: pairs of 16 bits, which give the sums of the paths with VNNI to the bit. The instruction for bytes would
// overflow its 16 bits.
#include <immintrin.h>
#define W 8
#define VECTORS 2
#define ROWS 6
#define TALL 6

#include "vec.h"

namespace munjang {
namespace {
struct Dot {
  typedef int16_t Code;
  typedef int16_t Input;
  typedef __m256i Sum;
  typedef __m256i Wide;
  static constexpr int step = 2, offset = 0;
  static Sum sum(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Wide wide(const Code* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Wide broadcast(const Input* p) { int32_t two; __builtin_memcpy(&two, p, 4); return _mm256_set1_epi32(two); }
  static void add(Sum& c, Wide a, Wide b) { c = _mm256_add_epi32(c, _mm256_madd_epi16(a, b)); }
  static F floats(Sum c) { __m256 f = _mm256_cvtepi32_ps(c); return reinterpret_cast<F&>(f); }
  static void write(Input* to, I v) {
    for (int i = 0; i < W; i++) to[i] = static_cast<Input>(v[i]);
  }
};
}  // namespace
}  // namespace munjang

#include "kernels_impl.h"

namespace munjang {
static bool available() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
const Kernels& avx2() {
  static const Kernels table = {"avx2", BLOCK, 2, available, pack, product, normalise, attend, attention_room, scan, round_rows, pack_rows};
  return table;
}
}  // namespace munjang

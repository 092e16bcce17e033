// AVX-512 with VNNI: 64 bytes against 64 bytes an instruction.
#include <immintrin.h>
#define W 16
#define VECTORS 4
#define ROWS 6
#define TALL 12

#include "vec.h"

namespace munjang {
namespace {
struct Dot {
  typedef int8_t Code;
  typedef uint8_t Input;  // codes + 128: the instruction multiplies bytes without a sign by bytes with one
  typedef __m512i Sum;
  typedef __m512i Wide;
  static constexpr int step = 4, offset = 128;
  static Sum sum(const int32_t* p) { return _mm512_loadu_si512(p); }
  static Wide wide(const Code* p) { return _mm512_loadu_si512(p); }
  static Wide broadcast(const Input* p) { int32_t four; __builtin_memcpy(&four, p, 4); return _mm512_set1_epi32(four); }
  // Inline: GCC 12 copies the sums of the intrinsic from register to register, at half of the speed.
  static void add(Sum& c, Wide a, Wide b) { __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b)); }
  static F floats(Sum c) { __m512 f = _mm512_cvtepi32_ps(c); return reinterpret_cast<F&>(f); }
  static void write(Input* to, I v) {
    __m128i eight = _mm512_cvtepi32_epi8(reinterpret_cast<__m512i&>(v));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_xor_si128(eight, _mm_set1_epi8(static_cast<char>(0x80))));
  }
};
}  // namespace
}  // namespace munjang

#include "kernels_impl.h"

namespace munjang {
static bool available() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}
const Kernels& avx512vnni() {
  static const Kernels table = {"avx512-vnni", BLOCK, 1, available, pack, product, normalise, attend, attention_room, scan, round_rows, pack_rows};
  return table;
}
}  // namespace munjang

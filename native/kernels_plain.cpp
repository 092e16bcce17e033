// What every compiler makes of vectors of four: SSE2, NEON, or plain instructions.
#define W 4
#define VECTORS 2
#define ROWS 4
#define TALL 4

#include "vec.h"

namespace munjang {
namespace {
struct Dot {
  typedef int16_t Code;
  typedef int16_t Input;
  typedef I Sum;
  typedef I Wide;
  static constexpr int step = 1, offset = 0;
  static Sum sum(const int32_t* p) { I v; __builtin_memcpy(&v, p, sizeof v); return v; }
  static Wide wide(const Code* p) { return I{p[0], p[1], p[2], p[3]}; }
  static Wide broadcast(const Input* p) { return I{} + static_cast<int32_t>(*p); }
  static void add(Sum& c, Wide a, Wide b) { c += a * b; }
  static F floats(Sum c) { return to_float(c); }
  static void write(Input* to, I v) {
    for (int i = 0; i < W; i++) to[i] = static_cast<Input>(v[i]);
  }
};
}  // namespace
}  // namespace munjang

#include "kernels_impl.h"

namespace munjang {
static bool available() { return true; }
const Kernels& plain() {
  static const Kernels table = {"plain", BLOCK, 2, available, pack, product, normalise, attend, attention_room, scan, round_rows, pack_rows};
  return table;
}
}  // namespace munjang

// The kernels, for the instruction set that the including file has set: W floats a vector, ROWS rows and VECTORS vectors of
// columns a tile of the products (so that a tile's sums stay in registers), TALL rows a tile of attention, and struct Dot,
// the rounded multiplication.
#pragma once
#include "kernels.h"
#include "topk.h"
#include "vec.h"

namespace munjang {
namespace {

constexpr int BLOCK = W * VECTORS;
// Rounded inputs share a scale over this many numbers of a row: one large number costs its group, not the row.
constexpr int GROUP = 128;

inline int least(int a, int b) { return a < b ? a : b; }
inline float most_of(float a, float b) { return a > b ? a : b; }
// A number that is known when the tile is compiled.
template <int N> struct Count {
  static constexpr int value = N;
};

inline int padded(int columns) { return (columns + BLOCK - 1) / BLOCK * BLOCK; }

// Largest number of groups of equal size that are whole steps of the rounded product.
inline int groups_of(int in) { return in % GROUP == 0 ? in / GROUP : 1; }

void pack(Linear& l, const float* w, const float* bias, const float* smoothing, bool round) {
  const int K = l.in, N = l.out, P = padded(N);
  l.rounded = round;
  l.bias = Array<float>(P);
  for (int n = 0; n < P; n++) l.bias[n] = bias && n < N ? bias[n] : 0.0f;
  if (!round) {
    l.weights = Array<float>(static_cast<size_t>(P) * K);
    for (int n = 0; n < P; n++)
      for (int k = 0; k < K; k++)
        l.weights[(static_cast<size_t>(n / BLOCK) * K + k) * BLOCK + n % BLOCK] = n < N ? w[static_cast<size_t>(n) * K + k] : 0.0f;
    return;
  }
  constexpr int S = Dot::step;
  typedef Dot::Code Code;
  l.groups = groups_of(K);
  const int G = l.group(), steps = (K + S - 1) / S;
  l.smooth = Array<float>(K);
  for (int k = 0; k < K; k++) l.smooth[k] = smoothing ? 1.0f / smoothing[k] : 1.0f;
  l.codes = Array<int8_t>(static_cast<size_t>(P) * steps * S * sizeof(Code));
  l.scales = Array<float>(static_cast<size_t>(P) * l.groups);
  l.offsets = Array<int32_t>(static_cast<size_t>(P) * l.groups);
  Code* codes = reinterpret_cast<Code*>(l.codes.get());
  for (size_t i = 0; i < static_cast<size_t>(P) * steps * S; i++) codes[i] = 0;
  for (int n = 0; n < P; n++) {
    const float* row = w + static_cast<size_t>(n) * K;
    for (int g = 0; g < l.groups; g++) {
      float most = 0;
      for (int k = g * G; n < N && k < (g + 1) * G; k++) most = most_of(most, __builtin_fabsf(row[k] * (smoothing ? smoothing[k] : 1.0f)));
      const float scale = most > 0 ? most / 127.0f : 1.0f;
      int32_t total = 0;
      for (int k = g * G; n < N && k < (g + 1) * G; k++) {
        const int code = static_cast<int>(__builtin_lrintf(row[k] * (smoothing ? smoothing[k] : 1.0f) / scale));
        total += code;
        codes[((static_cast<size_t>(n / BLOCK) * steps + k / S) * BLOCK + n % BLOCK) * S + k % S] = static_cast<Code>(code);
      }
      l.scales[static_cast<size_t>(g) * P + n] = scale;
      l.offsets[static_cast<size_t>(g) * P + n] = -total * Dot::offset;
    }
  }
}

// Rows to codes: a group's largest number becomes 127.
void round_inputs(const Linear& l, const float* x, int rows, Rounded& to) {
  const int K = l.in, G = l.group();
  for (int m = 0; m < rows; m++)
    for (int g = 0; g < l.groups; g++) {
      const float *row = x + static_cast<size_t>(m) * K + g * G, *smooth = l.smooth.get() + g * G;
      auto* codes = reinterpret_cast<Dot::Input*>(to.codes.get()) + static_cast<size_t>(m) * ((K + Dot::step - 1) / Dot::step * Dot::step) + g * G;
      F top = F{};
      int k = 0;
      for (; k + W <= G; k += W) top = larger(top, absolute(load(row + k) * load(smooth + k)));
      float most = maximum(top);
      for (; k < G; k++) most = most_of(most, __builtin_fabsf(row[k] * smooth[k]));
      to.scales[static_cast<size_t>(m) * l.groups + g] = most / 127.0f;
      const float factor = most > 0 ? 127.0f / most : 0.0f;
      for (k = 0; k + W <= G; k += W) Dot::write(codes + k, to_int(load(row + k) * load(smooth + k) * factor));
      for (; k < G; k++) codes[k] = static_cast<Dot::Input>(static_cast<int>(__builtin_nearbyintf(row[k] * smooth[k] * factor)) + Dot::offset);
      if (g == l.groups - 1)
        for (k = G; (g * G + k) % Dot::step; k++) codes[k] = static_cast<Dot::Input>(Dot::offset);
    }
}

// Writes a tile's vectors to the rows of y; the last block may be wider than what is left of a row.
template <int R>
inline void finish(F (&f)[R][VECTORS], float* y, const float* residual, int stride, int first, int columns, After after) {
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    float* to = y + static_cast<size_t>(r) * stride + first;
    const float* from = residual ? residual + static_cast<size_t>(r) * stride + first : nullptr;
#pragma GCC unroll 16
    for (int j = 0; j < VECTORS; j++) {
      F v = f[r][j];
      if (after == After::gelu) v = gelu(v);
      if ((j + 1) * W <= columns) {
        store(to + j * W, from ? v + load(from + j * W) : v);
      } else {
        for (int i = 0; i < W && j * W + i < columns; i++) to[j * W + i] = from ? v[i] + from[j * W + i] : v[i];
      }
    }
  }
}

template <int R>
inline void tile_float(const Linear& l, int block, const float* x, float* y, const float* residual, After after) {
  const int K = l.in;
  F c[R][VECTORS];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int j = 0; j < VECTORS; j++) c[r][j] = load(l.bias.get() + block * BLOCK + j * W);
  const float* w = l.weights.get() + static_cast<size_t>(block) * K * BLOCK;
  for (int k = 0; k < K; k++, w += BLOCK) {
    F wide[VECTORS];
#pragma GCC unroll 16
    for (int j = 0; j < VECTORS; j++) wide[j] = load(w + j * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      F a = all(x[static_cast<size_t>(r) * K + k]);
#pragma GCC unroll 16
      for (int j = 0; j < VECTORS; j++) c[r][j] += a * wide[j];
    }
  }
  finish<R>(c, y, residual, l.out, block * BLOCK, least(BLOCK, l.out - block * BLOCK), after);
}

template <int R>
inline void tile_rounded(const Linear& l, int block, const Dot::Input* a, const float* scales, float* y, const float* residual,
                         After after) {
  constexpr int S = Dot::step;
  const int P = padded(l.out), steps = (l.in + S - 1) / S, each = l.groups > 1 ? l.group() / S : steps;
  const Dot::Code* w = reinterpret_cast<const Dot::Code*>(l.codes.get()) + static_cast<size_t>(block) * steps * BLOCK * S;
  F f[R][VECTORS];
#pragma GCC unroll 16
  for (int j = 0; j < VECTORS; j++)
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) f[r][j] = load(l.bias.get() + block * BLOCK + j * W);
  for (int g = 0; g < l.groups; g++) {
    typename Dot::Sum c[R][VECTORS];
#pragma GCC unroll 16
    for (int j = 0; j < VECTORS; j++) {
      auto start = Dot::sum(l.offsets.get() + static_cast<size_t>(g) * P + block * BLOCK + j * W);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) c[r][j] = start;
    }
    const Dot::Input* from = a + g * each * S;
    for (int k = 0; k < each; k++, w += BLOCK * S, from += S) {
      typename Dot::Wide wide[VECTORS];
#pragma GCC unroll 16
      for (int j = 0; j < VECTORS; j++) wide[j] = Dot::wide(w + j * W * S);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        auto one = Dot::broadcast(from + static_cast<size_t>(r) * steps * S);
#pragma GCC unroll 16
        for (int j = 0; j < VECTORS; j++) Dot::add(c[r][j], one, wide[j]);
      }
    }
#pragma GCC unroll 16
    for (int j = 0; j < VECTORS; j++) {
      F scale = load(l.scales.get() + static_cast<size_t>(g) * P + block * BLOCK + j * W);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) f[r][j] += Dot::floats(c[r][j]) * (scale * scales[static_cast<size_t>(r) * l.groups + g]);
    }
  }
  finish<R>(f, y, residual, l.out, block * BLOCK, least(BLOCK, l.out - block * BLOCK), after);
}

// The rows that are left over after whole tiles, by a tile of just as many.
template <int R, class Tile> void rest(int rows, Tile&& tile) {
  if constexpr (R > 0) {
    if (rows == R) tile(Count<R>());
    else rest<R - 1>(rows, tile);
  }
}

void product(const Linear& l, const float* x, int rows, float* y, const float* residual, After after, Rounded& room) {
  const int K = l.in, N = l.out, blocks = padded(N) / BLOCK;
  if (l.rounded) round_inputs(l, x, rows, room);
  const int width = (K + Dot::step - 1) / Dot::step * Dot::step;
  const auto* codes = reinterpret_cast<const Dot::Input*>(room.codes.get());
  for (int block = 0; block < blocks; block++) {
    int m = 0;
    auto tile = [&](auto count) {
      constexpr int R = decltype(count)::value;
      float* to = y + static_cast<size_t>(m) * N;
      const float* from = residual ? residual + static_cast<size_t>(m) * N : nullptr;
      if (l.rounded) tile_rounded<R>(l, block, codes + static_cast<size_t>(m) * width, room.scales.get() + static_cast<size_t>(m) * l.groups, to, from, after);
      else tile_float<R>(l, block, x + static_cast<size_t>(m) * K, to, from, after);
    };
    for (; m + ROWS <= rows; m += ROWS) tile(Count<ROWS>());
    rest<ROWS - 1>(rows - m, tile);
  }
}

void normalise(float* x, int rows, int size, const float* gain, const float* bias, float epsilon) {
  const int whole = size / W * W;
  for (int m = 0; m < rows; m++) {
    float* row = x + static_cast<size_t>(m) * size;
    F s = F{};
    float tail = 0;
    for (int i = 0; i < whole; i += W) s += load(row + i);
    for (int i = whole; i < size; i++) tail += row[i];
    const float mean = (sum(s) + tail) / size;
    F q = F{};
    tail = 0;
    for (int i = 0; i < whole; i += W) {
      F d = load(row + i) - mean;
      q += d * d;
    }
    for (int i = whole; i < size; i++) tail += (row[i] - mean) * (row[i] - mean);
    const float inverse = 1.0f / __builtin_sqrtf((sum(q) + tail) / size + epsilon);
    for (int i = 0; i < whole; i += W) store(row + i, (load(row + i) - mean) * inverse * load(gain + i) + load(bias + i));
    for (int i = whole; i < size; i++) row[i] = (row[i] - mean) * inverse * gain[i] + bias[i];
  }
}

inline int up(int n) { return (n + W - 1) / W * W; }

size_t attention_room(int n, int head) {
  return static_cast<size_t>(head) * up(n) + static_cast<size_t>(n) * up(head) + static_cast<size_t>(TALL) * up(n);
}

// Softmax(q k^T / sqrt(head)) v for R queries. `keys` is k transposed (head, up(n)), so that W keys are looked at in one go;
// `values` (n, up(head)).
template <int R>
inline void attend_rows(const float* q, int stride, const float* keys, const float* values, int n, int head, float* out,
                        int out_stride, float* p) {
  const int P = up(n), H = up(head);
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(head));
  for (int j = 0; j < P; j += W) {
    F c[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) c[r] = F{};
    for (int d = 0; d < head; d++) {
      F k = load(keys + static_cast<size_t>(d) * P + j);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) c[r] += q[static_cast<size_t>(r) * stride + d] * k;
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) store(p + static_cast<size_t>(r) * P + j, c[r]);
  }
  float inverse[R];
  for (int r = 0; r < R; r++) {
    float* row = p + static_cast<size_t>(r) * P;
    for (int j = n; j < P; j++) row[j] = -__builtin_inff();
    F top = all(-__builtin_inff());
    for (int j = 0; j < P; j += W) top = larger(top, load(row + j));
    const float most = maximum(top);
    F s = F{};
    for (int j = 0; j < P; j += W) {
      F e = exponential((load(row + j) - most) * scale);
      if (j + W > n)
        for (int i = n - j; i < W; i++) e[i] = 0.0f;  // what stands for padding weighs nothing at all
      store(row + j, e);
      s += e;
    }
    inverse[r] = 1.0f / sum(s);
  }
  for (int d = 0; d < H; d += W) {
    F a[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) a[r] = F{};
    for (int j = 0; j < n; j++) {
      F v = load(values + static_cast<size_t>(j) * H + d);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) a[r] += p[static_cast<size_t>(r) * P + j] * v;
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      F v = a[r] * inverse[r];
      float* to = out + static_cast<size_t>(r) * out_stride + d;
      if (d + W <= head) store(to, v);
      else
        for (int i = 0; d + i < head; i++) to[i] = v[i];
    }
  }
}

void attend(const float* q, int n_q, const float* k, const float* v, int n, int stride, int head, float* out, int out_stride,
            float* room) {
  const int P = up(n), H = up(head);
  float *keys = room, *values = keys + static_cast<size_t>(head) * P, *p = values + static_cast<size_t>(n) * H;
  for (int j = 0; j < P; j++)
    for (int d = 0; d < head; d++) keys[static_cast<size_t>(d) * P + j] = j < n ? k[static_cast<size_t>(j) * stride + d] : 0.0f;
  for (int j = 0; j < n; j++)
    for (int d = 0; d < H; d++) values[static_cast<size_t>(j) * H + d] = d < head ? v[static_cast<size_t>(j) * stride + d] : 0.0f;
  int m = 0;
  auto tile = [&](auto count) {
    constexpr int R = decltype(count)::value;
    attend_rows<R>(q + static_cast<size_t>(m) * stride, stride, keys, values, n, head, out + static_cast<size_t>(m) * out_stride, out_stride, p);
  };
  for (; m + TALL <= n_q; m += TALL) tile(Count<TALL>());
  rest<TALL - 1>(n_q - m, tile);
}

// -- rows of a corpus, for topk.cpp

void round_rows(const float* x, const float* mean, int rows, int size, uint8_t* to, Query* queries) {
  const int width = (size + Dot::step - 1) / Dot::step * Dot::step;
  auto* codes = reinterpret_cast<Dot::Input*>(to);
  for (int m = 0; m < rows; m++) {
    const float* row = x + static_cast<size_t>(m) * size;
    float most = 0;
    for (int k = 0; k < size; k++) most = most_of(most, __builtin_fabsf(row[k] - mean[k]));
    const float scale = most / 127.0f, factor = most > 0 ? 127.0f / most : 0.0f;
    double lost = 0, length = 0, shift = 0;
    for (int k = 0; k < width; k++) {
      const float one = k < size ? row[k] - mean[k] : 0.0f;
      const int code = static_cast<int>(__builtin_nearbyintf(one * factor));
      codes[static_cast<size_t>(m) * width + k] = static_cast<Dot::Input>(code + Dot::offset);
      const double left = static_cast<double>(one) - static_cast<double>(scale) * code;
      lost += left * left;
      length += static_cast<double>(one) * one;
      if (k < size) shift += static_cast<double>(row[k]) * mean[k];
    }
    queries[m].scale = scale;
    queries[m].length = static_cast<float>(__builtin_sqrt(length) * 1.000001);
    queries[m].loss = static_cast<float>(__builtin_sqrt(lost) * 1.000001);
    queries[m].shift = static_cast<float>(shift);
  }
}

void pack_rows(Corpus& c, const float* x, int first, int last) {
  constexpr int S = Dot::step;
  const int K = c.size, steps = (K + S - 1) / S;
  auto* codes = reinterpret_cast<Dot::Code*>(c.codes.get());
  for (int n = first; n < last; n++) {
    const float* row = x + static_cast<size_t>(n) * K;
    float most = 0;
    double length = 0, lost = 0, shift = 0;
    if (n < c.rows)
      for (int k = 0; k < K; k++) most = most_of(most, __builtin_fabsf(row[k] - c.mean[k]));
    const float scale = most / 127.0f, factor = most > 0 ? 127.0f / most : 0.0f;
    int32_t total = 0;
    for (int k = 0; k < steps * S; k++) {
      const float one = n < c.rows && k < K ? row[k] - c.mean[k] : 0.0f;
      const int code = static_cast<int>(__builtin_nearbyintf(one * factor));
      total += code;
      codes[((static_cast<size_t>(n / BLOCK) * steps + k / S) * BLOCK + n % BLOCK) * S + k % S] = static_cast<Dot::Code>(code);
      const double kept = static_cast<double>(scale) * code, left = static_cast<double>(one) - kept;
      length += kept * kept;
      lost += left * left;
      if (k < K) shift += static_cast<double>(c.mean[k]) * one;
    }
    c.scales[n] = scale;
    c.offsets[n] = -total * Dot::offset;
    c.lengths[n] = static_cast<float>(__builtin_sqrt(length) * 1.000001);
    c.losses[n] = static_cast<float>(__builtin_sqrt(lost) * 1.000001);
    c.shifts[n] = static_cast<float>(shift);
  }
}

template <int R> inline void scan_tile(const Corpus& c, int block, const Dot::Input* a, const Query* queries, Best* best) {
  constexpr int S = Dot::step;
  const int steps = (c.size + S - 1) / S;
  const Dot::Code* w = reinterpret_cast<const Dot::Code*>(c.codes.get()) + static_cast<size_t>(block) * steps * BLOCK * S;
  typename Dot::Sum sums[R][VECTORS];
#pragma GCC unroll 16
  for (int j = 0; j < VECTORS; j++) {
    auto start = Dot::sum(c.offsets.get() + block * BLOCK + j * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) sums[r][j] = start;
  }
  for (int k = 0; k < steps; k++, w += BLOCK * S, a += S) {
    typename Dot::Wide wide[VECTORS];
#pragma GCC unroll 16
    for (int j = 0; j < VECTORS; j++) wide[j] = Dot::wide(w + j * W * S);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      auto one = Dot::broadcast(a + static_cast<size_t>(r) * steps * S);
#pragma GCC unroll 16
      for (int j = 0; j < VECTORS; j++) Dot::add(sums[r][j], one, wide[j]);
    }
  }
#pragma GCC unroll 16
  for (int j = 0; j < VECTORS; j++) {
    const int n = block * BLOCK + j * W;
    F scale = load(c.scales.get() + n), length = load(c.lengths.get() + n), loss = load(c.losses.get() + n);
    F shift = load(c.shifts.get() + n);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const Query& q = queries[r];
      // |q.x - q'.x'| <= |q| |x - x'| + |q - q'| |x'|, and a little for sums in floating point.
      F rough = Dot::floats(sums[r][j]) * (scale * q.scale) + (shift + q.shift);
      F margin = q.length * loss + q.loss * length + q.slack;
      I over = rough + margin >= best[r].bound;
      if (__builtin_expect(any(over), 0))
        for (int i = 0; i < W; i++)
          if (over[i] && n + i < c.rows) best[r].push({rough[i] - margin[i], rough[i] + margin[i], n + i});
    }
  }
}

void scan(const Corpus& c, int first, int last, const uint8_t* codes, const Query* queries, int count, Best* best) {
  const int width = (c.size + Dot::step - 1) / Dot::step * Dot::step;
  const auto* a = reinterpret_cast<const Dot::Input*>(codes);
  for (int block = first; block < last; block++) {
    int m = 0;
    auto tile = [&](auto rows) {
      constexpr int R = decltype(rows)::value;
      scan_tile<R>(c, block, a + static_cast<size_t>(m) * width, queries + m, best + m);
    };
    for (; m + ROWS <= count; m += ROWS) tile(Count<ROWS>());
    rest<ROWS - 1>(count - m, tile);
  }
}

}  // namespace
}  // namespace munjang


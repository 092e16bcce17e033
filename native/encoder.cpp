#include "encoder.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <stdexcept>

namespace munjang {
namespace {

// Tokens that go through the layers together: their states stay in a core's cache from product to product, and a block of
// weights is read once for all of them.
constexpr int64_t TOGETHER = 128;

struct Room {
  Array<float> states, next, wide, attended, scratch;
  Rounded rounded;
  size_t tokens = 0, room = 0;

  void fit(const Encoder& e, size_t count, size_t longest) {
    const size_t d = e.size, f = std::max(e.inner, 3 * e.size);
    const size_t needed = e.kernels->attention_room(static_cast<int>(longest), e.size / e.heads);
    if (needed > room) scratch = Array<float>(room = needed);
    if (count <= tokens) return;
    tokens = count;
    states = Array<float>(count * d), next = Array<float>(count * d), attended = Array<float>(count * d);
    wide = Array<float>(count * f);
    rounded.codes = Array<uint8_t>(count * (f + 4) * e.kernels->code_bytes);
    rounded.scales = Array<float>(count * (f / 64 + 1));
  }
};

void raise(std::vector<float>& reach, const float* x, int64_t rows) {
  const size_t size = reach.size();
  for (int64_t m = 0; m < rows; m++)
    for (size_t k = 0; k < size; k++) reach[k] = std::max(reach[k], std::fabs(x[m * size + k]));
}

struct Work {
  const Encoder& e;
  const int32_t *ids, *kinds;
  const int64_t* starts;
  Pool pool;
  float* out;
  std::vector<Reach>* reach;
  std::vector<int> parts;  // first text of each part, and the end of the last
  std::vector<Room> rooms;
  std::mutex lock;

  void operator()(int part, int worker) {
    const int first = parts[part], last = parts[part + 1];
    const int64_t base = starts[first], tokens = starts[last] - base;
    Room& room = rooms[worker];
    int64_t longest = 0;
    for (int i = first; i < last; i++) longest = std::max(longest, starts[i + 1] - starts[i]);
    room.fit(e, tokens, longest);
    embed(room, first, last);
    for (size_t l = 0; l < e.layers.size(); l++) {
      const bool short_cut = pool == Pool::first && l + 1 == e.layers.size() && !reach;
      layer(e.layers[l], room, first, last, short_cut, reach ? &(*reach)[l] : nullptr);
    }
    write(room, first, last);
  }

  void embed(Room& room, int first, int last) const {
    const int d = e.size;
    const int64_t base = starts[first];
    for (int i = first; i < last; i++)
      for (int64_t t = starts[i]; t < starts[i + 1]; t++) {
        const float* word = e.words + static_cast<size_t>(ids[t]) * d;
        const float* position = e.positions.data() + (t - starts[i] + e.position_offset) * d;
        const float* kind = e.types.empty() ? nullptr : e.types.data() + static_cast<size_t>(kinds ? kinds[t] : 0) * d;
        float* to = room.states.get() + (t - base) * d;
        for (int k = 0; k < d; k++) to[k] = word[k] + position[k] + (kind ? kind[k] : 0.0f);
      }
    e.kernels->normalise(room.states.get(), static_cast<int>(starts[last] - base), d, e.gain.data(), e.bias.data(), e.epsilon);
  }

  // One layer over the tokens of a part. With `short_cut` only each text's first token comes out of it.
  void layer(const Layer& l, Room& room, int first, int last, bool short_cut, Reach* seen) {
    const Kernels& run = *e.kernels;
    const int d = e.size, head = d / e.heads, texts = last - first;
    const int64_t base = starts[first];
    int rows = static_cast<int>(starts[last] - base);
    float *x = room.states.get(), *y = room.next.get(), *wide = room.wide.get(), *attended = room.attended.get();
    note(seen ? &seen->qkv : nullptr, x, rows);
    run.product(l.qkv, x, rows, wide, nullptr, After::nothing, room.rounded);
    for (int i = first; i < last; i++) {
      const int64_t at = starts[i] - base;
      const int n = static_cast<int>(starts[i + 1] - starts[i]);
      const float* q = wide + at * 3 * d;
      for (int h = 0; h < e.heads; h++)
        run.attend(q + h * head, short_cut ? 1 : n, q + d + h * head, q + 2 * d + h * head, n, 3 * d, head,
                   attended + (short_cut ? i - first : at) * d + h * head, d, room.scratch.get());
      if (short_cut) std::copy(x + at * d, x + (at + 1) * d, x + static_cast<int64_t>(i - first) * d);
    }
    if (short_cut) rows = texts;
    note(seen ? &seen->out : nullptr, attended, rows);
    run.product(l.out, attended, rows, y, x, After::add, room.rounded);
    run.normalise(y, rows, d, l.gain1.data(), l.bias1.data(), e.epsilon);
    note(seen ? &seen->up : nullptr, y, rows);
    run.product(l.up, y, rows, wide, nullptr, After::gelu, room.rounded);
    note(seen ? &seen->down : nullptr, wide, rows);
    run.product(l.down, wide, rows, x, y, After::add, room.rounded);
    run.normalise(x, rows, d, l.gain2.data(), l.bias2.data(), e.epsilon);
  }

  void note(std::vector<float>* seen, const float* x, int rows) {
    if (!seen) return;
    const std::lock_guard<std::mutex> held(lock);
    raise(*seen, x, rows);
  }

  void write(Room& room, int first, int last) const {
    const int d = e.size;
    const int64_t base = starts[first];
    const float* x = room.states.get();
    if (pool == Pool::tokens) {
      std::copy(x, x + (starts[last] - base) * d, out + base * d);
      return;
    }
    for (int i = first; i < last; i++) {
      float* to = out + static_cast<size_t>(i) * d;
      if (pool == Pool::first) {
        // A full last layer, as for calibration or of a model without layers, leaves the first token at its own place.
        const bool moved = !reach && !e.layers.empty();
        const float* from = x + (moved ? static_cast<int64_t>(i - first) : starts[i] - base) * d;
        std::copy(from, from + d, to);
        continue;
      }
      const float share = 1.0f / static_cast<float>(starts[i + 1] - starts[i]);
      std::fill(to, to + d, 0.0f);
      for (int64_t t = starts[i] - base; t < starts[i + 1] - base; t++)
        for (int k = 0; k < d; k++) to[k] += x[t * d + k];
      for (int k = 0; k < d; k++) to[k] *= share;
    }
  }
};

void require(const Encoder& e, const int32_t* ids, const int32_t* kinds, const int64_t* starts, int texts) {
  for (int i = 0; i < texts; i++) {
    const int64_t n = starts[i + 1] - starts[i];
    if (n < 1) throw std::invalid_argument("a text without tokens");
    if (n > e.longest()) throw std::invalid_argument("a text of more tokens than the model has positions");
  }
  for (int64_t t = starts[0]; t < starts[texts]; t++) {
    if (ids[t] < 0 || ids[t] >= e.vocabulary) throw std::invalid_argument("a token id that the model does not have");
    if (kinds && !e.types.empty() && (kinds[t] < 0 || kinds[t] >= e.kinds())) throw std::invalid_argument("a token type that the model does not have");
  }
}

}  // namespace

void encode(const Encoder& e, const int32_t* ids, const int32_t* kinds, const int64_t* starts, int texts, Pool pool, int threads,
            float* out, std::vector<Reach>* reach) {
  if (texts == 0) return;
  require(e, ids, kinds, starts, texts);
  Work work{e, ids, kinds, starts, pool, out, reach, {0}, {}, {}};
  for (int i = 0; i < texts;) {
    int end = i + 1;
    while (end < texts && starts[end + 1] - starts[i] <= TOGETHER) end++;
    work.parts.push_back(end);
    i = end;
  }
  const int parts = static_cast<int>(work.parts.size()) - 1;
  threads = std::max(1, std::min(threads, parts));
  work.rooms.resize(threads);
  in_threads(parts, threads, [](void* context, int part, int worker) { (*static_cast<Work*>(context))(part, worker); }, &work);
}

}  // namespace munjang

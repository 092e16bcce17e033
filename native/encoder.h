// A transformer encoder of BERT's family over texts that stand one after the other, without padding.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernels.h"

namespace munjang {

enum class Pool { mean, first, tokens };

struct Layer {
  Linear qkv, out, up, down;  // (3d, d), (d, d), (f, d), (d, f)
  std::vector<float> gain1, bias1, gain2, bias2;
};

// What the inputs of a layer's four products reach at most, by channel: what smoothing is made from.
struct Reach {
  std::vector<float> qkv, out, up, down;
};

struct Encoder {
  const Kernels* kernels = nullptr;
  int size = 0, heads = 0, inner = 0, position_offset = 0;
  float epsilon = 1e-12f;
  const float* words = nullptr;  // (vocabulary, d), of whoever made this: a large table is mapped from its file, not copied
  int vocabulary = 0;
  std::vector<float> positions, types, gain, bias;  // types may be empty
  std::vector<Layer> layers;

  int longest() const { return static_cast<int>(positions.size() / size) - position_offset; }
  int kinds() const { return static_cast<int>(types.size() / size); }
};

// Texts as token ids, one after the other: text i is ids[starts[i]] to ids[starts[i + 1]]. `kinds` as ids, or null for all 0.
// Writes (texts, d), or (tokens, d) for Pool::tokens. `reach`, if not null, is raised to what occurs. Throws
// std::invalid_argument for ids that are out of range, empty texts, and texts longer than there are positions.
void encode(const Encoder& encoder, const int32_t* ids, const int32_t* kinds, const int64_t* starts, int texts, Pool pool,
            int threads, float* out, std::vector<Reach>* reach = nullptr);

}  // namespace munjang

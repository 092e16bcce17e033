// Random shapes through every set of kernels, against sums in double precision, to be built with the sanitizers.
//
//   fuzz_kernels ROUNDS SEED
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>

#include "encoder.h"
#include "topk.h"

using namespace munjang;

static std::mt19937 draw;
static int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(draw); }
static std::vector<float> normal(size_t count, float spread) {
  std::normal_distribution<float> one(0, spread);
  std::vector<float> found(count);
  for (float& value : found) value = one(draw);
  return found;
}
static void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

struct Parts {
  int size, heads, inner, layers, words;
  std::vector<float> table, positions, types, gain, bias;
  std::vector<std::vector<float>> weights, biases, smooth;  // four a layer
};

static Encoder build(const Parts& p, const char* kernels, bool rounded) {
  Encoder e;
  e.kernels = &kernels_named(kernels);
  e.size = p.size, e.heads = p.heads, e.inner = p.inner;
  e.words = p.table.data(), e.vocabulary = p.words;
  e.positions = p.positions, e.types = p.types, e.gain = p.gain, e.bias = p.bias;
  const int shapes[4][2] = {{p.size, 3 * p.size}, {p.size, p.size}, {p.size, p.inner}, {p.inner, p.size}};
  for (int layer = 0; layer < p.layers; layer++) {
    Layer l;
    Linear* parts[4] = {&l.qkv, &l.out, &l.up, &l.down};
    for (int i = 0; i < 4; i++) {
      parts[i]->in = shapes[i][0], parts[i]->out = shapes[i][1];
      const int at = 4 * layer + i;
      e.kernels->pack(*parts[i], p.weights[at].data(), p.biases[at].data(), rounded ? p.smooth[at].data() : nullptr, rounded);
    }
    l.gain1 = l.gain2 = p.gain, l.bias1 = l.bias2 = p.bias;
    e.layers.push_back(std::move(l));
  }
  return e;
}

static void encoders() {
  Parts p;
  p.heads = between(1, 4), p.size = p.heads * between(1, 40), p.inner = between(1, 150), p.layers = between(0, 2), p.words = between(1, 30);
  const int longest = between(1, 90);
  p.table = normal(p.words * p.size, 1), p.positions = normal(longest * p.size, 1), p.types = normal(2 * p.size, 1);
  p.gain = normal(p.size, 1), p.bias = normal(p.size, 1);
  const int shapes[4][2] = {{p.size, 3 * p.size}, {p.size, p.size}, {p.size, p.inner}, {p.inner, p.size}};
  for (int i = 0; i < 4 * p.layers; i++) {
    p.weights.push_back(normal(static_cast<size_t>(shapes[i % 4][0]) * shapes[i % 4][1], 0.3f));
    p.biases.push_back(normal(shapes[i % 4][1], 0.3f));
    p.smooth.push_back(normal(shapes[i % 4][0], 0.5f));
    for (float& s : p.smooth.back()) s = std::exp(s);
  }
  std::vector<int32_t> ids, kinds;
  std::vector<int64_t> starts{0};
  for (int i = between(0, 20); i > 0; i--) {
    for (int t = between(1, longest); t > 0; t--) ids.push_back(between(0, p.words - 1)), kinds.push_back(between(0, 1));
    starts.push_back(ids.size());
  }
  const int texts = static_cast<int>(starts.size()) - 1;
  const Pool pool = static_cast<Pool>(between(0, 2));
  const size_t rows = pool == Pool::tokens ? ids.size() : texts;
  const bool rounded = between(0, 1), told = between(0, 1);
  std::vector<float> first;
  for (const char* name : kernel_names()) {
    const Encoder e = build(p, name, rounded);
    std::vector<float> out(rows * p.size), alone(out.size());
    encode(e, ids.data(), told ? kinds.data() : nullptr, starts.data(), texts, pool, between(1, 3), out.data());
    for (float value : out) require(std::isfinite(value), std::string(name) + ": not finite");
    for (int i = 0; i < texts; i++) {
      const int64_t own[2] = {0, starts[i + 1] - starts[i]};
      float* to = alone.data() + (pool == Pool::tokens ? starts[i] : i) * p.size;
      encode(e, ids.data() + starts[i], told ? kinds.data() + starts[i] : nullptr, own, 1, pool, 1, to);
    }
    require(out == alone, std::string(name) + ": a text depends on its neighbours");
    if (first.empty()) first = out;
    double apart = 0, size = 1e-9;
    for (size_t i = 0; i < out.size(); i++) apart += std::pow(out[i] - first[i], 2.0), size += std::pow(first[i], 2.0);
    require(apart <= (rounded ? 2e-2 : 1e-7) * size, std::string(name) + ": another vector than " + kernel_names()[0] + ": " + std::to_string(apart / size));
  }
}

static void neighbours() {
  const int rows = between(1, 260), size = between(1, 150), queries = between(0, 40), k = between(0, rows);
  const float spread = between(0, 1) ? 1.0f : 1e-3f;
  std::vector<float> corpus = normal(static_cast<size_t>(rows) * size, spread), asked = normal(static_cast<size_t>(queries) * size, 1);
  const std::vector<float> around = normal(size, between(0, 1) ? 0.0f : 1.0f);
  for (size_t i = 0; i < corpus.size(); i++) corpus[i] += around[i % size];
  for (int copies = between(0, 20); copies > 0; copies--) {
    const int from = between(0, rows - 1), to = between(0, rows - 1);
    for (int d = 0; d < size; d++) corpus[to * size + d] = corpus[from * size + d];
  }
  const auto score = [&](int q, int r) {
    double sum = 0;
    for (int d = 0; d < size; d++) sum += static_cast<double>(asked[q * size + d]) * corpus[r * size + d];
    return static_cast<float>(sum);
  };
  for (const char* name : kernel_names()) {
    Corpus c;
    fill(c, kernels_named(name), corpus.data(), rows, size, between(1, 3));
    std::vector<int64_t> positions(static_cast<size_t>(queries) * k);
    std::vector<float> scores(positions.size());
    nearest(c, asked.data(), queries, k, -1, between(1, 3), positions.data(), scores.data());
    for (int q = 0; q < queries; q++) {
      std::vector<int> order(rows);
      std::vector<float> exact(rows);
      for (int r = 0; r < rows; r++) order[r] = r, exact[r] = score(q, r);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return exact[a] > exact[b]; });
      for (int i = 0; i < k; i++) {
        const float found = scores[static_cast<size_t>(q) * k + i];
        require(std::fabs(found - exact[order[i]]) <= 1e-6f * (1 + std::fabs(found)), std::string(name) + ": not among the nearest");
      }
    }
    const float least = queries ? score(0, between(0, rows - 1)) : 0.5f;
    size_t wanted = 0;
    for (int q = 0; q < queries; q++)
      for (int r = 0; r < rows; r++) wanted += score(q, r) >= least;
    const size_t found = above(c, asked.data(), queries, least, -1, between(1, 3)).size();
    // A sum that another order of adding moves across the bound may be missing or there.
    require(found + 2 >= wanted && wanted + 2 >= found, std::string(name) + ": other pairs above a score");
  }
}

int main(int, char** arguments) {
  draw.seed(std::atoi(arguments[2]));
  for (int round = std::atoi(arguments[1]); round > 0; round--) encoders(), neighbours();
  std::puts("clean");
}

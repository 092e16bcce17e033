#include "topk.h"

#include <algorithm>
#include <cmath>

namespace munjang {

void Best::start(int count, float least) {
  k = count;
  bound = least;
  enough = static_cast<size_t>(std::max(64, 4 * count));
  found.clear();
}

void Best::push(Candidate one) {
  found.push_back(one);
  if (found.size() >= enough) narrow();
}

void Best::narrow() {
  if (k > 0 && found.size() >= static_cast<size_t>(k)) {
    auto by_lower = [](const Candidate& a, const Candidate& b) { return a.lower > b.lower; };
    std::nth_element(found.begin(), found.begin() + (k - 1), found.end(), by_lower);
    bound = std::max(bound, found[k - 1].lower);
    auto hopeless = [this](const Candidate& one) { return one.upper < bound; };
    found.erase(std::remove_if(found.begin(), found.end(), hopeless), found.end());
  }
  enough = std::max(enough, 2 * found.size());
}

namespace {

// Queries that go through the corpus together: a block of rounded rows is read from memory once for all of them.
constexpr int TOGETHER = 96;

// In double precision and in one order, so that a score does not depend on what stood beside it.
float exact(const float* a, const float* b, int size) {
  double sums[8] = {};
  int i = 0;
  for (; i + 8 <= size; i += 8)
    for (int j = 0; j < 8; j++) sums[j] += static_cast<double>(a[i + j]) * b[i + j];
  double total = 0;
  for (; i < size; i++) total += static_cast<double>(a[i]) * b[i];
  for (double s : sums) total += s;
  return static_cast<float>(total);
}

float length(const float* x, int size) { return std::sqrt(exact(x, x, size)) * 1.000001f; }

struct Scored {
  float score;
  int64_t row;
  bool operator<(const Scored& other) const { return score > other.score || (score == other.score && row < other.row); }
};

struct Queries {
  int count;
  std::vector<uint8_t> codes;
  std::vector<Query> known;

  Queries(const Corpus& c, const float* x, int n) : count(n), codes(static_cast<size_t>(n) * ((c.size + 3) / 4 * 4) * c.kernels->code_bytes), known(n) {
    c.kernels->round_rows(x, c.mean.get(), n, c.size, codes.data(), known.data());
    for (int i = 0; i < n; i++) known[i].slack = 1e-6f * c.longest * length(x + static_cast<size_t>(i) * c.size, c.size);
  }
  void scan(const Corpus& c, int first, int last, Best* best) const {
    c.kernels->scan(c, first, last, codes.data(), known.data(), count, best);
  }
};

template <class Task> void run(int count, int threads, Task& task) {
  in_threads(count, threads, [](void* context, int i, int) { (*static_cast<Task*>(context))(i); }, &task);
}

void answer(const Corpus& c, const float* query, Best& best, int k, int64_t self, int64_t* positions, float* scores) {
  best.narrow();
  std::vector<Scored> found;
  found.reserve(best.found.size());
  for (const Candidate& one : best.found)
    if (one.row != self) found.push_back({exact(query, c.vectors + static_cast<size_t>(one.row) * c.size, c.size), one.row});
  const size_t take = std::min(found.size(), static_cast<size_t>(k));
  std::partial_sort(found.begin(), found.begin() + take, found.end());
  for (size_t i = 0; i < take; i++) positions[i] = found[i].row, scores[i] = found[i].score;
}

}  // namespace

void fill(Corpus& c, const Kernels& kernels, const float* vectors, int rows, int size, int threads) {
  c.rows = rows, c.size = size, c.vectors = vectors, c.kernels = &kernels;
  c.blocks = (rows + kernels.block - 1) / kernels.block;
  const size_t padded = static_cast<size_t>(c.blocks) * kernels.block;
  c.codes = Array<int8_t>(padded * ((size + 3) / 4 * 4) * kernels.code_bytes);
  c.offsets = Array<int32_t>(padded);
  c.scales = Array<float>(padded), c.lengths = Array<float>(padded), c.losses = Array<float>(padded), c.shifts = Array<float>(padded);
  c.mean = Array<float>(size);
  std::vector<double> sums(size);
  for (int64_t i = 0; i < rows; i++) {
    for (int k = 0; k < size; k++) sums[k] += vectors[i * size + k];
    c.longest = std::max(c.longest, length(vectors + i * size, size));
  }
  for (int k = 0; k < size; k++) c.mean[k] = rows ? static_cast<float>(sums[k] / rows) : 0.0f;
  auto task = [&](int block) { kernels.pack_rows(c, vectors, block * kernels.block, (block + 1) * kernels.block); };
  run(c.blocks, threads, task);
}

void nearest(const Corpus& c, const float* queries, int count, int k, int64_t self, int threads, int64_t* positions, float* scores) {
  // One more than k, as the query itself may be among them.
  const int wanted = k + (self >= 0);
  const float least = -std::numeric_limits<float>::infinity();
  if (count >= threads * 4 || threads == 1) {
    auto task = [&](int part) {
      const int first = part * TOGETHER, n = std::min(TOGETHER, count - first);
      const Queries own(c, queries + static_cast<size_t>(first) * c.size, n);
      std::vector<Best> best(n);
      for (Best& one : best) one.start(wanted, least);
      own.scan(c, 0, c.blocks, best.data());
      for (int i = 0; i < n; i++) {
        const size_t at = static_cast<size_t>(first + i);
        answer(c, queries + at * c.size, best[i], k, self >= 0 ? self + first + i : -1, positions + at * k, scores + at * k);
      }
    };
    run((count + TOGETHER - 1) / TOGETHER, threads, task);
    return;
  }
  // Few queries: each thread looks at a part of the corpus for all of them.
  const Queries own(c, queries, count);
  std::vector<std::vector<Best>> parts(threads, std::vector<Best>(count));
  auto task = [&](int part) {
    for (Best& one : parts[part]) one.start(wanted, least);
    own.scan(c, static_cast<int>(static_cast<int64_t>(c.blocks) * part / threads), static_cast<int>(static_cast<int64_t>(c.blocks) * (part + 1) / threads), parts[part].data());
  };
  run(threads, threads, task);
  for (int i = 0; i < count; i++) {
    Best whole;
    whole.start(wanted, least);
    whole.enough = std::numeric_limits<size_t>::max() / 4;
    for (auto& part : parts) whole.found.insert(whole.found.end(), part[i].found.begin(), part[i].found.end());
    answer(c, queries + static_cast<size_t>(i) * c.size, whole, k, self >= 0 ? self + i : -1, positions + static_cast<size_t>(i) * k, scores + static_cast<size_t>(i) * k);
  }
}

std::vector<Pair> above(const Corpus& c, const float* queries, int count, float least, int64_t self, int threads) {
  const int parts = (count + TOGETHER - 1) / TOGETHER;
  std::vector<std::vector<Pair>> found(parts);
  auto task = [&](int part) {
    const int first = part * TOGETHER, n = std::min(TOGETHER, count - first);
    const Queries own(c, queries + static_cast<size_t>(first) * c.size, n);
    std::vector<Best> best(n);
    for (Best& one : best) one.start(0, least), one.enough = std::numeric_limits<size_t>::max() / 4;
    // Rows before the first query's own cannot come after any of theirs.
    const int from = self >= 0 ? static_cast<int>((self + first) / c.kernels->block) : 0;
    own.scan(c, from, c.blocks, best.data());
    for (int i = 0; i < n; i++) {
      const float* query = queries + static_cast<size_t>(first + i) * c.size;
      std::sort(best[i].found.begin(), best[i].found.end(), [](const Candidate& a, const Candidate& b) { return a.row < b.row; });
      for (const Candidate& one : best[i].found) {
        if (self >= 0 && one.row <= self + first + i) continue;
        const float score = exact(query, c.vectors + static_cast<size_t>(one.row) * c.size, c.size);
        if (score >= least) found[part].push_back({first + i, one.row, score});
      }
    }
  };
  run(parts, threads, task);
  std::vector<Pair> whole;
  for (const auto& part : found) whole.insert(whole.end(), part.begin(), part.end());
  return whole;
}

}  // namespace munjang

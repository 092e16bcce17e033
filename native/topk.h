// Exact nearest neighbours by dot product: rounded rows say which may be among the best, the rows themselves say which are.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels.h"

namespace munjang {

struct Corpus {
  int rows = 0, size = 0, blocks = 0;
  const float* vectors = nullptr;  // (rows, size), kept by the caller
  const Kernels* kernels = nullptr;
  Array<int8_t> codes;
  Array<int32_t> offsets;
  // What is rounded is what a row has beyond the mean of all: vectors of many models lie around one direction and would spend
  // their eight bits on it. q.x = (q - m).(x - m) + m.(x - m) + q.m, of which the second term is the row's `shift`.
  Array<float> mean, scales, lengths, losses, shifts;  // of a row: of its rounding, of the rounded row, of what rounding lost
  float longest = 0;                                   // of the rows as they are
};

// What is known of a rounded query.
struct Query {
  float scale;   // of its rounding
  float length;  // of the query less the mean, at least
  float loss;    // what rounding lost of it, at most
  float shift;   // q.m
  float slack;   // what sums in floating point err, at most
};

struct Candidate {
  float lower, upper;  // the dot product lies between them
  int32_t row;
};

// The candidates of one query. `bound` is what the k-th best has at least.
struct Best {
  int k = 0;
  float bound = -std::numeric_limits<float>::infinity();
  size_t enough = 0;
  std::vector<Candidate> found;

  void start(int count, float least);
  void push(Candidate one);
  // Raises the bound to the k-th largest lower end, and drops what cannot reach it.
  void narrow();
};

void fill(Corpus& corpus, const Kernels& kernels, const float* vectors, int rows, int size, int threads);

// The k best rows of each query, best first, equal ones by their number: positions int64 and scores (queries, k). `self` is
// the row that the first query is, the next one being the next query, which is none of its own neighbours; -1 for none.
void nearest(const Corpus& corpus, const float* queries, int count, int k, int64_t self, int threads, int64_t* positions, float* scores);

struct Pair {
  int32_t query, row;
  float score;
};
// All rows from `least` on for each query, by query and row; with `self`, only rows after the query's own.
std::vector<Pair> above(const Corpus& corpus, const float* queries, int count, float least, int64_t self, int threads);

}  // namespace munjang

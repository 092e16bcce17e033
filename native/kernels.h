// What every instruction set has to offer. Each of them is a translation unit that includes kernels_impl.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace munjang {

enum class After { nothing, gelu, add };

// Memory that starts at a cache line. Everything that a kernel's translation unit calls is compiled into it: a function that
// the linker may share would run instructions of one unit on a processor that another one was made for.
void* aligned(size_t bytes);
void release(void* p);

template <class T> class Array {
 public:
  Array() = default;
  explicit Array(size_t count) : p_(static_cast<T*>(aligned(count * sizeof(T)))) {}
  Array(Array&& other) noexcept : p_(other.p_) { other.p_ = nullptr; }
  Array& operator=(Array&& other) noexcept { T* mine = p_; p_ = other.p_; other.p_ = mine; return *this; }
  ~Array() { if (p_) release(p_); }
  __attribute__((always_inline)) T* get() const { return p_; }
  __attribute__((always_inline)) T& operator[](size_t i) const { return p_[i]; }

 private:
  T* p_ = nullptr;
};

// A linear layer y = x W^T + b as the kernels read it: columns of the output in blocks, zeros behind the last one.
struct Linear {
  int in = 0, out = 0, groups = 1;
  bool rounded = false;
  Array<float> weights;      // float32: [block][in][columns of a block]
  Array<int8_t> codes;       // rounded: [block][in / step][columns][step], bytes or pairs of 16 bits
  Array<float> scales;       // [groups][columns, padded]
  Array<int32_t> offsets;    // [groups][columns, padded]: what the activations' offset adds to a sum, negated
  Array<float> bias;         // [columns, padded]
  Array<float> smooth;       // [in]: what an input is multiplied with before it is rounded
  int group() const { return in / groups; }
};

// Room for the rounded inputs of one product.
struct Rounded {
  Array<uint8_t> codes;
  Array<float> scales;
};

struct Kernels {
  const char* name;
  int block;        // columns a block, float32 and rounded alike
  int code_bytes;   // bytes of one rounded activation
  bool (*available)();
  void (*pack)(Linear&, const float* weights, const float* bias, const float* smoothing, bool round);
  // y (rows, out) = x W^T + b, then GELU, or the addition of `residual` (rows, out).
  void (*product)(const Linear&, const float* x, int rows, float* y, const float* residual, After, Rounded&);
  void (*normalise)(float* x, int rows, int size, const float* gain, const float* bias, float epsilon);
  // Attention of one text: queries (n_q, stride), keys and values (n, stride), out (n_q, out_stride); scratch as
  // `attention_room` says.
  void (*attend)(const float* q, int n_q, const float* k, const float* v, int n, int stride, int head, float* out,
                 int out_stride, float* scratch);
  size_t (*attention_room)(int n, int head);
  // Upper bounds of dot products of rounded rows: see topk.cpp.
  void (*scan)(const struct Corpus&, int first_block, int last_block, const uint8_t* query_codes, const struct Query*, int queries,
               struct Best* best);
  void (*round_rows)(const float* x, const float* mean, int rows, int size, uint8_t* codes, struct Query*);
  void (*pack_rows)(struct Corpus&, const float* x, int first, int last);
};

const Kernels& avx512vnni();
const Kernels& avx2vnni();
const Kernels& avx2();
const Kernels& plain();
// The first that this processor runs, or the one of a name; throws std::invalid_argument.
const Kernels& kernels_named(const char* name);
std::vector<const char*> kernel_names();

// Runs task(i, worker) for i in [0, count) on some threads; the order of tasks is free, so tasks must not depend on it.
void in_threads(int count, int threads, void (*task)(void*, int, int), void* context);

}  // namespace munjang

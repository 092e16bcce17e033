// The Python module: arrays are checked here, so that the rest may trust its pointers. The interpreter is free while it runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <memory>
#include <stdexcept>

#include "encoder.h"
#include "topk.h"

namespace nb = nanobind;
using namespace munjang;

template <class T> using In = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
template <class T> using Out = nb::ndarray<nb::numpy, T>;

template <class T> static Out<T> numpy(T* data, std::vector<size_t> shape) {
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  return Out<T>(data, shape.size(), shape.data(), owner);
}

static std::vector<float> floats(const In<float>& a) {
  for (size_t i = 0; i < a.size(); i++)
    if (!std::isfinite(a.data()[i])) throw std::invalid_argument("a weight is not finite");
  return {a.data(), a.data() + a.size()};
}

static void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

struct PyEncoder {
  Encoder e;
  nb::object kept;  // the table of words
  std::vector<Reach> reach;

  PyEncoder(const PyEncoder&) = delete;
  PyEncoder(In<float> words, In<float> positions, In<float> types, In<float> gain, In<float> bias, int heads, int inner,
            int position_offset, float epsilon, const std::string& kernels) : kept(nb::cast(words)) {
    require(words.ndim() == 2 && positions.ndim() == 2 && types.ndim() == 2, "embeddings are matrices");
    e.kernels = &kernels_named(kernels.c_str());
    e.size = static_cast<int>(words.shape(1)), e.heads = heads, e.inner = inner;
    e.position_offset = position_offset, e.epsilon = epsilon;
    require(e.size > 0 && heads > 0 && e.size % heads == 0 && inner > 0, "the size is a multiple of the heads");
    require(positions.shape(1) == words.shape(1) && types.shape(1) == words.shape(1), "embeddings are of one size");
    e.words = words.data(), e.vocabulary = static_cast<int>(words.shape(0));
    e.positions = floats(positions), e.types = floats(types), e.gain = floats(gain), e.bias = floats(bias);
    require(static_cast<int>(e.gain.size()) == e.size && static_cast<int>(e.bias.size()) == e.size, "a norm of the size");
  }

  static Linear linear(const Kernels& kernels, In<float> w, In<float> b, int in, int out, const std::vector<float>& smooth, bool round) {
    require(w.ndim() == 2 && static_cast<int>(w.shape(0)) == out && static_cast<int>(w.shape(1)) == in, "a weight of another shape");
    require(static_cast<int>(b.size()) == out, "a bias of another shape");
    require(smooth.empty() || static_cast<int>(smooth.size()) == in, "smoothing of another shape");
    for (float s : smooth) require(std::isfinite(s) && s > 0, "smoothing is positive");
    const auto weights = floats(w), bias = floats(b);
    Linear l;
    l.in = in, l.out = out;
    kernels.pack(l, weights.data(), bias.data(), smooth.empty() ? nullptr : smooth.data(), round);
    return l;
  }

  // `weights` and `biases` of qkv, out, up, down; `norms` are gain1, bias1, gain2, bias2; `smooth` of the four, empty for none;
  // `rounded` says which of the four are computed in eight bits.
  void add_layer(std::vector<In<float>> weights, std::vector<In<float>> biases, std::vector<In<float>> norms,
                 std::vector<std::vector<float>> smooth, std::vector<bool> rounded) {
    require(weights.size() == 4 && biases.size() == 4 && norms.size() == 4 && smooth.size() == 4 && rounded.size() == 4, "four of each");
    const int d = e.size, f = e.inner;
    const int shapes[4][2] = {{d, 3 * d}, {d, d}, {d, f}, {f, d}};
    Layer l;
    Linear* parts[4] = {&l.qkv, &l.out, &l.up, &l.down};
    for (int i = 0; i < 4; i++) *parts[i] = linear(*e.kernels, weights[i], biases[i], shapes[i][0], shapes[i][1], smooth[i], rounded[i]);
    std::vector<float>* to[4] = {&l.gain1, &l.bias1, &l.gain2, &l.bias2};
    for (int i = 0; i < 4; i++) {
      *to[i] = floats(norms[i]);
      require(static_cast<int>(to[i]->size()) == d, "a norm of the size");
    }
    e.layers.push_back(std::move(l));
  }

  Out<float> run(In<int32_t> ids, In<int32_t> kinds, In<int64_t> starts, const std::string& pool, int threads, bool note) {
    require(starts.ndim() == 1 && starts.size() >= 1, "starts has one more number than there are texts");
    const int texts = static_cast<int>(starts.size()) - 1;
    require(starts.data()[0] == 0 && starts.data()[texts] == static_cast<int64_t>(ids.size()), "starts reach from 0 to the number of ids");
    for (int i = 0; i < texts; i++) require(starts.data()[i] <= starts.data()[i + 1], "starts rise");
    require(kinds.size() == 0 || kinds.size() == ids.size(), "a token type for each id, or none");
    require(pool == "mean" || pool == "first" || pool == "tokens", "pool is mean, first or tokens");
    const Pool how = pool == "mean" ? Pool::mean : pool == "first" ? Pool::first : Pool::tokens;
    const size_t rows = how == Pool::tokens ? ids.size() : static_cast<size_t>(texts);
    std::unique_ptr<float[]> out(new float[rows * e.size]());
    if (note && reach.empty())
      for (size_t i = 0; i < e.layers.size(); i++) {
        const size_t d = e.size, f = e.inner;
        reach.push_back({std::vector<float>(d), std::vector<float>(d), std::vector<float>(d), std::vector<float>(f)});
      }
    {
      nb::gil_scoped_release free;
      encode(e, ids.data(), kinds.size() ? kinds.data() : nullptr, starts.data(), texts, how, threads, out.get(), note ? &reach : nullptr);
    }
    return numpy(out.release(), {rows, static_cast<size_t>(e.size)});
  }

  std::vector<std::vector<std::vector<float>>> reached() const {
    std::vector<std::vector<std::vector<float>>> found;
    for (const Reach& one : reach) found.push_back({one.qkv, one.out, one.up, one.down});
    return found;
  }
};

struct PyCorpus {
  Corpus corpus;
  nb::object kept;  // the rows themselves, which scores are taken from

  PyCorpus(const PyCorpus&) = delete;
  PyCorpus(In<float> vectors, int threads, const std::string& kernels) : kept(nb::cast(vectors)) {
    require(vectors.ndim() == 2, "vectors are a matrix");
    require(vectors.shape(0) < (1u << 31) - 64, "at most 2^31 rows");
    const size_t bad = vectors.size();
    for (size_t i = 0; i < bad; i++) require(std::isfinite(vectors.data()[i]), "a vector is not finite");
    const Kernels& k = kernels_named(kernels.c_str());
    nb::gil_scoped_release free;
    fill(corpus, k, vectors.data(), static_cast<int>(vectors.shape(0)), static_cast<int>(vectors.shape(1)), threads);
  }

  void look(const In<float>& queries) const {
    require(queries.ndim() == 2 && static_cast<int>(queries.shape(1)) == corpus.size, "queries have as many numbers as the rows");
    for (size_t i = 0; i < queries.size(); i++) require(std::isfinite(queries.data()[i]), "a query is not finite");
  }

  nb::tuple top(In<float> queries, int k, int64_t self, int threads) const {
    look(queries);
    const size_t n = queries.shape(0);
    require(k >= 0 && k <= corpus.rows - (self >= 0), "k is at most the number of rows");
    std::unique_ptr<int64_t[]> positions(new int64_t[n * k]());
    std::unique_ptr<float[]> scores(new float[n * k]());
    if (n && k) {
      nb::gil_scoped_release free;
      nearest(corpus, queries.data(), static_cast<int>(n), k, self, threads, positions.get(), scores.get());
    }
    return nb::make_tuple(numpy(positions.release(), {n, static_cast<size_t>(k)}), numpy(scores.release(), {n, static_cast<size_t>(k)}));
  }

  nb::tuple pairs(In<float> queries, float least, int64_t self, int threads) const {
    look(queries);
    std::vector<Pair> found;
    {
      nb::gil_scoped_release free;
      found = above(corpus, queries.data(), static_cast<int>(queries.shape(0)), least, self, threads);
    }
    std::unique_ptr<int64_t[]> left(new int64_t[found.size()]), right(new int64_t[found.size()]);
    std::unique_ptr<float[]> scores(new float[found.size()]);
    for (size_t i = 0; i < found.size(); i++) left[i] = found[i].query, right[i] = found[i].row, scores[i] = found[i].score;
    const size_t n = found.size();
    return nb::make_tuple(numpy(left.release(), {n}), numpy(right.release(), {n}), numpy(scores.release(), {n}));
  }
};

NB_MODULE(munjang_native, m) {
  m.def("kernels", [] {
    std::vector<std::string> names;
    for (const char* name : kernel_names()) names.push_back(name);
    return names;
  });
  nb::class_<PyEncoder>(m, "Encoder")
      .def(nb::init<In<float>, In<float>, In<float>, In<float>, In<float>, int, int, int, float, const std::string&>(), nb::arg("words"),
           nb::arg("positions"), nb::arg("types"), nb::arg("gain"), nb::arg("bias"), nb::kw_only(), nb::arg("heads"), nb::arg("inner"),
           nb::arg("position_offset") = 0, nb::arg("epsilon") = 1e-12f, nb::arg("kernels") = "")
      .def("add_layer", &PyEncoder::add_layer)
      .def("run", &PyEncoder::run, nb::arg("ids"), nb::arg("kinds"), nb::arg("starts"), nb::arg("pool"), nb::arg("threads"), nb::arg("note") = false)
      .def("reached", &PyEncoder::reached);
  nb::class_<PyCorpus>(m, "Corpus")
      .def(nb::init<In<float>, int, const std::string&>(), nb::arg("vectors"), nb::arg("threads"), nb::arg("kernels") = "")
      .def("top", &PyCorpus::top, nb::arg("queries"), nb::arg("k"), nb::arg("self") = -1, nb::arg("threads") = 1)
      .def("pairs", &PyCorpus::pairs, nb::arg("queries"), nb::arg("least"), nb::arg("self") = -1, nb::arg("threads") = 1);
}

"""The native kernels: every set of instructions of this machine gives the same neighbours and the same vectors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

munjang_native = pytest.importorskip("munjang_native", reason="munjang-native is not built here: pip install ./native")

KERNELS = munjang_native.kernels()


def rows(count: int, size: int, seed: int, spread: float = 1.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    found = draw.normal(size=(count, size)) * spread + draw.normal(size=size)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def by_sorting(queries: np.ndarray, corpus: np.ndarray, k: int, own: int = -1) -> np.ndarray:
    scores = (queries.astype(np.float64) @ corpus.astype(np.float64).T).astype(np.float32)
    if own >= 0:
        scores[np.arange(len(queries)), own + np.arange(len(queries))] = -np.inf
    return np.lexsort((np.broadcast_to(np.arange(len(corpus)), scores.shape), -scores), axis=1)[:, :k]


def test_there_are_kernels_for_every_machine() -> None:
    assert KERNELS[-1] == "plain"


@settings(max_examples=25)
@given(
    count=st.integers(1, 200),
    size=st.integers(1, 140),
    queries=st.integers(0, 30),
    threads=st.integers(1, 4),
    spread=st.sampled_from([1.0, 0.05]),
    data=st.data(),
)
def test_neighbours_are_those_of_sorting(
    count: int, size: int, queries: int, threads: int, spread: float, data: st.DataObject
) -> None:
    corpus, asked = rows(count, size, 1, spread), rows(queries, size, 2, spread)
    k = data.draw(st.integers(0, count))
    for kernels in KERNELS:
        positions, scores = munjang_native.Corpus(corpus, threads, kernels).top(asked, k, -1, threads)
        assert positions.shape == scores.shape == (queries, k)
        assert np.array_equal(positions, by_sorting(asked, corpus, k)), kernels


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_row_is_none_of_its_own_neighbours_and_pairs_come_once(kernels: str) -> None:
    vectors = rows(300, 48, 3, 0.3)
    corpus = munjang_native.Corpus(vectors, 2, kernels)
    positions, _ = corpus.top(vectors[100:250], 7, 100, 2)
    assert np.array_equal(positions, by_sorting(vectors[100:250], vectors, 7, 100))
    scores = (vectors.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    least = float(np.quantile(scores, 0.9))
    left, right = np.nonzero(np.triu(scores >= np.float32(least), 1))
    one, other, found = corpus.pairs(vectors, least, 0, 3)
    assert np.array_equal(one, left)
    assert np.array_equal(other, right)
    assert np.allclose(found, scores[left, right], atol=1e-6)


def test_equal_rows_come_by_position() -> None:
    vectors = np.repeat(rows(3, 20, 5), 400, axis=0)
    positions, _ = munjang_native.Corpus(vectors, 2).top(vectors[:1], 5, -1, 2)
    assert positions.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("queries", "k", "said"),
    [
        (np.zeros((2, 5), np.float32), 1, "as many numbers as the rows"),
        (np.zeros((2, 4), np.float32), 9, "at most the number of rows"),
        (np.full((1, 4), np.nan, np.float32), 1, "not finite"),
    ],
)
def test_what_cannot_be_asked_is_refused(queries: np.ndarray, k: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        munjang_native.Corpus(rows(8, 4, 1), 1).top(queries, k)
    with pytest.raises(ValueError, match="not finite"):
        munjang_native.Corpus(np.full((3, 4), np.inf, np.float32), 1)


# -- encoders


def layer_weights(size: int, inner: int, draw: np.random.Generator) -> tuple[list, list, list]:
    def normal(*shape: int) -> np.ndarray:
        return (draw.normal(size=shape) * 0.15).astype(np.float32)

    shapes = [(3 * size, size), (size, size), (inner, size), (size, inner)]
    norms = [1 + normal(size), normal(size), 1 + normal(size), normal(size)]
    return [normal(*shape) for shape in shapes], [normal(shape[0]) for shape in shapes], norms


class Plain:
    """The same encoder in double precision, text by text."""

    def __init__(self, size: int, inner: int, heads: int, layers: int, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        self.size, self.inner, self.heads = size, inner, heads
        self.words, self.positions, self.kinds = (
            draw.normal(size=(count, size)).astype(np.float32) for count in (50, 70, 2)
        )
        self.gain, self.bias = np.ones(size, np.float32), np.zeros(size, np.float32)
        self.layers = [layer_weights(size, inner, draw) for _ in range(layers)]

    def native(self, rounded: bool, kernels: str) -> munjang_native.Encoder:
        parts = (self.words, self.positions, self.kinds, self.gain, self.bias)
        encoder = munjang_native.Encoder(*parts, heads=self.heads, inner=self.inner, kernels=kernels)
        for weights, biases, norms in self.layers:
            encoder.add_layer(weights, biases, norms, [[]] * 4, [rounded] * 4)
        return encoder

    def states(self, ids: list[int], kinds: list[int]) -> np.ndarray:
        x = norm(
            self.words[ids].astype(np.float64) + self.positions[: len(ids)] + self.kinds[kinds], self.gain, self.bias
        )
        for weights, biases, norms in self.layers:
            q, k, v = np.split(x @ weights[0].T.astype(np.float64) + biases[0], 3, axis=1)
            heads = []
            for part in np.split(np.arange(self.size), self.heads):
                scores = q[:, part] @ k[:, part].T / np.sqrt(len(part))
                shares = np.exp(scores - scores.max(axis=1, keepdims=True))
                heads.append(shares / shares.sum(axis=1, keepdims=True) @ v[:, part])
            y = norm(np.concatenate(heads, axis=1) @ weights[1].T + biases[1] + x, *norms[:2])
            x = norm(gelu(y @ weights[2].T + biases[2]) @ weights[3].T + biases[3] + y, *norms[2:])
        return x


def norm(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-12) * gain + bias


def gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def packed(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.array([0, *itertools.accumulate(map(len, texts))], np.int64)
    return np.array([i for text in texts for i in text], np.int32), starts


#: Sizes that fill no vector, no block and no tile exactly, and those of real models.
SIZES = [(32, 64, 2), (36, 20, 3), (48, 100, 4), (128, 256, 2)]


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(("size", "inner", "heads"), SIZES)
def test_vectors_are_those_of_double_precision(size: int, inner: int, heads: int, kernels: str) -> None:
    plain = Plain(size, inner, heads, 2)
    draw = np.random.default_rng(1)
    texts = [draw.integers(0, 50, length).tolist() for length in (1, 2, 3, 17, 16, 70, 33, 5, 13)]
    kinds = [draw.integers(0, 2, len(text)).tolist() for text in texts]
    ids, starts = packed(texts)
    types = packed(kinds)[0]
    wanted = [plain.states(text, kind) for text, kind in zip(texts, kinds, strict=True)]
    encoder = plain.native(False, kernels)
    assert np.allclose(encoder.run(ids, types, starts, "tokens", 2), np.concatenate(wanted), atol=2e-5)
    means, firsts = ([pool(states) for states in wanted] for pool in (lambda s: s.mean(axis=0), lambda s: s[0]))
    assert np.allclose(encoder.run(ids, types, starts, "mean", 2), means, atol=2e-5)
    assert np.allclose(encoder.run(ids, types, starts, "first", 2), firsts, atol=2e-5)
    rounded = plain.native(True, kernels)
    together = rounded.run(ids, types, starts, "mean", 2)
    likeness = (together * means).sum(axis=1) / np.linalg.norm(together, axis=1) / np.linalg.norm(means, axis=1)
    assert likeness.min() > 0.99
    # Whatever stands beside a text, and on whatever thread, its vector is the same bits.
    for i, text in enumerate(texts):
        alone = rounded.run(np.array(text, np.int32), np.array(kinds[i], np.int32), np.array([0, len(text)]), "mean", 1)
        assert np.array_equal(alone[0], together[i])
    assert np.array_equal(
        rounded.run(ids, types, starts, "first", 3), rounded.run(ids, types, starts, "tokens", 1)[starts[:-1]]
    )


@pytest.mark.parametrize("kernels", KERNELS)
def test_calibration_notes_what_comes_in(kernels: str) -> None:
    plain = Plain(32, 64, 2, 2)
    encoder = plain.native(False, kernels)
    ids, starts = packed([[1, 2, 3], [4, 5]])
    none = np.zeros(0, np.int32)
    quiet = encoder.run(ids, none, starts, "first", 1)
    assert np.array_equal(encoder.run(ids, none, starts, "first", 1, True), quiet)
    reached = encoder.reached()
    assert [[len(part) for part in layer] for layer in reached] == [[32, 32, 32, 64]] * 2
    first = np.concatenate(
        [plain.words[text] + plain.positions[: len(text)] + plain.kinds[0] for text in ([1, 2, 3], [4, 5])]
    )
    assert np.allclose(reached[0][0], np.abs(norm(first, plain.gain, plain.bias)).max(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    ("ids", "starts", "said"),
    [
        ([1, 50], [0, 2], "a token id that the model does not have"),
        ([-1], [0, 1], "a token id that the model does not have"),
        ([1], [0, 0, 1], "a text without tokens"),
        ([1] * 71, [0, 71], "more tokens than the model has positions"),
        ([1, 2], [0, 1], "starts reach from 0"),
    ],
)
def test_texts_that_cannot_be_encoded_are_refused(ids: list[int], starts: list[int], said: str) -> None:
    encoder = Plain(32, 64, 2, 1).native(True, "")
    none = np.zeros(0, np.int32)
    with pytest.raises(ValueError, match=said):
        encoder.run(np.array(ids, np.int32), none, np.array(starts, np.int64), "mean", 1)
    assert encoder.run(none, none, np.zeros(1, np.int64), "mean", 1).shape == (0, 32)


def test_weights_that_are_none_are_refused() -> None:
    plain = Plain(32, 64, 2, 1)
    plain.layers[0][0][1][0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        plain.native(False, "")
    with pytest.raises(ValueError, match="no kernels called"):
        Plain(32, 64, 2, 1).native(False, "sse9")

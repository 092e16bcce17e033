"""Shorter vectors: the leading directions of some texts, in order, and what is refused before any is computed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import sentences_of
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.errors import ConfigError, DataError
from munjang.models.checks import lint_model
from munjang.models.dimensions import cut_dimensions, principal_directions
from munjang.models.settings import prompts_of, vector_size


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return sentences_of(load_rows(DataSpec(source="support:train"), ("scored-pairs",), Path()).rows)


@given(rows=st.integers(1, 40), seed=st.integers(0, 99))
def test_directions_are_orthogonal_and_in_order(rows: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(1, 1, (rows, 6)).astype(np.float32)
    axes, sums = principal_directions(vectors)
    np.testing.assert_allclose(axes.T @ axes, np.eye(6), atol=1e-9)
    assert (np.diff(sums) <= 0).all()
    # Not from the mean: all of the squared length is in them.
    np.testing.assert_allclose(((vectors @ axes) ** 2).sum(axis=0), sums, rtol=1e-4, atol=1e-3)


def test_the_written_model_gives_the_leading_numbers(tiny_bi: Path, tmp_path: Path, texts: list[str]) -> None:
    report = cut_dimensions(tiny_bi, tmp_path / "out", 6, [*texts, *texts])
    assert (report.before, report.after, report.texts) == (32, 6, len(set(texts)))
    before = Encoder(tiny_bi).encode(texts)
    distinct = Encoder(tiny_bi).encode(list(dict.fromkeys(texts)))
    _, sizes, axes = np.linalg.svd(distinct.astype(np.float64))
    assert report.variance == pytest.approx((sizes[:6] ** 2).sum() / (sizes**2).sum(), abs=1e-6)
    wanted = before @ axes[:6].T
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    np.testing.assert_allclose(np.abs(found.encode(texts)), np.abs(wanted), atol=1e-4)
    np.testing.assert_allclose(Encoder(tmp_path / "out").encode(texts), found.encode(texts), atol=1e-5)
    assert isinstance(found[-1], Normalize)
    assert [type(module).__name__ for module in found] == ["Transformer", "Pooling", "Dense", "Normalize"]
    assert vector_size(tmp_path / "out") == 6
    assert prompts_of(tmp_path / "out") == prompts_of(tiny_bi)
    assert not [one for one in lint_model("out", tmp_path / "out") if one.severity == "error"]
    weights = found[2].linear.weight.detach().numpy()
    assert (weights[np.arange(6), np.abs(weights).argmax(axis=1)] > 0).all()


def test_first_numbers_serve_by_themselves(tiny_bi: Path, tmp_path: Path, texts: list[str]) -> None:
    cut_dimensions(tiny_bi, tmp_path / "long", 12, texts)
    cut_dimensions(tiny_bi, tmp_path / "short", 5, texts)
    cut = Encoder(tmp_path / "long", dimension=5).encode(texts)
    np.testing.assert_allclose(cut, Encoder(tmp_path / "short").encode(texts), atol=1e-5)


def test_the_change_of_cosines_is_that_of_pairs(tiny_bi: Path, tmp_path: Path, texts: list[str]) -> None:
    report = cut_dimensions(tiny_bi, tmp_path / "out", 4, texts)
    before, after = (Encoder(folder).encode(texts) for folder in (tiny_bi, tmp_path / "out"))
    rows = np.random.default_rng(1).permutation(len(texts))
    apart = cosine_of_rows(after, after[rows]) - cosine_of_rows(before, before[rows])
    assert report.cosine_change == pytest.approx(np.abs(apart).mean(), rel=0.3)
    assert cut_dimensions(tiny_bi, tmp_path / "most", 31, texts).cosine_change < report.cosine_change


def test_a_model_that_does_not_normalise_gets_the_module_last(tiny_bi: Path, tmp_path: Path, texts: list[str]) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    model.pop(-1)
    model.save_pretrained(str(tmp_path / "raw"), create_model_card=False)
    cut_dimensions(tmp_path / "raw", tmp_path / "out", 6, texts)
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert type(found[-1]).__name__ == "Dense"
    weights = found[-1].linear.weight.detach().numpy()
    np.testing.assert_allclose(found.encode(texts), model.encode(texts) @ weights.T, atol=1e-4)


def test_what_cannot_be_cut_is_refused(
    tiny_bi: Path, tiny_cross: Path, tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("munjang.models.dimensions.Encoder", None)  # nothing is computed
    with pytest.raises(ConfigError, match="the vectors are no longer than that") as caught:
        cut_dimensions(tiny_bi, tmp_path / "out", 32, texts)
    assert caught.value.expected == "1 to 31"
    with pytest.raises(DataError, match="too few texts") as caught:
        cut_dimensions(tiny_bi, tmp_path / "out", 8, ["배송"] * 7 + texts[:6])
    assert (caught.value.expected, caught.value.got) == ("at least 8 different ones", "7")
    with pytest.raises(DataError, match="another kind"):
        cut_dimensions(tiny_cross, tmp_path / "out", 8, texts)
    model = SentenceTransformer(str(tiny_bi), device="cpu", truncate_dim=16)
    model.save_pretrained(str(tmp_path / "cut"), create_model_card=False)
    path = tmp_path / "cut/config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncate_dim": 16}))
    with pytest.raises(DataError, match="cuts its vectors already"):
        cut_dimensions(tmp_path / "cut", tmp_path / "out", 8, texts)
    assert not (tmp_path / "out").exists()

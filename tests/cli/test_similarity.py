"""munjang similarity: two texts, two files, or the pairs of a file, by either kind of model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.errors import DataError
from munjang.explore import similarity
from munjang.explore.similarity import Similarity

Run = Callable[..., tuple[int, str, str]]
LEFT, RIGHT = ["환불은 언제 되나요?", "배송이 늦어요"], ["언제 돌려받나요?", "배송 언제 와요", "환불은 언제 되나요?"]


@pytest.fixture
def files(tmp_path: Path) -> None:
    (tmp_path / "left.txt").write_text("\n".join(LEFT) + "\n", encoding="utf-8")
    (tmp_path / "right.txt").write_text("\n".join(RIGHT) + "\n", encoding="utf-8")
    rows = "".join(f"{one}\t{other}\n" for one, other in zip(LEFT, RIGHT, strict=False))
    (tmp_path / "pairs.tsv").write_text(f"a\tb\n{rows}\t빈 문장\n", encoding="utf-8")


def expected(model: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    """By sentence-transformers."""
    if "cross" in model.name:
        scorer = CrossEncoder(str(model), device="cpu")
        return (scorer.predict(pairs) + scorer.predict([(b, a) for a, b in pairs])) / 2
    encoder = SentenceTransformer(str(model), device="cpu")
    return np.sum(encoder.encode([a for a, _ in pairs]) * encoder.encode([b for _, b in pairs]), axis=1)


@pytest.fixture(params=["bi", "cross"])
def model(request: pytest.FixtureRequest, tiny_bi: Path, tiny_cross: Path) -> Path:
    return tiny_bi if request.param == "bi" else tiny_cross


def test_two_texts_are_one_number(run: Run, model: Path) -> None:
    given = ["similarity", LEFT[0], RIGHT[0], "--model", model, "--device", "cpu"]
    status, printed, _ = run(*given, "--json")
    score = json.loads(printed)["score"]
    assert (status, score) == (0, pytest.approx(expected(model, [(LEFT[0], RIGHT[0])])[0], abs=1e-5))
    assert run(*given)[1] == f"{score:.4f}\n"
    # Without a device one is found.
    assert run(*given[:-2])[0] == 0


def test_two_files_are_a_matrix(run: Run, model: Path, files: None, tmp_path: Path) -> None:
    given = ["similarity", "left.txt", "right.txt", "--matrix", "--model", model, "--device", "cpu"]
    status, printed, _ = run(*given, "--out", "m.parquet", "--json")
    found = np.array(json.loads(printed)["matrix"])
    wanted = expected(model, [(a, b) for a in LEFT for b in RIGHT]).reshape(2, 3)
    assert status == 0
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    columns = pyarrow.parquet.read_table(tmp_path / "m.parquet").to_pydict()
    assert columns.pop("text") == LEFT
    np.testing.assert_allclose(np.array(list(columns.values())).T, wanted, atol=1e-5)


def test_rows_are_pairs(run: Run, model: Path, files: None, tmp_path: Path) -> None:
    given = ["similarity", "pairs.tsv", "--pairs", "a", "b", "--model", model, "--device", "cpu"]
    status, printed, _ = run(*given, "--out", "p.jsonl", "--json")
    report = json.loads(printed)
    assert (status, report["read"]["read"], report["read"]["rejected"]) == (0, 3, 1)
    wanted = expected(model, list(zip(LEFT, RIGHT, strict=False)))
    np.testing.assert_allclose([one["score"] for one in report["pairs"]], wanted, atol=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == report["pairs"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["one"], 2, "name what is to be compared"),
        (["left.txt", "text"], 2, "names a file"),
        (["a", " "], 65, "blank"),
        (["a", "b", "--out", "x.csv"], 2, "without effect here: --out"),
        (["left.txt", "right.txt", "--matrix", "--pairs", "a", "b"], 2, "both --matrix and --pairs"),
        (["pairs.tsv", "--pairs", "a", "c"], 65, "no column 'c'"),
        (["left.txt", "right.txt", "--matrix", "--out", "x.doc"], 78, "unknown format"),
    ],
)
def test_bad_input_is_named(arguments: list[str], status: int, said: str, run: Run, tiny_bi: Path, files: None) -> None:
    found, printed, errors = run("similarity", *arguments, "--model", tiny_bi, "--device", "cpu")
    assert (found, printed) == (status, "")
    assert said in errors


def test_a_matrix_that_would_not_fit_is_refused(tiny_bi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_MOST", 5)
    with pytest.raises(DataError, match="too large"):
        Similarity(tiny_bi).matrix(LEFT, RIGHT)

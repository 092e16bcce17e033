"""The table of models and sets holds what plain sentence-transformers and scipy give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import ScoredPair
from munjang.evaluate.metrics import correlations, paired_difference
from munjang.evaluate.sts import Evaluation, evaluate_sts, gold_scores


@pytest.fixture(scope="module")
def sets() -> dict[str, list[ScoredPair]]:
    rows = load_rows(DataSpec(source="support:test"), ("scored-pairs",), Path()).rows
    return {"first": rows[:60], "second": rows[40:]}


@pytest.fixture(scope="module")
def models(tiny_bi: Path, tiny_cross: Path) -> dict[str, Path]:
    return {"bi": tiny_bi, "cross": tiny_cross}


@pytest.fixture(scope="module")
def result(models: dict[str, Path], sets: dict[str, list[ScoredPair]]) -> Evaluation:
    return evaluate_sts(models, sets, baseline="bi")


@pytest.fixture(scope="module")
def expected(models: dict[str, Path], sets: dict[str, list[ScoredPair]]) -> dict[tuple[str, str], np.ndarray]:
    bi = SentenceTransformer(str(models["bi"]), device="cpu")
    cross = CrossEncoder(str(models["cross"]), device="cpu")
    scores = {}
    for name, rows in sets.items():
        left, right = (bi.encode([row[side] for row in rows]) for side in (0, 1))
        scores["bi", name] = bi.similarity_pairwise(left, right).numpy()
        there, back = (cross.predict([(r[i], r[1 - i]) for r in rows]) for i in (0, 1))
        scores["cross", name] = (there + back) / 2
        scores["given", name] = there
    return scores


def test_every_model_is_measured_on_every_set(result: Evaluation) -> None:
    assert [(c.model, c.set) for c in result.cells] == [
        (model, name) for model in ("bi", "cross") for name in ("first", "second")
    ]
    assert result.kinds == {"bi": "bi-encoder", "cross": "cross-encoder"}
    assert result.cell("cross", "second") is result.cells[3]


def test_rows_are_scored_as_plain_sentence_transformers_scores_them(
    result: Evaluation, expected: dict[tuple[str, str], np.ndarray]
) -> None:
    for cell in result.cells:
        assert cell.predicted.shape == (len(result.sets[cell.set]),)
        assert np.abs(cell.predicted - expected[cell.model, cell.set]).max() < 1e-5


def test_cells_are_the_correlations_of_scipy(
    result: Evaluation, expected: dict[tuple[str, str], np.ndarray], sets: dict[str, list[ScoredPair]]
) -> None:
    for cell in result.cells:
        gold = [row.score for row in sets[cell.set]]
        for estimate, one in ((cell.spearman, scipy.stats.spearmanr), (cell.pearson, scipy.stats.pearsonr)):
            # Scores that differ in their last digit may swap two ranks, so the ranks are taken of the same scores.
            assert estimate.value == pytest.approx(100 * one(cell.predicted, gold).statistic, abs=1e-9)
            assert estimate.value == pytest.approx(100 * one(expected[cell.model, cell.set], gold).statistic, abs=0.05)
            assert estimate.low < estimate.value < estimate.high


def test_only_the_others_are_compared_with_the_baseline(result: Evaluation, sets: dict[str, list[ScoredPair]]) -> None:
    for name, rows in sets.items():
        assert result.cell("bi", name).against_baseline is None
        ours, theirs = result.cell("cross", name), result.cell("bi", name)
        found = ours.against_baseline
        assert found == paired_difference(ours.predicted, theirs.predicted, gold_scores(rows))
        assert found.value == pytest.approx(ours.spearman.value - theirs.spearman.value, abs=1e-9)


def test_without_a_baseline_nothing_is_compared(tiny_bi: Path, sets: dict[str, list[ScoredPair]]) -> None:
    result = evaluate_sts({"bi": tiny_bi}, sets)
    assert {c.against_baseline for c in result.cells} == {None}
    assert result.as_dict()["baseline"] is None


def test_both_orders_are_scored_unless_told_otherwise(
    tiny_cross: Path, sets: dict[str, list[ScoredPair]], expected: dict[tuple[str, str], np.ndarray]
) -> None:
    result = evaluate_sts({"cross": tiny_cross}, sets, symmetric=False)
    for cell in result.cells:
        assert np.abs(cell.predicted - expected["given", cell.set]).max() < 1e-5
        assert np.abs(cell.predicted - expected["cross", cell.set]).max() > 1e-4


def test_texts_that_are_cut_are_counted(models: dict[str, Path], sets: dict[str, list[ScoredPair]]) -> None:
    long = ScoredPair("가 " * 200, "나", 0.5)
    result = evaluate_sts(models, {"x": [*sets["first"][:5], long]})
    assert result.truncated == {"bi": 1, "cross": 1}
    assert result.as_dict()["models"]["bi"] == {"kind": "bi-encoder", "truncated": 1}


def test_progress_is_told_for_each_model(models: dict[str, Path], sets: dict[str, list[ScoredPair]]) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}

    def open_display(title: str):
        calls = seen.setdefault(title, [])
        return lambda done, total, note="": calls.append((done, total))

    evaluate_sts(models, sets, progress=open_display)
    assert list(seen) == ["evaluating bi", "evaluating cross"]
    for calls in seen.values():
        assert calls[-1][0] == calls[-1][1] > 0


@pytest.mark.parametrize("rows", [0, 1])
def test_a_set_too_small_to_measure_is_undefined_and_not_an_error(
    models: dict[str, Path], sets: dict[str, list[ScoredPair]], rows: int
) -> None:
    result = evaluate_sts(models, {"tiny": sets["first"][:rows], "second": sets["second"]}, baseline="bi")
    for model in models:
        assert result.cell(model, "tiny").spearman == (None, None, None, f"{rows} row")
        assert result.cell(model, "second").spearman.value is not None
    assert result.cell("cross", "tiny").against_baseline.value is None
    json.dumps(result.as_dict(), allow_nan=False)


def test_the_table_as_json_holds_the_cells_and_not_the_rows(
    result: Evaluation, sets: dict[str, list[ScoredPair]]
) -> None:
    table = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert table["sets"] == {name: len(rows) for name, rows in sets.items()}
    assert table["baseline"] == "bi"
    assert len(table["cells"]) == 4
    for cell in table["cells"]:
        found = result.cell(cell["model"], cell["set"])
        assert cell["spearman"] == found.spearman.as_dict()
        assert cell["pearson"] == found.pearson.as_dict()
        assert (cell["against_baseline"] is None) == (cell["model"] == "bi")


def test_the_same_models_give_the_same_table_twice(result: Evaluation, models: dict[str, Path]) -> None:
    again = evaluate_sts(models, result.sets, baseline="bi")
    assert again.as_dict() == result.as_dict()


def test_gold_scores_are_those_of_the_rows(sets: dict[str, list[ScoredPair]]) -> None:
    gold = gold_scores(sets["first"])
    assert gold.tolist() == [row.score for row in sets["first"]]
    assert correlations(gold, gold)["spearman"].value == pytest.approx(100)

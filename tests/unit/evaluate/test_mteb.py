"""Tasks of mteb become sets; small stand-ins have the shape of its task objects, real ones are tried where it is there."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from munjang.data.rows import Document, LabelledText, ParallelPair, Qrel, RankedList, ScoredPair
from munjang.errors import DataError, MissingInputError, UnavailableError
from munjang.evaluate.mteb import read_mteb, set_of_task
from munjang.evaluate.sets import ClassificationRows, RetrievalRows


def task(kind: str, dataset: dict, subsets: tuple[str, ...] = ("default",), **more: Any) -> SimpleNamespace:
    metadata = SimpleNamespace(type=kind, eval_splits=["validation", "test"])
    return SimpleNamespace(metadata=metadata, hf_subsets=subsets, dataset=dataset, load_data=lambda: None, **more)


PAIRS = {"sentence1": ["가", "나"], "sentence2": ["다", "라"]}


@pytest.mark.parametrize("nested", [False, True])
def test_similarity_is_put_on_0_to_1(nested: bool) -> None:
    splits = {"test": {**PAIRS, "score": [0, 2.5]}}
    found = set_of_task(task("STS", {"default": splits} if nested else splits, min_score=0, max_score=5), "", "x")
    assert (found.name, found.task) == ("x", "sts")
    assert found.rows == [ScoredPair("가", "다", 0.0), ScoredPair("나", "라", 0.5)]


@pytest.mark.parametrize("one_row", [False, True])
def test_pairs_may_lie_in_rows_or_in_one_row_of_lists(one_row: bool) -> None:
    columns = {**PAIRS, "labels": [1, 0]}
    columns = {name: [column] for name, column in columns.items()} if one_row else columns
    found = set_of_task(task("PairClassification", {"test": columns}), "", "x")
    assert (found.task, found.rows) == (
        "pair-classification",
        [ScoredPair("가", "다", 1.0), ScoredPair("나", "라", 0.0)],
    )


def test_classes_have_rows_to_learn_from() -> None:
    dataset = {"train": {"text": ["가", "나"], "label": [0, 1]}, "test": {"text": ["다"], "label": [1]}}
    found = set_of_task(task("Classification", dataset), "", "x")
    assert found.rows == ClassificationRows(
        [LabelledText("가", "0"), LabelledText("나", "1")], [LabelledText("다", "1")]
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"sentences": ["가", "나", "다"], "labels": ["a", "b", "a"]},
        {"sentences": [["가", "나"], ["다"]], "labels": [["a", "b"], ["a"]]},
        {"sentences": ["가", "나", "다"], "labels": [["a", "x"], ["b", "y"], ["a", "z"]]},
    ],
)
def test_clusters_of_any_shape_are_texts_with_labels(columns: dict) -> None:
    found = set_of_task(task("Clustering", {"test": columns}), "", "x")
    assert found.rows == [LabelledText("가", "a"), LabelledText("나", "b"), LabelledText("다", "a")]


def test_bitext_of_a_subset() -> None:
    dataset = {name: {"test": {"sentence1": [name], "sentence2": ["b"]}} for name in ("ko-en", "de-en")}
    found = set_of_task(task("BitextMining", dataset, ("ko-en", "de-en")), "ko-en", "x")
    assert (found.task, found.rows) == ("translation", [ParallelPair("ko-en", "b")])
    for wrong in ("", "fr-en"):
        with pytest.raises(MissingInputError, match="name one of the subsets"):
            set_of_task(task("BitextMining", dataset, ("ko-en", "de-en")), wrong, "x")


RETRIEVAL = {
    "corpus": [{"id": "d1", "title": "환불", "text": "삼 일"}, {"id": "d2", "title": "", "text": "배송"}],
    "queries": [{"id": "q", "text": "언제"}],
    "relevant_docs": {"q": {"d1": 2}},
    "top_ranked": {"q": ["d2", "d1"]},
}


def test_retrieval_and_reranking() -> None:
    found = set_of_task(task("Retrieval", {"default": {"test": RETRIEVAL}}), "", "x")
    documents = [Document("d1", "환불 삼 일"), Document("d2", "배송")]
    assert found.rows == RetrievalRows(documents, [Document("q", "언제")], [Qrel("q", "d1", 2)])
    found = set_of_task(task("Reranking", {"default": {"test": RETRIEVAL}}), "", "x")
    assert found.rows == [RankedList("언제", ("배송", "환불 삼 일"), (0.0, 2.0))]


def test_a_type_without_a_counterpart_is_said() -> None:
    with pytest.raises(DataError, match="of this type") as caught:
        set_of_task(task("Summarization", {}), "", "mteb:X")
    assert caught.value.got == "Summarization"


def test_data_that_cannot_be_loaded_are_one_error() -> None:
    broken = task("STS", {})
    broken.load_data = lambda: 1 / 0
    with pytest.raises(UnavailableError, match="cannot load the data") as caught:
        set_of_task(broken, "", "mteb:X")
    assert "ZeroDivisionError" in caught.value.got


def test_without_the_package_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(UnavailableError, match=r"pip install 'munjang\[mteb\]'"):
        read_mteb("KorSTS")


def test_an_unknown_task_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_task(name: str) -> None:
        raise KeyError(f"{name} not found. Did you mean: KorSTS?")

    monkeypatch.setitem(sys.modules, "mteb", SimpleNamespace(get_task=get_task))
    with pytest.raises(MissingInputError, match="no such task"):
        read_mteb("KorSts")


def test_a_real_task_has_what_is_used_of_it() -> None:
    if importlib.util.find_spec("mteb") is None:
        pytest.skip("the package mteb is not installed: pip install 'munjang[mteb]'")
    import mteb

    one = mteb.get_task("KorSTS")
    assert one.metadata.type == "STS"
    assert one.hf_subsets
    assert one.metadata.eval_splits
    assert (one.min_score, one.max_score) == (0, 5)

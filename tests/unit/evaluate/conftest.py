"""Small sets of every task from the embedded data, and a cross-encoder of NLI."""

from __future__ import annotations

from pathlib import Path

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import LabelledPair, LabelledText, RankedList, ScoredPair, Triplet
from munjang.evaluate.sets import ClassificationRows, EvalSet, RetrievalRows


def load(name: str, kind: str) -> list:
    return load_rows(DataSpec(source=name), (kind,), Path()).rows


@pytest.fixture(scope="session")
def scored_pairs() -> list[ScoredPair]:
    return load("support:test", "scored-pairs")[:60]


@pytest.fixture(scope="session")
def retrieval_rows() -> RetrievalRows:
    """Every query with an answer among the first 150 help texts."""
    documents = load("support-help", "documents")[:150]
    known = {document.id for document in documents}
    qrels = [qrel for qrel in load("support-qrels", "qrels") if qrel.doc_id in known]
    asked = {qrel.query_id for qrel in qrels if qrel.relevance > 0}
    queries = [query for query in load("support-queries", "documents") if query.id in asked]
    return RetrievalRows(documents, queries, [qrel for qrel in qrels if qrel.query_id in asked])


@pytest.fixture(scope="session")
def nli_rows(scored_pairs: list[ScoredPair]) -> list[LabelledPair]:
    rows = []
    for number, row in enumerate(scored_pairs[:20]):
        others = [scored_pairs[(number + shift) % 60].sentence2 for shift in (7, 13)]
        texts = (row.sentence2, *others)
        rows += [LabelledPair(row.sentence1, t, c) for t, c in zip(texts, LABELS, strict=True)]
    return rows


LABELS = ("entailment", "contradiction", "neutral")


@pytest.fixture(scope="session")
def eval_sets(
    scored_pairs: list[ScoredPair], retrieval_rows: RetrievalRows, nli_rows: list[LabelledPair]
) -> dict[str, EvalSet]:
    """Name of a task -> a set of it."""
    texts = [row.sentence1 for row in scored_pairs] + [row.sentence2 for row in scored_pairs]
    topics = [LabelledText(text, ("주문", "배송", "환불")[len(text) % 3]) for text in dict.fromkeys(texts)]
    lists = [
        RankedList(row.sentence1, tuple(dict.fromkeys([row.sentence2, *texts[n : n + 6]])), (1.0,) + (0.0,) * 6)
        for n, row in enumerate(scored_pairs[:30])
    ]
    lists = [row._replace(scores=row.scores[: len(row.documents)]) for row in lists]
    rows = {
        "sts": scored_pairs,
        "pair-classification": scored_pairs,
        "nli": nli_rows,
        "triplets": [Triplet(a.sentence1, a.sentence2, b) for a, b in zip(scored_pairs, texts[5:], strict=False)],
        "reranking": lists,
        "retrieval": retrieval_rows,
        "translation": load("support-parallel", "parallel-pairs")[:60],
        "clustering": topics,
        "classification": ClassificationRows(topics[:70], topics[70:]),
    }
    return {task: EvalSet(f"my-{task}", task, some) for task, some in rows.items()}


@pytest.fixture(scope="session")
def tiny_nli(tiny_cross: Path, nli_rows: list[LabelledPair]) -> Path:
    """`tiny_cross` with a random head of three classes, each predicted now and then, in an order of its own."""
    import torch
    from sentence_transformers import CrossEncoder

    from munjang.models.convert import convert

    folder = tiny_cross.with_name("tiny-nli")
    if not folder.exists():
        convert(tiny_cross, "nli", folder)
    model = CrossEncoder(str(folder), device="cpu")
    weight, bias = list(model.parameters())[-2:]
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(5)))
        bias.zero_()
        bias.copy_(-torch.from_numpy(model.predict([row[:2] for row in nli_rows])).mean(dim=0))
    model.config.id2label = {0: "contradiction", 1: "entailment", 2: "neutral"}
    model.config.label2id = {name: place for place, name in model.config.id2label.items()}
    model.save_pretrained(str(folder), create_model_card=False)
    return folder

"""Search finds what comparing with every text finds, and reranking orders it as the cross-encoder says."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.data.rows import Document
from munjang.errors import DataError, MissingInputError
from munjang.index.search import MAX_QUERY, Answer, Searcher, encode_documents

QUERIES = ["환불은 언제 되나요?", "배송", "비회원 주문 조회 방법을 알려 주세요"]


@pytest.fixture(scope="module")
def folder(build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("index") / "run")


@pytest.fixture(scope="module")
def searcher(folder: Path) -> Searcher:
    return Searcher(folder)


@pytest.fixture(scope="module")
def cosines(tiny_bi: Path, documents: list[Document]) -> dict[str, np.ndarray]:
    """Cosine of each query with each document, as plain sentence-transformers gives it."""
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    found = model.encode_query(QUERIES) @ model.encode_document([d.text for d in documents]).T
    return dict(zip(QUERIES, found, strict=True))


def positions(answer: Answer, documents: list[Document]) -> list[int]:
    ids = [d.id for d in documents]
    return [ids.index(hit.document.id) for hit in answer.hits]


# -- the first order


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("top", [1, 10, 500])
def test_hits_are_the_nearest_of_all_texts(
    searcher: Searcher, documents: list[Document], cosines: dict[str, np.ndarray], query: str, top: int
) -> None:
    answer = searcher.search(query, top, rerank=1)
    found = [hit for hit in answer.hits if hit.rank <= top]
    assert [hit.rank for hit in found] == list(range(1, min(top, 120) + 1))
    expected = cosines[query][positions(answer, documents)]
    assert [hit.cosine for hit in answer.hits] == pytest.approx(expected, abs=1e-5)
    assert [hit.cosine for hit in found] == pytest.approx(np.sort(cosines[query])[::-1][:top], abs=1e-5)
    assert len({hit.document.id for hit in found}) == len(found)
    assert set(hit.document for hit in found) <= set(documents)


def test_texts_and_queries_have_their_own_prompts(searcher: Searcher, documents: list[Document], tiny_bi: Path) -> None:
    plain = SentenceTransformer(str(tiny_bi), device="cpu").encode([d.text for d in documents[:5]], prompt="글: ")
    assert np.abs(searcher.index.vectors[:5] - plain).max() < 1e-5
    assert np.abs(encode_documents(documents[:5], searcher.encoder) - plain).max() < 1e-5
    assert np.abs(np.linalg.norm(searcher.index.vectors, axis=1) - 1).max() < 1e-5


def test_spellings_of_one_query_find_the_same(searcher: Searcher) -> None:
    expected = searcher.search(QUERIES[0])
    for query in (unicodedata.normalize("NFD", QUERIES[0]), f"  {QUERIES[0]}\n", f"\u200b{QUERIES[0]}\x00"):
        answer = searcher.search(query)
        assert answer.query == QUERIES[0]
        assert answer.hits == expected.hits


def test_an_answer_says_how_long_each_step_took(searcher: Searcher) -> None:
    answer = searcher.search(QUERIES[0])
    assert answer.encode_ms > 0
    assert answer.find_ms > 0
    assert answer.rerank_ms > 0


# -- the second order


@pytest.mark.parametrize("query", QUERIES)
def test_reranking_orders_the_nearest_by_the_cross_encoder(
    searcher: Searcher, tiny_cross: Path, documents: list[Document], query: str
) -> None:
    answer = searcher.search(query, top=30, rerank=30)
    model = CrossEncoder(str(tiny_cross), device="cpu")
    expected = model.predict([(query, hit.document.text) for hit in answer.hits])
    assert [hit.score for hit in answer.hits] == pytest.approx(expected, abs=1e-5)
    reranked = answer.reranked()
    assert [hit.reranked for hit in reranked] == list(range(1, 31))
    assert [hit.score for hit in reranked] == sorted((hit.score for hit in answer.hits), reverse=True)
    assert [hit.rank for hit in answer.hits] == list(range(1, 31))
    assert set(reranked) == set(answer.hits)
    assert [hit.rank for hit in reranked] != list(range(1, 31))


def test_both_orders_keep_their_first_hits(searcher: Searcher) -> None:
    narrow, wide = searcher.search(QUERIES[0], top=5, rerank=40), searcher.search(QUERIES[0], top=40, rerank=40)
    assert [h for h in narrow.hits if h.rank <= 5] == wide.hits[:5]
    assert [h for h in narrow.reranked() if h.reranked <= 5] == wide.reranked()[:5]
    assert all(h.rank <= 5 or h.reranked <= 5 for h in narrow.hits)
    assert len(narrow.hits) > 5  # otherwise the two orders would agree, and nothing be tested


@pytest.mark.parametrize("rerank", [0, 1, 5])
def test_no_hit_is_left_without_a_place_in_the_second_order(searcher: Searcher, rerank: int) -> None:
    answer = searcher.search(QUERIES[1], top=10, rerank=rerank)
    assert sorted(hit.reranked for hit in answer.hits) == list(range(1, 11))


def test_equal_scores_keep_the_first_order(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searcher.scorer, "score", lambda pairs: np.full(len(pairs), 0.5, np.float32))
    answer = searcher.search(QUERIES[0], top=20, rerank=20)
    assert answer.reranked() == answer.hits


@pytest.mark.parametrize("off", ["by the caller", "by the index"])
def test_without_a_cross_encoder_there_is_one_order(build, folder: Path, tmp_path: Path, off: str) -> None:
    searcher = Searcher(folder, rerank=False) if off == "by the caller" else Searcher(build(tmp_path, reranker=False))
    answer = searcher.search(QUERIES[0], top=7, rerank=50)
    assert len(answer.hits) == 7
    assert answer.rerank_ms is None
    assert {(hit.reranked, hit.score) for hit in answer.hits} == {(None, None)}
    assert answer.reranked() == answer.hits


# -- what is refused


@pytest.mark.parametrize("query", ["", "   ", "\n\t", "\u3164", "\u200b\u200d", "\x00"])
def test_a_blank_query_is_refused(searcher: Searcher, query: str) -> None:
    with pytest.raises(DataError, match="blank"):
        searcher.search(query)


def test_a_query_may_be_so_long_and_no_longer(searcher: Searcher) -> None:
    assert searcher.search("가" * MAX_QUERY, top=1, rerank=1).hits
    with pytest.raises(DataError, match="too long") as caught:
        searcher.search("가" * (MAX_QUERY + 1))
    assert (caught.value.expected, caught.value.got) == ("at most 4,096 characters", "4,097")


def test_a_model_that_has_changed_is_refused(build, tmp_path: Path) -> None:
    folder = build(tmp_path / "run")
    model = tmp_path / "run" / "stages" / "01-bi" / "model"
    settings = model / "config_sentence_transformers.json"
    content = json.loads(settings.read_text(encoding="utf-8"))
    settings.write_text(json.dumps({**content, "prompts": {"query": "물음: "}}), encoding="utf-8")
    with pytest.raises(DataError, match="changed since the index was made") as caught:
        Searcher(folder)
    assert caught.value.where == str(model)


def test_a_model_that_is_gone_is_named(build, tmp_path: Path) -> None:
    folder = build(tmp_path / "run")
    model = tmp_path / "run" / "stages" / "01-bi" / "model"
    shutil.rmtree(model)
    with pytest.raises(MissingInputError, match="bi-encoder is gone") as caught:
        Searcher(folder)
    assert caught.value.where == str(model)


def test_a_cross_encoder_that_is_gone_is_named(build, tmp_path: Path) -> None:
    folder = build(tmp_path / "run")
    model = tmp_path / "run" / "stages" / "02-cross" / "model"
    shutil.rmtree(model)
    with pytest.raises(MissingInputError, match="cross-encoder") as caught:
        Searcher(folder)
    assert caught.value.where == str(model)
    assert Searcher(folder, rerank=False).search(QUERIES[0], top=1).hits


def test_a_run_that_was_moved_is_still_searched(
    build, tmp_path: Path, searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "run")
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    assert Searcher(moved / "stages" / "03-index").search(QUERIES[0]).hits == searcher.search(QUERIES[0]).hits

"""What the paths answer is what the models say, whatever is computed together; official clients read it."""

from __future__ import annotations

import base64
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from munjang.data.rows import Document
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.engine.scorer import Scorer
from munjang.engine.verifying import verify_url
from munjang.index.search import Searcher

TEXTS = ["환불은 언제 되나요?", "배송", "비회원 주문 조회 방법을 알려 주세요", "How long does it take? " * 20]
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module")
def encoder(tiny_bi: Path) -> Encoder:
    return Encoder(tiny_bi)


def vectors(answer: Any) -> np.ndarray:
    assert answer.status == 200, answer.body
    return np.array([entry["embedding"] for entry in answer.json["data"]], np.float32)


@pytest.mark.parametrize("use", ["similarity", "query", "document"])
def test_vectors_are_those_of_the_encoder(server: Any, encoder: Encoder, use: str) -> None:
    answer = server.post("/v1/embeddings", {"input": TEXTS, "use": use})
    np.testing.assert_allclose(vectors(answer), encoder.encode(TEXTS, use), **CLOSE)
    assert [entry["index"] for entry in answer.json["data"]] == [0, 1, 2, 3]
    assert (answer.json["model"], answer.json["object"]) == ("tiny-bi", "list")


def test_without_a_prompt_a_text_with_the_prompt_is_the_text(server: Any, encoder: Encoder) -> None:
    sent = [encoder.prompt() + text for text in TEXTS]
    for answer in (
        server.post("/v1/embeddings", {"input": sent, "use": "none"}),
        server.post("/v1/embeddings", {"input": sent}, Munjang_Use="none"),
    ):
        np.testing.assert_allclose(vectors(answer), encoder.encode(TEXTS), **CLOSE)


def test_a_string_is_a_list_of_one_and_dimensions_cut(server: Any, tiny_bi: Path) -> None:
    answer = server.post("/v1/embeddings", {"input": TEXTS[0], "dimensions": 8})
    np.testing.assert_allclose(vectors(answer), Encoder(tiny_bi, dimension=8).encode(TEXTS[:1]), **CLOSE)


def test_base64_is_little_endian_float32(server: Any, encoder: Encoder) -> None:
    answer = server.post("/v1/embeddings", {"input": TEXTS[:2], "encoding_format": "base64"})
    found = [np.frombuffer(base64.b64decode(e["embedding"]), "<f4") for e in answer.json["data"]]
    np.testing.assert_allclose(np.array(found), encoder.encode(TEXTS[:2]), **CLOSE)


def test_usage_counts_tokens_and_cuts_are_said(server: Any, encoder: Encoder) -> None:
    answer = server.post("/v1/embeddings", {"input": [*TEXTS, TEXTS[0]]})
    lengths = encoder.backend.read([*TEXTS, TEXTS[0]], encoder.prompt()).lengths
    assert answer.json["usage"] == {"prompt_tokens": sum(lengths), "total_tokens": sum(lengths)}
    assert answer.headers["munjang-truncated"] == "1"


def test_many_clients_each_get_their_own_vectors(server: Any, encoder: Encoder) -> None:
    texts = [f"{number}번 고객의 주문은 " + "언제 오나요 " * (number % 9) for number in range(120)]
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda text: server.post("/v1/embeddings", {"input": text}), texts))
    np.testing.assert_allclose(np.concatenate([vectors(a) for a in answers]), expected, **CLOSE)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_rerank_orders_as_the_cross_encoder(server: Any, tiny_cross: Path, path: str) -> None:
    scores = Scorer(tiny_cross, symmetric=False).score([(TEXTS[0], text) for text in TEXTS])
    sent = [TEXTS[0], {"text": TEXTS[1]}, TEXTS[2], {"text": TEXTS[3], "id": 7}]
    body = {"query": TEXTS[0], "documents": sent, "top_n": 3, "return_documents": True, "model": "tiny-cross"}
    answer = server.post(path, body)
    results = answer.json["results"]
    assert [r["index"] for r in results] == list(np.argsort(-scores, kind="stable")[:3])
    np.testing.assert_allclose([r["relevance_score"] for r in results], np.sort(scores)[::-1][:3], **CLOSE)
    shown = [{"text": one} if isinstance(one, str) else one for one in sent]
    assert [r["document"] for r in results] == [shown[r["index"]] for r in results]


def test_fields_of_documents_are_read_in_the_order_asked(server: Any, tiny_cross: Path) -> None:
    sent = [{"title": "환불", "body": "닷새 걸립니다"}]
    body = {"query": "환불", "documents": sent, "rank_fields": ["body", "title"]}
    expected = Scorer(tiny_cross, symmetric=False).score([("환불", "닷새 걸립니다\n환불")])
    np.testing.assert_allclose(server.post("/v1/rerank", body).json["results"][0]["relevance_score"], expected, **CLOSE)


def test_similarity_by_either_model(server: Any, encoder: Encoder, tiny_cross: Path) -> None:
    pairs = [[TEXTS[0], TEXTS[1]], [TEXTS[2], TEXTS[0]]]
    by_vectors = server.post("/v1/similarity", {"pairs": pairs}).json["scores"]
    lefts, rights = zip(*pairs, strict=True)
    np.testing.assert_allclose(by_vectors, cosine_of_rows(encoder.encode(lefts), encoder.encode(rights)), **CLOSE)
    by_scores = server.post("/v1/similarity", {"pairs": pairs, "by": "cross-encoder"}).json["scores"]
    np.testing.assert_allclose(by_scores, Scorer(tiny_cross).score([(a, b) for a, b in pairs]), **CLOSE)


@pytest.mark.parametrize("rerank", [0, 10])
def test_search_finds_what_the_searcher_finds(server: Any, index: Path, documents: list[Document], rerank: int) -> None:
    searcher = Searcher(index, rerank=rerank > 0, backend="torch")
    for query in (TEXTS[0], documents[5].text):
        expected = searcher.search(query, 3, rerank).hits
        answer = server.post("/v1/search", {"query": query, "top": 3, "rerank": rerank}).json
        assert [(h["id"], h["rank"], h["reranked"]) for h in answer["hits"]] == [
            (h.document.id, h.rank, h.reranked) for h in expected
        ]
        np.testing.assert_allclose([h["cosine"] for h in answer["hits"]], [h.cosine for h in expected], **CLOSE)
        assert (answer["milliseconds"]["rerank"] is None) == (rerank == 0)


def test_models_health_metrics_and_the_description(server: Any) -> None:
    listed = server.ask("GET", "/v1/models").json["data"]
    assert [(one["id"], one["kind"]) for one in listed] == [("tiny-bi", "bi-encoder"), ("tiny-cross", "cross-encoder")]
    assert server.ask("GET", "/healthz").json == server.ask("GET", "/readyz").json == {"status": "ok"}
    server.post("/v1/embeddings", {"input": "배송"})
    metrics = server.ask("GET", "/metrics").body.decode()
    assert 'munjang_requests_total{path="/v1/embeddings",status="200"}' in metrics
    assert 'munjang_worker_alive{model="tiny-bi"} 1.0' in metrics
    described = server.ask("GET", "/openapi.json").json
    assert {"/v1/embeddings", "/v2/rerank", "/v1/search", "/healthz"} <= set(described["paths"])
    page = server.ask("GET", "/docs")
    assert "<script" not in page.body.decode()
    assert "POST /v1/rerank" in page.body.decode()
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_golden_outputs_are_those_of_the_server(server: Any, encoder: Encoder) -> None:
    golden = {
        "kind": "bi-encoder",
        "inputs": TEXTS,
        "prompt": encoder.prompt(),
        "outputs": encoder.encode(TEXTS).tolist(),
    }
    verified = verify_url(server.url, golden, "tiny-bi")
    assert verified.same
    assert verified.difference_largest <= 1e-5


def test_the_server_opens_no_connection(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        opened.append(threading.current_thread().name)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    for path, body in (
        ("/v1/embeddings", {"input": "https://example.com/a"}),
        ("/v1/rerank", {"query": "http://127.0.0.1:9/", "documents": ["file:///etc/passwd"]}),
        ("/v1/search", {"query": "환불"}),
    ):
        assert server.post(path, body).status == 200
    assert opened == [threading.current_thread().name] * 3


def test_the_client_of_openai(server: Any, encoder: Encoder) -> None:
    openai = pytest.importorskip("openai", reason="the openai client is not installed: pip install openai")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    found = client.embeddings.create(model="tiny-bi", input=TEXTS)
    np.testing.assert_allclose([e.embedding for e in found.data], encoder.encode(TEXTS), **CLOSE)
    assert found.usage.total_tokens > 0
    plain = client.embeddings.create(model="tiny-bi", input=TEXTS[0], encoding_format="float", dimensions=4)
    assert len(plain.data[0].embedding) == 4
    assert [one.id for one in client.models.list()] == ["tiny-bi", "tiny-cross"]
    with pytest.raises(openai.NotFoundError, match="no such bi-encoder"):
        client.embeddings.create(model="text-embedding-3-small", input="배송")
    with pytest.raises(openai.UnprocessableEntityError, match="blank"):
        client.embeddings.create(model="tiny-bi", input="\u3164")


@pytest.mark.parametrize("client", ["Client", "ClientV2"])
def test_the_client_of_cohere(server: Any, tiny_cross: Path, client: str) -> None:
    cohere = pytest.importorskip("cohere", reason="the cohere client is not installed: pip install cohere")
    made = getattr(cohere, client)(api_key="none", base_url=server.url)
    found = made.rerank(model="tiny-cross", query=TEXTS[0], documents=TEXTS[:3], top_n=2)
    scores = Scorer(tiny_cross, symmetric=False).score([(TEXTS[0], text) for text in TEXTS[:3]])
    assert [r.index for r in found.results] == list(np.argsort(-scores, kind="stable")[:2])
    np.testing.assert_allclose([r.relevance_score for r in found.results], np.sort(scores)[::-1][:2], **CLOSE)

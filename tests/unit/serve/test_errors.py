"""Whatever a client sends, it gets one shape of error with the right status, and never its own input back."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIELDS = {"code", "message", "where", "expected", "got", "hint"}
EMBED = "/v1/embeddings"


def require_error(answer: Any, status: int, says: str = "") -> dict[str, Any]:
    assert answer.status == status, answer.body[:300]
    assert answer.headers["content-type"] == "application/json"
    error = answer.json["error"]
    assert set(error) == FIELDS
    assert all(text is None or len(text) <= 200 for text in error.values())
    assert says in json.dumps(error, ensure_ascii=False)
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return error


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b'{"input": "a"} x', 400, "not JSON"),
        (b'{"input": NaN}', 400, "no such number"),
        (b'{"input": -Infinity}', 400, "no such number"),
        (b'{"dimensions": 1e999}', 400, "not finite"),
        (b'{"dimensions": ' + b"9" * 5000 + b"}", 400, "too long"),
        (b'{"input": "a", "input": "b"}', 400, "twice"),
        (b"[" * 100_000, 400, "too deep"),
        (b'{"input": ' + b"[" * 40 + b"]" * 40 + b"}", 400, "too deep"),
        (b'{"input": "\xff"}', 400, "not UTF-8"),
        ('{"input": "a"}'.encode("utf-16"), 400, "not UTF-8"),
        (b'{"input": "\\ud800"}', 422, "surrogate"),
        (b'{"\\ud800": 1}', 422, "surrogate"),
        (b"[]", 422, "no JSON object"),
        (b"null", 422, "no JSON object"),
        (b"{}", 422, "input"),
        (b'{"input": 7}', 422, "input"),
        (b'{"input": []}', 422, "nothing to do"),
        (b'{"input": [1, 2, 3]}', 422, "token ids"),
        (b'{"input": [[1, 2], [3]]}', 422, "token ids"),
        (b'{"input": ["a", null]}', 422, "input[1]"),
        (b'{"input": ["a", {"text": "b"}]}', 422, "no text"),
        (b'{"input": ["a", " \\t\\u3164"]}', 422, "blank"),
        (b'{"input": ""}', 422, "blank"),
        (json.dumps({"input": "가" * 32_769}).encode(), 422, "too long"),
        (json.dumps({"input": ["a"] * 65}).encode(), 413, "too many items"),
        (b'{"input": "a", "dimensions": 33}', 422, "at most 32"),
        (b'{"input": "a", "dimensions": 0}', 422, "dimensions"),
        (b'{"input": "a", "dimensions": true}', 422, "dimensions"),
        (b'{"input": "a", "encoding_format": "hex"}', 422, "encoding_format"),
        (b'{"input": "a", "use": "passage"}', 422, "use"),
        (b'{"input": "a", "inputs": "b"}', 422, "unknown field"),
        (b'{"input": "a", "model": "/etc/passwd"}', 404, "no such bi-encoder"),
        (b'{"input": "a", "model": "tiny-cross"}', 404, "no such bi-encoder"),
    ],
)
def test_bad_requests_for_embeddings(server: Any, body: bytes, status: int, says: str) -> None:
    require_error(server.post(EMBED, body), status, says)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/rerank", {"query": "a"}, 422, "documents"),
        ("/v1/rerank", {"query": "a", "documents": []}, 422, "nothing to do"),
        ("/v1/rerank", {"query": " ", "documents": ["a"]}, 422, "blank"),
        ("/v1/rerank", {"query": "a", "documents": ["a", ""]}, 422, "documents[1]"),
        ("/v2/rerank", {"query": "a", "documents": [{"body": "a"}]}, 422, "no text"),
        ("/v2/rerank", {"query": "a", "documents": [{"text": 7}]}, 422, "no text"),
        ("/v2/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, 422, "top_n"),
        ("/v2/rerank", {"query": "a", "documents": ["a"] * 1_001}, 413, "too many"),
        ("/v2/rerank", {"query": "a", "documents": ["a"], "model": "x"}, 404, "no such cross-encoder"),
        ("/v1/similarity", {"pairs": []}, 422, "nothing to do"),
        ("/v1/similarity", {"pairs": [["a"]]}, 422, "two texts"),
        ("/v1/similarity", {"pairs": [["a", "b", "c"]]}, 422, "two texts"),
        ("/v1/similarity", {"pairs": [["a", " "]]}, 422, "blank"),
        ("/v1/similarity", {"pairs": [["a", "b"]] * 1_001}, 413, "too many"),
        ("/v1/similarity", {"pairs": [["a", "b"]], "by": "x"}, 422, "by"),
        ("/v1/search", {"query": " "}, 422, "blank"),
        ("/v1/search", {"query": "a" * 4_097}, 422, "too long"),
        ("/v1/search", {"query": "a", "top": 1_001}, 413, "too many"),
        ("/v1/search", {"query": "a", "rerank": -1}, 422, "rerank"),
        ("/v1/search", {"query": "a", "top": 1.5}, 422, "top"),
        ("/v1/nothing", {}, 404, "no such path"),
        ("/v1/models", {}, 405, "another method"),
    ],
)
def test_bad_requests_elsewhere(server: Any, path: str, body: Any, status: int, says: str) -> None:
    require_error(server.post(path, body), status, says)


def test_the_wrong_method_names_the_right_one(server: Any) -> None:
    answer = server.ask("GET", EMBED)
    require_error(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/json; charset=euc-kr"}, 415),
        ({"Content_Type": "application/json; charset=UTF-8"}, 200),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Origin": "https://example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Host": "example.com"}, 403),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "[::1]:8080"}, 200),
        ({"X_One": "a" * 20_000}, 431),
        ({f"X_{number}": "a" for number in range(70)}, 431),
    ],
    ids=lambda value: str(value)[:60],
)
def test_headers(server: Any, headers: dict[str, str], status: int) -> None:
    answer = server.post(EMBED, {"input": "배송"}, **headers)
    if status == 200:
        assert answer.status == 200
    else:
        require_error(answer, status)


def raw(server: Any, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        connection.sendall(sent)
        found = b""
        while part := connection.recv(65_536):
            found += part
    return found


HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"


def test_a_large_body_is_refused_before_it_is_sent(server: Any) -> None:
    found = raw(server, HEAD + b"Content-Length: 90000000\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 413")
    assert b'"too-large"' in found


def test_a_large_body_without_a_length_is_refused_while_it_comes(server: Any) -> None:
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    found = raw(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 31)
    assert found.startswith(b"HTTP/1.1 413")


def test_what_is_no_http_is_refused_in_the_same_shape(server: Any) -> None:
    head, _, body = raw(server, b"hello\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert set(json.loads(body)["error"]) == FIELDS


def test_a_long_head_is_refused(server: Any) -> None:
    assert raw(server, b"GET /" + b"a" * 20_000).startswith(b"HTTP/1.1 431")


def test_a_bug_says_its_number_and_nothing_else(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    running = start()

    def broken(key: str, jobs: list) -> list:
        raise RuntimeError("secret words")

    running.served.encoders[0].lane._compute = broken
    error = require_error(running.post(EMBED, {"input": "배송"}), 500, "bug")
    assert "secret" not in json.dumps(error)
    assert error["got"].split()[1] in caplog.text
    assert running.ask("GET", "/healthz").status == 200


def test_one_text_that_breaks_the_model_breaks_no_other_request(gated: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    running, gate = gated()
    compute, lane = gate._compute, running.served.encoders[0].lane

    def breaks(key: str, jobs: list) -> list:
        if any("나쁜" in text for job in jobs for text in job):
            raise RuntimeError
        return compute(key, jobs)

    gate._compute = breaks
    gate.shut()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(running.post, EMBED, {"input": "먼저"})
        gate.until(lambda: lane.running == 1)
        rest = [pool.submit(running.post, EMBED, {"input": text}) for text in ("하나", "나쁜", "둘", "셋")]
        gate.until(lambda: lane.waiting == 4)
        gate.open()
        assert first.result().status == 200
        assert [one.result().status for one in rest] == [200, 500, 200, 200]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_FIELD = st.sampled_from(["input", "query", "documents", "pairs", "top", "top_n", "dimensions", "use", "model", "x"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([EMBED, "/v1/rerank", "/v1/similarity", "/v1/search"]),
    body=st.dictionaries(_FIELD, _JSON, max_size=4) | _JSON,
)
def test_any_json_gets_an_answer_of_the_documented_shape(server: Any, path: str, body: Any) -> None:
    sent = json.dumps(body).encode()
    answer = server.post(path, sent)
    if answer.status != 200:
        assert answer.status < 500
        require_error(answer, answer.status)


@pytest.fixture(scope="module")
def guarded(start: Any) -> Any:
    return start(token="s3cret-token")


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        ("Basic s3cret-token", 401),
        ("Bearer s3cret-token1", 401),
        ("Bearer \xe9\xe9", 401),
        ("Bearer s3cret-token", 200),
        ("bearer s3cret-token", 200),
    ],
)
def test_the_token(guarded: Any, given: str | None, status: int) -> None:
    headers = {} if given is None else {"Authorization": given}
    for method, path, body in (("POST", EMBED, {"input": "배송"}), ("GET", "/metrics", None), ("GET", "/docs", None)):
        answer = guarded.ask(method, path, body, **headers)
        if status == 200:
            assert answer.status == 200
        else:
            assert "s3cret" not in json.dumps(require_error(answer, 401))
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert guarded.ask("GET", "/healthz").status == guarded.ask("GET", "/readyz").status == 200


def test_two_tokens_are_none(guarded: Any) -> None:
    line = b"Authorization: Bearer s3cret-token\r\n"
    found = raw(guarded, b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + line * 2 + b"\r\n")
    assert found.startswith(b"HTTP/1.1 401")

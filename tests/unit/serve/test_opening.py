"""What is served under which name, who may listen where, and what a queue takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from munjang.errors import ConfigError


@pytest.mark.parametrize(
    ("host", "token", "allowed"),
    [
        ("127.0.0.1", None, True),
        ("127.8.8.8", None, True),
        ("localhost", None, True),
        ("::1", None, True),
        ("0.0.0.0", None, False),
        ("::", None, False),
        ("192.168.0.7", None, False),
        ("munjang.example", None, False),
        ("0.0.0.0", "long enough", False),
        ("0.0.0.0", "long-enough", True),
        ("127.0.0.1", "short", False),
        ("127.0.0.1", "\ud1a0\ud070\ud1a0\ud070\ud1a0\ud070\ud1a0\ud070", False),
    ],
)
def test_other_machines_may_ask_only_with_a_token(host: str, token: str | None, allowed: bool) -> None:
    from munjang.serve.process import require_guarded

    if allowed:
        require_guarded(host, token)
    else:
        with pytest.raises(ConfigError):
            require_guarded(host, token)


def test_models_beside_an_index_have_names_of_their_own(tiny_bi: Path, tiny_cross: Path, index: Path) -> None:
    from munjang.serve.limits import Limits
    from munjang.serve.opening import open_served
    from munjang.serve.refusals import UnknownPathError

    served = open_served(("tiny-bi", tiny_bi), ("mine", tiny_cross), index, "cpu", "torch", Limits())
    assert [one.name for one in served.models()] == ["tiny-bi", "index", "mine"]
    assert served.encoder(None).name == "tiny-bi"
    assert served.searcher_encoder is served.encoder("index")
    assert served.searcher_scorer is served.scorer(None)
    with pytest.raises(UnknownPathError, match="tiny-bi or index"):
        served.encoder("mine")
    served.close()
    assert not any(lane.alive for lane in served.lanes())


def test_what_is_not_served_is_said(tiny_bi: Path) -> None:
    from munjang.serve.limits import Limits
    from munjang.serve.opening import open_served
    from munjang.serve.refusals import UnknownPathError

    served = open_served(("tiny-bi", tiny_bi), None, None, "cpu", "torch", Limits())
    with pytest.raises(UnknownPathError, match="--reranker"):
        served.scorer(None)
    served.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_queue_is_bounded_in_tokens_and_forgets_who_left(gate: threading.Event) -> None:
    from munjang.serve.lane import Lane
    from munjang.serve.refusals import OverloadedError

    seen: list[int] = []

    def compute(key: str, jobs: list) -> list:
        assert gate.wait(10)
        seen.append(len(jobs))
        return [sum(inputs) for inputs in jobs]

    lane, later = Lane("lane", compute, batch=10, bound=20), time.monotonic() + 10
    # Larger than the bound, and taken because nothing waits.
    first = lane.submit("", [100], 100, later)
    while lane.running == 0:
        time.sleep(0.002)
    waiting = [lane.submit("", [number], 5, later) for number in range(4)]
    with pytest.raises(OverloadedError):
        lane.submit("", [9], 1, later)
    waiting[0].cancel()
    last = lane.submit("", [9], 5, later)
    assert (lane.dropped, lane.tokens, lane.waiting) == (1, 20, 4)
    gate.set()
    assert [one.result(10) for one in (first, *waiting[1:], last)] == [100, 1, 2, 3, 9]
    assert seen == [1, 2, 2]
    lane.close()
    assert not lane.alive

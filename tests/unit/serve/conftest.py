"""Real servers in threads: uvicorn on a free port, over the tiny models and an index of some help texts."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import Document
from munjang.engine.encoder import Encoder
from munjang.files import new_directory
from munjang.index.search import encode_documents
from munjang.index.store import write_index
from munjang.models.folder import fingerprint_model

if TYPE_CHECKING:
    from munjang.serve.limits import Limits
    from munjang.serve.served import Served


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    for package in ("starlette", "uvicorn", "prometheus_client"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'munjang[serve]'")


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A server that runs in a thread."""

    def __init__(self, served: Served, limits: Limits, token: str | None) -> None:
        from munjang.serve.process import Server, listening, state_of

        self.served = served
        bound = listening("127.0.0.1", 0)
        self.port: int = bound.getsockname()[1]
        ready = threading.Event()
        self.server = Server(served, state_of("127.0.0.1", token, limits), ready.set)
        self.thread = threading.Thread(target=self.server.serve_on, args=(bound,), daemon=True)
        self.thread.start()
        assert ready.wait(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        plain = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, plain, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()


Start = Callable[..., Running]


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    return load_rows(DataSpec(source="support-help"), ("documents",), Path()).rows[:40]


@pytest.fixture(scope="session")
def index(tiny_bi: Path, tiny_cross: Path, documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "index"
    with new_directory(folder) as out:
        write_index(
            out,
            documents,
            encode_documents(documents, Encoder(tiny_bi)),
            home=out,
            model=tiny_bi,
            model_fingerprint=fingerprint_model(tiny_bi),
            reranker=tiny_cross,
        )
    return folder


@pytest.fixture(scope="session")
def start(index: Path) -> Iterator[Start]:
    """Starts a server over the index and its two models; keywords are limits, and `token`."""
    running: list[Running] = []

    def begin(token: str | None = None, **limits: Any) -> Running:
        from munjang.serve.limits import Limits
        from munjang.serve.opening import open_served

        bounds = Limits(**limits)
        running.append(Running(open_served(None, None, index, "cpu", "torch", bounds), bounds, token))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def server(start: Start) -> Running:
    """A server with the limits that users have."""
    return start()


class Gate:
    """Stands before a model of a server: while it is shut, nothing is computed."""

    def __init__(self, lane: Any) -> None:
        self._open = threading.Event()
        self._open.set()
        self._compute, self._lane = lane._compute, lane
        lane._compute = self._wait

    def _wait(self, key: str, jobs: list) -> list:
        assert self._open.wait(30)
        return self._compute(key, jobs)

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def until(self, happened: Callable[[], bool], seconds: float = 10) -> None:
        ends = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < ends, "it did not happen in time"
            time.sleep(0.005)


@pytest.fixture
def gated(start: Start) -> Iterator[Callable[..., tuple[Running, Gate]]]:
    gates: list[Gate] = []

    def make(**limits: Any) -> tuple[Running, Gate]:
        running = start(**limits)
        gates.append(Gate(running.served.encoders[0].lane))
        return running, gates[-1]

    yield make
    for gate in gates:
        gate.open()

"""The door for the hub: without a network there is one clear error, soon, and never a traceback."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from munjang import hub
from munjang.errors import UnavailableError
from munjang.hub import is_offline, require_hub


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers every request with `status` and `body`, and logs nothing."""

    status = 200
    body = b""

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


class Portal(Quiet):
    """The log-in page of a hotel: 200 and HTML to everything."""

    body = b"<html>Please log in</html>"


class Dropping(Quiet):
    """Answers for the front page only and hangs up on everything else."""

    def do_GET(self) -> None:
        if self.path in ("", "/"):
            super().do_GET()
        else:
            self.close_connection = True
            self.connection.close()

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture(autouse=True)
def _no_hub_settings(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HF_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a small server on this machine and returns its address."""
    servers = []

    def start(handler: type[Quiet] = Quiet, **answers: object) -> str:
        kind = type("Handler", (handler,), answers)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def closed_port() -> str:
    """An address on this machine at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize(
    ("value", "offline"),
    [("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("", False), ("no", False)],
)
def test_the_user_can_forbid_the_network(monkeypatch, variable, value, offline):
    monkeypatch.setenv(variable, value)
    assert is_offline() is offline


def test_nothing_is_asked_where_the_network_is_forbidden(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "_knock", lambda: pytest.fail("asked the hub all the same"))
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE") as caught:
        require_hub("the model 'x'", "name a folder")
    assert caught.value.exit_status == 69
    assert caught.value.hint == "name a folder"
    assert "the model 'x'" in caught.value.what


def test_a_hub_that_refuses_the_connection_is_named_with_the_reason(monkeypatch, closed_port):
    monkeypatch.setenv("HF_ENDPOINT", closed_port)
    with pytest.raises(UnavailableError, match="refused") as caught:
        require_hub("the model 'x'", "name a folder")
    assert caught.value.where == closed_port
    assert caught.value.hint == "name a folder"


@pytest.mark.parametrize("status", [200, 204, 401, 403, 404, 429, 500, 503])
def test_any_answer_at_all_shows_that_the_hub_can_be_reached(monkeypatch, serve, status):
    monkeypatch.setenv("HF_ENDPOINT", serve(status=status))
    require_hub("the model 'x'", "name a folder")


def test_a_hub_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(hub, "REACH_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UnavailableError, match=r"0\.3 s|timed out"):
            require_hub("the model 'x'", "name a folder")


def test_a_hub_that_talks_nonsense_is_an_error_of_the_hub(monkeypatch):
    monkeypatch.setattr(hub, "REACH_TIMEOUT", 2)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            connection, _ = listener.accept()
            connection.sendall(b"\x00\xff not http\r\n\r\n")
            connection.close()

        threading.Thread(target=babble, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(UnavailableError):
            require_hub("the model 'x'", "name a folder")


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("address", ["hub.example", "", "http://[", "http://hub example/"])
def test_an_address_that_is_none_is_named_as_the_cause(monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UnavailableError) as caught:
        require_hub("the model 'x'", "name a folder")
    assert "no answer" not in caught.value.got


FETCH = """
import sys
from munjang.errors import MunjangError
from munjang.hub import fetch_dataset_file, fetch_model

try:
    if sys.argv[1] == "model":
        fetch_model(sys.argv[2], "HINT")
    else:
        fetch_dataset_file(sys.argv[2], "default", "train", hint="HINT")
except MunjangError as error:
    print(error.exit_status, error)
"""


def fetch(python, what: str, repository: str = "munjang-test/absent", **environment: str) -> str:
    """What fetching prints, in a process of its own, because huggingface_hub reads its settings on import."""
    output, problems = python(FETCH, what, repository, **environment).communicate(timeout=60)
    assert "Traceback" not in problems, problems
    return output


@pytest.mark.parametrize("what", ["model", "dataset"])
def test_fetching_where_the_network_is_forbidden_is_one_line(python, what):
    output = fetch(python, what, HF_HUB_OFFLINE="1")
    assert output.startswith("69 ")
    assert "munjang-test/absent" in output
    assert "HINT" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("what", ["model", "dataset"])
def test_fetching_where_nothing_listens_is_one_line(python, closed_port, what):
    output = fetch(python, what, HF_ENDPOINT=closed_port)
    assert output.startswith(f"69 {closed_port}: ")
    assert "HINT" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("what", ["model", "dataset"])
def test_what_the_hub_does_not_have_is_a_missing_input(python, serve, what):
    output = fetch(python, what, HF_ENDPOINT=serve(status=404))
    assert output.startswith("66 ")
    assert "munjang-test/absent" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("what", ["model", "dataset"])
@pytest.mark.parametrize("handler", [Portal, Dropping], ids=lambda h: h.__name__.lower())
def test_a_hub_that_answers_but_gives_nothing_is_one_line(python, serve, what, handler):
    output = fetch(python, what, HF_ENDPOINT=serve(handler))
    assert output[:3] in ("66 ", "69 ")
    assert "munjang-test/absent" in output


@pytest.mark.parametrize("name", ["not a model", "a/b/c/d", "../up", "가나다", "x" * 300])
def test_a_name_that_no_model_can_have_is_a_missing_input_without_a_network(python, closed_port, name):
    output = fetch(python, "model", name, HF_ENDPOINT=closed_port)
    assert output.startswith("66 ")
    assert "HINT" in output


CACHED = """
import sys
from pathlib import Path
from munjang.hub import fetch_dataset_file, fetch_model

home = Path(sys.argv[1]) / "hub"

def put(folder, reference, name):
    commit = "0" * 40
    (home / folder / "refs" / reference).parent.mkdir(parents=True)
    (home / folder / "refs" / reference).write_text(commit)
    file = home / folder / "snapshots" / commit / name
    file.parent.mkdir(parents=True)
    file.write_text("cached")

put("models--munjang-test--here", "main", "config.json")
put("datasets--munjang-test--here", "refs/convert/parquet", "default/train/0000.parquet")
print((fetch_model("munjang-test/here", "HINT") / "config.json").read_text())
print(fetch_dataset_file("munjang-test/here", "default", "train", hint="HINT").read_text())
"""


def test_what_is_in_the_local_cache_needs_no_network(python, tmp_path, closed_port):
    output, problems = python(CACHED, tmp_path / "hf", HF_ENDPOINT=closed_port).communicate(timeout=60)
    assert output.split() == ["cached", "cached"], problems

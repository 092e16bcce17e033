"""Under overload the server refuses at once and never hangs; slow clients, those that leave, and its end harm nobody."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

EMBED = "/v1/embeddings"
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_open_loop_beyond_capacity_gives_429_at_once_and_loses_nothing(start: Any) -> None:
    running = start(queue=120)
    lane = running.served.encoders[0].lane
    compute = lane._compute

    def slow(key: str, jobs: list) -> list:
        time.sleep(0.1)
        return compute(key, jobs)

    lane._compute, lane._batch = slow, 40

    def ask(number: int) -> tuple[int, float, Any]:
        began = time.monotonic()
        answer = running.post(EMBED, {"input": f"{number}번 주문은 언제 오나요?"})
        return answer.status, time.monotonic() - began, answer

    asked: list[Future] = []
    with ThreadPoolExecutor(64) as pool:
        for number in range(200):
            # Clients come whether or not others were answered.
            asked.append(pool.submit(ask, number))
            time.sleep(0.005)
        health = running.ask("GET", "/healthz").status
        done = [one.result(timeout=30) for one in asked]
    refused = [one for one in done if one[0] == 429]
    accepted = [one for one in done if one[0] == 200]
    print(f"accepted {len(accepted)}, refused {len(refused)}, slowest {max(one[1] for one in done):.2f} s")
    assert len(refused) + len(accepted) == len(done)
    assert health == 200
    assert refused
    assert accepted
    assert all(one[2].headers["retry-after"] == "1" for one in refused)
    assert all(one[2].json["error"]["code"] == "overloaded" for one in refused)
    assert (lane.waiting, lane.tokens) == (0, 0)
    assert running.post(EMBED, {"input": "배송"}).status == 200


def test_what_waits_is_computed_together_and_by_prompt(gated: Any) -> None:
    running, gate = gated()
    lane, seen, compute = running.served.encoders[0].lane, [], gate._compute

    def noted(key: str, jobs: list) -> list:
        seen.append((key, len(jobs)))
        return compute(key, jobs)

    gate._compute = noted
    gate.shut()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(running.post, EMBED, {"input": "먼저"})
        gate.until(lambda: lane.running == 1)
        uses = ["query", "document", "query", "document", "query"]
        rest = [pool.submit(running.post, EMBED, {"input": "배송", "use": use}) for use in uses]
        gate.until(lambda: lane.waiting == 5)
        gate.open()
        assert [one.result().status for one in (first, *rest)] == [200] * 6
    assert sorted(seen[1:]) == [("글: ", 2), ("질문: ", 3)]


def test_a_deadline_ends_a_request_that_waits(gated: Any) -> None:
    running, gate = gated(request=0.4)
    lane = running.served.encoders[0].lane
    gate.shut()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(running.post, EMBED, {"input": f"{i}"}) for i in range(3)]
        answers = [one.result(timeout=10) for one in asked]
    assert [a.status for a in answers] == [503] * 3
    assert {a.json["error"]["code"] for a in answers} == {"deadline"}
    gate.open()
    gate.until(lambda: lane.waiting == 0 and lane.running == 0)
    assert lane.batches == 1
    assert running.post(EMBED, {"input": "배송"}).status == 200


def test_who_leaves_is_not_computed_for(gated: Any) -> None:
    running, gate = gated()
    lane = running.served.encoders[0].lane
    gate.shut()
    body = json.dumps({"input": "배송"}).encode()
    sent = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    connections = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(8)]
    connections[0].sendall(sent)
    gate.until(lambda: lane.running == 1)
    for connection in connections[1:]:
        connection.sendall(sent)
    gate.until(lambda: lane.waiting == 7)
    for connection in connections:
        connection.close()
    gate.until(lambda: "munjang_requests_open 1.0" in running.ask("GET", "/metrics").body.decode())
    gate.open()
    gate.until(lambda: lane.dropped == 7)
    assert (lane.batches, lane.waiting, lane.tokens) == (1, 0, 0)


def test_slow_clients_are_closed_and_others_do_not_wait(start: Any) -> None:
    running = start(receive=0.6)
    heads = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]
    bodies = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(20)]
    for connection in bodies:
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        for connection in (*heads, *bodies):
            try:
                connection.send(b"G" if connection in heads else b" ")
            except OSError:
                continue
        answered = time.monotonic()
        assert running.post(EMBED, {"input": "배송"}).status == 200
        assert time.monotonic() - answered < 2
    for connection in heads:
        assert received(connection) == b""
    for connection in bodies:
        assert received(connection).startswith(b"HTTP/1.1 408")
    for connection in (*heads, *bodies):
        connection.close()


def received(connection: socket.socket) -> bytes:
    """What comes until the server closes; a timeout where it does not."""
    connection.settimeout(5)
    found = b""
    try:
        while part := connection.recv(4_096):
            found += part
    except ConnectionError:
        pass  # what the client sent after the end makes the close a reset
    return found


def test_one_connection_too_many_is_closed(start: Any) -> None:
    running = start(connections=5)
    held = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(5)]
    time.sleep(0.2)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        running.ask("GET", "/healthz")
    for connection in held:
        connection.close()
    time.sleep(0.2)
    assert running.ask("GET", "/healthz").status == 200


def test_draining_is_said_first_and_running_requests_are_answered(gated: Any) -> None:
    running, gate = gated()
    gate.shut()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(running.post, EMBED, {"input": f"{i}번 주문"}) for i in range(3)]
        lane = running.served.encoders[0].lane
        gate.until(lambda: lane.running + lane.waiting == 3)
        running.server.stop()
        ready = running.ask("GET", "/readyz")
        assert (ready.status, ready.json["error"]["code"]) == (503, "not-ready")
        assert running.ask("GET", "/healthz").status == 200
        refused = running.post(EMBED, {"input": "늦게 온 것"})
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        gate.until(lambda: running.server.should_exit)
        assert running.thread.is_alive()
        gate.open()
        assert [one.result(timeout=10).status for one in asked] == [200] * 3
    running.thread.join(10)
    assert not running.thread.is_alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_dies_answers_who_waits_and_ends_the_server(gated: Any) -> None:
    running, gate = gated()
    lane = running.served.encoders[0].lane

    def dies(key: str, jobs: list) -> list:
        raise SystemExit

    gate._compute = dies
    answer = running.post(EMBED, {"input": "배송"})
    assert (answer.status, answer.json["error"]["code"]) == (503, "not-ready")
    running.thread.join(10)
    assert not running.thread.is_alive()
    assert not lane.alive


CODE = """
import sys
from munjang.cli.app import main
main(["serve", *sys.argv[1:]])
"""


def test_the_command_serves_until_sigterm(python: Any, tiny_bi: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret-token\n")
    options = [
        "--model",
        tiny_bi,
        "--port",
        0,
        "--token-file",
        token,
        "--device",
        "cpu",
        "--backend",
        "torch",
        "--json",
    ]
    process = python(CODE, *options, PYTHONUNBUFFERED="1")
    try:
        line = ""
        while "address" not in line:
            line = process.stdout.readline()
            assert line, process.stderr.read()
        port = int(line.rpartition(":")[2].strip().strip('"}'))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Authorization": "Bearer s3cret-token", "Content-Type": "application/json"}
        connection.request("POST", EMBED, json.dumps({"input": "배송"}), headers)
        assert len(json.loads(connection.getresponse().read())["data"][0]["embedding"]) == 32
        process.send_signal(signal.SIGTERM)
        printed, problems = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, "s3cret" in printed + problems) == (0, False)


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--host", "0.0.0.0", "--port", "0"], 78, "only with a token"),
        (["--model", "no/such/model"], 66, "no such model"),
        (["--token-file", "nowhere"], 66, "no such file"),
        (["--port", "70000"], 2, "port"),
    ],
)
def test_what_cannot_be_served_is_one_error(
    capsys: pytest.CaptureFixture[str], options: list[str], status: int, says: str
) -> None:
    from munjang.cli.app import run_command

    assert run_command(["serve", *options]) == status
    printed = capsys.readouterr().err
    assert says in printed
    assert "Traceback" not in printed


def test_a_taken_port_is_one_error(capsys: pytest.CaptureFixture[str], server: Any) -> None:
    from munjang.cli.app import run_command

    assert run_command(["serve", "--port", str(server.port)]) == 69
    assert "cannot listen" in capsys.readouterr().err


def test_a_missing_extra_is_one_line() -> None:
    hidden = "import sys; sys.modules['starlette'] = None\n" + CODE
    run = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, env=dict(os.environ))
    assert run.returncode == 69
    assert "pip install 'munjang[serve]'" in run.stderr
    assert "Traceback" not in run.stderr

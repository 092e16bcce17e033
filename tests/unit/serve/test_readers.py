"""A client that does not read its answer is let go, and what it held is free again."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from munjang.serve.limits import Limits


def open_requests(server: Any) -> str:
    lines = server.ask("GET", "/metrics").body.decode().splitlines()
    return next(line for line in lines if line.startswith("munjang_requests_open "))


def test_clients_that_do_not_read_are_let_go(start: Any) -> None:
    running = start(request=0.8)
    documents = ["가나다라마바사" * 400] * 200
    body = json.dumps({"query": "환불", "documents": documents, "return_documents": True}, ensure_ascii=False).encode()
    assert len(body) < Limits().body  # or it would be refused before it is read, and there would be nothing to read
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    sent = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    # The deadline of the answer is that of reading it too, so the model must not take it all.
    running.served.scorers[0].lane._compute = lambda key, jobs: [_nothing(inputs) for inputs in jobs]
    clients = []
    for _ in range(3):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", running.port))
        client.sendall(sent)
        clients.append(client)
    assert running.post("/v1/embeddings", {"input": "배송"}).status == 200
    ends = time.monotonic() + 15
    while open_requests(running) != "munjang_requests_open 1.0" or len(running.server.server_state.connections) > 1:
        assert time.monotonic() < ends
        time.sleep(0.05)
    for client in clients:
        client.close()


def _nothing(inputs: list) -> Any:
    import numpy as np

    from munjang.serve.served import Computed

    return Computed(np.zeros((len(inputs), 1), np.float32), 0, 0)

"""Deadlines and errors that only the protocol can see: the head of a request, and clients that do not read their answer."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from munjang.errors import MunjangError
from munjang.serve.limits import Limits
from munjang.serve.refusals import HeadersError, MalformedError, as_answer


class _Bounded(H11Protocol):
    """uvicorn's protocol with bounds. It has no deadline of its own for a head, nor for whoever does not read."""

    limits: ClassVar[Limits]
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.abort()
            return
        self._head = self.loop.call_later(self.limits.receive, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head, self._unread = _stopped(self._head), _stopped(self._unread)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head is None and self.conn.their_state is h11.IDLE:
            self._head = self.loop.call_later(self.limits.receive, self.transport.abort)
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head = _stopped(self._head)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = _stopped(self._unread)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # A connection is closed only once its client has read everything, which some never do.
        self._await_reader()

    def send_400_response(self, msg: str) -> None:
        """The answer to what is no HTTP, in the shape of all errors."""
        too_long = getattr(sys.exc_info()[1], "error_status_hint", 400) == HeadersError.http_status
        error: MunjangError = MalformedError("this is no HTTP request")
        if too_long:
            bound = f"at most {self.limits.header_bytes:,} bytes"
            error = HeadersError("the head of the request is too long", expected=bound)
        body = json.dumps(as_answer(error)).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        answer = h11.Response(status_code=error.http_status, headers=headers)
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _await_reader(self) -> None:
        self._unread = self._unread or self.loop.call_later(self.limits.request, self.transport.abort)


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol with the bounds of one server.

    Connections beyond `connections` are closed at once; a head that is not there after `receive` seconds, and an answer that
    is not read after `request` seconds, end theirs.
    """
    return type("BoundedProtocol", (_Bounded,), {"limits": limits})


def _stopped(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()

"""What every request passes before a path sees it: who asks, from where, how much, and whether there is time.

A middleware of ASGI. It reads the whole body, with a count and a deadline, so that nothing behind it waits for a
client, and it gives every answer that is an error its one shape.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from munjang.errors import MunjangError
from munjang.serve.limits import Limits
from munjang.serve.metrics import Metrics
from munjang.serve.refusals import (
    RETRY_AFTER,
    DrainingError,
    ForbiddenError,
    HeadersError,
    MediaTypeError,
    MethodError,
    SlowClientError,
    TooLargeError,
    UnauthorizedError,
    UnknownPathError,
    as_answer,
)

#: Paths that need no token and answer also while the server stops: whoever watches a process has no secrets.
OPEN = ("/healthz", "/readyz")
_SAFE = ("GET", "HEAD")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_log = logging.getLogger("munjang.serve")


@dataclass
class State:
    """What the parts of a server know of each other."""

    limits: Limits
    token: bytes | None = None
    """What `Authorization: Bearer` must say; None to ask for none."""
    hosts: frozenset[str] | None = None
    """Names that the header Host may give, without the port; None for any. Against DNS rebinding: a page of another
    site may lead its own name to this machine."""
    version: str = ""
    """Of Munjang, for the description of the paths."""
    draining: bool = False
    paths: frozenset[str] = field(default_factory=frozenset)
    """That are counted by their names."""


class ClientGoneError(Exception):
    """The client has left; there is nobody to answer."""


class Door:
    """See the module.

    Args:
        app: what is behind it.
        state: of the server.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, state: State, metrics: Metrics) -> None:
        self._app, self._state, self._metrics = app, state, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path = scope["path"] if scope["path"] in self._state.paths else "other"
        began, status = time.monotonic(), [499]

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                secured = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *secured]
            await send(message)

        with self._metrics.open.track_inprogress():
            try:
                await self._answer(scope, receive, counted)
            except ClientGoneError:
                pass
            finally:
                self._metrics.requests.labels(path, str(status[0])).inc()
                self._metrics.seconds.labels(path).observe(time.monotonic() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._require_allowed(scope)
            body = await self._body(scope, receive)
            scope["munjang.body"] = body
            scope["munjang.deadline"] = time.monotonic() + self._state.limits.request
            # With it, the router says by an exception that it knows no such path or method.
            scope["app"] = self
            await self._app(scope, receive, noted)
        except ClientGoneError:
            raise
        except HTTPException as error:
            await _unrouted(error, scope)(scope, receive, send)
        except MunjangError as error:
            if not started:
                await answer_of(error, scope)(scope, receive, send)
        except Exception as error:
            # What an exception says may hold what a client sent, so the answer has its number only.
            number = secrets.token_hex(4)
            _log.error("bug %s: %s", number, type(error).__name__, exc_info=error)
            if not started:
                bug = MunjangError("a bug in Munjang: please report it", got=f"bug {number} of the server's log")
                await answer_of(bug, scope)(scope, receive, send)

    def _require_allowed(self, scope: Scope) -> None:
        limits = self._state.limits
        if len(scope["headers"]) > limits.headers:
            raise HeadersError("too many headers", expected=f"at most {limits.headers}")
        # The reader of the protocol bounds only what it holds without having understood it.
        if sum(len(name) + len(value) for name, value in scope["headers"]) > limits.header_bytes:
            raise HeadersError("the headers are too long", expected=f"at most {limits.header_bytes:,} bytes")
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        host = (headers.get("host") or [""])[0]
        if self._state.hosts is not None and _name(host) not in self._state.hosts:
            allowed = " or ".join(sorted(self._state.hosts))
            raise ForbiddenError("the server is not known by this name", where="Host", expected=allowed)
        if scope["path"] in OPEN:
            return
        self._require_token(headers.get("authorization", []))
        if scope["method"] not in _SAFE:
            _require_same_site(headers, host)
            _require_plain_json(headers)
            if self._state.draining:
                raise DrainingError("the server is stopping")

    def _require_token(self, given: list[str]) -> None:
        wanted = self._state.token
        if wanted is None:
            return
        scheme, _, sent = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        # As bytes: the comparison in constant time refuses any other text than ASCII.
        same = hmac.compare_digest(sent.strip().encode("latin-1"), wanted)
        if scheme.lower() != "bearer" or not same:
            raise UnauthorizedError("the token is missing or wrong", where="Authorization", expected="Bearer TOKEN")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] in _SAFE:
            return b""
        bound = self._state.limits.body
        too_large = TooLargeError("the request is too large", where="body", expected=f"at most {bound:,} bytes")
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if said.isdigit() and int(said[:20]) > bound:
            raise too_large
        parts, size, ends = [], 0, time.monotonic() + self._state.limits.receive
        while True:
            try:
                message = await asyncio.wait_for(receive(), max(ends - time.monotonic(), 0))
            except asyncio.TimeoutError:
                seconds = self._state.limits.receive
                raise SlowClientError("the request did not arrive in time", expected=f"{seconds:g} s") from None
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > bound:
                raise too_large
            if not message.get("more_body"):
                return b"".join(parts)


def answer_of(error: MunjangError, scope: Scope) -> Response:
    """The answer for an error."""
    status = error.http_status
    headers = {"Retry-After": RETRY_AFTER[status]} if status in RETRY_AFTER else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="munjang"'
    if "munjang.body" not in scope and scope["method"] not in _SAFE:
        # The rest of the body is not read, so the connection cannot be used again.
        headers["Connection"] = "close"
    return JSONResponse(as_answer(error), status, headers)


def _unrouted(error: HTTPException, scope: Scope) -> Response:
    """The answer where there is no such path, or none with this method."""
    if error.status_code != 405:
        return answer_of(UnknownPathError("there is no such path", hint="see /docs"), scope)
    allowed = (error.headers or {}).get("Allow", "")
    answer = answer_of(MethodError("this path has another method", expected=allowed), scope)
    answer.headers["Allow"] = allowed
    return answer


def _require_same_site(headers: dict[str, list[str]], host: str) -> None:
    """Refuse what a page of another site sends: a browser would add the user's place in the network to it."""
    if any(site not in ("same-origin", "none") for site in headers.get("sec-fetch-site", [])):
        raise ForbiddenError("a page of another site may not ask", where="Sec-Fetch-Site", expected="same-origin")
    for origin in headers.get("origin", []):
        if urlsplit(origin).netloc.lower() != host.lower():
            raise ForbiddenError("a page of another site may not ask", where="Origin", expected="the server's own")


def _require_plain_json(headers: dict[str, list[str]]) -> None:
    if any(encoding.strip().lower() not in ("", "identity") for encoding in headers.get("content-encoding", [])):
        raise MediaTypeError("the request is compressed", where="Content-Encoding", expected="none")
    for kind in headers.get("content-type", []):
        plain, _, rest = kind.lower().partition(";")
        charset = rest.partition("charset=")[2].strip().strip('"') or "utf-8"
        if plain.strip() != "application/json" or charset not in ("utf-8", "utf8"):
            hint = "send the header Content-Type: application/json"
            raise MediaTypeError(
                "the request is not JSON", where="Content-Type", expected="application/json", hint=hint
            )


def _name(host: str) -> str:
    """The name in a header Host, without the port."""
    host = host.strip().lower()
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]


async def left(receive: Receive) -> Any:
    """Waits until the client is gone."""
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message

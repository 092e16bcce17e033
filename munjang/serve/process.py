"""The process: its socket, what listens there, and how it ends."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from munjang.errors import ConfigError, Option, UnavailableError
from munjang.serve.app import Application
from munjang.serve.door import State
from munjang.serve.limits import Limits
from munjang.serve.protocol import bounded_protocol
from munjang.serve.served import Served

#: Seconds after SIGTERM in which connections are still taken, so that whoever asks /readyz learns of it.
LINGER = 0.5
_IDLE = 5
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def require_guarded(host: str, token: str | None) -> None:
    """Refuse to listen to other machines without a token.

    Raises:
        ConfigError: the address is not of this machine alone, and there is no token; or the token is no token.
    """
    if token is not None and (len(token) < 8 or not token.isascii() or not token.isprintable() or " " in token):
        raise ConfigError("this is no token", expected="at least 8 visible ASCII characters without blanks")
    if token is None and not _is_loopback(host):
        raise ConfigError(
            "other machines may ask only with a token",
            where=Option("host", host),
            expected="an address of this machine, such as 127.0.0.1, or a token",
            hint="put a token into a file and name it, or listen on 127.0.0.1",
        )


def state_of(host: str, token: str | None, limits: Limits) -> State:
    """What the door needs to know; without a token, names under which the server may be asked."""
    own = f"[{host}]".lower() if ":" in host else host.lower()
    return State(limits, token.encode() if token else None, None if token else _LOOPBACK | {own})


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound; port 0 takes a free one.

    Raises:
        UnavailableError: the address is taken, or not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        got = error.strerror or str(error)
        raise UnavailableError(
            "cannot listen there", where=f"{host}:{port}", got=got, hint="name another port"
        ) from None
    return bound


class Server(uvicorn.Server):
    """Serves until a signal, then finishes what it has begun.

    Args:
        served: what is served; its workers are ended at the end.
        state: see `state_of`.
        ready: called once, when requests are taken.
    """

    def __init__(self, served: Served, state: State, ready: Callable[[], None] = lambda: None) -> None:
        self.served, self.state, self._ready = served, state, ready
        self._stopping: float | None = None
        limits = state.limits
        config = uvicorn.Config(
            Application(served, state).asgi,
            http=bounded_protocol(limits),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=limits.header_bytes,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=int(limits.drain),
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests."""
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to stop; a second signal stops at once."""
        if self.state.draining:
            self.should_exit = self.force_exit = True
        self.stop()

    def stop(self) -> None:
        """Not ready from now on; requests that run are finished."""
        self.state.draining = True
        self._stopping = self._stopping or time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if self._stopping and time.monotonic() - self._stopping >= LINGER:
            self.should_exit = True
        if not all(lane.alive for lane in self.served.lanes()):
            # Whoever started the process can start it again; a server without a worker would only refuse.
            self.stop()
        return await super().on_tick(counter)

    def serve_on(self, bound: socket.socket) -> bool:
        """Serve on a bound socket until the end; False where a worker had died."""
        try:
            self.run([bound])
        finally:
            whole = all(lane.alive for lane in self.served.lanes())
            self.served.close()
        return whole


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"

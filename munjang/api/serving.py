"""The models over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from munjang import __version__
from munjang.api.searching import find_index
from munjang.errors import DataError, MissingInputError, from_os_error, missing_extra
from munjang.models.source import BUNDLED_PREFIX, ENCODER, resolve_model
from munjang.progress import QUIET, Show

if TYPE_CHECKING:
    from munjang.serve.limits import Limits
    from munjang.serve.served import Served

#: What holds the token where no file is named. Not an option: whoever lists processes reads those.
TOKEN = "MUNJANG_TOKEN"


def serve(
    model: str | None = None,
    reranker: str | None = None,
    index: str | Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    token_file: str | Path | None = None,
    device: str | None = None,
    backend: str = "auto",
    limits: Limits | None = None,
    show: Show = QUIET,
) -> bool:
    """Serve models until a signal; what runs then is finished.

    Args:
        model: a bi-encoder; by default the index's, or `bundled:ko-small` without an index.
        reranker: a cross-encoder; by default the index's, if it has one.
        index: folder of an index, or directory of a run, whose last index is taken.
        host: address to listen at; one that other machines reach needs a token.
        port: 0 takes a free one.
        token_file: a file of which the content is the token; by default the variable MUNJANG_TOKEN, if it is set.
        device: such as `cpu`.
        backend: what runs the models; see `munjang.engine.choosing`.
        limits: bounds of requests and queues.
        show: told the address once the server is ready.

    Returns:
        False where a worker died, which is a bug.

    Raises:
        UnavailableError: an extra is missing, or the address is taken. ConfigError: no token for an address that needs one.
        MissingInputError, DataError: a model or an index is missing or wrong.
    """
    _require_extra()

    from munjang.serve.limits import Limits
    from munjang.serve.process import Server, listening, require_guarded, state_of

    limits, token = limits or Limits(), _token(token_file)
    require_guarded(host, token)
    bound = listening(host, port)
    try:
        served = _opened(model, reranker, index, device, backend, limits)
        shown = f"[{host}]" if ":" in host else host
        models = ", ".join(one.name for one in served.models())
        line = f"http://{shown}:{bound.getsockname()[1]} serves {models}; its paths: /docs"
        state = state_of(host, token, limits)
        state.version = __version__
        return Server(served, state, lambda: show.say(line)).serve_on(bound)
    finally:
        bound.close()


def _opened(
    model: str | None,
    reranker: str | None,
    index: str | Path | None,
    device: str | None,
    backend: str,
    limits: Limits,
) -> Served:
    from munjang.engine.device import choose_device
    from munjang.serve.opening import open_served

    place = None if index is None else find_index(Path(index))
    name = model or (None if place else ENCODER)
    named = [None if one is None else _named(one) for one in (name, reranker)]
    return open_served(named[0], named[1], place, choose_device(device), backend, limits)


def _require_extra() -> None:
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra((error.name or "starlette").replace("_", "-"), "serve") from None


def _named(model: str) -> tuple[str, Path]:
    """The name under which clients know a model, which holds no path of this machine, and its folder."""
    folder = resolve_model(model)
    return (model if model.startswith(BUNDLED_PREFIX) or not Path(model).expanduser().is_dir() else folder.name), folder


def _token(path: str | Path | None) -> str | None:
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise from_os_error(error, path, doing="read") from error
    except UnicodeDecodeError:
        raise DataError("this file holds no token", where=path, expected="a line of ASCII") from None
    if not token:
        raise MissingInputError("this file holds no token", where=path)
    return token

"""Why a request was refused, as errors with the status and the one shape of every answer that is an error.

The shape is that of `--json` on the command line: `{"error": {"code", "message", "where", "expected", "got", "hint"}}`.
The clients of OpenAI and of Cohere show it as it is.
"""

from __future__ import annotations

from typing import Any

from munjang.errors import MunjangError
from munjang.text import printable

#: Longest text of an answer that is an error: input comes back in excerpts only.
_LONGEST = 200


class MalformedError(MunjangError):
    """The request is not JSON, or not HTTP."""

    code, exit_status, http_status = "malformed", 65, 400


class UnauthorizedError(MunjangError):
    """The token is missing or another one."""

    code, exit_status, http_status = "unauthorized", 77, 401


class ForbiddenError(MunjangError):
    """The request comes from a page of another site, or to another host's name."""

    code, exit_status, http_status = "forbidden", 77, 403


class UnknownPathError(MunjangError):
    """There is no such path, or what it needs is not served."""

    code, exit_status, http_status = "not-found", 66, 404


class MethodError(MunjangError):
    """The path is there, for another method."""

    code, exit_status, http_status = "method", 65, 405


class SlowClientError(MunjangError):
    """The request did not arrive in time."""

    code, exit_status, http_status = "slow-client", 65, 408


class TooLargeError(MunjangError):
    """The request has too many bytes or too many items."""

    code, exit_status, http_status = "too-large", 65, 413


class MediaTypeError(MunjangError):
    """The request is compressed, or says that it is no JSON."""

    code, exit_status, http_status = "media-type", 65, 415


class ContentError(MunjangError):
    """The request is JSON, and a field of it is wrong."""

    code, exit_status, http_status = "content", 65, 422


class OverloadedError(MunjangError):
    """The queue of the model is full."""

    code, exit_status, http_status = "overloaded", 75, 429


class HeadersError(MunjangError):
    """The head of the request has too many lines."""

    code, exit_status, http_status = "headers", 65, 431


class DeadlineError(MunjangError):
    """The answer was not ready in time."""

    code, exit_status, http_status = "deadline", 75, 503


class DrainingError(MunjangError):
    """The server is stopping, or its worker has died."""

    code, exit_status, http_status = "not-ready", 75, 503


#: After these a client should try again, and when.
RETRY_AFTER = {429: "1", 503: "1"}


def as_answer(error: MunjangError) -> dict[str, Any]:
    """The body of the answer for an error; each text bounded and printable."""
    fields = error.as_dict().items()
    return {"error": {name: None if text is None else printable(str(text), _LONGEST) for name, text in fields}}

"""The door for requests: bytes to JSON without what JSON does not have, and JSON to a checked request.

Python's own reader takes NaN, numbers beyond a float and lone surrogates, forgets the first of two equal keys, and
ends in a RecursionError for deep nesting. None of that passes here.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from munjang.serve.refusals import ContentError, MalformedError

_SURROGATE = re.compile("[\ud800-\udfff]")
#: What lies between brackets and says nothing about depth.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_Request = TypeVar("_Request", bound=BaseModel)


def read_json(body: bytes, depth: int) -> Any:
    """One JSON value.

    Args:
        body: UTF-8.
        depth: brackets that may stand inside one another.

    Raises:
        MalformedError: it is no JSON, or has what only Python's reader takes. ContentError: a lone surrogate.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("the request is not UTF-8", where="body", got=f"byte {error.start}") from None
    if _depth(text) > depth:
        raise MalformedError("the JSON is nested too deep", where="body", expected=f"at most {depth} levels")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_distinct)
    except json.JSONDecodeError as error:
        place = f"body:{error.lineno}:{error.colno}"
        raise MalformedError("the request is not JSON", where=place, got=error.msg) from None
    except (ValueError, RecursionError):
        # Such as an integer of more digits than Python reads.
        raise MalformedError("a number of the request is too long", where="body") from None
    _require_characters(value, "")
    return value


def read_request(kind: type[_Request], value: Any) -> _Request:
    """A request of a kind.

    Raises:
        ContentError: a field is wrong, missing or unknown; the first of them, and how many more. What was sent is not
            repeated.
    """
    if not isinstance(value, dict):
        raise ContentError("the request is no JSON object", where="body", expected="an object of fields")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        first, more = found[0], len(found) - 1
        # The place in a union names Python's types after the field; what a client sent stands before them.
        where = next((str(part) for part in first["loc"]), "body")
        if first["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            raise ContentError("unknown field", where=where, expected=known) from None
        message = first["msg"] + (f" (and {more} more)" if more else "")
        raise ContentError(message, where=where) from None


def _depth(text: str) -> int:
    deepest = level = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def _no_constant(name: str) -> Any:
    raise MalformedError("JSON has no such number", where="body", got=name)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MalformedError("a number of the request is not finite", where="body")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise MalformedError("a key stands twice in one object", where="body")
    return value


def _require_characters(value: Any, where: str) -> None:
    """Refuse lone surrogates, which no text in UTF-8 can hold."""
    if isinstance(value, str):
        if not value.isascii() and _SURROGATE.search(value):
            raise ContentError("a text holds a lone surrogate, which is no character", where=where or "body")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _require_characters(item, f"{where}[{number}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            _require_characters(key, where)
            _require_characters(item, f"{where}.{key}" if where else key)

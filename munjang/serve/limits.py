"""What the server takes at most. Everything that a client can make large has a bound here."""

from __future__ import annotations

from dataclasses import dataclass

from munjang.text import MAX_CHARS


@dataclass(frozen=True)
class Limits:
    """Bounds of one server, each with its reason."""

    body: int = 2_000_000
    """Bytes of a request: what other servers of embeddings take, and enough for the most items that a request may hold."""
    texts: int = 64
    """Texts of a request for embeddings: a request should not hold the model longer than others wait."""
    pairs: int = 1_000
    """Documents to rerank, or pairs to compare, in a request; the hits of a search too."""
    chars: int = MAX_CHARS
    """Characters of a text: a tokenizer takes seconds for a million, and no model reads so many."""
    batch: int = 8_192
    """Tokens that the worker of a model takes from its queue at a time."""
    queue: int = 32_768
    """Tokens that may wait for a model. What waits longer than its deadline is work for nobody."""
    connections: int = 256
    """Open connections; one more is closed at once, so that idle clients cannot take all file descriptors."""
    header_bytes: int = 16_384
    """Bytes of the head of a request."""
    headers: int = 64
    """Header lines of a request."""
    receive: float = 10.0
    """Seconds from the first byte of a request to its last. Without it a client of one byte a second stays for ever."""
    request: float = 30.0
    """Seconds from the last byte of a request to its answer; also what a client has to take the answer in."""
    drain: float = 30.0
    """Seconds that running requests have to finish after SIGTERM."""
    depth: int = 32
    """Brackets of a request's JSON inside one another: deeper ones would end Python's own reader."""

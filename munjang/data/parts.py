"""Parts of a data set: which share of the rows a row belongs to, decided by its first text alone.

A draw by place or by seed would put two rows of one premise on both sides of train and dev, and would change with every
row that is added. A digest of the first text does neither.
"""

from __future__ import annotations

import hashlib
from typing import Any

from munjang.data.rows import texts_of
from munjang.errors import DataError, Option, Phrase
from munjang.text import match_key


def share(text: str) -> float:
    """Where a text lies between 0 and 1 (never 1), evenly over many texts; equal for texts with one `match_key`."""
    digest = hashlib.blake2b(match_key(text).encode(), digest_size=8).digest()
    # 53 bits are what a float holds exactly; with all 64 the highest would be rounded up to 1.
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def take_part(rows: list[Any], part: tuple[float, float]) -> list[Any]:
    """The rows whose first text lies in a part, in their order.

    Args:
        rows: of any kind that holds texts.
        part: low and high; a share of low is in it, a share of high is not. So parts that meet at one number are
            disjoint, and those from 0 to 1 together hold every row.

    Raises:
        DataError: the rows hold no texts.
    """
    kept = []
    for row in rows:
        texts = texts_of(row)
        if not texts:
            raise DataError(
                "relevance judgements hold no text by which a part could be chosen",
                hint=Phrase("leave out {}; judgements of queries that are not asked do not count", Option("part")),
            )
        if part[0] <= share(texts[0]) < part[1]:
            kept.append(row)
    return kept


def part_name(part: tuple[float, float]) -> str:
    """A part as reports name it, such as `part 0.9-1`."""
    return f"part {part[0]:g}-{part[1]:g}"

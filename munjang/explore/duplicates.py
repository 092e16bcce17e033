"""Which sentences say the same: by their letters, nearly by their letters, or by their vectors.

Groups are what pairs connect, so two sentences of a group need not be alike themselves: a chain of small changes is one group.
How near each is to the one that stands for its group is handed on, for those who would cut chains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from munjang.data.leaks import near_pairs
from munjang.engine.above import dot_of_pairs, pairs_above
from munjang.errors import ConfigError, Option
from munjang.explore.sentences import Sentences
from munjang.explore.tables import write_table
from munjang.files import new_directory
from munjang.progress import Progress, silent
from munjang.text import match_key

Keep = Literal["first", "longest"]
Verify = Callable[[list[tuple[str, str]]], np.ndarray]
#: Pairs that are gathered before groups are joined anew, which takes a pass over all sentences.
_TOGETHER = 1 << 20


@dataclass(frozen=True)
class Duplicates:
    """What stands for what."""

    representative: np.ndarray
    """int64 (n,): for each sentence the place of the one that stands for its group; its own where it stands alone."""
    cosine: np.ndarray | None
    """float32 (n,): with that one; None without vectors."""
    near: int
    """Pairs that are nearly the same by their letters."""
    similar: int
    """Pairs from the cosine on."""
    verified: int
    """Pairs of these that were shown to the verifier: those that would have joined two groups."""
    refused: int
    """Of these, how many it did not let pass."""

    def counts(self) -> dict[str, int]:
        """Pairs, as JSON values."""
        return {"near": self.near, "similar": self.similar, "verified": self.verified, "refused": self.refused}


def find_duplicates(
    texts: Sequence[str],
    vectors: np.ndarray | None = None,
    *,
    threshold: float = 0.9,
    near: float | None = 0.8,
    verify: Verify | None = None,
    least: float = 0.5,
    keep: Keep = "first",
    progress: Progress = silent,
) -> Duplicates:
    """Join distinct sentences into groups of duplicates.

    Args:
        texts: of which no two have one `match_key`.
        vectors: float32 (len(texts), d), of length 1; without them only letters are compared.
        threshold: cosine from which two sentences are duplicates, above 0.
        near: Jaccard similarity of character trigrams from which they are; see `munjang.data.leaks`. None: not compared.
        verify: scores pairs of texts; a pair below `least` joins nothing.
        least: see `verify`.
        keep: which sentence stands for a group: the first, or the longest (of equally long ones the first).
        progress: called with (rows done, rows in all) of the comparison of vectors.

    Raises:
        ConfigError: see `require_options`.
    """
    require_options(threshold, near, keep)
    groups = _Groups(texts, verify, least)
    counts = [0, 0]
    for kind, pairs in (
        (0, _near(texts, near)),
        (1, () if vectors is None else pairs_above(vectors, threshold, progress=progress)),
    ):
        for left, right, _ in pairs:
            counts[kind] += len(left)
            groups.add(left, right)
    labels = groups.joined()
    representative = _representatives(labels, texts, keep)
    cosine = None if vectors is None else dot_of_pairs(vectors, vectors, np.arange(len(texts)), representative)
    return Duplicates(representative, cosine, *counts, groups.verified, groups.refused)


def groups_of(found: Duplicates, texts: Sentences, places: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The groups of more than one row, the largest first, as JSON values.

    Args:
        found: of the distinct sentences. texts: all of them.
        places: of each distinct one, where it stands in `texts`; see `Sentences.distinct`.
    """
    members: dict[int, list[tuple[int, float | None]]] = {}
    for one, of in enumerate(found.representative.tolist()):
        cosine = None if found.cosine is None else round(float(found.cosine[one]), 6)
        members.setdefault(of, []).extend((place, cosine) for place in places[one])
    groups = []
    for of, own in members.items():
        if len(own) > 1:
            kept, rows = places[of][0], sorted(own)
            shown = [{"row": texts.rows[at], "text": texts.texts[at], "cosine": cosine} for at, cosine in rows]
            groups.append({"row": texts.rows[kept], "text": texts.texts[kept], "members": shown})
    return sorted(groups, key=lambda group: -len(group["members"]))


def write_duplicates(
    out: Path, found: Duplicates, texts: Sentences, places: Sequence[Sequence[int]], format: str
) -> None:
    """Write a folder at once: `kept` (row, text) and `groups` (group from 1, row, kept, cosine, text), in a format of tables.

    Args:
        out: must not exist. found, texts, places: see `groups_of`. format: csv, jsonl or parquet.
    """
    kept = sorted(places[of][0] for of in set(found.representative.tolist()))
    groups = groups_of(found, texts, places)
    members = [(number, group, one) for number, group in enumerate(groups, 1) for one in group["members"]]
    with new_directory(out) as folder:
        write_table(
            folder / f"kept.{format}",
            {"row": [texts.rows[at] for at in kept], "text": [texts.texts[at] for at in kept]},
        )
        write_table(
            folder / f"groups.{format}",
            {
                "group": [number for number, _, _ in members],
                "row": [one["row"] for _, _, one in members],
                "kept": [one["row"] == group["row"] for _, group, one in members],
                "cosine": [one["cosine"] for _, _, one in members],
                "text": [one["text"] for _, _, one in members],
            },
        )


def require_options(threshold: float, near: float | None, keep: str) -> None:
    """Refuse what means nothing, before any work.

    Raises:
        ConfigError: `threshold` or `near` not above 0 and at most 1, or an unknown choice.
    """
    for name, value in (("threshold", threshold), ("near", near)):
        if value is not None and not 0 < value <= 1:
            raise ConfigError(
                "no such similarity", where=Option(name, value), expected="a number above 0 and at most 1"
            )
    if keep not in ("first", "longest"):
        raise ConfigError("no such choice", where=Option("keep"), expected="first or longest", got=keep)


def _near(texts: Sequence[str], threshold: float | None) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    if threshold is not None:
        yield from ((m.known, m.text, m.similarity) for m in near_pairs([match_key(text) for text in texts], threshold))


class _Groups:
    """What pairs connect, as pairs come by; memory is linear in the texts.

    Args:
        texts: of the places. verify, least: see `find_duplicates`.
    """

    def __init__(self, texts: Sequence[str], verify: Verify | None, least: float) -> None:
        self._texts, self._verify, self._least = texts, verify, least
        self._labels = np.arange(len(texts))
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting = 0
        self.verified = self.refused = 0

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """Take some pairs of places."""
        apart = self._labels[left] != self._labels[right]
        self._parts.append((left[apart], right[apart]))
        self._waiting += int(apart.sum())
        if self._waiting >= _TOGETHER:
            self.joined()

    def joined(self) -> np.ndarray:
        """A number for each place, the same for those that are connected."""
        if self._parts:
            left, right = (np.concatenate(column) for column in zip(*self._parts, strict=True))
            self._parts, self._waiting = [], 0
            left, right = self._passed(left, right)
            size = len(self._labels)
            edges = (np.ones(len(left), np.int8), (self._labels[left], self._labels[right]))
            self._labels = connected_components(coo_array(edges, (size, size)), directed=False)[1][self._labels]
        return self._labels

    def _passed(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._verify is None or not len(left):
            return left, right
        # A pair may be near by its letters and by its vectors.
        left, right = np.unique(np.stack([left, right]), axis=1)
        pairs = [(self._texts[i], self._texts[j]) for i, j in zip(left.tolist(), right.tolist(), strict=True)]
        passed = np.asarray(self._verify(pairs)) >= self._least
        self.verified += len(pairs)
        self.refused += int((~passed).sum())
        return left[passed], right[passed]


def _representatives(labels: np.ndarray, texts: Sequence[str], keep: Keep) -> np.ndarray:
    lengths = np.array([len(text) for text in texts]) if keep == "longest" else np.zeros(len(texts), int)
    order = np.lexsort((np.arange(len(texts)), -lengths, labels))
    known, first = np.unique(labels[order], return_index=True)
    return order[first][np.searchsorted(known, labels)]

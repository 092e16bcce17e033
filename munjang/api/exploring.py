"""What a heap of sentences holds: paraphrases, duplicates, communities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.errors import Option, Phrase, UsageError
from munjang.models.source import ENCODER, resolve_model
from munjang.progress import QUIET, Show

if TYPE_CHECKING:
    import numpy as np

    from munjang.engine.above import Pairs
    from munjang.explore.duplicates import Verify
    from munjang.explore.sentences import Sentences


def paraphrases(
    sources: Sequence[str | Path],
    model: str = ENCODER,
    *,
    others: Sequence[str | Path] = (),
    threshold: float | None = None,
    top: int = 100_000,
    neighbours: int | None = None,
    margin: bool = False,
    text_column: str | None = None,
    encoding: str | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    backend: str = "auto",
    show: Show = QUIET,
) -> dict[str, Any]:
    """The most similar pairs of distinct sentences, within some files or between two sides of files.

    Args:
        sources: files, or names of the catalogue.
        model: a bi-encoder; see `munjang.api.encode_texts`.
        others: the other side; without it pairs are within `sources`. Then a sentence of both sides is a pair, too.
        threshold: least cosine, by default 0.8; with `margin` least margin, by default 1.
        top: pairs to keep, the best ones.
        neighbours: keep only pairs of a sentence and one of so many nearest; with `margin` the size of the neighbourhood, by
            default 4.
        margin: look for translations: pairs by the ratio margin, each sentence in one pair at most.
        text_column, encoding: of all files.
        out: a table to write: .csv, .jsonl or .parquet.
        device, backend, show: see `munjang.api.encode_texts`.

    Returns:
        `pairs`, each with `score`, `text1`, `text2`, and the rows from 0 of both, `row1` and `row2`; `read` (and `read_others`),
        what was read; `distinct`, sentences that were compared; `threshold`; `reached_top`, whether there may be more pairs.

    Raises:
        UsageError: `margin` without `others`. ConfigError: see `munjang.explore.pairs`, or the format of `out`.
        MissingInputError, UnavailableError, DataError: files or the model.
    """
    from munjang.explore.pairs import mine, require_options
    from munjang.explore.tables import require_table, write_table

    if margin and not others:
        raise UsageError("translations are between two sides", expected=Phrase("{}", Option("others")))
    if out is not None:
        require_table(Path(out))
    threshold = threshold if threshold is not None else 1.0 if margin else 0.8
    require_options(None if margin else threshold, top, neighbours)
    sides = [read_side(files, text_column, encoding) for files in (sources, others) if files]
    distinct = [side.distinct()[0] for side in sides]
    vectors = encode_sides(distinct, model, device, backend, show)
    found = mine(vectors, threshold, top, neighbours, margin, show.progress("pairs"))
    columns = _columns(found, distinct[0], distinct[-1])
    if out is not None:
        write_table(Path(out), columns)
    report: dict[str, Any] = {"read": sides[0].report()} | ({"read_others": sides[1].report()} if others else {})
    report |= {"distinct": [len(side.texts) for side in distinct], "threshold": threshold}
    report |= {"reached_top": len(found.scores) == top, "pairs": _records(columns)}
    return report


def dedup(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    model: str | None = ENCODER,
    *,
    threshold: float = 0.9,
    near: float = 0.8,
    verify: str | None = None,
    least: float = 0.5,
    keep: str = "first",
    format: str = "csv",
    text_column: str | None = None,
    encoding: str | None = None,
    device: str | None = None,
    backend: str = "auto",
    show: Show = QUIET,
) -> dict[str, Any]:
    """Sentences that say the same, and which one of each group is kept.

    Args:
        sources: files, or names of the catalogue.
        out: a folder to make, with `kept` and `groups` as tables; see `munjang.explore.duplicates.write_duplicates`.
        model: a bi-encoder; None to compare letters only, without any model.
        threshold: cosine from which two sentences are duplicates.
        near: Jaccard similarity of their character trigrams from which they are.
        verify: a cross-encoder that must score a pair at least `least`, but for what differs only in case or blanks.
        keep: `first` or `longest` of a group.
        format: of the tables: csv, jsonl or parquet.
        text_column, encoding, device, backend, show: see `paraphrases`.

    Returns:
        `read`; `kept` and `dropped`, rows; `exact`, rows that repeat another up to case and blanks; `near` and `similar`,
        pairs by letters and by vectors; `verified` and `refused`; `groups` of more than one row, the largest first, each with
        the `row` and `text` that is kept and its `members` with `cosine` (None without a model).

    Raises:
        ConfigError, DiskError: an option means nothing, or `out` is there. Else see `paraphrases`.
    """
    from munjang.explore.duplicates import find_duplicates, groups_of, require_options, write_duplicates
    from munjang.explore.tables import require_folder

    require_folder(out := None if out is None else Path(out), format)
    require_options(threshold, near, keep)
    distinct, places = (texts := read_side(sources, text_column, encoding)).distinct()
    vectors = None if model is None else encode_sides([distinct], model, device, backend, show)[0]
    found = find_duplicates(
        distinct.texts,
        vectors,
        threshold=threshold,
        near=near,
        verify=_verifier(verify, device, backend, show),
        least=least,
        keep=keep,
        progress=show.progress("pairs"),
    )
    if out is not None:
        write_duplicates(out, found, texts, places, format)
    kept, exact = len(set(found.representative.tolist())), len(texts.texts) - len(distinct.texts)
    report = {"read": texts.report(), "kept": kept, "dropped": len(texts.texts) - kept, "exact": exact}
    return report | found.counts() | {"groups": groups_of(found, texts, places)}


def _verifier(model: str | None, device: str | None, backend: str, show: Show) -> Verify | None:
    if model is None:
        return None
    from munjang.engine.scorer import Scorer

    scorer = Scorer(resolve_model(model), choose(device), backend=backend, cache=True)
    return lambda pairs: scorer.score(pairs, show.progress("verified"))


def read_side(sources: Sequence[str | Path], text_column: str | None, encoding: str | None) -> Sentences:
    """The texts of some files; paths start in the working directory."""
    from munjang.data.texts import Wanted
    from munjang.explore.sentences import read_sentences

    wanted = Wanted(() if text_column is None else (text_column,), None, encoding)
    return read_sentences([str(source) for source in sources], Path.cwd(), wanted)


def _columns(found: Pairs, left: Sentences, right: Sentences) -> dict[str, list[Any]]:
    """Pairs as the columns of a table."""
    return {
        "score": [round(score, 6) for score in found.scores.tolist()],
        "text1": [left.texts[i] for i in found.left.tolist()],
        "text2": [right.texts[i] for i in found.right.tolist()],
        "row1": [left.rows[i] for i in found.left.tolist()],
        "row2": [right.rows[i] for i in found.right.tolist()],
    }


def _records(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def encode_sides(
    sides: Sequence[Sentences], model: str, device: str | None, backend: str, show: Show
) -> list[np.ndarray]:
    """Vectors of length 1 of each side's texts."""
    from munjang.engine.encoder import Encoder, normalise

    encoder = Encoder(resolve_model(model), choose(device), backend=backend, cache=True)
    vectors = [normalise(encoder.encode(side.texts, progress=show.progress("vectors"))) for side in sides]
    if encoder.counts.truncated:
        show.say(f"  {encoder.counts.truncated:,} texts exceed the model's length; their end was cut off")
    return vectors


def choose(wanted: str | None) -> str:
    """The device to run on; by default cuda, else mps, else cpu."""
    if wanted == "cpu":
        return wanted  # always there; to look for others takes torch, and torch takes seconds
    from munjang.engine.device import choose_device

    return choose_device(wanted)

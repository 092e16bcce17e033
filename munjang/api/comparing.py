"""How similar texts are: two of them, all of two files, or the pairs of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.api.exploring import choose, read_side
from munjang.errors import DataError, Option, Phrase, UsageError
from munjang.models.source import ENCODER, resolve_model
from munjang.progress import QUIET, Show
from munjang.text import clean, is_blank

if TYPE_CHECKING:
    import numpy as np

    from munjang.explore.similarity import Similarity


def similarity(
    text1: str, text2: str, model: str = ENCODER, *, device: str | None = None, backend: str = "auto"
) -> float:
    """How similar two texts are.

    Args:
        text1, text2: themselves.
        model: a bi-encoder, for their cosine, or a cross-encoder, for its score in the mean of both orders.
        device, backend: see `munjang.api.encode_texts`.

    Raises:
        DataError: a text is blank, or the model gives classes. UsageError: a text names a file.
    """
    for text in (text1, text2):
        _require_text(text)
    return float(_model(model, device, backend).of_pairs([(clean(text1).text, clean(text2).text)])[0])


def similarity_matrix(
    left: Sequence[str | Path],
    right: Sequence[str | Path],
    model: str = ENCODER,
    *,
    text_column: str | None = None,
    encoding: str | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    backend: str = "auto",
    show: Show = QUIET,
) -> tuple[np.ndarray, dict[str, Any]]:
    """How similar every text of some files is to every text of others.

    Args:
        left, right: files, or names of the catalogue.
        model: see `similarity`.
        text_column, encoding: of all files.
        out: a table to write: .csv, .jsonl or .parquet; a row a text of `left` with the column `text`, and a column a text of
            `right`, named by its row from 0.
        device, backend, show: see `munjang.api.paraphrases`.

    Returns:
        float32 (texts of `left`, texts of `right`), and a report: `read` and `read_others`, what was read; `rows` and `columns`,
        the rows of the texts in their files.
    """
    from munjang.explore.tables import require_table, write_table

    if out is not None:
        require_table(Path(out))
    sides = [read_side(files, text_column, encoding) for files in (left, right)]
    measure = _model(model, device, backend, cache=True)
    found = measure.matrix(sides[0].texts, sides[1].texts, show.progress("similarity"))
    _say_cut(measure, show)
    if out is not None:
        columns = {str(row): found[:, at].tolist() for at, row in enumerate(sides[1].rows)}
        write_table(Path(out), {"text": sides[0].texts} | columns)
    report = {"read": sides[0].report(), "read_others": sides[1].report()}
    return found, report | {"rows": sides[0].rows, "columns": sides[1].rows}


def similarity_pairs(
    sources: Sequence[str | Path],
    columns: tuple[str, str] = ("sentence1", "sentence2"),
    model: str = ENCODER,
    *,
    encoding: str | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    backend: str = "auto",
    show: Show = QUIET,
) -> dict[str, Any]:
    """How similar the two texts of every row are.

    Args:
        sources: files, or names of the catalogue.
        columns: of the two texts.
        model: see `similarity`.
        encoding: of all files.
        out: a table to write: .csv, .jsonl or .parquet.
        device, backend, show: see `munjang.api.paraphrases`.

    Returns:
        `read`, what was read; `pairs` in the order of the files, each with `row`, `score`, `text1` and `text2`.
    """
    from munjang.explore.sentences import read_pairs
    from munjang.explore.tables import require_table, write_table

    if out is not None:
        require_table(Path(out))
    texts, pairs = read_pairs([str(source) for source in sources], Path.cwd(), columns, encoding)
    measure = _model(model, device, backend, cache=True)
    scores = measure.of_pairs(pairs, show.progress("similarity"))
    _say_cut(measure, show)
    table: dict[str, list[Any]] = {"row": texts.rows, "score": [round(score, 6) for score in scores.tolist()]}
    table |= {"text1": [one for one, _ in pairs], "text2": [other for _, other in pairs]}
    if out is not None:
        write_table(Path(out), table)
    records = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    return {"read": texts.report(), "pairs": records}


def _model(model: str, device: str | None, backend: str, cache: bool = False) -> Similarity:
    folder = resolve_model(model)

    from munjang.explore.similarity import Similarity

    return Similarity(folder, choose(device), backend, cache=cache)


def _say_cut(measure: Similarity, show: Show) -> None:
    if measure.truncated:
        show.say(f"  {measure.truncated:,} inputs exceed the model's length; their end was cut off")


def _require_text(text: str) -> None:
    if is_blank(text):
        raise DataError("a blank text is like nothing")
    try:
        there = Path(text).exists()
    except (OSError, ValueError):
        there = False  # a name that no file can have
    if there:
        expected = Phrase("{} or {}", Option("matrix"), Option("pairs"))
        raise UsageError("this names a file, not a text", got=text, expected=expected)

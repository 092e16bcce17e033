"""Folders in the layout of BEIR: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv` (Thakur et al. 2021, arXiv
2104.08663)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from munjang.data.tables import open_table
from munjang.errors import MissingInputError

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
#: Columns of the judgements; files of the layout bear these and no other names.
_QRELS = {"query_id": "query-id", "doc_id": "corpus-id", "relevance": "score"}


def beir_parts(source: str) -> dict[str, dict[str, Any]] | None:
    """The files of a folder in the layout of BEIR, as fields of a `DataSpec` by part; None if it is no such folder.

    A title, where documents have one, goes before the text, as it does in BEIR's own measurements.

    Args:
        source: `FOLDER`, which takes the judgements of the split test or the only ones that are there, or
            `FOLDER:SPLIT`.

    Raises:
        MissingInputError: the folder has no judgements, none of this split, or several and none called test.
    """
    folder, split = Path(source), ""
    if not (folder / CORPUS).is_file():
        before, _, split = source.rpartition(":")
        folder = Path(before or ".")
        if not before or not (folder / CORPUS).is_file():
            return None
    splits = sorted(path.stem for path in (folder / QRELS).glob("*.tsv"))
    chosen = split or ("test" if "test" in splits or len(splits) != 1 else splits[0])
    if chosen not in splits:
        raise MissingInputError(
            f"there are no judgements {QRELS}/{chosen}.tsv",
            where=folder,
            got=", ".join(splits) or "none",
            hint=f"name one of them: {folder}:{splits[0]}" if splits else None,
        )
    columns = {"id": "_id", "text": "text"}
    first = next(open_table(folder / CORPUS).records, None)
    titled = {"title": "title"} if first and first.fields and "title" in first.fields else {}
    return {
        "documents": {"source": str(folder / CORPUS), "columns": {**columns, **titled}},
        "queries": {"source": str(folder / QUERIES), "columns": columns},
        "qrels": {"source": str(folder / QRELS / f"{chosen}.tsv"), "columns": _QRELS},
    }

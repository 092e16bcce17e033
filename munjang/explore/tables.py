"""Results as tables: CSV, Parquet or JSONL, by the name of the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from munjang.errors import ConfigError, DiskError, Option
from munjang.files import write_bytes

FORMATS = (".csv", ".jsonl", ".parquet")
#: What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection). Texts come from strangers.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def require_table(path: Path, option: str = "out") -> None:
    """Refuse a name that says no format, before any work.

    Raises:
        ConfigError: neither .csv, .jsonl nor .parquet.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            "unknown format of a table", where=Option(option), expected=" or ".join(FORMATS), got=str(path)
        )


def require_folder(out: Path | None, format: str) -> None:
    """Refuse a folder that is there, and an unknown format of its tables, before any work.

    Raises:
        DiskError: `out` is there. ConfigError: see `require_table`.
    """
    require_table(Path(f"table.{format}"), "format")
    if out is not None and out.exists():
        raise DiskError("this is there already", where=out, hint="remove it, or name another folder")


def write_table(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table at once: a reader sees the old file or the new one.

    In CSV a text that a spreadsheet would run as a formula gets an apostrophe before it; the other formats hold every text as
    it is.

    Args:
        path: .csv, .jsonl or .parquet.
        columns: name -> cells of one type, all columns equally long; lists of them too but in CSV.

    Raises:
        ConfigError: see `require_table`. DiskError: the disk refused.
    """
    require_table(path)
    kind = path.suffix.lower()
    if kind == ".parquet":
        write_bytes(path, _parquet(columns))
        return
    rows = zip(*columns.values(), strict=True)
    content = io.StringIO(newline="")
    if kind == ".csv":
        writer = csv.writer(content)
        writer.writerow([guarded(name) for name in columns])
        writer.writerows([guarded(cell) for cell in row] for row in rows)
    else:
        for row in rows:
            content.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False, allow_nan=False) + "\n")
    write_bytes(path, content.getvalue().encode("utf-8", "backslashreplace"))


def guarded(cell: Any) -> Any:
    """A cell as CSV may hold it; only texts can be formulas, numbers stay numbers."""
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA) else cell


def _parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({name: list(cells) for name, cells in columns.items()}), content)
    return content.getvalue()

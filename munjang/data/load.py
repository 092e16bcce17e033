"""From a `DataSpec` to rows, and to the fingerprint of what would be read."""

from __future__ import annotations

from pathlib import Path

from munjang.config.recipe import DataSpec
from munjang.data.catalog import Located, locate
from munjang.data.readers import ROLES, Rows, find_column, read_aligned, read_rows, roles_of
from munjang.data.tables import file_format, flat_names, open_table
from munjang.errors import DataError, Option, Phrase
from munjang.files import digest_file

#: Raised when the same file gives other rows than before.
READER_VERSION = 1
_JUDGED = ("score", "scores", "label")


def load_rows(spec: DataSpec, kinds: tuple[str, ...], base: Path, seed: int = 42) -> Rows:
    """Read the rows that a `DataSpec` names.

    Args:
        spec: the source, and how to read it.
        kinds: the kinds of rows that are accepted, as keys of `munjang.data.readers.ROLES`.
        base: the folder that relative paths start from.
        seed: draws `spec.sample` rows.

    Raises:
        MissingInputError, DataError, UnavailableError: see `locate` and `read_rows`.
    """
    located = locate(spec.source, base)
    kind = located.rows or infer_kind(located.paths[0], spec, kinds)
    if kind not in kinds:
        raise DataError(
            "this data set holds other rows than are needed here",
            where=spec.source,
            expected=" or ".join(kinds),
            got=kind,
        )
    if len(located.paths) == 2:
        rows = read_aligned(*_sides(located, spec), spec, seed)
    else:
        rows = read_rows(located.paths[0], kind, _merge(spec, located), header=located.header, seed=seed)
    rows.report.source = located.name
    return rows._replace(kind=kind)


def _sides(located: Located, spec: DataSpec) -> tuple[Path, Path]:
    """The file of the source and that of the target, of two aligned files; `columns` may name them the other way round."""
    files = dict(zip(located.sides, located.paths, strict=True))
    wanted = {"source": located.sides[0], "target": located.sides[1], **spec.columns}
    if set(wanted) != {"source", "target"} or set(wanted.values()) != set(located.sides):
        raise DataError(
            "these columns are not the sides of two aligned files",
            where=spec.source,
            expected=f"source and target, which are {' and '.join(located.sides)}",
            got=", ".join(f"{role} = {column}" for role, column in spec.columns.items()),
        )
    return files[str(wanted["source"])], files[str(wanted["target"])]


def _merge(spec: DataSpec, located: Located) -> DataSpec:
    """The user's settings, over what the catalogue knows."""
    scale = spec.scale if spec.scale is not None else located.scale
    return spec.model_copy(update={"columns": {**located.columns, **spec.columns}, "scale": scale})


def infer_kind(path: Path, spec: DataSpec, kinds: tuple[str, ...]) -> str:
    """The kind of rows in a file: the only one accepted, else the first whose columns are all there.

    Roles that are mapped leave only the kinds that have them. Without a mapping, a file with a column of scores or labels
    is not taken for positive pairs: its pairs may be negative ones.
    """
    candidates = [k for k in kinds if k in ROLES]
    roles = list(dict.fromkeys(role for kind in candidates for role in roles_of(kind)))
    if not set(spec.columns) <= set(roles):
        raise DataError(
            "these columns have roles that no rows here have",
            where=path,
            expected=", ".join(roles),
            got=", ".join(sorted(set(spec.columns) - set(roles))),
        )
    if len(candidates) == 1:
        return candidates[0]
    if file_format(path, spec.format) == "txt":
        return "sentences"
    table = open_table(path, spec.format, spec.encoding)
    names = table.columns
    if names is None:
        first = next(table.records, None)
        names = flat_names(first.fields) if first and first.fields else []
    mapped = [k for k in candidates if set(spec.columns) <= set(roles_of(k))] or candidates
    for kind in mapped:
        if kind == "positive-pairs" and not spec.columns and any(find_column(r, spec, names) for r in _JUDGED):
            continue
        if all(find_column(role, spec, names) for role in ROLES[kind]):
            return kind
    if spec.scale is not None and "scored-pairs" in mapped:
        return "scored-pairs"  # reading it says which column is missing
    raise DataError(
        "cannot tell what rows this file holds",
        where=path,
        expected=" or ".join(f"{k} ({', '.join(ROLES[k])})" for k in candidates),
        got=f"columns {', '.join(names)}",
        hint=Phrase(
            "map its columns, such as {}", Option("columns", dict(zip(ROLES[candidates[0]], "ABC", strict=False)))
        ),
    )


def fingerprint_rows(spec: DataSpec, base: Path) -> dict[str, object]:
    """What decides the rows that would be read: the files' digests and the reader's settings, not their paths."""
    located = locate(spec.source, base)
    # A set without a part has the fingerprint that it had before there were parts.
    left_out = {"source"} if spec.part is not None else {"source", "part"}
    settings = _merge(spec, located).model_dump(mode="json", exclude=left_out)
    return {
        **settings,
        "reader": READER_VERSION,
        "rows": located.rows,
        "header": located.header,
        # The same bytes mean other rows under another format, and the format may come from the file's name.
        "format": [file_format(path, spec.format) for path in located.paths if located.rows != "parallel-pairs"],
        "files": [digest_file(path) for path in located.paths],
    }

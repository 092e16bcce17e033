"""munjang similarity"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from munjang import api
from munjang.cli.output import Running, print_json, relative, showing, stdout
from munjang.errors import Option, Phrase, UsageError
from munjang.models.source import ENCODER
from munjang.text import printable

#: Rows and columns that are printed.
_SHOWN, _COLUMNS = 20, 8


def similarity(
    *sources: str,
    model: str = ENCODER,
    matrix: Annotated[bool, Parameter(negative=())] = False,
    pairs: Annotated[tuple[str, str] | None, Parameter(negative=())] = None,
    text_column: str | None = None,
    encoding: str | None = None,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    backend: str = "auto",
    common: Running | None = None,
) -> int:
    """Say how similar two texts are, all texts of two files, or the two texts of every row.

    Args:
        sources: Two texts; with --matrix two files, with --pairs files; or catalogue names.
        model: A bi-encoder, for cosines, or a cross-encoder, for scores in the mean of both orders.
        matrix: Every text of the first file with every text of the second.
        pairs: Two columns; the texts of each row with each other.
        text_column: Of --matrix, column of the texts; by default the first of the usual names, or the only one.
        encoding: Force an encoding of the files, such as cp949.
        out: Table to write: .csv, .jsonl or .parquet.
        backend: What runs the model: auto, torch, native, or an export such as native-int8.
    """
    common = common or Running()
    if matrix and pairs:
        raise UsageError(Phrase("both {} and {}", Option("matrix"), Option("pairs")))
    if not sources or (pairs is None and len(sources) != 2):
        raise UsageError("name what is to be compared", expected="two texts, or files with --matrix or --pairs")
    idle = [
        name for name, value in (("out", out), ("encoding", encoding)) if value is not None and not (matrix or pairs)
    ]
    if text_column is not None and not matrix:
        idle.append("text_column")
    if idle:
        raise UsageError(
            Phrase("without effect here: {}", Phrase.joined(", ", [Phrase("{}", Option(n)) for n in idle]))
        )
    running: dict[str, Any] = {"device": common.device, "backend": backend}
    of_files = running | {"encoding": encoding, "out": out}
    with showing(common.json) as show:
        if matrix:
            left, right = sources
            of_matrix = of_files | {"text_column": text_column}
            found, report = api.similarity_matrix([left], [right], model, **of_matrix, show=show)
            report["matrix"] = [[float(f"{number:.9g}") for number in row] for row in found.tolist()]
        elif pairs:
            report = api.similarity_pairs(sources, pairs, model, **of_files, show=show)
        else:
            report = {"text1": sources[0], "text2": sources[1], "score": api.similarity(*sources, model, **running)}
    if common.json:
        print_json(report | ({} if out is None else {"out": str(out)}))
    else:
        _print(report, out)
    return 0


def _print(report: dict[str, Any], out: Path | None) -> None:
    console = stdout()
    if "score" in report:
        lines = [f"{report['score']:.4f}"]
    elif "matrix" in report:
        shown = [row[:_COLUMNS] for row in report["matrix"][:_SHOWN]]
        lines = ["  ".join(f"{number:7.4f}" for number in row) for row in shown]
        lines.append(f"{len(report['rows']):,} x {len(report['columns']):,} texts")
    else:
        pairs = report["pairs"]
        lines = [f"{one['score']:.4f}  {one['text1']}  |  {one['text2']}" for one in pairs[:_SHOWN]]
        read = report["read"]
        lines.append(f"{read['read']:,} rows read, {read['kept']:,} kept, {read['rejected']:,} rejected")
    for line in lines:
        console.print(escape(printable(line, 2_000)), soft_wrap=True)
    if out is not None:
        console.print(f"table: {relative(out)}", soft_wrap=True)

"""munjang encode"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.markup import escape

from munjang import api
from munjang.cli.output import Running, print_json, relative, showing, stdout
from munjang.errors import Option, Phrase, UsageError
from munjang.models.source import ENCODER, RERANKER
from munjang.text import printable

_Count = Parameter(validator=validators.Number(gte=1))
#: Rejects that are printed; all are in the folder.
_SHOWN = 5


def encode(
    *sources: str,
    model: str | None = None,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    use: Literal["similarity", "query", "document"] = "similarity",
    dimension: Annotated[int | None, _Count] = None,
    precision: Literal["float32", "float16", "int8", "binary"] = "float32",
    format: Literal["npy", "parquet"] = "npy",
    text_column: str | None = None,
    id: str | None = None,
    pairs: Annotated[tuple[str, str] | None, Parameter(negative=())] = None,
    encoding: str | None = None,
    shard_rows: Annotated[int, _Count] = 50_000,
    backend: str = "auto",
    common: Running | None = None,
) -> int:
    """Turn texts into vectors on stdout, or with --out files of any size into a folder of vectors.

    Args:
        sources: Texts; with --out, files or catalogue names.
        model: A bi-encoder, by default bundled:ko-small, or with --pairs a cross-encoder, by default bundled:ko-reranker; a
            folder, or a hub id.
        out: Folder to make. A killed command goes on where it was if it is given again.
        use: Which of the model's prompts goes before each text.
        dimension: Of the vectors, if they are to be cut; at most the model's.
        precision: Of the stored vectors; int8 has a scale for each dimension, binary keeps the signs.
        format: npy, with the ids beside it, or parquet.
        text_column: Column of the texts; by default the first of the usual names, or the only one.
        id: Column of ids to keep beside the vectors.
        pairs: Two columns whose texts a cross-encoder scores, in place of vectors.
        encoding: Force an encoding of the files, such as cp949.
        shard_rows: Rows a shard, which is what a kill can cost.
        backend: What runs the model: auto, torch, native, or an export such as native-int8.
    """
    common = common or Running()
    if not sources:
        raise UsageError("nothing to encode", expected=Phrase("texts, or files with {}", Option("out", "FOLDER")))
    model = model or (RERANKER if pairs else ENCODER)
    of_vectors: dict[str, Any] = {"model": model, "use": use, "dimension": dimension}
    of_vectors |= {"device": common.device, "backend": backend}
    of_files: dict[str, Any] = {
        "precision": precision,
        "format": format,
        "text_column": text_column,
        "id": id,
        "pairs": pairs,
        "encoding": encoding,
        "shard_rows": shard_rows,
    }
    if out is None:
        return _print_vectors(sources, of_vectors, of_files, common.json)
    with showing(common.json) as show:
        report = api.encode(list(sources), out, **of_vectors, **of_files, show=show)
    if common.json:
        print_json({**report, "out": str(out)})
        return 0
    _print_report(report, out)
    return 0


def _print_vectors(texts: tuple[str, ...], options: dict[str, Any], of_files: dict[str, Any], as_json: bool) -> int:
    """Vectors as JSON lines, one a text."""
    defaults = {"precision": "float32", "format": "npy", "shard_rows": 50_000}
    idle = [Phrase("{}", Option(name)) for name, value in of_files.items() if value != defaults.get(name)]
    if idle:
        raise UsageError(
            Phrase("without effect here: {}", Phrase.joined(", ", idle)), expected=Phrase("{}", Option("out", "FOLDER"))
        )
    with showing(as_json) as show:
        vectors = api.encode_texts(texts, **options, show=show)
    # Nine digits give every float32 back as it was.
    rows = [[float(f"{number:.9g}") for number in vector] for vector in vectors]
    if as_json:
        found = [{"text": text, "vector": row} for text, row in zip(texts, rows, strict=True)]
        print_json({"model": options["model"], "use": options["use"], "dimension": vectors.shape[1], "texts": found})
    else:
        sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)
    return 0


def _print_report(report: dict[str, Any], out: Path) -> None:
    console = stdout()
    because = "; ".join(f"{reason} in {number:,}" for reason, number in report["rejected_because"].items())
    rejected = f"{report['rejected']:,} rejected" + (f" ({because})" if because else "")
    lines = [f"{report['read']:,} rows read, {report['kept']:,} kept, {rejected}"]
    if report["rejected"]:
        with (out / "rejects.jsonl").open(encoding="utf-8") as file:
            lines += [f"  {_place(json.loads(line))}" for line, _ in zip(file, range(_SHOWN), strict=False)]
        lines += [f"  all of them: {relative(out / 'rejects.jsonl')}"]
    for name, what in (("repaired", "repaired"), ("truncated", "exceed the model's length; their end was cut off")):
        if report[name]:
            lines.append(f"{report[name]:,} {what}")
    if report["done_before"] is None:
        lines.append("nothing to do: this encoding is finished")
    else:
        speed = f"{report['tokens']:,} tokens, {report['seconds']:,.0f} s"
        kept = f"; {report['done_before']:,} of {report['shards']:,} shards were there before"
        lines.append(speed + (kept if report["done_before"] else ""))
    what = f"{report['dimension']} dimensions, {report['precision']}" if report["kind"] == "vectors" else "scores"
    for line in lines:
        console.print(escape(printable(line, 2_000)), soft_wrap=True)
    console.print(
        f"{report['kind']}: {relative(out)} ({what}, {report['shards']:,} shard{'s' * (report['shards'] != 1)})",
        soft_wrap=True,
    )


def _place(reject: dict[str, Any]) -> str:
    place = f"{reject['file']}:{reject['line']}" + (f":{reject['column']}" if reject["column"] else "")
    return f"{place}: {reject['reason']}"

"""munjang paraphrases"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators
from rich.markup import escape

from munjang import api
from munjang.cli.output import Running, print_json, relative, showing, stdout
from munjang.errors import UsageError
from munjang.models.source import ENCODER
from munjang.text import printable

_Count = Parameter(validator=validators.Number(gte=1))
#: Results that are printed where they are also in a file.
_SHOWN = 20


def paraphrases(
    *sources: str,
    others: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    model: str = ENCODER,
    threshold: float | None = None,
    top: Annotated[int, _Count] = 100_000,
    neighbours: Annotated[int | None, _Count] = None,
    margin: Annotated[bool, Parameter(negative=())] = False,
    text_column: str | None = None,
    encoding: str | None = None,
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    backend: str = "auto",
    common: Running | None = None,
) -> int:
    """List the most similar pairs of distinct sentences, best first.

    Args:
        sources: Files of texts, or catalogue names.
        others: Files of the other side; pairs are then between both sides.
        model: A bi-encoder: a bundled model, a folder, or a hub id.
        threshold: Least cosine, by default 0.8; with --margin least margin, by default 1.
        top: Pairs to keep at most, the best ones.
        neighbours: Keep only pairs of a sentence and one of so many nearest; with --margin the neighbourhood, by default 4.
        margin: Look for translations between both sides, each sentence in one pair at most.
        text_column: Column of the texts; by default the first of the usual names, or the only one.
        encoding: Force an encoding of the files, such as cp949.
        out: Table to write: .csv, .jsonl or .parquet.
        backend: What runs the model: auto, torch, native, or an export such as native-int8.
    """
    common = common or Running()
    if not sources:
        raise UsageError("name at least one file or data set of texts")
    with showing(common.json) as show:
        report = api.paraphrases(
            sources,
            model,
            others=others or (),
            threshold=threshold,
            top=top,
            neighbours=neighbours,
            margin=margin,
            text_column=text_column,
            encoding=encoding,
            out=out,
            device=common.device,
            backend=backend,
            show=show,
        )
    if common.json:
        print_json(report | ({} if out is None else {"out": str(out)}))
        return 0
    _print_pairs(report, "margin" if margin else "cosine", top, out)
    return 0


def _print_pairs(report: dict[str, Any], what: str, top: int, out: Path | None) -> None:
    pairs = report["pairs"]
    _print([_read(report[name]) for name in ("read", "read_others") if name in report])
    _print([f"{_number(pair['score'])}  {pair['text1']}  |  {pair['text2']}" for pair in pairs[:_SHOWN]])
    more = f"; stopped at {top:,}, there may be more: raise --top" if report["reached_top"] else ""
    among = " and ".join(f"{count:,}" for count in report["distinct"])
    _print([f"{len(pairs):,} pairs of {what} {report['threshold']:g} or more among {among} distinct sentences{more}"])
    if out is not None:
        stdout().print(f"pairs: {relative(out)}", soft_wrap=True)
    elif len(pairs) > _SHOWN:
        _print([f"{_SHOWN} of them are shown; --out FILE.csv keeps all"])


def _read(report: dict[str, Any]) -> str:
    because = "; ".join(f"{reason} in {number:,}" for reason, number in report["rejected_because"].items())
    rejected = f"{report['rejected']:,} rejected" + (f" ({because})" if because else "")
    return f"{report['read']:,} rows read, {report['kept']:,} kept, {rejected}"


def _number(score: float) -> str:
    return f"{score:.4f}"


def _print(lines: list[str]) -> None:
    console = stdout()
    for line in lines:
        console.print(escape(printable(line, 2_000)), soft_wrap=True)

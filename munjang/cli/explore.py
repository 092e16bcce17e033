"""munjang paraphrases, munjang dedup"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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


def dedup(
    *sources: str,
    model: str = ENCODER,
    letters_only: Annotated[bool, Parameter(negative=())] = False,
    threshold: float = 0.9,
    near: float = 0.8,
    verify: str | None = None,
    least: float = 0.5,
    keep: Literal["first", "longest"] = "first",
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    format: Literal["csv", "jsonl", "parquet"] = "csv",
    text_column: str | None = None,
    encoding: str | None = None,
    backend: str = "auto",
    common: Running | None = None,
) -> int:
    """Find sentences that say the same, and keep one of each group.

    Args:
        sources: Files of texts, or catalogue names.
        model: A bi-encoder: a bundled model, a folder, or a hub id.
        letters_only: Compare letters only, without any model.
        threshold: Cosine from which two sentences are duplicates.
        near: Jaccard similarity of character trigrams from which they are.
        verify: Cross-encoder that must score a pair of either kind at least --least.
        least: Least score of --verify.
        keep: Which sentence of a group is kept.
        out: Folder to make, with the tables kept and groups; must not exist.
        format: Of the tables.
        text_column: Column of the texts; by default the first of the usual names, or the only one.
        encoding: Force an encoding of the files, such as cp949.
        backend: What runs the models: auto, torch, native, or an export such as native-int8.
    """
    common = common or Running()
    if not sources:
        raise UsageError("name at least one file or data set of texts")
    options: dict[str, Any] = {"threshold": threshold, "near": near, "verify": verify, "least": least, "keep": keep}
    options |= {"format": format, "text_column": text_column, "encoding": encoding, "backend": backend}
    with showing(common.json) as show:
        used = None if letters_only else model
        report = api.dedup(sources, out, used, **options, device=common.device, show=show)
    if common.json:
        print_json(report | ({} if out is None else {"out": str(out)}))
        return 0
    _print_groups(report, out, verify is not None)
    return 0


def _print_groups(report: dict[str, Any], out: Path | None, verified: bool) -> None:
    groups = report["groups"]
    _print([_read(report["read"])])
    for group in groups[:_SHOWN]:
        dropped = [one["text"] for one in group["members"] if one["row"] != group["row"]]
        _print([f"{len(group['members'])}x  {group['text']}", *(f"      {text}" for text in dropped[:3])])
    pairs = f"{report['near']:,} pairs nearly alike by letters, {report['similar']:,} by vectors"
    refused = f"; {report['refused']:,} of {report['verified']:,} refused by the cross-encoder" if verified else ""
    _print([f"{report['exact']:,} rows repeat another; {pairs}{refused}"])
    _print([f"{len(groups):,} groups of duplicates: {report['kept']:,} rows kept, {report['dropped']:,} dropped"])
    if out is not None:
        stdout().print(f"tables: {relative(out)}", soft_wrap=True)
    elif len(groups) > _SHOWN:
        _print([f"{_SHOWN} groups are shown; --out FOLDER keeps all"])


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

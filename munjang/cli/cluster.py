"""munjang cluster"""

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
#: Clusters that are printed.
_SHOWN = 20


def cluster(
    *sources: str,
    model: str = ENCODER,
    method: Literal["community", "kmeans", "hdbscan", "agglomerative"] = "community",
    threshold: float = 0.75,
    least: Annotated[int, _Count] = 5,
    count: Annotated[int | None, _Count] = None,
    count_range: Annotated[tuple[int, int] | None, Parameter(negative=())] = None,
    seed: int = 0,
    before: Path | None = None,
    analyser: Literal["auto", "kiwi", "bigrams"] = "auto",
    out: Annotated[Path | None, Parameter(name="--out")] = None,
    format: Literal["csv", "jsonl", "parquet"] = "csv",
    text_column: str | None = None,
    encoding: str | None = None,
    backend: str = "auto",
    common: Running | None = None,
) -> int:
    """Put distinct sentences into clusters, with words, labels and typical sentences.

    Args:
        sources: Files of texts, or catalogue names.
        model: A bi-encoder: a bundled model, a folder, or a hub id.
        method: How clusters are found.
        threshold: Of communities the least cosine with the centre, of agglomerative clusters the least mean cosine.
        least: Sentences of the smallest cluster, but of kmeans.
        count: Clusters of kmeans.
        count_range: Least and most clusters of kmeans; the number with the largest silhouette is taken.
        seed: Of kmeans.
        before: Folder of an earlier run, whose ids go on where its clusters do.
        analyser: What cuts sentences into words: kiwi for Korean morphemes, bigrams without a dictionary.
        out: Folder to make, with the tables clusters and sentences; must not exist.
        format: Of the tables.
        text_column: Column of the texts; by default the first of the usual names, or the only one.
        encoding: Force an encoding of the files, such as cp949.
        backend: What runs the model: auto, torch, native, or an export such as native-int8.
    """
    common = common or Running()
    if not sources:
        raise UsageError("name at least one file or data set of texts")
    if count is not None and count_range is not None:
        raise UsageError("a number of clusters and a range of them", expected="one of --count and --count-range")
    options: dict[str, Any] = {"method": method, "threshold": threshold, "least": least, "count": count or count_range}
    options |= {"seed": seed, "before": before, "analyser": analyser, "format": format}
    options |= {"text_column": text_column, "encoding": encoding, "backend": backend, "device": common.device}
    with showing(common.json) as show:
        report = api.cluster(sources, out, model, **options, show=show)
    if common.json:
        print_json(report | ({} if out is None else {"out": str(out)}))
        return 0
    _print_clusters(report, out)
    return 0


def _print_clusters(report: dict[str, Any], out: Path | None) -> None:
    console = stdout()
    read, clusters = report["read"], report["clusters"]
    because = "; ".join(f"{reason} in {number:,}" for reason, number in read["rejected_because"].items())
    rejected = f"{read['rejected']:,} rejected" + (f" ({because})" if because else "")
    lines = [f"{read['read']:,} rows read, {read['kept']:,} kept, {rejected}"]
    for one in clusters[:_SHOWN]:
        lines += [f"{one['id']}  {one['label']}  ({one['sentences']:,})", *(f"      {text}" for text in one["typical"])]
    if report["silhouettes"]:
        lines.append(
            "silhouettes: " + ", ".join(f"{number}: {one:.3f}" for number, one in report["silhouettes"].items())
        )
    more = f", of which {_SHOWN} are shown" if len(clusters) > _SHOWN else ""
    distinct, outside = report["distinct"], report["outside"]
    lines.append(f"{len(clusters):,} clusters of {distinct:,} distinct sentences{more}; {outside:,} are in none")
    for line in lines:
        console.print(escape(printable(line, 2_000)), soft_wrap=True)
    if out is not None:
        console.print(f"clusters: {relative(out)}", soft_wrap=True)

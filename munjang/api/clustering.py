"""Sentences in clusters, with words, labels and typical sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from munjang.api.exploring import encode_sides, read_side
from munjang.models.source import ENCODER
from munjang.progress import QUIET, Show


def cluster(
    sources: Sequence[str | Path],
    out: str | Path | None = None,
    model: str = ENCODER,
    *,
    method: str = "community",
    threshold: float = 0.75,
    least: int = 5,
    count: int | tuple[int, int] | None = None,
    seed: int = 0,
    before: str | Path | None = None,
    analyser: str = "auto",
    format: str = "csv",
    text_column: str | None = None,
    encoding: str | None = None,
    device: str | None = None,
    backend: str = "auto",
    show: Show = QUIET,
) -> dict[str, Any]:
    """Cluster the distinct sentences of some files.

    Args:
        sources: files, or names of the catalogue.
        out: a folder to make; see `munjang.explore.clustered.write_clusters`.
        model: a bi-encoder; see `munjang.api.encode_texts`.
        method, threshold, least, count, seed: see `munjang.explore.clusters.cluster_vectors`.
        before: the folder of an earlier run, whose ids go on where its clusters do.
        analyser: what cuts sentences into words; see `munjang.index.morphemes.Analyser`.
        format: of the tables: csv, jsonl or parquet.
        text_column, encoding, device, backend, show: see `munjang.api.paraphrases`.

    Returns:
        `read`; `distinct`; `clusters`, the largest first, each with `id`, `label`, `sentences`, `rows`, `words` and `typical`;
        `outside`, sentences that are in none; `method`, `analyser`, and the `silhouettes` of the numbers that were tried.

    Raises:
        ConfigError, DiskError: options, or `out` is there. MissingInputError, UnavailableError, DataError: files, models.
    """
    from munjang.explore.clustered import Named, ids_after, read_members, write_clusters
    from munjang.explore.clusters import cluster_vectors, cosines_within, require_options
    from munjang.explore.tables import require_folder
    from munjang.explore.topics import describe
    from munjang.index.morphemes import Analyser

    require_folder(out := None if out is None else Path(out), format)
    require_options(method, threshold, least, count)
    cutter, known = Analyser(analyser), {} if before is None else read_members(Path(before))
    texts = read_side(sources, text_column, encoding)
    distinct, places = texts.distinct()
    vectors = encode_sides([distinct], model, device, backend, show)[0]
    found = cluster_vectors(
        vectors, method, threshold=threshold, least=least, count=count, seed=seed, progress=show.progress("clusters")
    )
    topics = describe(found, vectors, distinct.texts, cutter.terms(distinct.texts, show.progress("words")))
    ids = ids_after(found.labels, distinct.texts, known)
    named = Named(found, ids, topics, distinct, texts, places)
    report = {"read": texts.report(), "method": method, "analyser": cutter.kind} | named.report()
    if out is not None:
        write_clusters(out, named, format, cosines_within(found, vectors), report)
    return report

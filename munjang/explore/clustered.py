"""Clusters on disk: a folder of tables that a later run can go on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from munjang.errors import DataError, MissingInputError
from munjang.explore.clusters import Clustering, stable_ids
from munjang.explore.sentences import Sentences
from munjang.explore.tables import write_table
from munjang.explore.topics import Topic
from munjang.files import new_directory, read_json, write_json
from munjang.text import match_key

#: What a later run reads, whatever the format of the tables.
_MEMBERS = "members.json"


@dataclass(frozen=True)
class Named:
    """Clusters with ids, topics and sentences."""

    clustering: Clustering
    ids: list[int]
    topics: list[Topic]
    sentences: Sentences
    """Distinct ones, as they were clustered."""
    whole: Sentences
    """All rows that were read."""
    places: list[list[int]]
    """Of each sentence its places in `whole`; see `Sentences.distinct`."""

    def report(self) -> dict[str, Any]:
        """All of them as JSON values."""
        return {
            "distinct": len(self.sentences.texts),
            "silhouettes": {str(count): round(one, 6) for count, one in self.clustering.silhouettes.items()},
            "clusters": self.clusters(),
            "outside": int((self.clustering.labels < 0).sum()),
        }

    def clusters(self) -> list[dict[str, Any]]:
        """One entry a cluster, the largest first, as JSON values."""
        sizes = np.bincount(self.clustering.labels[self.clustering.labels >= 0], minlength=len(self.ids))
        rows = np.zeros(len(self.ids), np.int64)
        for label, places in zip(self.clustering.labels.tolist(), self.places, strict=True):
            if label >= 0:
                rows[label] += len(places)
        return [
            {
                "id": one,
                "label": topic.label,
                "sentences": int(sizes[at]),
                "rows": int(rows[at]),
                "words": topic.words,
                "typical": [self.sentences.texts[place] for place in topic.typical],
            }
            for at, (one, topic) in enumerate(zip(self.ids, self.topics, strict=True))
        ]


def ids_after(labels: np.ndarray, texts: Sequence[str], before: Mapping[str, int]) -> list[int]:
    """See `munjang.explore.clusters.stable_ids`."""
    return stable_ids(labels, [match_key(text) for text in texts], before)


def read_members(folder: Path) -> dict[str, int]:
    """The sentences of an earlier run, by `match_key`, with the ids of their clusters.

    Raises:
        MissingInputError: no folder of clusters. DataError: it is damaged.
    """
    path = folder / _MEMBERS
    if not path.is_file():
        raise MissingInputError("this is no folder of clusters", where=folder, expected=_MEMBERS)
    members = read_json(path)
    right = isinstance(members, dict) and all(isinstance(one, int) and one > 0 for one in members.values())
    if not right:
        raise DataError("this file is damaged", where=path, expected="sentences with ids from 1")
    return members


def write_clusters(
    out: Path, named: Named, format: str, cosines: Sequence[float | None], report: Mapping[str, Any]
) -> None:
    """Write a folder at once.

    `clusters` (id, label, sentences, rows, words, typical); `sentences` (row, cluster, cosine, text), all rows, with cluster 0
    for those in none; `centroids.npy`, float32, a row a cluster in the order of `clusters`; `clusters.json`, the report; and
    what a later run reads.

    Args:
        out: must not exist. named: the clusters. format: csv, jsonl or parquet.
        cosines: of each sentence with its centroid, None for those in no cluster. report: to keep.
    """
    clusters, labels, texts = named.clusters(), named.clustering.labels, named.sentences
    with new_directory(out) as folder:
        columns = {name: [one[name] for one in clusters] for name in ("id", "label", "sentences", "rows")}
        columns |= {"words": [", ".join(one["words"]) for one in clusters]}
        columns |= {"typical": [" | ".join(one["typical"]) for one in clusters]}
        write_table(folder / f"clusters.{format}", columns)
        of = [named.ids[label] if label >= 0 else 0 for label in labels.tolist()]
        sentence = {place: number for number, places in enumerate(named.places) for place in places}
        numbers = [sentence[place] for place in range(len(named.whole.texts))]
        columns = {"row": named.whole.rows, "cluster": [of[number] for number in numbers]}
        columns |= {"cosine": [cosines[number] for number in numbers], "text": named.whole.texts}
        write_table(folder / f"sentences.{format}", columns)
        np.save(folder / "centroids.npy", named.clustering.centroids, allow_pickle=False)
        write_json(folder / "clusters.json", report)
        keyed = {match_key(text): one for text, one in zip(texts.texts, of, strict=True) if one}
        write_json(folder / _MEMBERS, keyed)

"""munjang cluster: from files to clusters, whose ids a later run keeps."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from munjang.files import damage

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    refunds = [f"환불 신청을 {i}번 했는데 언제 되나요?" for i in range(8)]
    letters = [f"x{i}" for i in range(3)]
    path.write_text("\n".join([*refunds, *letters, refunds[0], " "]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("options", [[], ["--method", "kmeans", "--count-range", "2", "4"], ["--method", "hdbscan"]])
def test_clusters_lie_in_tables(options: list[str], run: Run, tiny_bi: Path, texts: Path, tmp_path: Path) -> None:
    given = ["cluster", texts, "--model", tiny_bi, "--device", "cpu", "--analyser", "bigrams", "--least", "3", *options]
    status, printed, _ = run(*given, "--out", "out", "--json")
    report = json.loads(printed)
    assert (status, report["read"]["rejected"], report["distinct"]) == (0, 1, 11)
    sizes = [one["sentences"] for one in report["clusters"]]
    assert sum(sizes) + report["outside"] == 11
    assert bool(report["silhouettes"]) is ("kmeans" in options)
    assert damage(tmp_path / "out") is None
    with (tmp_path / "out" / "sentences.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # The last row repeats the first.
    assert [int(row["row"]) for row in rows] == list(range(12))
    assert rows[11]["cluster"] == rows[0]["cluster"]
    of = [int(row["cluster"]) for row in rows[:11]]
    assert [of.count(one["id"]) for one in report["clusters"]] == sizes
    assert np.load(tmp_path / "out" / "centroids.npy").shape == (len(sizes), 32)


def test_a_later_run_keeps_the_ids(run: Run, tiny_bi: Path, texts: Path, tmp_path: Path) -> None:
    given = ["--model", tiny_bi, "--device", "cpu", "--analyser", "bigrams", "--method", "kmeans", "--count", "2"]
    status, printed, _ = run("cluster", texts, *given, "--out", "first", "--json")
    first = json.loads(printed)
    assert (status, [one["id"] for one in first["clusters"]]) == (0, [1, 2])
    small = first["clusters"][1]["typical"]
    more = "\n".join([texts.read_text(encoding="utf-8").strip(), *(f"x{i}" for i in range(3, 40))])
    (tmp_path / "more.txt").write_text(more, encoding="utf-8")
    status, printed, _ = run("cluster", "more.txt", *given, "--before", "first", "--json")
    later = json.loads(printed)["clusters"]
    assert (status, {one["id"] for one in later}) == (0, {1, 2})
    assert later[0]["sentences"] > later[1]["sentences"]
    assert later[0]["id"] == 2, small


def test_no_cluster_is_an_answer(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("안녕하세요\n", encoding="utf-8")
    status, printed, _ = run("cluster", "one.txt", "--model", tiny_bi, "--device", "cpu", "--out", "out")
    assert status == 0
    assert "0 clusters of 1 distinct sentences; 1 are in none" in printed
    assert (tmp_path / "out" / "clusters.csv").read_text(encoding="utf-8").startswith("id,label")


@pytest.mark.parametrize(
    ("wrong", "status", "said"),
    [
        (["--method", "kmeans"], 78, "needs a number of clusters"),
        (["--method", "kmeans", "--count", "99"], 78, "more clusters than sentences"),
        (["--method", "kmeans", "--count", "2", "--count-range", "2", "3"], 2, "a range of them"),
        (["--threshold", "2"], 78, "no such cosine"),
        (["--before", "nowhere"], 66, "no folder of clusters"),
    ],
)
def test_bad_options_are_named(
    wrong: list[str], status: int, said: str, run: Run, tiny_bi: Path, texts: Path, tmp_path: Path
) -> None:
    found, _, errors = run("cluster", texts, "--model", tiny_bi, "--device", "cpu", "--out", "out", *wrong)
    assert found == status
    assert said in errors
    assert not (tmp_path / "out").exists()

"""The embedded sample: as many rows as promised, no two texts equal, no sentence in two splits."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from munjang.config.recipe import DataSpec
from munjang.data.lint import leakage, lint
from munjang.data.load import load_rows
from munjang.data.readers import ROLES
from munjang.data.rows import sentences_of
from munjang.text import match_key

COUNTS = {
    "support:train": 150,
    "support:dev": 60,
    "support:test": 100,
    "support-raw": 1_500,
    "support-help": 504,
    "support-queries": 80,
    "support-qrels": 194,
    "support-parallel": 204,
}


def rows(name: str) -> list:
    return load_rows(DataSpec(source=name), tuple(ROLES), Path()).rows


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_every_set_has_its_rows_and_none_is_rejected(name: str, count: int) -> None:
    found = load_rows(DataSpec(source=name), tuple(ROLES), Path())
    assert (len(found.rows), found.report.rejects) == (count, [])


@pytest.mark.parametrize("name", [name for name in COUNTS if name != "support-qrels"])
def test_no_two_texts_of_a_set_are_equal(name: str) -> None:
    keys = Counter(match_key(text).rstrip(".?!") for text in sentences_of(rows(name)))
    assert [key for key, count in keys.items() if count > 1] == []


def test_no_sentence_is_in_two_sets() -> None:
    sets = {
        name: {match_key(t).rstrip(".?!") for t in sentences_of(rows(name))} for name in COUNTS if "qrels" not in name
    }
    shared = {(a, b): sets[a] & sets[b] for a, b in combinations(sets, 2)}
    assert {pair: texts for pair, texts in shared.items() if texts} == {}


def test_the_doctor_finds_nothing_in_the_graded_pairs() -> None:
    splits = {name: rows(name) for name in ("support:train", "support:dev", "support:test")}
    assert lint(splits) == []
    assert leakage(splits) == []


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_scores_are_spread_over_the_scale(split: str) -> None:
    bands = Counter(min(int(5 * row.score), 4) for row in rows(f"support:{split}"))
    assert min(bands[band] for band in range(5)) >= 0.1 * sum(bands.values())


def test_every_query_has_an_answer_that_exists() -> None:
    documents = {document.id for document in rows("support-help")}
    queries = {query.id for query in rows("support-queries")}
    judgements = rows("support-qrels")
    assert {j.doc_id for j in judgements} <= documents
    assert {j.query_id for j in judgements} == queries
    assert {j.query_id for j in judgements if j.relevance == 2} == queries


def test_texts_are_varied() -> None:
    texts = rows("support-raw")
    first = Counter(text.split()[0] for text in texts)
    assert first.most_common(1)[0][1] <= 0.04 * len(texts)
    assert len({text[-4:] for text in texts}) > 300

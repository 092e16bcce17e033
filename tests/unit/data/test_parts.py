"""Parts: disjoint, complete, the same whatever the order, and rows that share their first text stay together."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.config.recipe import DataSpec
from munjang.data.parts import part_name, share, take_part
from munjang.data.readers import read_aligned, read_rows
from munjang.data.rows import Document, LabelledPair, ParallelPair, PositivePair, Qrel, RankedList, ScoredPair, Triplet
from munjang.errors import DataError
from munjang.text import match_key

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
shares = st.floats(0, 1, exclude_min=True, exclude_max=True)


def test_shares_lie_evenly_between_nought_and_one() -> None:
    found = sorted(share(f"문장 {n}") for n in range(4000))
    assert found[0] >= 0
    assert found[-1] < 1
    assert max(abs(value - n / 4000) for n, value in enumerate(found)) < 0.03


def test_a_share_is_what_it_was_in_earlier_versions() -> None:
    """Runs name their results by it: another digest would silently give other rows under old names."""
    assert [round(share(text), 6) for text in ("가", "The same sentence", "")] == [0.296995, 0.326182, 0.893168]


def test_spellings_of_one_sentence_have_one_share() -> None:
    spellings = {"가 나 ABC", unicodedata.normalize("NFD", "가 나 ABC"), " 가  나 abc ", "가\t나 Abc"}
    assert len(spellings) == 4
    assert len({share(text) for text in spellings}) == 1
    assert share("가 나") != share("나 가")


@given(rows=st.lists(st.builds(LabelledPair, texts, texts, st.just("neutral")), max_size=30), cut=shares)
def test_two_parts_that_meet_are_disjoint_and_complete(rows: list[LabelledPair], cut: float) -> None:
    low, high = take_part(rows, (0, cut)), take_part(rows, (cut, 1))
    assert sorted(low + high) == sorted(rows)
    assert {match_key(row.sentence1) for row in low}.isdisjoint(match_key(row.sentence1) for row in high)


@given(rows=st.lists(texts, max_size=30), cut=shares, seed=st.integers(0, 99))
def test_a_part_depends_on_neither_order_nor_other_rows(rows: list[str], cut: float, seed: int) -> None:
    mixed = [*rows, "다른 문장"]
    random.Random(seed).shuffle(mixed)
    chosen = set(take_part(rows, (0, cut)))
    assert chosen == set(take_part(mixed, (0, cut))) & set(rows)
    kept = iter(rows)
    assert all(row in kept for row in take_part(rows, (0, cut)))  # in their order


@pytest.mark.parametrize(
    "make",
    [
        lambda first, other: ScoredPair(first, other, 0.5),
        lambda first, other: LabelledPair(first, other, "neutral"),
        lambda first, other: Triplet(first, other, "c"),
        PositivePair,
        ParallelPair,
        lambda first, other: RankedList(first, (other, "c"), (1.0, 0.0)),
        lambda first, other: Document(other, first),
        lambda first, other: first,
    ],
    ids=["scored", "labelled", "triplet", "positive", "parallel", "ranked", "document", "sentence"],
)
def test_the_first_text_of_every_kind_decides(make) -> None:
    rows = [make(f"문장 {n}", f"다른 {n % 3}") for n in range(200)]
    expected = [row for n, row in enumerate(rows) if share(f"문장 {n}") < 0.3]
    assert 0 < len(expected) < 200
    assert take_part(rows, (0, 0.3)) == expected


def test_judgements_have_no_parts() -> None:
    with pytest.raises(DataError, match="no text by which a part"):
        take_part([Qrel("q", "d", 1)], (0, 0.5))


@pytest.mark.parametrize(("part", "name"), [((0.9, 1.0), "part 0.9-1"), ((0.0, 0.05), "part 0-0.05")])
def test_a_part_has_a_short_name(part: tuple[float, float], name: str) -> None:
    assert part_name(part) == name


# -- in the readers


@pytest.fixture
def sentences(scratch):
    """A file of 200 sentences and one blank line."""
    return scratch("parts.txt", "".join(f"문장 {n}\n" for n in range(200)) + "\n")


def test_the_report_counts_the_file_and_says_what_the_part_left(sentences) -> None:
    spec = DataSpec(source="x", part=(0.5, 1), rejects="skip")
    rows, report, _ = read_rows(sentences, "sentences", spec)
    assert rows == [f"문장 {n}" for n in range(200) if share(f"문장 {n}") >= 0.5]
    assert (report.read, report.kept, len(report.rejects)) == (201, 200, 1)
    assert report.sentence().endswith(f"201 rows read, 200 kept, 1 rejected (part 0.5-1: {len(rows)} rows)")
    assert report.as_dict()["handed_on"] == {"part 0.5-1": len(rows)}


def test_the_seed_changes_the_sample_and_not_the_part(sentences) -> None:
    part = DataSpec(source="x", part=(0.5, 1), rejects="skip")
    whole = read_rows(sentences, "sentences", part, seed=1).rows
    assert whole == read_rows(sentences, "sentences", part, seed=2).rows
    sampled = DataSpec(source="x", part=(0.5, 1), rejects="skip", sample=9)
    drawn = [read_rows(sentences, "sentences", sampled, seed=seed) for seed in (1, 2)]
    assert drawn[0].rows != drawn[1].rows
    assert all(set(result.rows) < set(whole) for result in drawn)
    assert drawn[0].report.handed_on == {"part 0.5-1": len(whole), "sample": 9}


def test_a_part_without_rows_is_an_error_that_names_it(sentences) -> None:
    spec = DataSpec(source="x", part=(0, 1e-9), rejects="skip")
    with pytest.raises(DataError, match="no rows were left") as caught:
        read_rows(sentences, "sentences", spec)
    assert caught.value.got.startswith("201 read, 1 rejected, none of the others in part 0-1e-09")


def test_aligned_files_have_parts_too(scratch) -> None:
    files = scratch("p.ko", "".join(f"문장 {n}\n" for n in range(50))), scratch("p.en", "same\n" * 50)
    halves = [read_aligned(*files, DataSpec(source="x", part=part)).rows for part in ((0, 0.5), (0.5, 1))]
    assert all(halves)
    assert sorted(halves[0] + halves[1]) == sorted(read_aligned(*files, DataSpec(source="x")).rows)

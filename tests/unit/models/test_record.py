"""What a model was trained on is known afterwards, without the texts themselves."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from munjang.data.rows import LabelledPair, ScoredPair
from munjang.errors import DataError
from munjang.models.record import RECORD_FILE, read_record, record_of, seen_before, write_record

ROWS = [
    ScoredPair("환불은 언제 되나요?", "돈은 언제 받나요?", 0.9),
    LabelledPair("A dog runs.", "An animal moves.", "entailment"),
]


def test_rows_and_texts_are_known_again() -> None:
    record = record_of(ROWS)
    seen = seen_before(
        record, [("돈은  언제 받나요?", "환불은 언제 되나요?"), ("a DOG runs.", "Nobody moves."), ("new", "too")]
    )
    assert seen == {"units": 1, "of_units": 3, "texts": 3, "of_texts": 6}


def test_a_single_text_is_a_unit_of_its_own() -> None:
    record = record_of([*ROWS, "혼자 있는 문장"])
    assert seen_before(record, [("혼자 있는 문장",), ("A dog runs.",), ("none",)])["units"] == 2


def test_the_same_text_in_composed_and_decomposed_hangul_is_one() -> None:
    decomposed = unicodedata.normalize("NFD", "환불")
    assert decomposed != "환불"
    assert seen_before(record_of([decomposed]), [("환불",)])["units"] == 1


def test_a_chain_remembers_all_of_its_trainings(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_record(first, record_of(ROWS[:1]), tmp_path / "a model without a record")
    write_record(second, record_of(ROWS[1:]), first)
    units = [row[:2] for row in ROWS]
    assert seen_before(read_record(first), units)["units"] == 1
    assert seen_before(read_record(second), units)["units"] == 2
    assert read_record(tmp_path) is None


def test_the_file_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    write_record(tmp_path / "a", record_of(ROWS))
    write_record(tmp_path / "b", record_of(reversed(ROWS)))
    assert (tmp_path / "a" / RECORD_FILE).read_bytes() == (tmp_path / "b" / RECORD_FILE).read_bytes()


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_record_is_named(tmp_path: Path, damage: bytes | None) -> None:
    write_record(tmp_path, record_of(ROWS))
    path = tmp_path / RECORD_FILE
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(DataError, match="damaged"):
        read_record(tmp_path)

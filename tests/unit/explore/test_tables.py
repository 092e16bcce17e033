"""Tables: what is written is read again, and no text becomes a formula."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet
import pytest

from munjang.errors import ConfigError
from munjang.explore.tables import write_table

TEXTS = ['=HYPERLINK("http://x")', "+1", "-2", "@sum", " =1", "＝1", '환불, "언제"\n되나요', "plain"]
COLUMNS = {"score": [-0.5] * len(TEXTS), "text": TEXTS}


def test_texts_in_csv_are_no_formulas_and_numbers_stay_numbers(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", COLUMNS)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [f"'{text}" for text in TEXTS[:6]] + TEXTS[6:]
    assert {row["score"] for row in rows} == {"-0.5"}


def test_other_formats_hold_texts_as_they_are(tmp_path: Path) -> None:
    write_table(tmp_path / "t.jsonl", COLUMNS)
    write_table(tmp_path / "t.parquet", COLUMNS)
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in lines] == TEXTS
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pydict() == COLUMNS


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown format"):
        write_table(tmp_path / "t.xlsx", COLUMNS)
    assert list(tmp_path.iterdir()) == []

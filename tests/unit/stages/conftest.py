"""Files and recipes for the doctor to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from munjang import api
from munjang.data.lint import Finding

Sentence = Callable[[int], str]
Pairs = Callable[[int, int], list[tuple[str, str, float]]]

PLACES = ("창구에서", "집에서", "공항에서", "학교에서", "시장에서", "역에서", "회사에서", "공원에서")
THINGS = ("환불을", "예약을", "주문을", "배송을", "가입을", "해지를", "교환을", "문의를", "결제를", "등록을")
ENDS = ("하고 싶어요", "미루려고 합니다", "어떻게 하나요", "다시 부탁드려요")


@pytest.fixture
def sentence() -> Sentence:
    """Gives 320 distinct sentences by number; those of neighbouring numbers share little."""
    return lambda number: f"{PLACES[number % 8]} {THINGS[number // 8 % 10]} {ENDS[number // 80 % 4]}"


@pytest.fixture
def pairs(sentence: Sentence) -> Pairs:
    """Gives so many scored pairs of distinct sentences from a number on, with scores over the whole scale from 0 to 5."""
    return lambda start, count: [
        (sentence(2 * n), sentence(2 * n + 1), n % 11 / 2) for n in range(start, start + count)
    ]


@pytest.fixture
def write_pairs(tmp_path: Path) -> Callable[..., str]:
    """Writes scored pairs as a TSV file in the test's folder and returns its name."""

    def write(name: str, rows: Iterable[tuple[object, ...]], header: str = "sentence1\tsentence2\tscore") -> str:
        lines = [header, *("\t".join(map(str, row)) for row in rows)]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return name

    return write


@pytest.fixture
def look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """What the doctor finds, by code; relative paths start in the test's folder. The last of each code is kept."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def look(*data: str, **options: object) -> dict[str, Finding]:
        return {finding.code: finding for finding in reversed(api.doctor(data, **options))}

    return look


@pytest.fixture
def recipe(tmp_path: Path, write_pairs: Callable[..., str], pairs: Pairs) -> Callable[..., str]:
    """Writes a recipe over three files of pairs, with changes to its text, and returns its name."""
    write_pairs("gold.tsv", pairs(0, 60))
    write_pairs("choose.tsv", pairs(60, 40))
    write_pairs("measure.tsv", pairs(100, 60))

    def write(model: Path, *changes: tuple[str, str], more: str = "") -> str:
        text = f"""
name = "mistakes"
[data]
gold = {{ source = "gold.tsv", scale = [0, 5] }}
choose = {{ source = "choose.tsv", scale = [0, 5] }}
measure = {{ source = "measure.tsv", scale = [0, 5] }}
[[stage]]
name = "bi"
kind = "train.bi"
model = "{model}"
train = ["data:gold"]
dev = "data:choose"
exclude = ["data:measure"]
[[stage]]
name = "result"
kind = "evaluate"
models = {{ before = "{model}", after = "stage:bi" }}
on = ["data:measure"]
baseline = "before"
"""
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (tmp_path / "mistakes.toml").write_text(text + more, encoding="utf-8")
        return "mistakes.toml"

    return write

"""Curves on disk, read by readers of their own: a CSV reader, and a decoder written from the formats' definitions."""

from __future__ import annotations

import csv
import json
import math
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.train.metrics import MetricsLog

NAMES = ["step", "loss", "dev", "learning_rate", "tokens_per_second"]


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit, as RFC 3720 defines it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """As TFRecord stores a checksum: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file; every checksum is checked."""
    while content:
        (length,), (head,) = struct.unpack("<Q", content[:8]), struct.unpack("<I", content[8:12])
        data, (tail,) = content[12 : 12 + length], struct.unpack("<I", content[12 + length : 16 + length])
        assert (head, tail) == (masked(content[:8]), masked(data))
        yield data
        content = content[16 + length :]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def fields(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a protobuf message as (number, value): varints, doubles, floats and bytes."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            form = {1: "<d", 5: "<f"}[wire]
            (value,) = struct.unpack_from(form, data, at)
            at += struct.calcsize(form)
        found.append((number, value))
    return found


def event(data: bytes) -> dict[str, Any]:
    """An Event: 1 wall_time, 2 step, 3 file_version, 5 summary (1 value: 1 tag, 2 simple_value)."""
    found = dict(fields(data))
    values = [dict(fields(value)) for number, value in fields(found.get(5, b"")) if number == 1]
    return {
        "time": found.get(1, 0.0),
        "step": found.get(2, 0),
        "version": found.get(3),
        "values": {value[1].decode(): value[2] for value in values},
    }


def read_events(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("events.out.tfevents.*")
    return [event(data) for data in records(path.read_bytes())]


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def log() -> MetricsLog:
    log = MetricsLog()
    log.log(1, loss=2.5, learning_rate=6e-5, seconds=0.5)
    log.log(2, loss=1.25, grad_norm=3.0, seconds=1.5)
    log.log(2, dev=71.5)
    log.log(300, loss=0.75, dev=None, seconds=20.0)
    return log


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_decoder_knows_the_published_checksums(data: bytes, crc: int) -> None:
    """RFC 3720, B.4; the decoder below is worth nothing if its own checksum is wrong."""
    assert crc32c(data) == crc


def test_rows_are_merged_by_step_and_go_through_json(log: MetricsLog) -> None:
    assert log.rows == [
        {"step": 1, "loss": 2.5, "learning_rate": 6e-5, "seconds": 0.5},
        {"step": 2, "loss": 1.25, "grad_norm": 3.0, "seconds": 1.5, "dev": 71.5},
        {"step": 300, "loss": 0.75, "dev": None, "seconds": 20.0},
    ]
    again = MetricsLog(json.loads(json.dumps(log.rows, allow_nan=False)))
    assert again.rows == log.rows
    again.log(301, loss=0.5)
    assert (len(again.rows), len(log.rows)) == (4, 3)


def test_the_rows_that_are_handed_out_are_copies(log: MetricsLog) -> None:
    log.rows[0]["loss"] = 9.0
    assert log.rows[0]["loss"] == 2.5


def test_a_step_that_goes_back_is_refused(log: MetricsLog) -> None:
    with pytest.raises(ValueError, match="step 299 comes after step 300"):
        log.log(299, loss=1.0)


def test_a_tensor_becomes_a_number() -> None:
    import torch

    log = MetricsLog()
    log.log(1, loss=torch.tensor(0.5), dev=torch.tensor(math.nan))
    assert log.rows == [{"step": 1, "loss": 0.5, "dev": None}]


def test_the_csv_has_step_first_and_blanks_where_there_is_nothing(log: MetricsLog, tmp_path: Path) -> None:
    log.write(tmp_path)
    assert not (tmp_path / "metrics.csv").read_bytes().startswith(b"\xef")  # Trackio would not find its column step
    first, second, last = read_csv(tmp_path)
    assert list(first) == [*NAMES, "seconds", "grad_norm"]
    assert (first["step"], first["loss"], first["dev"], first["grad_norm"]) == ("1", "2.5", "", "")
    assert (second["dev"], second["grad_norm"]) == ("71.5", "3.0")
    assert (last["step"], last["dev"]) == ("300", "")


def test_the_event_file_holds_the_same_numbers(log: MetricsLog, tmp_path: Path) -> None:
    names = log.write(tmp_path, began=1_700_000_000.0)
    assert names == ["metrics.csv", "events.out.tfevents.1700000000.munjang"]
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    head, *rest = read_events(tmp_path)
    assert head == {"time": 1_700_000_000.0, "step": 0, "version": b"brain.Event:2", "values": {}}
    assert [(one["step"], one["time"] - 1_700_000_000) for one in rest] == [(1, 0.5), (2, 1.5), (300, 20.0)]
    assert rest[0]["values"] == {"loss": 2.5, "learning_rate": pytest.approx(6e-5)}
    assert rest[1]["values"] == {"loss": 1.25, "grad_norm": 3.0, "dev": 71.5}
    assert rest[2]["values"] == {"loss": 0.75}


def test_one_training_gives_the_same_bytes(log: MetricsLog, tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        log.write(folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_nothing_logged_is_a_header_and_an_empty_event_file(tmp_path: Path) -> None:
    MetricsLog().write(tmp_path)
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == ",".join(NAMES) + "\n"
    assert [one["version"] for one in read_events(tmp_path)] == [b"brain.Event:2"]


def test_without_the_library_there_is_the_csv_alone(
    log: MetricsLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    assert log.write(tmp_path) == ["metrics.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@given(st.lists(st.floats(), min_size=1, max_size=5))
def test_only_finite_numbers_reach_a_file(scratch: Any, values: list[float]) -> None:
    folder = scratch("place", "").parent
    for old in folder.glob("events.*"):
        old.unlink()
    log = MetricsLog()
    for step, value in enumerate(values):
        log.log(step, loss=value)
    log.write(folder)
    for line, value in zip(read_csv(folder), values, strict=True):
        assert line["loss"] == (repr(value) if math.isfinite(value) else "")
    written = {one["step"]: one["values"]["loss"] for one in read_events(folder) if one["values"]}
    # A float64 may be finite and have no float32.
    expected = {step: value for step, value in enumerate(values) if abs(value) <= 3.4028234663852886e38}
    assert written.keys() == expected.keys()
    assert all(math.isfinite(value) for value in written.values())

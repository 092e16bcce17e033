"""Measurements accumulate in a folder, each once, and come back as they were."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from munjang.errors import DataError, MissingInputError
from munjang.evaluate.compare import compare
from munjang.evaluate.measurement import Measurement, Speed, Subject
from munjang.evaluate.results import Results, collect, latest, measurement_key, renamed
from munjang.evaluate.tasks import TASKS, similarity_metrics
from munjang.files import new_directory


def some_measurement(label: str = "a", shift: float = 0.0) -> Measurement:
    gold = np.linspace(0, 1, 30)
    columns = {"predicted": np.cos(gold + shift), "gold": gold, "dot": gold * 2}
    return Measurement(
        Subject(label, "bi-encoder", f"digest of {label}", 100, 0.4, 8),
        "korsts:test",
        "digest of the set",
        "sts",
        columns,
        [(f"왼쪽 {i}", f"right {i}") for i in range(30)],
        (*TASKS["sts"].bi, *similarity_metrics(["dot"])),
        3,
        Speed(120.5, 4.25, "text"),
        {"threshold": 0.5},
        {"units": 0, "of_units": 30, "texts": 1, "of_texts": 60},
    )


def test_a_measurement_comes_back_whole(tmp_path: Path) -> None:
    results, before = Results(tmp_path / "results"), some_measurement()
    assert results.find("key") is None
    results.add("key", before)
    after = Results(tmp_path / "results").find("key")
    for name in (
        "subject",
        "set",
        "set_fingerprint",
        "task",
        "metrics",
        "truncated",
        "speed",
        "extra",
        "contamination",
    ):
        assert getattr(after, name) == getattr(before, name), name
    assert list(after.texts) == list(before.texts)
    assert after.columns.keys() == before.columns.keys()
    for name, column in before.columns.items():
        np.testing.assert_array_equal(after.columns[name], column)
    assert compare([after]).as_dict() == compare([before]).as_dict()


def test_a_damaged_measurement_is_measured_again(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.add("key", some_measurement())
    file = tmp_path / "measurements" / "key" / "units.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert results.find("key") is None
    results.add("key", some_measurement(shift=0.5))
    assert results.find("key").columns["predicted"][0] == pytest.approx(np.cos(0.5))


def test_the_key_holds_whatever_changes_the_units() -> None:
    first = measurement_key("model", "set", "sts", {"symmetric": True})
    others = [
        measurement_key("other", "set", "sts", {"symmetric": True}),
        measurement_key("model", "other", "sts", {"symmetric": True}),
        measurement_key("model", "set", "pair-classification", {"symmetric": True}),
        measurement_key("model", "set", "sts", {"symmetric": False}),
    ]
    assert len({first, *others}) == 5
    assert measurement_key("model", "set", "sts", {"symmetric": True}) == first


def test_evaluations_are_remembered_under_their_own_names(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.add("k1", some_measurement("a"))
    first = results.record([("k1", some_measurement("before"))], None, {})
    second = results.record([("k1", renamed(some_measurement(), "after", "test set"))], "after", {"x": 1})
    past = results.history()
    assert [p.number for p in past] == [first, second] == [1, 2]
    assert [p.baseline for p in past] == [None, "after"]
    (back,) = results.of_past(past[1])
    assert (back.subject.label, back.set) == ("after", "test set")


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="something else than results"):
        Results(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_results_are_collected_from_folders_and_say_where_there_are_none(tmp_path: Path) -> None:
    Results(tmp_path / "results").add("key", some_measurement())
    assert [folder for folder, _ in collect([tmp_path / "results"])] == [tmp_path / "results"]
    with pytest.raises(MissingInputError, match="no results here"):
        list(collect([tmp_path]))


@pytest.mark.parametrize("content", ["{}", "[1]", '{"cells": [{"key": 1}], "baseline": null}', "{"])
def test_a_damaged_history_is_named(tmp_path: Path, content: str) -> None:
    results = Results(tmp_path)
    results.add("key", some_measurement())
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "0001.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"0001\.json"):
        results.history()


def test_the_result_of_a_stage_is_not_written_into(tmp_path: Path) -> None:
    with new_directory(tmp_path / "result-1") as folder:
        Results(folder).add("key", some_measurement())
    with pytest.raises(DataError, match="finished result of a stage"):
        Results(tmp_path / "result-1")


def evaluated(folder: Path, label: str, key: str, model: str, name: str = "korsts:test") -> None:
    """Add one evaluation of one model on one set."""
    one = some_measurement(label)
    one = replace(one, subject=replace(one.subject, fingerprint=model), set=name)
    Results(folder).add(key, one)
    Results(folder).record([(key, one)], None, {})


def test_a_label_is_never_two_models_in_one_table(tmp_path: Path) -> None:
    evaluated(tmp_path / "a", "m", "k1", "first", "dev")
    evaluated(tmp_path / "a", "m", "k2", "first", "test")
    evaluated(tmp_path / "a", "m", "k3", "second", "dev")
    found, reasons = latest([tmp_path / "a"])
    assert [(one.subject.fingerprint, one.set) for one in found] == [("second", "dev")]
    assert reasons == {("m", "test"): "measured of an earlier model of this name"}


def test_folders_of_one_name_keep_their_models_apart(tmp_path: Path) -> None:
    places = [tmp_path / name / "res" for name in "abc"]
    for place in places:
        evaluated(place, "m", "key", str(place))
    found, _ = latest(places)
    assert len({one.subject.label for one in found}) == len(found) == 3
    assert [one.subject.label for one in found][:2] == ["m", "m (res)"]


def test_what_is_gone_leaves_a_reason_and_nothing_left_is_an_error(tmp_path: Path) -> None:
    evaluated(tmp_path, "m", "k1", "first", "dev")
    evaluated(tmp_path, "m", "k2", "first", "test")
    shutil.rmtree(tmp_path / "measurements" / "k1")
    found, reasons = latest([tmp_path])
    assert [one.set for one in found] == ["test"]
    assert reasons == {("m", "dev"): "its measurement is damaged or gone"}
    shutil.rmtree(tmp_path / "measurements" / "k2")
    with pytest.raises(DataError, match="no measurement is left"):
        latest([tmp_path])

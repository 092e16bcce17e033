"""Gates stop what is too low, what is significantly worse, and what has no value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from munjang.errors import ConfigError, MissingInputError
from munjang.evaluate.compare import Table, compare
from munjang.evaluate.gate import Gate, check_gates, load_gates
from munjang.evaluate.measurement import Measurement, Subject


@pytest.fixture
def table() -> Table:
    draw = np.random.default_rng(0)
    gold = draw.integers(0, 26, 400) / 25
    scores = {"good": gold + 0.2 * draw.normal(size=400), "poor": draw.normal(size=400), "blind": np.zeros(400)}
    scores["alike"] = scores["good"] + 0.01 * draw.normal(size=400)
    measurements = [
        Measurement(Subject(label, "bi-encoder", label), "set", "digest", "sts", {"predicted": values, "gold": gold})
        for label, values in scores.items()
    ]
    return compare(measurements, reasons={("cross", "set"): "needs candidates"}, resamples=500)


def passed(table: Table, **gate: object) -> bool:
    (outcome,) = check_gates([Gate(on="set", **gate)], table)
    return outcome.passed


def test_a_bound(table: Table) -> None:
    assert passed(table, model="good", at_least=80)
    assert not passed(table, model="good", at_least=99.9)
    assert passed(table, model="good", metric="pearson", at_least=80)
    assert not passed(table, model="poor", at_least=20)


def test_worse_with_significance_only(table: Table) -> None:
    assert not passed(table, model="poor", not_worse_than="good")
    assert passed(table, model="good", not_worse_than="poor")
    assert passed(table, model="alike", not_worse_than="good")
    assert passed(table, model="good", not_worse_than="alike")


def test_what_has_no_value_fails(table: Table) -> None:
    assert not passed(table, model="blind", at_least=-100)
    assert not passed(table, model="blind", not_worse_than="poor")
    assert not passed(table, model="good", not_worse_than="blind")
    (missing,) = check_gates([Gate(model="cross", on="set", at_least=0)], table)
    assert not missing.passed
    assert "needs candidates" in missing.sentence


def test_both_demands_of_one_gate_are_asked(table: Table) -> None:
    outcomes = check_gates([Gate(model="good", on="set", at_least=99.9, not_worse_than="poor")], table)
    assert [o.passed for o in outcomes] == [False, True]


def test_all_unknown_names_at_once(table: Table) -> None:
    gates = [Gate(model="god", on="set", at_least=1), Gate(model="good", on="sets", at_least=1)]
    with pytest.raises(ConfigError) as error:
        check_gates(gates, table)
    assert "gate.model = 'god'" in str(error.value)
    assert "gate.on = 'sets'" in str(error.value)
    with pytest.raises(ConfigError, match=r"gate\.metric = 'f1'"):
        check_gates([Gate(model="good", on="set", metric="f1", at_least=1)], table)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text('[[gate]]\nmodel = "a"\non = "korsts:test"\nat_least = 80\n', encoding="utf-8")
    assert load_gates(path) == [Gate(model="a", on="korsts:test", at_least=80.0)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "gate"),
        ("gate = 1", "gate"),
        ('[[gate]]\nmodel = "a"\non = "b"\n', "at_least or not_worse_than"),
        ('[[gate]]\nmodel = "a"\non = "b"\natleast = 1\n', "atleast"),
        ('[[gate]]\nmodel = "a"\non = "b"\nat_least = 101\n', "at_least"),
        ('[[gate]]\nmodel = "a"\non = "b"\nmetric = "map"\nnot_worse_than = "c"\n', "metric goes with at_least"),
        ("[[gate", "not a TOML file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_gates(path)
    assert said in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file of gates"):
        load_gates(tmp_path / "none.toml")

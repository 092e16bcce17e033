"""Gates: what an evaluation must reach, for continuous integration.

    [[gate]]
    model = "bi-encoder"
    on = "korsts:test"
    at_least = 80.0

    [[gate]]
    model = "bi-encoder"
    on = "korsts:test"
    not_worse_than = "zero-shot"

What is undefined or missing fails: a gate that cannot be read must not let anything through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, model_validator

from munjang.config.load import explain_validation, read_toml
from munjang.config.recipe import Frozen
from munjang.errors import ConfigError

if TYPE_CHECKING:
    from munjang.evaluate.table import Cell, Table


class Gate(Frozen):
    """One thing to be reached by one model on one set."""

    model: str
    """Label of the model in the evaluation."""
    on: str
    """Name of the set in the evaluation."""
    metric: str | None = None
    """Which metric must be `at_least` so high; by default the task's main one."""
    at_least: float | None = Field(default=None, ge=-100, le=100)
    """Lowest value allowed, x 100."""
    not_worse_than: str | None = None
    """Label of a model in the evaluation that this one must not be worse than: tested on the main metric, paired, at
    5% over all comparisons of the gates' file."""

    @model_validator(mode="after")
    def _asks_something(self) -> Gate:
        if self.at_least is None and self.not_worse_than is None:
            raise ValueError("a gate needs at_least or not_worse_than")
        if self.metric is not None and self.at_least is None:
            raise ValueError("metric goes with at_least; not_worse_than is tested on the main metric")
        return self


class _File(Frozen):
    gate: list[Gate] = Field(min_length=1)


@dataclass(frozen=True)
class Outcome:
    """Whether one demand of a gate was met, in one sentence."""

    passed: bool
    sentence: str


def load_gates(path: Path, labels: Sequence[str] | None = None, sets: Sequence[str] | None = None) -> list[Gate]:
    """Read a file of gates.

    Args:
        path: of the file.
        labels: of the models that will be measured, and `sets`, their sets; names that are not among them are mistakes.

    Raises:
        MissingInputError: there is no such file. ConfigError: it is not TOML, or a gate is wrong; all mistakes are named.
    """
    content = read_toml(path, "file of gates", "a file of gates holds [[gate]] tables")
    try:
        gates = _File(**content).gate
    except ValidationError as error:
        raise ConfigError("; ".join(explain_validation(error, _File, "")), where=path) from None
    problems = [
        f"gate[{number}].{option} = {value!r}: expected one of {', '.join(known)}"
        for number, gate in enumerate(gates)
        for option, value, known in (
            ("model", gate.model, labels),
            ("on", gate.on, sets),
            ("not_worse_than", gate.not_worse_than, labels),
        )
        if value is not None and known is not None and value not in known
    ]
    if problems:
        raise ConfigError("; ".join(problems), where=path, hint="name models and sets as this evaluation does")
    return gates


def check_gates(gates: list[Gate], table: Table) -> list[Outcome]:
    """Ask every gate of a table.

    Raises:
        ConfigError: a gate names a model, a set or a metric that the table does not have; all of them are named.
    """
    problems = [problem for gate in gates for problem in _unknown(gate, table)]
    if problems:
        raise ConfigError("; ".join(problems), hint="name models and sets as this evaluation does")
    outcomes = []
    for gate in gates:
        cell = table.cell(gate.model, gate.on)
        if gate.at_least is not None:
            outcomes.append(_reaches(gate, cell, table))
    return outcomes + _not_worse([gate for gate in gates if gate.not_worse_than is not None], table)


def _unknown(gate: Gate, table: Table) -> list[str]:
    named: list[tuple[str, str | None, list[str]]] = [
        ("model", gate.model, table.labels),
        ("on", gate.on, table.sets),
        ("not_worse_than", gate.not_worse_than, table.labels),
    ]
    cell = table.cell(gate.model, gate.on)
    if cell is not None:
        named.append(("metric", gate.metric, list(cell.estimates)))
    return [
        f"gate.{option} = {value!r}: expected one of {', '.join(known)}"
        for option, value, known in named
        if value is not None and value not in known
    ]


def _place(gate: Gate) -> str:
    return f"{gate.model} on {gate.on}"


def _missing(gate: Gate, label: str, table: Table) -> str:
    return f"{_place(gate)}: {label} has no value there ({table.reasons.get((label, gate.on), 'not measured')})"


def _reaches(gate: Gate, cell: Cell | None, table: Table) -> Outcome:
    if cell is None:
        return Outcome(False, _missing(gate, gate.model, table))
    metric = gate.metric or cell.main.name
    estimate = cell.estimates[metric]
    if estimate.value is None:
        return Outcome(False, f"{_place(gate)}: {metric} is undefined ({estimate.reason})")
    passed = estimate.value >= (gate.at_least or 0.0)
    relation = ">=" if passed else "<"
    return Outcome(passed, f"{_place(gate)}: {metric} {estimate.value:.2f} {relation} {gate.at_least:g}")


def _not_worse(gates: list[Gate], table: Table) -> list[Outcome]:
    """All paired demands together, so that Holm's correction knows how many there are."""
    from munjang.evaluate.compare import compare_pair, holm
    from munjang.evaluate.table import ALPHA

    pairs: list[tuple[Gate, Any]] = []
    for gate in gates:
        ours, theirs = table.cell(gate.model, gate.on), table.cell(str(gate.not_worse_than), gate.on)
        alike = ours is not None and theirs is not None and ours.main.name in theirs.estimates
        pairs.append((gate, compare_pair(ours.measurements, theirs.measurements) if alike else None))
    tested = [c for _, c in pairs if c is not None and c.p is not None]
    corrected = dict(zip(map(id, tested), holm([c.p for c in tested]), strict=True))
    outcomes = []
    for gate, found in pairs:
        if found is None:
            label = gate.model if table.cell(gate.model, gate.on) is None else str(gate.not_worse_than)
            outcomes.append(Outcome(False, _missing(gate, label, table)))
        elif found.p is None or found.difference.value is None:
            outcomes.append(
                Outcome(False, f"{_place(gate)}: not comparable with {found.other} ({found.difference.reason})")
            )
        else:
            p, value = corrected[id(found)], found.difference.value
            worse = value < 0 and p < ALPHA
            word = "worse than" if worse else "not worse than"
            outcomes.append(Outcome(not worse, f"{_place(gate)}: {word} {found.other} ({value:+.2f}, p = {p:.3f})"))
    return outcomes

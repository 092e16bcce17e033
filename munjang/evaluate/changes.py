"""What changed against an earlier evaluation in the same folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from munjang.evaluate.compare import Comparison, Table, compare_pair
from munjang.evaluate.measurement import Measurement


@dataclass(frozen=True)
class Change:
    """A label on a set, now and before."""

    label: str
    set: str
    reason: str
    """`model`: another model stands behind the label; `new`: it was not measured before; `set`: the set's rows are
    others, so that nothing can be compared."""
    comparison: Comparison | None = None
    """The present model against the former, where both were measured on the same rows."""


def changes(table: Table, before: Sequence[Measurement]) -> list[Change]:
    """Compare a table with the measurements of an earlier evaluation; what stayed the same is left out."""
    past: dict[tuple[str, str], list[Measurement]] = {}
    for measurement in before:
        past.setdefault((measurement.subject.label, measurement.set), []).append(measurement)
    found = []
    for cell in table.cells:
        then, now = past.get((cell.label, cell.set)), cell.measurements
        if then is None:
            found.append(Change(cell.label, cell.set, "new"))
        elif {(m.set_fingerprint, m.task) for m in then} != {(m.set_fingerprint, m.task) for m in now}:
            found.append(Change(cell.label, cell.set, "set"))
        elif {m.subject.fingerprint for m in then} != {m.subject.fingerprint for m in now}:
            found.append(Change(cell.label, cell.set, "model", compare_pair(now, then)))
    return found

"""A folder in which measurements accumulate: each model on each set once, and a record of every evaluation.

    RESULTS/measurements/KEY/    measurement.json, units.parquet, manifest.json
    RESULTS/evaluations/0001.json   which labels stood for which models, on which sets, and the table

The key is the content of the model, the set and the way of measuring, so that an evaluation measures only what is new, a
killed one goes on where it was, and no model meets the figures of another.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from munjang.errors import DataError, MissingInputError
from munjang.evaluate.measurement import Measurement, Speed, Subject
from munjang.evaluate.tasks import TASKS
from munjang.files import (
    MANIFEST,
    canonical_json,
    damage,
    digest_bytes,
    new_directory,
    read_json,
    read_manifest,
    remove_leftovers,
    write_json,
)

#: Raised when a change of code gives other units for the same model and set.
VERSION = 1
_MEASUREMENTS, _EVALUATIONS = "measurements", "evaluations"
_UNITS, _ABOUT = "units.parquet", "measurement.json"
_TEXT = "text"


@dataclass(frozen=True)
class Past:
    """One evaluation of the past."""

    number: int
    baseline: str | None
    cells: tuple[tuple[str, str, str], ...]
    """Of each measurement its key, the label of the model and the name of the set."""


class Results:
    """The folder; it need not exist yet.

    Raises:
        DataError: the folder holds something else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if (folder / MANIFEST).is_file() and not folder.name.startswith(".tmp-"):
            raise DataError(
                "this folder is the finished result of a stage and is never written again",
                where=folder,
                hint="name a new folder; munjang report reads this one and others together",
            )
        if folder.exists() and not self.exists(folder) and any(folder.iterdir()):
            raise DataError(
                "this folder holds something else than results",
                where=folder,
                hint="name a new folder, or one that an evaluation wrote",
            )

    @staticmethod
    def exists(folder: Path) -> bool:
        """True if measurements lie in a folder."""
        return (folder / _MEASUREMENTS).is_dir()

    def tidy(self) -> None:
        """Remove what a killed evaluation left half written; call it only while holding the folder's lock."""
        for part in (self.folder, self.folder / _MEASUREMENTS, self.folder / _EVALUATIONS):
            remove_leftovers(part)

    def find(self, key: str) -> Measurement | None:
        """The measurement of a key, or None where there is none or its files are damaged."""
        place = self.folder / _MEASUREMENTS / key
        return load_measurement(place) if place.is_dir() and damage(place) is None else None

    def add(self, key: str, measurement: Measurement) -> None:
        """Commit a measurement; one of the same key, which must be damaged to be measured again, gives way."""
        place = self.folder / _MEASUREMENTS / key
        if place.exists():
            shutil.rmtree(place)
        with new_directory(place, key=key) as folder:
            save_measurement(measurement, folder)

    def record(
        self, measured: Sequence[tuple[str, Measurement]], baseline: str | None, table: Mapping[str, Any]
    ) -> int:
        """Write down what an evaluation compared; returns its number, counted from 1."""
        number = max((past.number for past in self.history()), default=0) + 1
        content = {
            "baseline": baseline,
            "cells": [{"key": k, "label": m.subject.label, "set": m.set} for k, m in measured],
            "table": dict(table),
        }
        write_json(self.folder / _EVALUATIONS / f"{number:04d}.json", content)
        return number

    def history(self) -> list[Past]:
        """All evaluations, oldest first."""
        found = []
        for path in sorted((self.folder / _EVALUATIONS).glob("*.json")):
            if not re.fullmatch(r"\d+", path.stem):
                continue
            said = read_json(path)
            try:
                cells = [(str(c["key"]), str(c["label"]), str(c["set"])) for c in said["cells"]]
                found.append(Past(int(path.stem), said["baseline"], tuple(cells)))
            except (KeyError, TypeError) as error:
                hint = "delete it: the measurements stay, and what changed since this evaluation is not shown"
                raise DataError("this file is damaged", where=path, got=str(error), hint=hint) from error
        return found

    def of_past(self, past: Past) -> list[Measurement]:
        """The measurements of an evaluation under the names that it gave them; without those that are gone."""
        found = []
        for key, label, name in past.cells:
            measurement = self.find(key)
            if measurement is not None:
                found.append(renamed(measurement, label, name))
        return found


def measurement_key(model: str, set_fingerprint: str, task: str, how: Mapping[str, Any]) -> str:
    """The name under which a measurement is kept: 32 hexadecimal digits.

    Args:
        model: fingerprint of the subject. set_fingerprint: of the set's content. task: its name.
        how: whatever else changes the units, such as `symmetric`.
    """
    value = {"model": model, "set": set_fingerprint, "task": task, "how": dict(how), "version": VERSION}
    return digest_bytes(canonical_json(value).encode())


def renamed(measurement: Measurement, label: str, set_name: str) -> Measurement:
    """The same measurement under the names of another evaluation."""
    return replace(measurement, subject=replace(measurement.subject, label=label), set=set_name)


def save_measurement(measurement: Measurement, folder: Path) -> None:
    """Write `measurement.json` and `units.parquet`: one row a unit, its texts and its numbers."""
    columns: dict[str, Any] = {name: np.asarray(values) for name, values in measurement.columns.items()}
    for place, texts in enumerate(zip(*measurement.texts, strict=True), 1):
        columns[f"{_TEXT}{place}"] = list(texts)
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / _UNITS)
    subject, speed = measurement.subject, measurement.speed
    about = {
        "subject": vars(subject),
        "set": measurement.set,
        "set_fingerprint": measurement.set_fingerprint,
        "task": measurement.task,
        "metrics": [metric.name for metric in measurement.metrics],
        "truncated": measurement.truncated,
        "speed": None if speed is None else vars(speed),
        "extra": measurement.extra,
        "contamination": measurement.contamination,
    }
    write_json(folder / _ABOUT, about)


def load_measurement(folder: Path) -> Measurement:
    """A measurement back from its folder.

    Raises:
        DataError: a file is damaged, or a newer Munjang measured what this one does not know.
    """
    about = read_json(folder / _ABOUT)
    try:
        table = pyarrow.parquet.read_table(folder / _UNITS)
        names = sorted((n for n in table.column_names if re.fullmatch(rf"{_TEXT}\d+", n)), key=lambda n: int(n[4:]))
        texts = list(zip(*(table[n].to_pylist() for n in names), strict=True))
        columns = {n: table[n].to_numpy() for n in table.column_names if n not in names}
        subject = Subject(**about["subject"])
        known = {m.name: m for m in TASKS[about["task"]].every_metric(subject.kind)}
        return Measurement(
            subject=subject,
            set=about["set"],
            set_fingerprint=about["set_fingerprint"],
            task=about["task"],
            columns=columns,
            texts=texts,
            metrics=tuple(known[name] for name in about["metrics"]),
            truncated=about["truncated"],
            speed=Speed(**about["speed"]) if about["speed"] else None,
            extra=about["extra"],
            contamination=about["contamination"],
        )
    except (KeyError, TypeError, ValueError, pyarrow.ArrowException) as error:
        raise DataError("this measurement cannot be read", where=folder, got=str(error)[:200]) from error


def latest(folders: list[Path]) -> tuple[list[Measurement], dict[tuple[str, str], str]]:
    """What was measured last in some folders under each label on each set, for one table.

    A label is one model: where another evaluation of the folder gave it to another model, the older cells are left out;
    where another folder did, its model is called after that folder.

    Returns:
        The measurements, and (label, set) -> why one was left out.

    Raises:
        MissingInputError: a folder holds none. DataError: of all that was measured nothing is left.
    """
    cells: dict[tuple[str, str], list[Measurement]] = {}
    reasons: dict[tuple[str, str], str] = {}
    models: dict[str, frozenset[str]] = {}
    for place, results in collect(folders):
        names: dict[str, str] = {}
        for past in results.history():
            found = results.of_past(past)
            for label in dict.fromkeys(label for _, label, _ in past.cells):
                model = frozenset(one.subject.fingerprint for one in found if one.subject.label == label)
                name = names.get(label) or _free_name(label, model, place, models)
                names[label] = name
                if model and models.get(name, model) != model:
                    stale = [key for key in cells if key[0] == name]
                    reasons |= dict.fromkeys(stale, "measured of an earlier model of this name")
                    cells = {key: some for key, some in cells.items() if key not in stale}
                models[name] = model or models.get(name, model)
            _take(cells, reasons, past, found, names)
    rows = {name: some[0].set_fingerprint for (_, name), some in cells.items()}
    old = {key for key, some in cells.items() if some[0].set_fingerprint != rows[key[1]]}
    reasons |= dict.fromkeys(old, "measured on other rows of this name")
    measured = [one for key, some in cells.items() if key not in old for one in some]
    if not measured:
        raise DataError("no measurement is left here", where=", ".join(map(str, folders)), hint="measure again")
    return measured, reasons


def _free_name(label: str, model: frozenset[str], place: Path, models: dict[str, frozenset[str]]) -> str:
    """The label, where no other model has it already; else with its folder behind it."""
    candidates = (label, f"{label} ({place.name})", f"{label} ({place})")
    return next((name for name in candidates if models.get(name, model) == model), candidates[-1])


def _take(
    cells: dict[tuple[str, str], list[Measurement]],
    reasons: dict[tuple[str, str], str],
    past: Past,
    found: list[Measurement],
    names: dict[str, str],
) -> None:
    """Put the measurements of an evaluation over older ones; those that are damaged or gone leave a reason."""
    fresh: dict[tuple[str, str], list[Measurement]] = {}
    for one in found:
        key = (names[one.subject.label], one.set)
        fresh.setdefault(key, []).append(renamed(one, *key))
    for _, label, name in past.cells:
        key = (names[label], name)
        if key not in fresh:
            cells.pop(key, None)
            reasons[key] = "its measurement is damaged or gone"
    for key, some in fresh.items():
        cells[key] = some
        reasons.pop(key, None)


def collect(folders: list[Path]) -> Iterator[tuple[Path, Results]]:
    """The results in some folders: results themselves, or runs whose evaluate stages hold some, oldest first.

    Raises:
        MissingInputError: a folder holds none.
    """
    for folder in folders:
        if Results.exists(folder):
            yield folder, Results(folder)
            continue
        stages = folder / "stages"
        found = [p for p in stages.iterdir() if Results.exists(p) and read_manifest(p)] if stages.is_dir() else []
        if not found:
            raise MissingInputError(
                "no results here",
                where=folder,
                expected="a folder that munjang evaluate wrote, or a run with such a stage",
            )
        for path in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name)):
            yield path, Results(path)

"""What the doctor does: reads leniently, looks at data, models and what they share, and gathers the findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from munjang.config.recipe import DATA_PREFIX, DataSpec
from munjang.data.catalog import known_tests, locate
from munjang.data.lint import Finding, by_severity, count_by_severity, lint
from munjang.data.lint.page import write_findings
from munjang.data.lint.reading import lint_reading, unreadable
from munjang.data.lint.splits import is_held_out, known_leakage
from munjang.data.load import load_rows
from munjang.data.readers import ROLES, Rows
from munjang.errors import DataError, MunjangError
from munjang.files import write_json
from munjang.models.checks import lint_model, lint_seen, lint_teacher
from munjang.models.source import resolve_model
from munjang.models.tokens import lint_tokens, lint_vocabulary, statistics_of_rows
from munjang.pipeline.stage import Context
from munjang.stages.inputs import data_spec, load_input_rows, model_folder, stage_directory

_TEXTS = tuple(kind for kind in ROLES if kind != "qrels")


@dataclass
class Examination:
    """What the doctor looked at and what it found."""

    findings: list[Finding] = field(default_factory=list)
    read: list[dict[str, Any]] = field(default_factory=list)
    """For each set how it was read; see `munjang.data.rows.ReadReport`."""
    tests: dict[str, bool] = field(default_factory=dict)
    """Test sets of the catalogue that nobody named -> whether they were here to be looked at."""
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Model -> set -> counts of its tokens; see `munjang.models.tokens.TokenStatistics`."""

    def as_dict(self) -> dict[str, Any]:
        """The examination as JSON values, findings errors first."""
        return {
            "counts": count_by_severity(self.findings),
            "findings": [finding.as_dict() for finding in self.findings],
            "read": self.read,
            "known_tests": {
                "compared": [name for name, here in self.tests.items() if here],
                "not_here": [name for name, here in self.tests.items() if not here],
            },
            "tokens": self.tokens,
        }

    def merged(self, other: Examination) -> Examination:
        """Both examinations as one."""
        return Examination(
            by_severity(dict.fromkeys([*self.findings, *other.findings])),
            [*self.read, *other.read],
            {**self.tests, **other.tests},
            {**self.tokens, **other.tokens},
        )

    def write(self, out: Path, title: str) -> None:
        """Write `findings.json` and `report.html` into a folder."""
        said = self.as_dict()
        write_json(out / "findings.json", said)
        write_findings(out, title, said)


def examine(
    context: Context,
    data: Sequence[str],
    models: Sequence[str] = (),
    teacher: str | None = None,
    *,
    known: bool = False,
) -> Examination:
    """Look at some sets and models.

    Args:
        context: for names, and to say what was read; its `readings` are filled.
        data: sets as options name them.
        models: whose settings are looked at, and whose tokenizers are tried on the data.
        teacher: a model whose vectors the models shall learn.
        known: compare sets that are not held out with every test set of the catalogue on this machine.

    Raises:
        MissingInputError, UnavailableError: something that was named is not there. DataError: not one set can be read.
    """
    found = Examination(read=context.readings)
    loaded = read_leniently(context, data, found.findings)
    sets = {name: rows.rows for name, rows in loaded.items()}
    found.findings += lint(sets)
    if known:
        found.findings += against_known(context, data, sets, found.tests)
    kinds = {rows.kind for rows in loaded.values()}
    folders = {name: lenient_model_folder(context, name, found.findings) for name in models}
    for name, folder in folders.items():
        if folder is not None:
            found.findings += lint_model(name, folder, kinds)
            found.findings += try_tokenizer(name, folder, sets, found.tokens, several=len(models) > 1)
    if teacher is not None:
        found.findings += _taught(context, folders, teacher)
    found.findings = by_severity(found.findings)
    return found


def read_leniently(context: Context, data: Sequence[str], findings: list[Finding]) -> dict[str, Rows]:
    """The rows of some sets by name, malformed ones left out; what reading showed goes to the findings.

    Raises:
        MissingInputError, UnavailableError: see `munjang.data.catalog.locate`. DataError: of the first set, if none can
            be read.
    """
    loaded: dict[str, Rows] = {}
    first: DataError | None = None
    for value in data:
        name = value.removeprefix(DATA_PREFIX)
        of_stage = stage_directory(context, value) is not None
        declared = "stop" if of_stage else data_spec(context.recipe, value).rejects
        try:
            loaded[name] = load_input_rows(context, value, _TEXTS, lenient=True)
        except DataError as error:
            first = first or error
            findings.append(unreadable(name, error.sentence(), error.hint or "mend the file, or say how to read it"))
        else:
            findings += lint_reading(name, loaded[name].report, declared)
    if first is not None and not loaded:
        raise first
    return loaded


def lenient_model_folder(context: Context, name: str, findings: list[Finding]) -> Path | None:
    """The folder of a model, also of one that is not safe to load; None with a finding where there is nothing to look at.

    Raises:
        MissingInputError, UnavailableError: see `munjang.models.source.resolve_model`.
    """
    if stage_directory(context, name) is not None:
        return model_folder(context, name)
    folder = context.base / Path(name).expanduser()
    if folder.is_dir():
        return folder
    try:
        return resolve_model(name, context.base)
    except DataError as error:
        findings.append(
            Finding("error", "unreadable", name, error.sentence(), remedy=error.hint or "use another model")
        )
        return None


def against_known(
    context: Context, data: Iterable[str], sets: Mapping[str, list[Any]], looked_at: dict[str, bool]
) -> list[Finding]:
    """Leakage from sets that are not held out into the test sets of the catalogue that are on this machine.

    Args:
        context: for names, and to say what was compared.
        data: what was named, as options name it: those sets are looked at anyway.
        sets: name -> rows.
        looked_at: is filled; see `Examination.tests`.
    """
    named = [_files(context, value) for value in data if stage_directory(context, value) is None]
    looked_at |= known_tests()
    if all(is_held_out(name) for name in sets):
        looked_at.clear()
        return []
    known = {}
    for name in [name for name, here in looked_at.items() if here]:
        located = locate(name, context.base)
        if located.paths in named:  # looked at under its own name, or as the same file of another set
            del looked_at[name]
            continue
        named.append(located.paths)
        try:
            known[name] = load_rows(DataSpec(source=name, rejects="skip"), tuple(ROLES), context.base).rows
        except DataError:
            looked_at[name] = False  # a damaged copy of a set that nobody asked for
    if known:
        context.say(f"  compared with known test sets: {', '.join(known)}")
    return known_leakage(sets, known)


def _files(context: Context, value: str) -> tuple[Path, ...]:
    try:
        return locate(data_spec(context.recipe, value).source, context.base).paths
    except MunjangError:
        return ()  # said where it is read


def try_tokenizer(
    name: str, folder: Path, sets: Mapping[str, list[Any]], tokens: dict[str, dict[str, Any]], several: bool = False
) -> list[Finding]:
    """A model's tokenizer on some sets, and what the model has seen of them in its training.

    Args:
        name: of the model.
        folder: of the model.
        sets: name -> rows.
        tokens: is filled; see `Examination.tokens`.
        several: name the model beside the set in each finding.
    """
    findings: list[Finding] = []
    try:
        for other, rows in sets.items():
            statistics = statistics_of_rows(folder, rows)
            if statistics is None:
                break
            if name not in tokens:
                findings += lint_vocabulary(name, folder, statistics)
            tokens.setdefault(name, {})[other] = statistics.as_dict()
            findings += lint_tokens(f"{name} / {other}" if several else other, statistics)
        findings += lint_seen(name, folder, sets)
    except DataError as error:
        findings.append(
            Finding("error", "unreadable", name, error.sentence(), remedy=error.hint or "use another model")
        )
    return findings


def _taught(context: Context, students: Mapping[str, Path | None], teacher: str) -> list[Finding]:
    findings: list[Finding] = []
    folder = lenient_model_folder(context, teacher, findings)
    if folder is None:
        return findings
    findings += lint_model(teacher, folder)
    for name, student in students.items():
        if student is not None:
            findings += lint_teacher(name, student, teacher, folder)
    return findings

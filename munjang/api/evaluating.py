"""Evaluations and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from munjang.api.naming import checked_options, name_sets
from munjang.api.runs import stage_alone
from munjang.errors import Option, Phrase, UsageError
from munjang.evaluate.options import EvaluateOptions
from munjang.evaluate.tasks import REACH, reaches
from munjang.files import lock
from munjang.progress import QUIET, Show

if TYPE_CHECKING:
    from munjang.evaluate.changes import Change
    from munjang.evaluate.gate import Outcome
    from munjang.evaluate.sets import EvalSet, ModelSpec
    from munjang.evaluate.table import Table


class Evaluated(NamedTuple):
    """What an evaluation found."""

    table: Table
    changes: list[Change]
    """Against the evaluation before in the same folder."""
    gates: list[Outcome]
    """One for each demand of the gates, if there are any."""


def evaluate(
    models: Mapping[str, Any],
    on: Sequence[str],
    out: str | Path,
    *,
    baseline: str | None = None,
    symmetric: bool = True,
    similarities: Sequence[str] = (),
    rerank: int = 100,
    skip_missing: bool = False,
    gate: str | Path | None = None,
    title: str = "Munjang",
    seed: int = 42,
    device: str | None = None,
    show: Show = QUIET,
    **settings: Any,
) -> Evaluated:
    """Measure models on sets into a folder of results, where what was measured before is not measured again.

    Args:
        models: label in the table -> a model, or fields of `munjang.evaluate.options.MeasuredModel`.
        on: sets; see `munjang.evaluate.naming`.
        out: the folder; new, empty, or of earlier evaluations.
        baseline: label of the model that the others are compared with.
        symmetric: let cross-encoders score both orders of a pair.
        similarities: correlate these with the scores too, beside the cosine.
        rerank: how many texts that a bi-encoder found the cross-encoder behind it orders anew.
        skip_missing: leave out sets of the catalogue that are not here.
        gate: file of what must be reached; its names are checked before any work.
        title: of the page.
        seed: of clusterings and classifiers.
        device: such as `cpu`; by default cuda, else mps, else cpu.
        show: how to tell about progress.
        settings: how to read files, such as `scale=(0, 5)`.

    Raises:
        DataError: `out` holds something else, or a set cannot be read. LockedError: `out` is in use.
        ConfigError, MissingInputError, UnavailableError: an option is wrong, or a model or a set is not there.
        UsageError: an option would have no effect on these models and sets.
    """
    from munjang.evaluate.gate import check_gates, load_gates
    from munjang.evaluate.results import Results
    from munjang.stages.evaluating import evaluate_into, load_models, load_sets

    results = Results(Path(out))
    sets, data = name_sets(on, settings, skip_missing=skip_missing, show=show)
    how = {"baseline": baseline, "symmetric": symmetric, "similarities": list(similarities), "rerank": rerank}
    options = checked_options(EvaluateOptions, "evaluate", name="evaluate", models=dict(models), on=sets, **how)
    gates = [] if gate is None else load_gates(Path(gate), list(models), [one.label for one in options.on])
    context, _ = stage_alone(options, data, seed, device, show, title)
    loaded = load_models(options, context), load_sets(options, context)
    _require_effect(options, *loaded)
    with lock(results.folder, "evaluation"):
        results.tidy()
        table, changed = evaluate_into(results, *loaded, options, context)
    return Evaluated(table, changed, check_gates(gates, table))


def _require_effect(options: EvaluateOptions, models: Sequence[ModelSpec], sets: Sequence[EvalSet]) -> None:
    """Refuse options that were changed and would change nothing here."""
    if options.baseline is not None and len(models) == 1:
        raise UsageError(
            Phrase("without effect here: {}", Option("baseline", options.baseline)), expected="a second model"
        )
    cells = [(one.task, run.kind) for one in sets for model in models for run in model.runs]
    changed = {name: value for name in REACH if (value := _changed(options, name)) is not None}
    idle = [name for name in changed if not any(reaches(name, *cell) for cell in cells)]
    if idle:
        raise UsageError(
            Phrase("without effect here: {}", Phrase.joined(", ", (Phrase("{}", Option(n, changed[n])) for n in idle))),
            expected="; ".join(str(REACH[name]) for name in idle),
        )


def _changed(options: EvaluateOptions, name: str) -> Any:
    """The value of an option where it is not the default; else None."""
    value = getattr(options, name, None)
    field = EvaluateOptions.model_fields.get(name)
    return None if field is None or value == field.get_default(call_default_factory=True) else value


def report(
    folders: Sequence[str | Path], out: str | Path, *, baseline: str | None = None, title: str = "Munjang"
) -> Table:
    """One page of the results of several folders or runs; of measurements that several hold, the last counts.

    Args:
        folders: results of `evaluate`, or directories of runs with an evaluate stage.
        out: folder for `results.json`, `results.csv` and `report.html`; what they hold already is replaced.
        baseline: label of the model that the others are compared with.
        title: of the page.

    Raises:
        MissingInputError: a folder holds no results. UsageError: no model has the label of the baseline.
    """
    from munjang.evaluate.compare import compare
    from munjang.evaluate.report import write_report
    from munjang.evaluate.results import latest

    measurements, reasons = latest([Path(folder) for folder in folders])
    table = compare(measurements, baseline, reasons=reasons)
    write_report(table, Path(out), title)
    return table

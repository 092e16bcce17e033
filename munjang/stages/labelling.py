"""The stages label, label.classes and label.triplets: silver labels of candidate pairs, behind a gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from munjang.augment.gate import Check, Gate, silver_checks, teacher_check
from munjang.augment.mining import require_spread
from munjang.augment.options import LabelClassesOptions, Labelling, LabelOptions, LabelTripletsOptions
from munjang.augment.page import write_silver_page
from munjang.augment.silver import (
    classes_of,
    contested,
    contested_file,
    examples_by_score,
    histogram,
    kept_pairs,
    triplets_of,
)
from munjang.augment.teachers import (
    Calibration,
    Labels,
    Teacher,
    calibrate,
    combine,
    pairs_of_rows,
    score_resumably,
)
from munjang.data.rows import pairs_of
from munjang.errors import DataError, Option
from munjang.evaluate.statistics import spearman, whole
from munjang.evaluate.sts import gold_scores
from munjang.files import write_bytes
from munjang.pipeline.stage import Context
from munjang.stages.inputs import (
    MODEL_FOLDER,
    PAIRS_FILE,
    load_input_rows,
    model_folder,
    stage_directory,
)

CONTESTED_FILE = "contested.tsv"
#: What a disagreement of teachers is shown on: two of them that say 0 and 1 differ by this.
_MOST_DISAGREEMENT = 0.5
#: Pairs whose texts calibrate an export.
_CALIBRATING = 1_000


class _Judged(NamedTuple):
    """Teachers and student on dev."""

    calibrations: list[Calibration | None]
    gold: np.ndarray
    teacher: np.ndarray
    """Scores of all teachers together: (n,)."""
    each: list[float | None]
    """Spearman x 100 of each teacher."""
    student: np.ndarray | None
    """Its cosines: (n,)."""


def run_label(options: LabelOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write silver pairs to `pairs.parquet`: scores, which models gave them, and where each pair comes from."""
    table, report = _silver(options, context, out)
    pyarrow.parquet.write_table(table, out / PAIRS_FILE)
    return report


def run_label_triplets(options: LabelTripletsOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write triplets to `pairs.parquet`; the scores that they come from stand in `scores.parquet`."""
    table, report = _silver(options, context, out)
    pyarrow.parquet.write_table(table, out / "scores.parquet")
    triplets = triplets_of(table, options.least_gap)
    pyarrow.parquet.write_table(triplets, out / PAIRS_FILE)
    context.say(f"  {triplets.num_rows:,} triplets with scores at least {options.least_gap:g} apart")
    return {**report, "triplets": triplets.num_rows}


def run_label_classes(options: LabelClassesOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write pairs with classes of NLI to `pairs.parquet`."""
    table = _candidates(options, context)
    pairs = _texts(table)
    teachers = _teachers(options, context, classes=True)
    found = [_score(teacher, pairs, context) for teacher in teachers]
    mean = np.mean(found, axis=0)
    labels, likely = classes_of(mean, options.least_probability)
    disagreement = np.std(found, axis=0).max(axis=1)
    stays, left_out = kept_pairs(mean.max(axis=1), disagreement, options.keep_agreed, None, context.recipe.seed)
    table = _with_columns(
        table, teachers, {"label": labels, "probability": mean.max(axis=1), "disagreement": disagreement}
    ).filter(pyarrow.array(stays & likely))
    counts = Counter(table["label"].to_pylist())
    most = max(counts.values(), default=0) / max(table.num_rows, 1)
    check = Check("spread", 1 - most, 0.05, 1 - most >= 0.05, f"{most:.0%} of the pairs have one class")
    gate = Gate((check,), options.force)
    gate.require(_force(options))
    pyarrow.parquet.write_table(table, out / PAIRS_FILE)
    left_out = {**left_out, "probability": int((stays & ~likely).sum())}
    context.say(f"  {table.num_rows:,} silver classes: {', '.join(f'{n:,} {name}' for name, n in counts.items())}")
    report = {
        "target": "classes",
        "pairs": table.num_rows,
        "scored": len(pairs),
        "classes": dict(counts),
        "teachers": [{"name": t.name, "dev": None} for t in teachers],
        "gate": gate.as_dict(),
        "left_out": left_out,
        "disagreement": _disagreement(table) if len(teachers) > 1 else None,
    }
    write_silver_page(out, f"{context.recipe.title}: {options.name}", report)
    return report


def _silver(options: LabelOptions, context: Context, out: Path) -> tuple[pyarrow.Table, dict[str, Any]]:
    """Scored pairs that passed the gate, and the report; the page and the file of contested pairs are written."""
    table = _candidates(options, context)
    gold = [row for value in options.match for row in load_input_rows(context, value).rows]
    if options.match:
        require_spread(gold_scores(gold), "match")
    teachers = _teachers(options, context)
    student = None
    if options.student is not None:
        student = Teacher(options.student, model_folder(context, options.student), context.device)
    pairs = _texts(table)
    _open_exports(options, context, teachers, pairs)
    judged = _judge(options, context, teachers, student)
    difference, checks = None, []
    if judged is not None and judged.student is not None:
        check, difference = teacher_check(judged.teacher, judged.student, judged.gold, context.recipe.seed)
        context.say(f"  gate: {check.said}")
        checks.append(check)
        # Before the hours of labelling, not after them.
        Gate(tuple(checks), options.force).require(_force(options))
    found = [_score(teacher, pairs, context) for teacher in teachers]
    calibrations = judged.calibrations if judged is not None else [None] * len(teachers)
    labels = combine(teachers, found, calibrations)
    cosines = student.scores(pairs).ravel() if student is not None else None
    members = [scores.mean(axis=1) for scores in found]
    checks += silver_checks(labels.scores, labels.orders, members, cosines)
    gate = Gate(tuple(checks), options.force, difference)
    gate.require(_force(options))
    stays, left_out = kept_pairs(
        labels.scores,
        labels.disagreement,
        options.keep_agreed,
        gold_scores(gold) if gold else None,
        context.recipe.seed,
    )
    columns: dict[str, Any] = {"score": labels.scores, "disagreement": labels.disagreement}
    if cosines is not None:
        columns["student"] = cosines
    kept = _with_columns(table, teachers, columns).filter(pyarrow.array(stays))
    if not kept.num_rows:
        raise DataError("no silver pair was left", got=f"{len(pairs):,} scored", hint="leave out match or keep_agreed")
    report = _report(options, kept, labels, teachers, judged, gate)
    report |= {"scored": len(pairs), "left_out": left_out}
    report["gold_histogram"] = histogram(gold_scores(gold)) if gold else _histogram_of(judged)
    _write_for_people(options, context, out, kept, report)
    _say(context, report)
    return kept, report


def _write_for_people(
    options: LabelOptions, context: Context, out: Path, kept: pyarrow.Table, report: dict[str, Any]
) -> None:
    cosines = kept["student"].to_numpy() if "student" in kept.column_names else None
    rows = contested(kept, cosines)
    if rows:
        write_bytes(out / CONTESTED_FILE, contested_file(rows).encode())
    shown = {**report, "examples": examples_by_score(kept, context.recipe.seed), "contested": rows}
    write_silver_page(out, f"{context.recipe.title}: {options.name}", shown)
    report["contested"] = len(rows)


def _report(
    options: LabelOptions,
    kept: pyarrow.Table,
    labels: Labels,
    teachers: list[Teacher],
    judged: _Judged | None,
    gate: Gate,
) -> dict[str, Any]:
    scores = kept["score"].to_numpy()
    strategies = np.array(kept["strategy"].to_pylist())
    each = judged.each if judged is not None else [None] * len(teachers)
    report: dict[str, Any] = {
        "target": "triplets" if isinstance(options, LabelTripletsOptions) else "scores",
        "pairs": kept.num_rows,
        "mean": float(scores.mean()),
        "deviation": float(scores.std()),
        "histogram": histogram(scores),
        "strategies": {
            name: {"pairs": int((strategies == name).sum()), "histogram": histogram(scores[strategies == name])}
            for name in dict.fromkeys(strategies.tolist())
        },
        "teachers": [
            {"name": t.name, "dev": value, "fingerprint": t.fingerprint, "backend": t.backend}
            for t, value in zip(teachers, each, strict=True)
        ],
        "gate": gate.as_dict(),
        "disagreement": _disagreement(kept) if len(teachers) > 1 else None,
    }
    if judged is not None:
        report["together"] = _spearman(judged.teacher, judged.gold)
        if judged.student is not None:
            report["student"] = {"name": options.student, "dev": _spearman(judged.student, judged.gold)}
        if judged.calibrations[0] is not None:
            first = judged.calibrations[0]
            report["calibration"] = {
                "dev": options.dev,
                "error_before": first.error_before,
                "error_after": first.error_after,
                "points": [list(point) for point in zip(first.raw, first.gold, strict=True)],
            }
    return report


def _say(context: Context, report: dict[str, Any]) -> None:
    tenths = np.array(report["histogram"]).reshape(10, 2).sum(axis=1).tolist()
    context.say(f"  {report['pairs']:,} silver scores, mean {report['mean']:.2f}, by tenth of the scale {tenths}")
    left_out = ", ".join(f"{count:,} by {why}" for why, count in report["left_out"].items() if count)
    if left_out:
        context.say(f"  left out: {left_out}")
    if "calibration" in report:
        before, after = (report["calibration"][name] for name in ("error_before", "error_after"))
        context.say(f"  calibration: mean distance from gold {before:.3f} -> {after:.3f} on dev, cross-validated")
    if report["gate"]["forced"] and not report["gate"]["passed"]:
        context.say("  the gate said no and was forced")


def _candidates(options: Labelling, context: Context) -> pyarrow.Table:
    """The pairs to be labelled, with what is known of where they come from."""
    directory = stage_directory(context, options.pairs)
    if directory is not None and (directory / PAIRS_FILE).is_file():
        table = pyarrow.parquet.read_table(directory / PAIRS_FILE)
        return table if "strategy" in table.column_names else _given(_texts(table))
    kinds = ("pairs", "scored-pairs", "labelled-pairs", "positive-pairs", "parallel-pairs")
    rows = load_input_rows(context, options.pairs, kinds).rows
    return _given(list(dict.fromkeys(pair for row in rows for pair in pairs_of(row))))


def _given(pairs: list[tuple[str, str]]) -> pyarrow.Table:
    return pyarrow.table(
        {
            "sentence1": [a for a, _ in pairs],
            "sentence2": [b for _, b in pairs],
            "strategy": pyarrow.array(["given"] * len(pairs)).dictionary_encode(),
            "rank": pyarrow.array([0] * len(pairs), pyarrow.int32()),
        }
    )


def _texts(table: pyarrow.Table) -> list[tuple[str, str]]:
    return list(zip(table["sentence1"].to_pylist(), table["sentence2"].to_pylist(), strict=True))


def _teachers(options: LabelOptions | LabelClassesOptions, context: Context, *, classes: bool = False) -> list[Teacher]:
    symmetric = isinstance(options, LabelOptions) and options.symmetric
    found = []
    for value in options.model:
        for name, folder in _members(context, value, options.every_seed):
            found.append(Teacher(name, folder, context.device, symmetric=symmetric, classes=classes))
    if options.keep_agreed < 1 and len(found) < 2:
        raise DataError(
            "one teacher cannot disagree with itself",
            where=options.option("keep_agreed", options.keep_agreed),
            expected="several teachers, or one that was trained with several seeds",
            got="1",
        )
    return found


def _open_exports(
    options: LabelOptions, context: Context, teachers: Sequence[Teacher], pairs: Sequence[tuple[str, str]]
) -> None:
    """Have the cross-encoders run by what is faster than torch, as far as that is asked for and their labels stay."""
    if options.backend == "torch":
        return
    from munjang.stages.certified import certified_backend

    rows = load_input_rows(context, options.dev).rows
    context.readings.pop()  # it is read again, to judge the teachers
    texts = [text for pair in pairs[:_CALIBRATING] for text in pair]
    for teacher in teachers:
        if not teacher.is_bi_encoder:
            teacher.backend = certified_backend(
                context, teacher.name, teacher.folder, options.backend, texts, rows, str(options.dev)
            )


def _members(context: Context, value: str, every_seed: bool) -> list[tuple[str, Path]]:
    """The models behind a name: those of all seeds where a stage has trained several."""
    directory = stage_directory(context, value)
    if directory is not None and every_seed:
        seeds = sorted(directory.glob("seed-*"), key=lambda path: int(path.name.partition("-")[2]))
        if seeds:
            return [(f"{value} {seed.name}", seed / MODEL_FOLDER) for seed in seeds]
    return [(value, model_folder(context, value))]


def _judge(options: LabelOptions, context: Context, teachers: list[Teacher], student: Teacher | None) -> _Judged | None:
    """Teachers, fitted to dev where that is wanted, and student on dev; None where there is no dev."""
    if options.dev is None:
        context.say("  no gate: name dev and student to have the teachers tried before they teach")
        return None
    rows = load_input_rows(context, options.dev).rows
    context.readings[-1] |= {"use": "dev"}
    pairs, gold = pairs_of_rows(rows), gold_scores(rows)
    found = [teacher.scores(pairs) for teacher in teachers]
    calibrations: list[Calibration | None] = [None] * len(teachers)
    if options.calibrate:
        calibrations = [calibrate(scores.mean(axis=1), gold, context.recipe.seed) for scores in found]
    together = combine(teachers, found, calibrations).scores
    each = [_spearman(scores.mean(axis=1), gold) for scores in found]
    return _Judged(calibrations, gold, together, each, student.scores(pairs).ravel() if student is not None else None)


def _spearman(scores: np.ndarray, gold: np.ndarray) -> float | None:
    value = whole(spearman, scores, gold)
    return None if value is None else 100 * value


def _histogram_of(judged: _Judged | None) -> list[int] | None:
    return None if judged is None else histogram(judged.gold)


def _score(teacher: Teacher, pairs: list[tuple[str, str]], context: Context) -> np.ndarray:
    progress = context.progress(f"labelling {len(pairs):,} pairs")
    return score_resumably(teacher, pairs, context.work, context.fingerprint, progress)


def _disagreement(table: pyarrow.Table) -> dict[str, Any]:
    values = table["disagreement"].to_numpy()
    return {"mean": float(values.mean()), "histogram": histogram(values, _MOST_DISAGREEMENT)}


def _with_columns(table: pyarrow.Table, teachers: list[Teacher], columns: dict[str, Any]) -> pyarrow.Table:
    for name, values in columns.items():
        table = table.append_column(name, pyarrow.array(values))
    labelled_by = "+".join(teacher.fingerprint for teacher in teachers)
    return table.append_column(
        "labelled_by", pyarrow.array([labelled_by] * table.num_rows, pyarrow.string()).dictionary_encode()
    )


def _force(options: Labelling) -> Option:
    return options.option("force", True)

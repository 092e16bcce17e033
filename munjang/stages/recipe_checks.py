"""The recipe half of the doctor: what would go wrong in a run, seen without running it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from munjang.augment.options import LabelOptions, MineOptions
from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, Input, Recipe, StageOptions, add_input
from munjang.data.lint import Finding, by_severity, conflicting_sets, lint_set, near_leakage
from munjang.data.lint.findings import counted
from munjang.data.lint.reading import lint_reading
from munjang.data.lint.splits import is_test
from munjang.data.readers import ROLES
from munjang.data.rows import pair_key, texts_of
from munjang.errors import ConfigError, MunjangError
from munjang.evaluate.options import EvaluateOptions
from munjang.models.checks import lint_model
from munjang.models.folder import layers_of, model_kind
from munjang.pipeline.stage import Context
from munjang.stages.examining import Examination, against_known, try_tokenizer
from munjang.stages.idle import idle_options
from munjang.stages.inputs import data_spec
from munjang.stages.recipe_inputs import RecipeInputs, find_inputs
from munjang.text import match_key, printable
from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES, choose_objective
from munjang.train.options import TrainOptions

#: Share of dev's rows in a test set from which on the two are one set under two names.
_SAME_SET = 0.5
#: Share of a test set's rows in a training set above which one was copied from the other; chance gives a few in a thousand.
_COPY = 0.05
#: Share of dev's rows that the sets under exclude must leave; below it something else was excluded than was meant.
_LEFT_OF_DEV = 0.25
#: Rows from which the highest score says something of the unit.
_ENOUGH = 20


def examine_recipe(context: Context, found: Examination, *, known: bool = False) -> None:
    """Look at a recipe, and at the data and models that it names, and add what is found.

    Args:
        context: of the recipe; its `readings` are filled.
        found: is filled.
        known: compare what is trained on with test sets of the catalogue that the recipe does not name.
    """
    recipe, inputs = context.recipe, find_inputs(context)
    found.read = context.readings
    found.findings += inputs.findings
    sets = {value.removeprefix(DATA_PREFIX): rows.rows for value, rows in inputs.rows.items()}
    for value, rows in inputs.rows.items():
        name = value.removeprefix(DATA_PREFIX)
        found.findings += lint_reading(name, rows.report, data_spec(recipe, value).rejects)
        found.findings += lint_set(name, rows.rows)
    # What two sets share exactly, training leaves out where exclude says so; whether it does is looked at by stage.
    found.findings += [*near_leakage(sets), *conflicting_sets(sets), *lint_recipe(recipe, inputs)]
    if known:
        trained = {one.data for stage in recipe.stages if isinstance(stage, TrainOptions) for one in stage.train}
        of_training = {
            value.removeprefix(DATA_PREFIX): inputs.rows[value].rows for value in inputs.rows if value in trained
        }
        found.findings += against_known(context, inputs.rows, of_training, found.tests)
    for value, folder in inputs.models.items():
        used = {
            name
            for stage in recipe.stages
            if value in (references := [named for _, named, _ in stage.references()])
            for name in references
        }
        with_it = {name: rows for name, rows in sets.items() if name in used or DATA_PREFIX + name in used}
        found.findings += try_tokenizer(value, folder, with_it, found.tokens, several=len(inputs.models) > 1)
    found.findings = by_severity(found.findings)


def lint_recipe(recipe: Recipe, inputs: RecipeInputs) -> list[Finding]:
    """Mistakes of a recipe: what is measured on was trained on or chosen by, rows that do not fit, options without effect.

    Args:
        recipe: checked by itself.
        inputs: what its stages name.
    """
    checks = _Checks(recipe, inputs)
    return [
        *checks.misfits(),
        *checks.selection(),
        *checks.exposure(),
        *checks.units(),
        *checks.heads(),
        *idle_options(recipe, checks.made, {value: rows.kind for value, rows in inputs.rows.items()}),
    ]


@dataclass
class _Checks:
    recipe: Recipe
    inputs: RecipeInputs

    @cached_property
    def stages(self) -> dict[str, StageOptions]:
        return {stage.name: stage for stage in self.recipe.stages}

    @cached_property
    def trainings(self) -> list[TrainOptions]:
        return [stage for stage in self.recipe.stages if isinstance(stage, TrainOptions)]

    @cached_property
    def evaluations(self) -> list[tuple[EvaluateOptions, set[str]]]:
        """Each evaluation with the names of all stages that what it measures was made from."""
        found = [stage for stage in self.recipe.stages if isinstance(stage, EvaluateOptions)]
        return [(stage, self._ancestors(stage)) for stage in found]

    @cached_property
    def made(self) -> dict[str, str]:
        """Model as options name it -> its kind, of folders and of stages."""
        made = {STAGE_PREFIX + name: stage.produces for name, stage in self.stages.items()}
        for value, folder in self.inputs.models.items():
            try:
                made[value] = model_kind(folder)
            except MunjangError:
                continue  # its own findings say what is damaged
        return made

    @cached_property
    def objectives(self) -> dict[str, list[str]]:
        """Training -> the objective of each of its sets, where the kinds of all rows are known and fit."""
        found = {}
        for stage in self.trainings:
            known = CROSS_OBJECTIVES if stage.produces == "cross-encoder" else BI_OBJECTIVES
            kinds = [self._kind(one.data) for one in stage.train]
            try:
                named = [
                    choose_objective(known, kind, one.objective or stage.objective, "").name
                    for kind, one in zip(kinds, stage.train, strict=True)
                    if kind is not None
                ]
            except ConfigError:
                continue  # said as a misfit
            if len(named) == len(stage.train):
                found[stage.name] = named
        return found

    def misfits(self) -> Iterator[Finding]:
        """Rows that the options of a stage cannot use."""
        for stage in self.recipe.stages:
            known: dict[str, Input] = {}
            for option, value, _ in stage.references():
                if found := self._known(value):
                    add_input(known, option, found)
            try:
                stage.require_inputs(known)
            except ConfigError as error:
                remedy = error.hint or (f"expected {error.expected}" if error.expected else "")
                message = error.what if error.got is None else f"{error.what}: {error.got}"
                where = error.where or f"stage.{stage.name}"
                yield Finding("error", "stage-inputs", str(where), str(message), "", str(remedy))

    def selection(self) -> Iterator[Finding]:
        """Dev sets that measure as well: what chooses the weights cannot say how good they are."""
        for stage, dev in ((training, dev) for training in self.trainings for dev in training.dev_sets):
            where = f"stage.{stage.name}.dev = {dev!r}"
            remedy = "choose by a dev split; carve one off the training set with part = [0.9, 1]"
            if self._is_test(dev):
                message = "the weights are chosen on a test split"
                yield Finding("error", "dev-is-test", where, message, "", remedy)
                continue
            yield from self._left_of_dev(stage, dev, where)
            for evaluation, ancestors in self.evaluations:
                if stage.name in ancestors:
                    yield from self._chosen_and_measured(dev, evaluation, where, remedy)

    def _left_of_dev(self, stage: TrainOptions, dev: str, where: str) -> Iterator[Finding]:
        """Dev rows that share a sentence with a set under exclude: none of them chooses weights."""
        rows = self.inputs.rows.get(dev)
        excluded = set().union(*(self._keys.get(value, set()) for value in stage.exclude))
        if rows is None or not excluded:
            return
        left = sum(all(match_key(text) not in excluded for text in texts_of(row)) for row in rows.rows)
        if left < max(2, _LEFT_OF_DEV * len(rows.rows)):
            message = f"{left:,} of {len(rows.rows):,} dev rows are left: the others share a sentence with a set under exclude"
            remedy = "take the set that holds dev out of exclude; name test sets there"
            yield Finding("error" if left < 2 else "warning", "dev-is-excluded", where, message, "", remedy)

    def _chosen_and_measured(self, dev: str, evaluation: EvaluateOptions, where: str, remedy: str) -> Iterator[Finding]:
        measured = _measured(evaluation)
        same = [value for value in measured if self._overlap(dev, value)]
        if same:
            alone = len(same) == len(evaluation.on)
            message = f"stage.{evaluation.name} measures on the set that chose the weights: that figure is too high"
            what = "measure on a test split as well" if alone else "none needed, as long as it is not read as a test"
            yield Finding("error" if alone else "note", "dev-is-measured", where, message, "", what)
        for value in measured:
            share, example = self._shared(dev, value)
            if value not in same and share >= _SAME_SET:
                message = f"{share:.0%} of the dev rows are in {value}, on which stage.{evaluation.name} measures"
                yield Finding("error", "dev-is-test", where, message, example, remedy)

    def exposure(self) -> Iterator[Finding]:
        """Sets that are measured on, and that a training on the way to the model has not left out."""
        told = set()
        for evaluation, ancestors in self.evaluations:
            for stage in (self.stages[name] for name in self.stages if name in ancestors):
                for value in _measured(evaluation):
                    if (stage.name, value) not in told:
                        told.add((stage.name, value))
                        yield from self._exposed(stage, value)

    def _exposed(self, stage: StageOptions, test: str) -> Iterator[Finding]:
        if isinstance(stage, TrainOptions):
            uses, option, kept_out = [one.data for one in stage.train], "train", [*stage.exclude, *stage.dev_sets]
            left_out = "exclude"
        elif isinstance(stage, MineOptions):
            uses, option, kept_out, left_out = stage.sentences, "sentences", stage.held_out, "held_out"
        else:
            return
        where, remedy = f"stage.{stage.name}.{option}", f"add {test!r} to stage.{stage.name}.{left_out}"
        trained_on = [value for value in uses if self._overlap(value, test)]
        if trained_on:
            message = f"{trained_on[0]} is used here and measured on"
            yield Finding("error", "test-in-training", where, message, "", "take it out of one of the two")
        elif any(self._overlap(value, test) for value in kept_out):
            return
        elif (copied := max(((self._shared(test, value), value) for value in uses), default=((0.0, ""), "")))[0][
            0
        ] >= _COPY:
            (share, example), value = copied
            message = f"{share:.0%} of the rows of {test}, which is measured on, stand whole in {value}"
            yield Finding("error", "test-in-training", where, message, example, remedy)
        else:
            shared = [text for value in uses for text in self._shared_texts(value, test)]
            distinct = sorted(set(shared))
            used = counted(len(distinct), "of its sentences is", "of its sentences are")
            message = f"{test} is measured on and not named under {left_out}; {used} used here"
            example = printable(distinct[0], 80) if distinct else ""
            yield Finding("warning" if shared else "note", "test-not-excluded", where, message, example, remedy)

    def units(self) -> Iterator[Finding]:
        """Scores in different units side by side, and probabilities where margins of logits are asked for."""
        for stage in self.trainings:
            highest = {}
            for one in stage.train:
                rows = self.inputs.rows.get(one.data)
                if rows is not None and rows.kind == "scored-pairs" and len(rows.rows) >= _ENOUGH:
                    highest[one.data] = max(row.score for row in rows.rows)
            low, high = min(highest, key=highest.get, default=""), max(highest, key=highest.get, default="")
            if highest and highest[low] <= 0.5 * highest[high]:
                message = (
                    f"the highest score of {low} is {highest[low]:.2f} of its declared scale, that of {high} "
                    f"{highest[high]:.2f}: they are probably in different units"
                )
                remedy = "declare for each set the scale on which its scores were given"
                yield Finding("warning", "mixed-units", f"stage.{stage.name}.train", message, "", remedy)
            yield from self._probabilities(stage)

    def _probabilities(self, stage: TrainOptions) -> Iterator[Finding]:
        for one, objective in zip(stage.train, self.objectives.get(stage.name, []), strict=False):
            rows = self.inputs.rows.get(one.data)
            if objective != "margin-mse" or rows is None or rows.kind != "ranked-lists":
                continue
            scores = [score for row in rows.rows for score in row.scores]
            if all(0 <= score <= 1 for score in scores):
                message = f"margin-mse needs a teacher's raw logits, and all scores of {one.data} lie between 0 and 1"
                example = f"{min(scores):g} to {max(scores):g}"
                remedy = "score the lists without a sigmoid, or train with listnet (cross-encoder) or kl (bi-encoder)"
                yield Finding("error", "probability-scores", f"stage.{stage.name}.train", message, example, remedy)

    def heads(self) -> Iterator[Finding]:
        """Models from outside, looked at with what they are used for in mind."""
        for value, folder in self.inputs.models.items():
            users = [stage for stage in self.recipe.stages if value in [named for _, named, _ in stage.references()]]
            measuring = [stage for stage in users if isinstance(stage, EvaluateOptions)]
            kinds = {self._kind(named) for stage in measuring for named in _measured(stage)}
            if any(isinstance(stage, LabelOptions) for stage in users):
                kinds = {"scored-pairs"}
            # Where several kinds are measured side by side, each model is measured on those that fit it.
            yield from lint_model(value, folder, [kind for kind in kinds if kind] if len(kinds) == 1 else [])

    def _ancestors(self, stage: StageOptions) -> set[str]:
        found: set[str] = set()
        waiting = [stage]
        while waiting:
            for _, value, _ in waiting.pop().references():
                name = value.removeprefix(STAGE_PREFIX)
                if value.startswith(STAGE_PREFIX) and name not in found:
                    found.add(name)
                    waiting.append(self.stages[name])
        return found

    def _kind(self, value: str) -> str | None:
        """Kind of the rows behind a name, where they lie outside of the run or are known by what makes them."""
        rows = self.inputs.rows.get(value)
        if rows is not None:
            return rows.kind
        stage = self.stages.get(value.removeprefix(STAGE_PREFIX)) if value.startswith(STAGE_PREFIX) else None
        return stage.produces if stage is not None and stage.produces in ROLES else None

    def _known(self, value: str) -> Input | None:
        """What is known of an input before the run; see `munjang.config.recipe.StageOptions.require_inputs`."""
        if value in self.inputs.models:
            kind = self.made.get(value)
            return Input(kind, layers_of(self.inputs.models[value])) if kind else None
        kind = self._kind(value) or (self.made.get(value) if value.startswith(STAGE_PREFIX) else None)
        return Input(kind) if kind else None

    def _is_test(self, value: str) -> bool:
        return not value.startswith(STAGE_PREFIX) and (
            is_test(value.removeprefix(DATA_PREFIX)) or is_test(data_spec(self.recipe, value).source)
        )

    def _overlap(self, one: str, other: str) -> bool:
        """Whether two names lead to rows of one source whose parts meet."""
        if one == other:
            return True
        if STAGE_PREFIX in (one[: len(STAGE_PREFIX)], other[: len(STAGE_PREFIX)]):
            return False
        first, second = data_spec(self.recipe, one), data_spec(self.recipe, other)
        left, right = first.part or (0.0, 1.0), second.part or (0.0, 1.0)
        return first.source == second.source and left[0] < right[1] and right[0] < left[1]

    def _shared(self, one: str, other: str) -> tuple[float, str]:
        """Share of the rows of a set that stand whole in another, in any order of their texts, and one of them."""
        first, second = (self.inputs.rows.get(value) for value in (one, other))
        if first is None or second is None:
            return 0.0, ""
        known = {_row_key(row) for row in second.rows}
        shared = [row for row in first.rows if _row_key(row) in known]
        example = " / ".join(printable(text, 60) for text in texts_of(shared[0])[:2]) if shared else ""
        return len(shared) / max(len(first.rows), 1), example

    def _shared_texts(self, one: str, other: str) -> list[str]:
        """Sentences of a set that are used in another, by their `match_key`."""
        keys: Mapping[str, set[str]] = self._keys
        return sorted(keys.get(one, set()) & keys.get(other, set()))

    @cached_property
    def _keys(self) -> dict[str, set[str]]:
        return {
            value: {match_key(text) for row in rows.rows for text in texts_of(row)}
            for value, rows in self.inputs.rows.items()
        }


def _measured(stage: EvaluateOptions) -> list[str]:
    """The rows that an evaluation measures on: of a search its queries, of a classification its test rows."""
    named = [one.data or one.queries or one.test for one in stage.on]
    return [value for value in named if value is not None]


def _row_key(row: Any) -> tuple[str, ...]:
    texts = texts_of(row)
    return pair_key(*texts) if len(texts) == 2 else tuple(sorted(map(match_key, texts)))

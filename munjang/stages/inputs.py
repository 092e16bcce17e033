"""Turns the names in a stage's options into rows and model folders."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, DataSpec, Input, Recipe, Reference, StageOptions, add_input
from munjang.data.load import fingerprint_rows, load_rows
from munjang.data.readers import ROLES, Rows
from munjang.data.rows import sentences_of
from munjang.errors import MunjangError
from munjang.models.folder import fingerprint_model, layers_of, model_kind, require_kind
from munjang.models.source import resolve_model
from munjang.pipeline.stage import Context
from munjang.text import match_key

MODELS = ("bi-encoder", "cross-encoder")
PAIRS_FILE = "pairs.parquet"
MODEL_FOLDER = "model"


class RunInputs:
    """Fingerprints the data and models that a recipe names outside its own run.

    Args:
        recipe: for its `[data]`.
        base: the folder of the recipe.
    """

    def __init__(self, recipe: Recipe, base: Path) -> None:
        self.recipe, self.base = recipe, base
        # A model of 500 MB is named by several stages; hashing it once a run is enough, and so is a large file.
        self._folder = lru_cache(maxsize=None)(lambda name: resolve_model(name, base))
        self._model = lru_cache(maxsize=None)(lambda name: fingerprint_model(self._folder(name)))
        self._rows = lru_cache(maxsize=None)(lambda value: fingerprint_rows(data_spec(recipe, value), base))

    def fingerprint(self, value: str, accepts: tuple[str, ...]) -> Any:
        """See `munjang.pipeline.stage.Inputs`."""
        if set(accepts) & set(MODELS):
            return self._model(value)
        return self._rows(value)

    def require_all(self) -> None:
        """Find and read every input outside the run before any work; name the option of the first that is wrong.

        Reading all rows twice costs seconds; a wrong column found after an hour of training costs the hour.

        Raises:
            MissingInputError, DataError, UnavailableError, ConfigError: with the option's place in the recipe.
        """
        made: dict[str, Input] = {}
        for stage in self.recipe.stages:
            known: dict[str, Input] = {}
            for option, value, reference in stage.references():
                try:
                    found = self._known(value, reference, made)
                except MunjangError as error:
                    error.inside(stage.option(option, value))
                    raise
                if found is not None:
                    add_input(known, option, found)
            stage.require_inputs(known)
            made[stage.name] = _made_by(stage, known)

    def _known(self, value: str, reference: Reference, made: dict[str, Input]) -> Input | None:
        """What is known of an input before the run; one from outside is read and checked."""
        if value.startswith(STAGE_PREFIX):
            return made.get(value[len(STAGE_PREFIX) :])
        self.fingerprint(value, reference.accepts)
        kinds = tuple(kind for kind in reference.accepts if kind in ROLES)
        if kinds:
            return Input(load_rows(data_spec(self.recipe, value), kinds, self.base, self.recipe.seed).kind)
        if not set(reference.accepts) & set(MODELS):
            return None
        folder = self._folder(value)
        require_kind(folder, *reference.accepts)
        return Input(model_kind(folder), layers_of(folder))


def _made_by(stage: StageOptions, known: dict[str, Input]) -> Input:
    """What a stage will make."""
    start = known.get("model") if stage.produces in MODELS else None
    return Input(stage.produces, stage.layers_made(start.layers) if start else None)


def data_spec(recipe: Recipe, value: str) -> DataSpec:
    """The `DataSpec` behind `data:KEY`, a catalogue name or a path."""
    return recipe.data[value[len(DATA_PREFIX) :]] if value.startswith(DATA_PREFIX) else DataSpec(source=value)


def stage_directory(context: Context, value: str) -> Path | None:
    """The directory behind `stage:NAME`, or None if `value` names something outside the run."""
    return context.stages[value[len(STAGE_PREFIX) :]] if value.startswith(STAGE_PREFIX) else None


def load_input_rows(
    context: Context, value: str, kinds: tuple[str, ...] = ("scored-pairs",), *, lenient: bool = False
) -> Rows:
    """Rows of a data set or of an earlier stage; what was read is said in one line.

    Args:
        context: of the stage at work.
        value: as the options name it.
        kinds: of rows that are accepted.
        lenient: leave malformed rows out and count them, whatever the data's own settings say.
    """
    directory = stage_directory(context, value)
    spec = data_spec(context.recipe, value) if directory is None else _stage_spec(directory)
    if lenient:
        spec = spec.model_copy(update={"rejects": "skip"})
    rows = load_rows(spec, kinds, context.base, context.recipe.seed)
    if directory is not None:
        rows.report.source = value
    context.readings.append(rows.report.as_dict())
    context.say(f"  {rows.report.sentence()}")
    for reject in rows.report.rejects[:5]:
        context.say(f"    rejected {reject.sentence()}")
    return rows


def _stage_spec(directory: Path) -> DataSpec:
    return DataSpec(source=str((directory / PAIRS_FILE).resolve()), scale=(0.0, 1.0))


def load_sentences(context: Context, values: list[str], unseen: Iterable[str]) -> list[str]:
    """All distinct sentences of some data sets, in order, without those that must stay `unseen`."""
    keys = {match_key(text) for text in unseen}
    distinct: dict[str, str] = {}
    for value in values:
        for text in sentences_of(load_input_rows(context, value, tuple(ROLES)).rows):
            distinct.setdefault(match_key(text), text)
    return [text for key, text in distinct.items() if key not in keys]


def model_folder(context: Context, value: str) -> Path:
    """The folder of a model from outside or from an earlier stage."""
    directory = stage_directory(context, value)
    return resolve_model(value, context.base) if directory is None else directory / MODEL_FOLDER

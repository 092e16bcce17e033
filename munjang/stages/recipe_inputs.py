"""A recipe and what it names, read for the doctor: whatever is wrong becomes a finding."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from munjang.config.load import RecipeError, load_recipe
from munjang.config.recipe import STAGE_PREFIX, Recipe
from munjang.data.lint import Finding
from munjang.data.readers import ROLES, Rows
from munjang.errors import ConfigError, MunjangError
from munjang.pipeline.stage import Context
from munjang.stages.examining import lenient_model_folder
from munjang.stages.inputs import MODELS, load_input_rows
from munjang.stages.registry import OPTIONS


def read_recipe(path: Path) -> tuple[Recipe | None, list[Finding]]:
    """A recipe, or None and a finding for each of its mistakes.

    Raises:
        MissingInputError: there is no such file. DiskError: it cannot be read.
    """
    remedy = "mend the recipe; munjang run lists the same mistakes"
    try:
        return load_recipe(path, OPTIONS), []
    except RecipeError as error:
        parts = [problem.partition(": ") for problem in error.problems]
        return None, [Finding("error", "broken-recipe", place, what, str(path), remedy) for place, _, what in parts]
    except ConfigError as error:
        return None, [Finding("error", "broken-recipe", str(path), error.what, error.got or "", remedy)]


@dataclass
class RecipeInputs:
    """What the stages of a recipe name outside of it, as far as it can be found; the rest are findings."""

    rows: dict[str, Rows] = field(default_factory=dict)
    """Data set as options name it -> its rows, malformed ones left out."""
    models: dict[str, Path] = field(default_factory=dict)
    """Model as options name it -> its folder."""
    findings: list[Finding] = field(default_factory=list)


def find_inputs(context: Context) -> RecipeInputs:
    """Find and read every input of a recipe once; what is missing or of another kind is a finding, not an error."""
    found = RecipeInputs()
    failed: set[str] = set()
    for stage in context.recipe.stages:
        for option, value, reference in stage.references():
            if value.startswith(STAGE_PREFIX) or value in failed:
                continue
            kinds = tuple(kind for kind in reference.accepts if kind in ROLES)
            try:
                if kinds and (value not in found.rows or found.rows[value].kind not in kinds):
                    found.rows[value] = load_input_rows(context, value, kinds, lenient=True)
                elif set(reference.accepts) & set(MODELS) and value not in found.models:
                    folder = lenient_model_folder(context, value, found.findings)
                    if folder is None:
                        failed.add(value)
                    else:
                        found.models[value] = folder
            except MunjangError as error:
                failed.add(value)
                place = f"stage.{stage.name}.{option} = {value!r}"
                remedy = error.hint or "check the name, or map the columns of the file"
                found.findings.append(Finding("error", "recipe-input", place, error.sentence(), remedy=remedy))
    return found

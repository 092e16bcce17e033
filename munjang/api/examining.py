"""The doctor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.api.naming import name_data
from munjang.api.runs import require_new
from munjang.config.recipe import Recipe
from munjang.errors import Option, Phrase, UsageError
from munjang.files import new_directory
from munjang.pipeline.stage import Context
from munjang.progress import QUIET, Show

if TYPE_CHECKING:
    from munjang.data.lint import Finding
    from munjang.stages.examining import Examination


def doctor(data: Sequence[str] = (), *, show: Show = QUIET, **settings: Any) -> list[Finding]:
    """Look for mistakes in data sets, a model and a recipe; findings come errors first.

    Args:
        data: catalogue names or paths; name train, dev and test together to find leakage.
        show: how to tell about progress.
        settings: those of `examine`, which also returns what was looked at.
    """
    return examine(data, show=show, **settings).findings


def examine(
    data: Sequence[str] = (),
    *,
    model: str | None = None,
    teacher: str | None = None,
    recipe: str | Path | None = None,
    known_tests: bool = True,
    out: str | Path | None = None,
    show: Show = QUIET,
    **settings: Any,
) -> Examination:
    """The doctor's findings, and what they were found in: how each set was read, tokens, test sets that were compared.

    Malformed rows are left out and are findings themselves; `rejects` says what they will do later.

    Args:
        data: catalogue names or paths; name train, dev and test together to find leakage.
        model: whose settings are looked at, and whose tokenizer is tried on the data. It is never loaded.
        teacher: a model whose vectors `model` shall learn.
        recipe: a TOML file, looked at with the data and models that it names, without running it.
        known_tests: compare what is not held out with the test sets of the catalogue on this machine as well.
        out: a folder to make, with `findings.json` and `report.html`.
        show: how to tell about progress.
        settings: how to read paths, such as `scale=(0, 5)`.

    Raises:
        UsageError: nothing to look at, or an option would have no effect. ConfigError: `out` exists.
        MissingInputError, UnavailableError: what was named is not there. DataError: not one set can be read.
    """
    from munjang.data.lint import without_repeats
    from munjang.stages.examining import Examination
    from munjang.stages.examining import examine as examine_sets

    if not data and model is None and recipe is None:
        raise UsageError(
            "name at least one data set, a model or a recipe", hint="list the data sets with: munjang data"
        )
    if teacher is not None and model is None:
        expected = Phrase("{}, the student", Option("model"))
        raise UsageError(Phrase("without effect here: {}", Option("teacher")), expected=expected)
    if out is not None:
        require_new(Path(out))
    names, specs = name_data(data, settings)
    context = Context(Recipe("doctor", "doctor", 42, specs, ()), Path.cwd(), {}, "cpu", show.progress, show.say)
    found = Examination()
    if data or model is not None:
        models = [] if model is None else [model]
        found = examine_sets(context, names, models, teacher, known=known_tests)
    if recipe is not None:
        found = found.merged(_examine_recipe(Path(recipe), known_tests, show))
    found.findings = without_repeats(found.findings)
    if out is not None:
        with new_directory(Path(out), kind="doctor") as folder:
            found.write(folder, " · ".join(["doctor", *data, *map(str, filter(None, (model, recipe)))][:6]))
    return found


def _examine_recipe(path: Path, known: bool, show: Show) -> Examination:
    from munjang.stages.examining import Examination
    from munjang.stages.recipe_checks import examine_recipe
    from munjang.stages.recipe_inputs import read_recipe

    checked, findings = read_recipe(path)
    found = Examination(findings)
    if checked is not None:
        context = Context(checked, path.parent.resolve(), {}, "cpu", show.progress, show.say)
        examine_recipe(context, found, known=known)
    return found

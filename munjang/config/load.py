"""Reads a recipe from TOML, applies `--set` overrides, and reports all of its mistakes at once."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from munjang.config.grid import GridError, expand
from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, DataSpec, Recipe, StageOptions
from munjang.errors import ConfigError, MissingInputError, Option, Phrase, from_os_error

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same parser under its older name
    import tomli as tomllib

_TOP_LEVEL = ("name", "title", "seed", "data", "stage")


class RecipeError(ConfigError):
    """A recipe that is wrong; all of its mistakes, each as `place: what is wrong`."""

    def __init__(self, problems: list[str], where: str) -> None:
        self.problems = problems
        count = f"{len(problems)} mistake" + ("s" if len(problems) > 1 else "")
        super().__init__(f"{count} in this recipe:\n" + "\n".join(f"  - {p}" for p in problems), where=where)


def load_recipe(path: Path, kinds: Mapping[str, type[StageOptions]], overrides: tuple[str, ...] = ()) -> Recipe:
    """Read and check a recipe before any work is done.

    Args:
        path: a TOML file.
        kinds: the options class of each kind of stage.
        overrides: `--set` arguments such as `stage.bi.epochs=2`, `data.gold.source=my.tsv`, `grid.size=[250]`, `seed=7`.

    Raises:
        MissingInputError: there is no such file.
        ConfigError: the file is not TOML. RecipeError: anything in it is wrong; all mistakes are listed.
    """
    raw = read_toml(path, "recipe", "recipes/quickstart.toml is one to start from")
    of_grid = tuple(override for override in overrides if override.startswith("grid."))
    for override in of_grid:
        _apply(raw, override)
    try:
        raw = expand(raw)
    except GridError as error:
        raise RecipeError([str(error)], str(path)) from None
    for override in overrides:
        if override not in of_grid:
            _apply(raw, override)
    return parse_recipe(raw, kinds, where=str(path))


def read_toml(path: Path, what: str, hint: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Args:
        path: of the file.
        what: it holds, and a hint, for the error where it is missing.

    Raises:
        MissingInputError: there is no such file. ConfigError: it is not TOML. DiskError: it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingInputError(f"no such {what}", where=path, hint=hint) from None
    except OSError as error:
        raise from_os_error(error, path, doing="read") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError("this is not a TOML file", where=path, got=str(error)) from error


def parse_recipe(raw: dict[str, Any], kinds: Mapping[str, type[StageOptions]], *, where: str) -> Recipe:
    """Check a recipe that is already a dictionary; see `load_recipe`."""
    problems = [f"{key}: unknown key{_closest(key, _TOP_LEVEL)}" for key in raw if key not in _TOP_LEVEL]
    name, title, seed = raw.get("name", ""), raw.get("title", ""), raw.get("seed", 42)
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        problems.append('name: a recipe needs a name without slashes, such as name = "support"')
    if not isinstance(title, str):
        problems.append(f"title: expected a string, got {_show(title)}")
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        problems.append(f"seed: expected a whole number from 0 to 4294967295, got {_show(seed)}")
    data = _check_data(raw.get("data", {}), problems)
    stages = _check_stages(raw.get("stage"), kinds, problems)
    named = {table.get("name") for table in raw.get("stage", []) if isinstance(table, dict)} if stages else set()
    _check_references(stages, data, named - {stage.name for stage in stages}, problems)
    if problems:
        raise RecipeError(problems, where)
    return Recipe(name=name, title=title or name, seed=seed, data=data, stages=tuple(stages))


def _check_data(raw: Any, problems: list[str]) -> dict[str, DataSpec]:
    if not isinstance(raw, dict):
        problems.append("data: expected a table [data] of names")
        return {}
    data = {}
    for key, value in raw.items():
        try:
            data[key] = DataSpec.model_validate(value)
        except ValidationError as error:
            problems.extend(explain_validation(error, DataSpec, f"data.{key}"))
    return data


def _check_stages(raw: Any, kinds: Mapping[str, type[StageOptions]], problems: list[str]) -> list[StageOptions]:
    if not isinstance(raw, list) or not raw:
        problems.append("stage: a recipe needs at least one [[stage]]")
        return []
    stages: list[StageOptions] = []
    for number, table in enumerate(raw):
        place = f"stage[{number}]"
        if not isinstance(table, dict):
            problems.append(f"{place}: expected a table, got {_show(table)}")
            continue
        table = dict(table)
        kind = table.pop("kind", None)
        place = f"stage.{table['name']}" if isinstance(table.get("name"), str) else place
        if not isinstance(kind, str) or kind not in kinds:
            known = ", ".join(sorted(kinds))
            problems.append(f"{place}.kind: expected one of {known}, got {_show(kind)}{_closest(kind, kinds)}")
            continue
        try:
            stage = kinds[kind].model_validate(table)
        except ValidationError as error:
            problems.extend(explain_validation(error, kinds[kind], place))
            continue
        if any(stage.name == earlier.name for earlier in stages):
            problems.append(f"{place}: there are two stages of this name")
        stages.append(stage)
    return stages


def _check_references(
    stages: list[StageOptions], data: dict[str, DataSpec], broken: set[Any], problems: list[str]
) -> None:
    """Check what stages name; stages that are `broken` have been reported and count as there."""
    made: dict[str, str] = {}
    names = [stage.name for stage in stages]
    for stage in stages:
        for option, value, reference in stage.references():
            place = f"stage.{stage.name}.{option}"
            if value.startswith(STAGE_PREFIX):
                target = value[len(STAGE_PREFIX) :]
                if target in made and made[target] not in reference.accepts:
                    expected = " or ".join(reference.accepts)
                    problems.append(f"{place}: {value} makes {made[target]}, expected {expected}")
                elif target not in made and target not in broken:
                    reason = "comes later" if target in names else f"does not exist{_closest(target, made)}"
                    problems.append(f"{place}: {value} {reason}")
            elif reference.stage_only:
                problems.append(f"{place}: expected a stage, such as {STAGE_PREFIX}NAME, got {_show(value)}")
            elif value.startswith(DATA_PREFIX) and value[len(DATA_PREFIX) :] not in data:
                problems.append(f"{place}: there is no {value} under [data]{_closest(value[len(DATA_PREFIX) :], data)}")
        made[stage.name] = stage.produces


def explain_validation(error: ValidationError, model: type[BaseModel], place: str) -> list[Phrase]:
    """One line for each wrong value: its option, what is wrong, and the closest name.

    Args:
        error: of pydantic.
        model: that was asked for.
        place: where it stands in a recipe, such as `stage.bi`; empty where that is understood.
    """
    return [_explain(item, model, place) for item in error.errors()]


def _explain(item: Any, model: type[BaseModel], place: str) -> Phrase:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).removeprefix(".")
    # Without a path it is the whole that is wrong, and its message names the options.
    named: Option | str = Option(path, table=place) if path else place
    if item["type"] == "extra_forbidden":
        near = _closest(item["loc"][-1], _known_keys(model, item["loc"][:-1]))
        return Phrase("{}: unknown key{}", named, near)
    if item["type"] == "missing":
        return Phrase("{}: this key is required", named)
    raised = (item.get("ctx") or {}).get("error")
    message = raised.args[0] if isinstance(raised, ValueError) and raised.args else item["msg"]
    if not isinstance(message, Phrase):
        message = f"{message[0].lower()}{message[1:]}"
    got = f", got {_show(item['input'])}" if path else ""
    return Phrase("{}: {}{}" if named else "{}{}{}", named, message, got)


def _known_keys(model: type[BaseModel], path: tuple[int | str, ...]) -> Iterable[str]:
    """The keys of the model that stands at a path inside a model, such as `("train", 0)`."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = next(_models(model.model_fields[part].annotation), model)
    return model.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `list[TrainSet] | None`."""
    arguments = getattr(annotation, "__args__", ())
    if not arguments and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in arguments:
        yield from _models(argument)


def _show(value: object) -> str:
    """A value as it may stand in a message: `repr`, bounded, and safe for numbers of thousands of digits."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} that is too large to print"
    return text if len(text) <= 200 else text[:199] + "…"


def _closest(word: object, candidates: Any) -> str:
    near = difflib.get_close_matches(_show(word).strip("'"), [str(c) for c in candidates], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _apply(raw: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise ConfigError(
            "cannot read this override", where=f"--set {override}", expected="KEY=VALUE, such as stage.bi.epochs=2"
        )
    try:
        parsed = tomllib.loads(f"value = {text}")
        # More than one key means that the text is not one value: it is a string with line breaks.
        value = parsed["value"] if len(parsed) == 1 else text
    except (ValueError, RecursionError):
        value = text
    *parents, last = path.split(".")
    target: Any = raw
    for part in parents:
        if isinstance(target, list):
            target = next((t for t in target if isinstance(t, dict) and t.get("name") == part), None)
        elif isinstance(target, dict):
            if isinstance(target.get(part), str) and parents[0] == "data":
                target[part] = {"source": target[part]}
            target = target.get(part)
        if target is None:
            raise ConfigError(
                "this override names nothing in the recipe", where=f"--set {override}", got=f"no {part!r}"
            )
    if not isinstance(target, dict):
        raise ConfigError("this override names nothing in the recipe", where=f"--set {override}", got=f"{path!r}")
    target[last] = value

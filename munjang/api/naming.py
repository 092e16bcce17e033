"""What a command or a program names, checked: data, sets, options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from munjang.config.load import explain_validation
from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX, DataSpec, Frozen
from munjang.data.catalog import split_name
from munjang.errors import ConfigError, Option, Phrase, UsageError
from munjang.evaluate.naming import SET_PARTS, read_sets
from munjang.progress import QUIET, Show

if TYPE_CHECKING:
    pass


_Options = TypeVar("_Options", bound=Frozen)


def name_data(sources: Sequence[str], settings: Mapping[str, Any]) -> tuple[list[str], dict[str, DataSpec]]:
    """Data sources as a stage names them: catalogue names as they are, files with how to read them.

    Args:
        sources: catalogue names or paths.
        settings: fields of `DataSpec` for the paths, such as `scale`.

    Raises:
        UsageError: a name of a recipe, or settings that no file is read with. ConfigError: a wrong setting.
    """
    names, data = [], {}
    for source in sources:
        if source.startswith((DATA_PREFIX, STAGE_PREFIX)):
            raise UsageError(
                "such a name can stand in a recipe only", got=source, hint="name a file, or a set of the catalogue"
            )
        if split_name(source) is not None:
            names.append(source)
        else:
            data[source] = checked_options(DataSpec, source, source=source, **settings)
            names.append(DATA_PREFIX + source)
    if settings and not data:
        given = Phrase.joined(", ", (Phrase("{}", Option(name)) for name in settings))
        raise UsageError(
            Phrase("without effect here: {}", given), hint="how to read applies to files; catalogue names know it"
        )
    return names, data


def name_sets(
    texts: Sequence[str], settings: Mapping[str, Any], *, skip_missing: bool = False, show: Show = QUIET
) -> tuple[list[dict[str, Any]], dict[str, DataSpec]]:
    """Sets to measure on as the stage `evaluate` names them, and how their files are read.

    Args:
        texts: see `munjang.evaluate.naming`.
        settings: fields of `DataSpec` for files, such as `scale`; folders in the layout of BEIR need none.
        skip_missing: leave out sets of the catalogue that are not here.
        show: told what is left out.
    """
    sets = read_sets(list(texts), skip_missing, show.say)
    parts = [(one, part) for one in sets for part in SET_PARTS if part in one]
    plain = [(one, part) for one, part in parts if isinstance(one[part], str)]
    names, data = name_data([one[part] for one, part in plain], settings)
    for (one, part), name in zip(plain, names, strict=True):
        one[part] = name
    for one, part in parts:
        if isinstance(one[part], dict):
            data[one[part]["source"]] = DataSpec(**one[part])
            one[part] = DATA_PREFIX + one[part]["source"]
    return sets, data


def checked_options(kind: type[_Options], place: str, **values: Any) -> _Options:
    """Options of a stage, or how to read a file, from plain values; `place` names them in an error.

    Raises:
        ConfigError: a value is wrong; all of them are listed.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError(Phrase.joined("; ", explain_validation(error, kind, place))) from None

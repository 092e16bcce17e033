"""The shape of a recipe: named data, and stages in order that name their inputs.

A stage's options live beside the code that uses them, as a subclass of `StageOptions`; this module only
knows what all stages share and how one refers to another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from munjang.errors import Option, Phrase

STAGE_PREFIX = "stage:"
DATA_PREFIX = "data:"


class Frozen(BaseModel):
    """A pydantic model that refuses unknown keys and later changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


@dataclass(frozen=True)
class Reference:
    """Marks an option that names an input: `stage:NAME`, `data:NAME`, or something outside the recipe.

    Args:
        accepts: what a stage must produce, or what rows the data must hold, to be named here.
        neutral: True if the input is only watched, so that a change of it does not change the result.
        stage_only: True if only an earlier stage makes such a thing.
    """

    accepts: tuple[str, ...]
    neutral: bool = False
    stage_only: bool = False


@dataclass(frozen=True)
class Neutral:
    """Marks an option that cannot change the result, such as a batch size at inference; it stays out of fingerprints."""


BiEncoder = Annotated[str, Reference(("bi-encoder",))]
StageOnlyBiEncoder = Annotated[str, Reference(("bi-encoder",), stage_only=True)]
CrossEncoder = Annotated[str, Reference(("cross-encoder",))]
AnyModel = Annotated[str, Reference(("bi-encoder", "cross-encoder"))]
ScoredPairs = Annotated[str, Reference(("scored-pairs",))]
#: Of pairs that have labels, these are not read.
CandidatePairs = Annotated[
    str, Reference(("pairs", "scored-pairs", "labelled-pairs", "positive-pairs", "parallel-pairs"))
]
#: Kinds that one option takes stand in the order in which the columns of a file are tried for them.
_COMPARISONS = (
    "scored-pairs",
    "labelled-pairs",
    "triplets",
    "positive-pairs",
    "parallel-pairs",
    "ranked-lists",
)
TrainingRows = Annotated[str, Reference((*_COMPARISONS, "sentences"))]
AnyRows = Annotated[str, Reference((*_COMPARISONS, "labelled-texts", "sentences", "documents", "pairs"))]
MeasuredRows = Annotated[
    str,
    Reference(("scored-pairs", "labelled-pairs", "triplets", "parallel-pairs", "ranked-lists", "labelled-texts")),
]
LabelledTexts = Annotated[str, Reference(("labelled-texts",))]
Documents = Annotated[str, Reference(("documents", "sentences"))]
Queries = Annotated[str, Reference(("documents",))]
Qrels = Annotated[str, Reference(("qrels",))]
Index = Annotated[str, Reference(("index",), stage_only=True)]


class DataSpec(Frozen):
    """Where rows come from and how to read them."""

    source: str
    """A name of the catalogue such as `korsts:train`, or a path (relative to the recipe's folder)."""
    format: Literal["auto", "tsv", "csv", "json", "jsonl", "parquet", "txt"] = "auto"
    """How the file is written; `auto` goes by its name."""
    columns: dict[str, str | int] = Field(default_factory=dict)
    """Role -> column name, such as `{sentence1 = "질문"}`."""
    scale: tuple[float, float] | None = None
    """Lowest and highest score of the file; scores become 0..1. Required where the catalogue does not know it."""
    encoding: str | None = None
    """Forces an encoding; by default the whole file is utf-8, else utf-16 with a BOM, else cp949."""
    rejects: Literal["stop", "skip"] = "stop"
    """What a malformed row does: `stop` the run, or be `skip`ped and counted."""
    part: tuple[float, float] | None = None
    """Take the share [low, high) of the rows only, such as [0.9, 1], decided by the first text of each row alone: rows
    that share it fall into the same part, whatever their order and the seed. Carves a dev set off one without."""
    sample: int | None = Field(default=None, ge=1)
    """Take this many rows only (of the part, if there is one), drawn with the recipe's seed."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _ordered_scale(self) -> DataSpec:
        if self.scale is not None and not (all(map(math.isfinite, self.scale)) and self.scale[0] < self.scale[1]):
            raise ValueError(Phrase("{} must be two finite numbers, from low to high", Option("scale")))
        return self

    @model_validator(mode="after")
    def _part_of_one(self) -> DataSpec:
        if self.part is not None and not 0 <= self.part[0] < self.part[1] <= 1:
            needed = "{} must be two numbers from 0 to 1, from low to high, such as [0.9, 1]"
            raise ValueError(Phrase(needed, Option("part")))
        return self


@dataclass(frozen=True)
class Input:
    """What is known of an input before the run.

    Args:
        kind: of rows or of a model, such as `scored-pairs` or `bi-encoder`.
        layers: of a model's transformer, 0 where it has none; None where its folder does not say.
    """

    kind: str
    layers: int | None = None


def add_input(known: dict[str, Input], option: str, found: Input) -> None:
    """Note what is known of an input; further ones of an option that is a list stand under `option[1]`, `option[2]`, ..."""
    number = sum(name == option or name.startswith(f"{option}[") for name in known)
    known[f"{option}[{number}]" if number else option] = found


class StageOptions(Frozen):
    """What every stage has; a kind of stage adds its own options in a subclass."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the stage's code changes its results, so that old results are not taken for new ones."""
    produces: ClassVar[str]

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Names the stage in the run and in references; lower case, digits and hyphens."""

    def references(self) -> Iterator[tuple[str, str, Reference]]:
        """All inputs that this stage names, as (option, value, reference).

        The option of an input that a nested model names is its path, such as `train[0].data`.
        """
        yield from _references(self, "")

    def layers_made(self, start: int | None) -> int | None:
        """How many layers the model has that this stage makes, by those of the model that it starts from; see `Input`."""
        return start

    def require_inputs(self, inputs: Mapping[str, Input]) -> None:
        """Refuse options that do not fit the inputs they name, or that have no effect on them; called before any work.

        Args:
            inputs: option, as in `references`, -> what is known of the input that it names; see `add_input`.

        Raises:
            ConfigError: with the option's place.
        """

    def option(self, name: str, value: Any = None) -> Option:
        """An option of this stage, for a message; see `munjang.errors.Option`."""
        return Option(name, value, f"stage.{self.name}")

    def fingerprint_arguments(self) -> dict[str, Any]:
        """The options that can change the result, as JSON values.

        Inputs are fingerprinted apart, by content: of a stage that is read, the name does not count.
        """
        arguments = _arguments(self)
        arguments.pop("name", None)
        return arguments


def _references(model: BaseModel, place: str) -> Iterator[tuple[str, str, Reference]]:
    for option, field in type(model).model_fields.items():
        value = getattr(model, option)
        for mark in _marks(field):
            if isinstance(mark, Reference):
                for item in _strings(value):
                    yield place + option, item, mark
        for path, nested in _models(value, place + option):
            yield from _references(nested, f"{path}.")


def _models(value: Any, path: str) -> Iterator[tuple[str, BaseModel]]:
    """The models that an option holds, itself or in lists and tables, each with its path."""
    if isinstance(value, BaseModel):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _models(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _models(item, f"{path}[{number}]")


def _marks(field: FieldInfo) -> list[Reference | Neutral]:
    """The marks of an option, at any depth of an annotation such as `list[ScoredPairs]`."""
    return [m for m in (*field.metadata, *_metadata(field.annotation)) if isinstance(m, Reference | Neutral)]


def _metadata(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    for argument in getattr(annotation, "__args__", ()):
        yield from _metadata(argument)


def _is_neutral(field: FieldInfo) -> bool:
    return any(isinstance(mark, Neutral) or mark.neutral for mark in _marks(field))


def _arguments(value: Any) -> Any:
    """A value of an option as JSON, without neutral options of any depth and without the names of stages."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {name: _arguments(getattr(value, name)) for name, field in fields.items() if not _is_neutral(field)}
    if isinstance(value, dict):
        return {str(key): _arguments(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_arguments(item) for item in value]
    if isinstance(value, str) and value.startswith(STAGE_PREFIX):
        return STAGE_PREFIX
    return to_jsonable_python(value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, str))
    elif isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, str))


@dataclass(frozen=True)
class Recipe:
    """A checked recipe: its data and its stages in the order in which they run."""

    name: str
    title: str
    seed: int
    data: dict[str, DataSpec]
    stages: tuple[StageOptions, ...]

"""The shape of a recipe: named data, and stages in order that name their inputs.

A stage's options live beside the code that uses them, as a subclass of `StageOptions`; this module only
knows what all stages share and how one refers to another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
CrossEncoder = Annotated[str, Reference(("cross-encoder",))]
AnyModel = Annotated[str, Reference(("bi-encoder", "cross-encoder"))]
ScoredPairs = Annotated[str, Reference(("scored-pairs",))]
UnscoredPairs = Annotated[str, Reference(("pairs",), stage_only=True)]
AnyRows = Annotated[str, Reference(("scored-pairs", "labelled-pairs", "sentences", "parallel-pairs", "documents"))]
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
    sample: int | None = Field(default=None, ge=1)
    """Take this many rows only, drawn with the recipe's seed."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _ordered_scale(self) -> DataSpec:
        if self.scale is not None and not (all(map(math.isfinite, self.scale)) and self.scale[0] < self.scale[1]):
            raise ValueError("scale must be two finite numbers, from low to high")
        return self


class StageOptions(Frozen):
    """What every stage has; a kind of stage adds its own options in a subclass."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the stage's code changes its results, so that old results are not taken for new ones."""
    produces: ClassVar[str]

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Names the stage in the run and in references; lower case, digits and hyphens."""

    def references(self) -> Iterator[tuple[str, str, Reference]]:
        """All inputs that this stage names, as (option, value, reference)."""
        for option, field in type(self).model_fields.items():
            value = getattr(self, option)
            for mark in _marks(field.annotation, field.metadata):
                for item in _strings(value):
                    yield option, item, mark

    def fingerprint_arguments(self) -> dict[str, Any]:
        """The options that can change the result, as JSON values.

        Inputs are fingerprinted apart, by content: of a stage that is read, the name does not count.
        """
        fields = type(self).model_fields
        neutral = {o for o, f in fields.items() if any(isinstance(m, Neutral) for m in f.metadata)}
        neutral |= {option for option, _, reference in self.references() if reference.neutral}
        return _without_stage_names(self.model_dump(mode="json", exclude=neutral | {"name"}))


def _marks(annotation: Any, metadata: list[Any]) -> Iterator[Reference]:
    """Finds `Reference` marks at any depth of an annotation such as `list[ScoredPairs]`."""
    yield from (m for m in metadata if isinstance(m, Reference))
    yield from (m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, Reference))
    for argument in getattr(annotation, "__args__", ()):
        yield from _marks(argument, [])


def _without_stage_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_stage_names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_stage_names(item) for item in value]
    return STAGE_PREFIX if isinstance(value, str) and value.startswith(STAGE_PREFIX) else value


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

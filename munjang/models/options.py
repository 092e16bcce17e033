"""Options of the stage convert; no torch is imported to read them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from munjang.config.recipe import AnyModel, AnyRows, StageOptions
from munjang.errors import ConfigError, Option, Phrase
from munjang.models.pieces import require_scripts


class ConvertOptions(StageOptions):
    """Turn a model into one for another task, leave the pieces out that its texts never use, or both."""

    kind: ClassVar[str] = "convert"

    model: AnyModel
    """What to convert: a bundled model, a folder, a hub id, or an earlier stage."""
    to: Literal["sts", "nli", "ranking", "bi"]
    """`sts`, `nli` and `ranking` are cross-encoders, `bi` is a bi-encoder. A head is carried over where the old one says
    something of the new task."""
    trim_vocab: list[AnyRows] = Field(default_factory=list)
    """Data sets whose pieces the vocabulary keeps; without any it stays whole."""
    keep_scripts: list[str] = Field(default_factory=list)
    """Scripts of which all pieces stay besides, such as `hangul` and `latin`."""
    held_out: list[AnyRows] = Field(default_factory=list)
    """Data sets on which is measured what the smaller vocabulary covers."""
    min_count: int = Field(default=1, ge=1)
    """How often a piece must occur to stay."""
    pooling: str | None = None
    """What a new head or the vectors read, such as `mean` or `cls`; by default the model's own, else `mean`."""
    max_length: Annotated[int | None, Field(ge=8)] = None
    """Tokens; at most, and by default, the model's own limit."""

    @property
    def produces(self) -> str:
        """What the stage makes."""
        return "bi-encoder" if self.to == "bi" else "cross-encoder"

    @field_validator("keep_scripts")
    @classmethod
    def _known_scripts(cls, value: list[str]) -> list[str]:
        try:
            require_scripts(value)
        except ConfigError as error:
            raise ValueError(error.sentence()) from None
        return value

    @model_validator(mode="after")
    def _something_to_trim(self) -> ConvertOptions:
        if not self.trim_vocab and (self.keep_scripts or self.held_out or self.min_count != 1):
            idle = (Option(name) for name in ("keep_scripts", "held_out", "min_count", "trim_vocab"))
            raise ValueError(Phrase("{}, {} and {} have no effect without {}", *idle))
        return self

"""Options of the stages convert and merge; no torch is imported to read them."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from munjang.config.recipe import AnyModel, AnyRows, BiEncoder, StageOptions, TrainingRows
from munjang.errors import ConfigError, Option, Phrase
from munjang.models.pieces import require_scripts

#: A rule in place of the numbers of layers.
LAYER_RULE = r"^(first|even|best)-([1-9]\d?)$"
Dtype = Literal["float16", "bfloat16", "float32"]
DTYPES: tuple[str, ...] = get_args(Dtype)
Target = Literal["sts", "nli", "ranking", "bi", "static"]
TARGETS: tuple[str, ...] = get_args(Target)
#: Numbers of a static model's vector, if nothing is said.
STATIC_DIMENSIONS = 256


def best_count(layers: object) -> int | None:
    """N of the rule `best-N`, which dev decides; None of all else."""
    return (
        int(layers[5:]) if isinstance(layers, str) and re.fullmatch(LAYER_RULE, layers) and layers[0] == "b" else None
    )


class MergeOptions(StageOptions):
    """Average the weights of several bi-encoders that were trained from one start."""

    kind: ClassVar[str] = "merge"
    produces: ClassVar[str] = "bi-encoder"

    models: list[BiEncoder] = Field(min_length=2)
    """Models of one architecture and one tokenizer, such as those of several seeds; settings are taken from the first."""
    shares: list[Annotated[float, Field(ge=0)]] = Field(default_factory=list)
    """How much of each; by default equal."""
    dev: TrainingRows | None = None
    """Rows on which each of the models and their mean are measured; never a test split."""
    greedy: bool = False
    """Start with the best on `dev`, and take each next one in only if the mean does not fall for it (Wortsman et al. 2022,
    arXiv 2203.05482); `dev` then chooses."""

    @model_validator(mode="after")
    def _fits(self) -> MergeOptions:
        if self.shares and (len(self.shares) != len(self.models) or not any(self.shares)):
            raise ValueError(Phrase("{} must be one number a model, not all 0", Option("shares")))
        if self.greedy and self.shares:
            raise ValueError(Phrase("{} takes equal shares: leave {} out", Option("greedy"), Option("shares")))
        if self.greedy and self.dev is None:
            raise ValueError(Phrase("{} chooses on {}: name it", Option("greedy"), Option("dev")))
        return self


def _of_rule(rule: str | None, start: int | None) -> int | None:
    return start if rule is None else int(rule.rpartition("-")[2])


class ConvertOptions(StageOptions):
    """Turn a model into one for another task, and make it smaller: fewer layers, pieces, dimensions or bytes."""

    kind: ClassVar[str] = "convert"

    model: AnyModel
    """What to convert: a bundled model, a folder, a hub id, or an earlier stage."""
    to: Target
    """`sts`, `nli` and `ranking` are cross-encoders, `bi` is a bi-encoder, `static` one without a transformer: a vector for
    each piece of the vocabulary, made by the model, and of a text their weighted mean. A head is carried over where the
    old one says something of the new task."""
    keep_layers: list[Annotated[int, Field(ge=0)]] | Annotated[str, Field(pattern=LAYER_RULE)] | None = None
    """Layers that stay, counted from 0 at the input, such as [0, 4, 7, 11]; or a rule: `even-4` takes four from the first
    to the last, `first-4` the four at the input, and `best-4` drops the layers one after the other without which `dev`
    is best. By default all. What is cut is to be trained again, as by `distil`."""
    dev: TrainingRows | None = None
    """Rows that decide which layers `best-4` and its like keep; never a test split."""
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
    dimensions: Annotated[int | None, Field(ge=2)] = None
    """Numbers of a vector, fewer than the model's: its vectors are cut to the principal directions of those of the `fit`
    texts, by a module that is saved with it. For bi-encoders; of a static model by default 256, by the vectors of its
    pieces."""
    fit: list[AnyRows] = Field(default_factory=list)
    """Data sets on whose texts the directions are fitted; for a static model those in which its pieces are counted."""
    dtype: Dtype | None = None
    """Number format of the weights: `float16` and `bfloat16` take half the disk of `float32`; by default as they are."""

    @property
    def produces(self) -> str:
        """What the stage makes."""
        return "bi-encoder" if self.to in ("bi", "static") else "cross-encoder"

    def layers_made(self, start: int | None) -> int | None:
        """None in a static model; else those that stay."""
        if self.to == "static":
            return 0
        return len(self.keep_layers) if isinstance(self.keep_layers, list) else _of_rule(self.keep_layers, start)

    @field_validator("keep_scripts")
    @classmethod
    def _known_scripts(cls, value: list[str]) -> list[str]:
        try:
            require_scripts(value)
        except ConfigError as error:
            raise ValueError(error.sentence()) from None
        return value

    @model_validator(mode="after")
    def _dev_decides(self) -> ConvertOptions:
        if (best_count(self.keep_layers) is None) != (self.dev is None):
            rule = Option("keep_layers", "best-4")
            raise ValueError(Phrase("{} and {} go together: rows that decide which layers stay", rule, Option("dev")))
        return self

    @model_validator(mode="after")
    def _something_to_trim(self) -> ConvertOptions:
        if not self.trim_vocab and (self.keep_scripts or self.held_out or self.min_count != 1):
            idle = (Option(name) for name in ("keep_scripts", "held_out", "min_count", "trim_vocab"))
            raise ValueError(Phrase("{}, {} and {} have no effect without {}", *idle))
        return self

    @model_validator(mode="after")
    def _something_to_fit(self) -> ConvertOptions:
        fit, dimensions, to = Option("fit"), Option("dimensions"), Option("to", "bi")
        if self.to == "static" and self.max_length is not None:
            raise ValueError(Phrase("{} has no effect: a static model reads texts whole", Option("max_length")))
        if self.to == "static":
            return self
        if self.fit and self.dimensions is None:
            raise ValueError(Phrase("{} has no effect without {}", fit, dimensions))
        if self.dimensions is not None and not self.fit:
            raise ValueError(Phrase("{} are fitted on texts: name them with {}", dimensions, fit))
        if self.dimensions is not None and self.to != "bi":
            raise ValueError(
                Phrase("{} are those of vectors, which a cross-encoder has none of: set {}", dimensions, to)
            )
        return self

"""Options of the augmentation stages; no torch is imported to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from munjang.config.recipe import (
    AnyModel,
    AnyRows,
    BiEncoder,
    CandidatePairs,
    CrossEncoder,
    Input,
    ScoredPairs,
    StageOptions,
)
from munjang.errors import ConfigError, Option, Phrase

Strategy = Literal["random", "kde", "bm25", "semantic"]
#: Strategies that look for the neighbours of each sentence; the others draw from all pairs.
SEARCHING = ("semantic", "bm25")
#: Short names of mixtures that the literature knows.
MIXTURES: Mapping[str, dict[str, float]] = {"bm25+semantic": {"bm25": 1.0, "semantic": 1.0}}


class MineOptions(StageOptions):
    """Find candidate pairs among raw sentences."""

    kind: ClassVar[str] = "mine"
    version: ClassVar[int] = 2
    produces: ClassVar[str] = "pairs"

    sentences: list[AnyRows] = Field(min_length=1)
    """Where sentences come from; rows of any kind, all texts of each."""
    strategies: dict[Strategy, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default={"semantic": 1.0, "random": 0.5}, min_length=1
    )
    """Strategy -> its share of the pairs: `semantic` and `bm25` take the neighbours of each sentence, `random` draws,
    `kde` draws so that scores are spread as gold's are. A name alone or a list of names gives equal shares, and
    "bm25+semantic" is both. Similar pairs alone teach a model that everything is similar, so some random ones help."""
    model: BiEncoder | None = None
    """Bi-encoder whose vectors `semantic` and `kde` search; the others work without one."""
    scorer: CrossEncoder | None = None
    """Cross-encoder with one output whose scores `kde` spreads."""
    exclude: list[ScoredPairs] = Field(default_factory=list)
    """Sets whose pairs must not come back as candidates: gold. `kde` takes the spread of the scores from them."""
    held_out: list[AnyRows] = Field(default_factory=list)
    """Sets whose sentences are not used at all: every dev and test split."""
    neighbours: int = Field(default=3, ge=1, le=100)
    """Neighbours with which `semantic` and `bm25` pair each sentence; the paper's top-k."""
    pool: int = Field(default=10, ge=2, le=1000)
    """Pairs that `kde` scores for each one that it keeps. A larger pool follows gold more closely and costs as much more."""
    max_pairs: int | None = Field(default=None, ge=1)
    """At most this many pairs, drawn from each strategy by its share. By default all neighbours, and as many of the
    others as the shares say."""

    @field_validator("strategies", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            return value
        found: dict[str, float] = {}
        for name in value:
            for part, share in MIXTURES.get(name, {name: 1.0}).items():
                found[part] = found.get(part, 0.0) + share
        return found

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> MineOptions:
        strategies, model, scorer = Option("strategies"), Option("model"), Option("scorer")
        if self.model is None and {"semantic", "kde"} & set(self.strategies):
            raise ValueError(Phrase("{} with semantic or kde needs {}", strategies, model))
        if "kde" in self.strategies and not self.exclude:
            raise ValueError(Phrase("{} with kde needs gold pairs in {}", strategies, Option("exclude")))
        if ("kde" in self.strategies) != (self.scorer is not None):
            raise ValueError(Phrase("{} goes with kde in {}", scorer, strategies))
        if "pool" in self.model_fields_set and "kde" not in self.strategies:
            raise ValueError(Phrase("{} has no effect without kde in {}", Option("pool"), strategies))
        if "neighbours" in self.model_fields_set and not set(SEARCHING) & set(self.strategies):
            raise ValueError(Phrase("{} has no effect without semantic or bm25", Option("neighbours")))
        return self


class Labelling(StageOptions):
    """What labelling takes, whatever the labels are."""

    version: ClassVar[int] = 2

    pairs: CandidatePairs
    """The stage that mined them, or a file of pairs without labels (with labels, these are not read)."""
    every_seed: bool = True
    """Where a stage trained a model with several seeds, all of its models label, and their disagreement is kept."""
    keep_agreed: float = Field(default=1.0, gt=0, le=1)
    """Share of the pairs that stays, those on which the teachers disagree least; needs several teachers."""
    force: bool = False
    """Go on where the gate says no; the report and the page say that it was forced."""


class LabelOptions(Labelling):
    """Score candidate pairs: silver labels."""

    kind: ClassVar[str] = "label"
    produces: ClassVar[str] = "scored-pairs"

    model: list[AnyModel] = Field(min_length=1)
    """Teachers: cross-encoders with one output, whose mean is the label; a bi-encoder among them counts with its
    cosine, brought to the scale by `calibrate`."""
    symmetric: bool = True
    """Score both orders of a pair and take the mean."""
    dev: ScoredPairs | None = None
    """Gold pairs on which the gate compares teachers and student and `calibrate` is fitted; never a test split."""
    student: BiEncoder | None = None
    """The bi-encoder that would learn from the labels. With `dev` it is the gate: teachers that are no better on dev
    than the student have nothing to teach, and the stage stops."""
    backend: Literal[
        "torch", "native-int8", "native-float32", "openvino-int8", "onnx-int8", "openvino-float32", "onnx-float32"
    ] = "torch"
    """What runs the cross-encoders. An export is made where there is none yet, which takes a minute, and labels only if it
    loses no more than 0.3 points on `dev`, else torch does. On a CPU with many pairs ahead `native-int8` is the fastest."""
    calibrate: bool = False
    """Bring each teacher's scores to the scale of dev's by isotonic regression before they are averaged."""
    match: list[ScoredPairs] = Field(default_factory=list)
    """Gold sets whose spread of scores silver is to have: of scores that are too frequent some pairs are left out, as
    the KDE sampling of the paper does (Thakur et al. 2021, arXiv 2010.08240)."""

    @field_validator("model", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_dev(self) -> LabelOptions:
        for name in ("student", "calibrate"):
            if getattr(self, name) and self.dev is None:
                raise ValueError(Phrase("{} needs {}", Option(name), Option("dev")))
        export = self.backend != "torch"
        if export and self.dev is None:
            raise ValueError(Phrase("{} needs {}", Option("backend", self.backend), Option("dev")))
        if self.dev is not None and self.student is None and not self.calibrate and not export:
            uses = (Option(name) for name in ("dev", "student", "calibrate", "backend"))
            raise ValueError(Phrase("{} is for {}, {} or {}", *uses))
        return self

    def require_inputs(self, inputs: Mapping[str, Input]) -> None:
        """A bi-encoder among the teachers needs a calibration: its cosines are on no scale of scores."""
        kinds = [found.kind for option, found in inputs.items() if option == "model" or option.startswith("model[")]
        if "bi-encoder" in kinds and not self.calibrate:
            raise ConfigError(
                "the cosine of a bi-encoder is on no scale of scores",
                where=self.option("model", self.model),
                expected="cross-encoders, or a calibration on dev",
                hint=Phrase("set {} and {}", Option("calibrate", True), Option("dev")),
            )


class LabelClassesOptions(Labelling):
    """Give candidate pairs a class of NLI."""

    kind: ClassVar[str] = "label.classes"
    produces: ClassVar[str] = "labelled-pairs"

    model: list[CrossEncoder] = Field(min_length=1)
    """Teachers: cross-encoders with three classes; their mean probabilities decide."""
    least_probability: float = Field(default=0.0, ge=0, lt=1)
    """Pairs whose class has a smaller probability are left out."""

    @field_validator("model", mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class LabelTripletsOptions(LabelOptions):
    """Make triplets of the candidate pairs of a sentence, by their scores."""

    kind: ClassVar[str] = "label.triplets"
    produces: ClassVar[str] = "triplets"

    least_gap: float = Field(default=0.3, gt=0, le=1)
    """Of a sentence's partners one is positive and one negative if their scores are at least this far apart."""

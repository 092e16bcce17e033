"""Options of the evaluation stage."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from munjang.config.recipe import AnyModel, ScoredPairs, StageOptions
from munjang.errors import Option, Phrase


class EvaluateOptions(StageOptions):
    """Measure models on scored pairs: Spearman and Pearson with 95% bootstrap intervals."""

    kind: ClassVar[str] = "evaluate"
    produces: ClassVar[str] = "evaluation"

    models: dict[str, AnyModel] = Field(min_length=1)
    """Label in the table -> model; bi-encoders and cross-encoders side by side."""
    on: list[ScoredPairs] = Field(min_length=1)
    """The sets to measure on."""
    baseline: str | None = None
    """Label of the model that the others are compared with, row by row."""
    symmetric: bool = True
    """Let cross-encoders score both orders of a pair and take the mean."""

    @model_validator(mode="after")
    def _known_baseline(self) -> EvaluateOptions:
        if self.baseline is not None and self.baseline not in self.models:
            raise ValueError(Phrase("{} must be one of {}", Option("baseline"), ", ".join(self.models)))
        return self

"""Options of the augmentation stages."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from munjang.config.recipe import AnyRows, BiEncoder, CrossEncoder, ScoredPairs, StageOptions, UnscoredPairs


class MineOptions(StageOptions):
    """Find candidate pairs among raw sentences."""

    kind: ClassVar[str] = "mine"
    produces: ClassVar[str] = "pairs"

    model: BiEncoder
    """Bi-encoder that finds similar sentences."""
    sentences: list[AnyRows] = Field(min_length=1)
    """Where sentences come from; rows of any kind, all texts of each."""
    exclude: list[ScoredPairs] = Field(default_factory=list)
    """Sets whose pairs must not come back as candidates, such as gold."""
    held_out: list[ScoredPairs] = Field(default_factory=list)
    """Sets whose sentences are not used at all: every dev and test split."""
    neighbours: int = Field(default=3, ge=1, le=100)
    """Most similar sentences paired with each sentence."""
    random_share: float = Field(default=0.5, ge=0, le=10)
    """Random pairs for each similar pair. Similar pairs alone teach a model that everything is similar."""
    max_pairs: int | None = Field(default=None, ge=1)
    """At most this many pairs, drawn at random from all."""


class LabelOptions(StageOptions):
    """Score candidate pairs with a cross-encoder: silver labels."""

    kind: ClassVar[str] = "label"
    produces: ClassVar[str] = "scored-pairs"

    model: CrossEncoder
    """Cross-encoder with one output."""
    pairs: UnscoredPairs
    """The stage that mined them."""
    symmetric: bool = True
    """Score both orders of a pair and take the mean."""

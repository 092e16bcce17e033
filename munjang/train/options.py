"""Options of training, shared by bi-encoders and cross-encoders; no torch is imported to read them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from munjang.config.recipe import AnyModel, Neutral, ScoredPairs, StageOptions


class TrainOptions(StageOptions):
    """What training of either kind of model takes."""

    version: ClassVar[int] = 2

    model: AnyModel
    """Where to start: a bundled model, a folder, a hub id, or an earlier stage."""
    train: list[ScoredPairs] = Field(min_length=1)
    """Data sets or stages whose pairs are trained on, together and shuffled."""
    repeats: list[int] | None = None
    """How often a pass shows each set of `train`, in their order, such as [8, 1] for few gold pairs beside many
    silver ones: unweighted, gold drowns. Once each if not given."""
    dev: ScoredPairs
    """Pairs on which the best weights are chosen; never a test split."""
    exclude: list[ScoredPairs] = Field(default_factory=list)
    """Training pairs that share a sentence with these sets are left out and counted; name every test split."""
    epochs: float = Field(default=1.0, gt=0, le=100)
    """Passes over the training pairs."""
    batch_size: int = Field(default=32, ge=2)
    """Pairs a batch on average: batches hold pairs of similar length up to a budget of tokens, so short ones more."""
    batch_tokens: Annotated[int | None, Field(ge=16)] = None
    """Padded tokens a batch, in place of `batch_size`."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before a step, where a larger batch does not fit into memory."""
    learning_rate: float = Field(default=6e-5, gt=0, le=1e-2)
    """Peak of a linear schedule. Small models learn well above the 2e-5 that is usual for large ones."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay."""
    max_length: int = Field(default=128, ge=8)
    """Tokens a text (bi-encoder) or a pair (cross-encoder); what exceeds it is cut and counted."""
    word_embeddings: Literal["used", "frozen", "all"] = "used"
    """Train the rows of the pieces that `used` texts hold and leave the others as they are, keep all `frozen`, or
    train `all`. In a small multilingual model they are four fifths of the weights, and updating all of them is most
    of a step on a CPU and most of the memory, for rows that no text touches."""
    evaluations: Annotated[int, Field(ge=1, le=100)] = 4
    """How often dev is scored, evenly over the training; the best weights are kept."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights, such as 0.99, which dev then scores and the model
    keeps; 0 takes the weights as they are. It smooths the noise of small batches at a high learning rate."""
    eval_budget: Annotated[int | None, Neutral()] = None
    """Tokens a batch when scoring dev; the engine's own default if not given."""
    checkpoint_seconds: Annotated[float, Field(ge=0), Neutral()] = 300.0
    """A checkpoint is committed about this often; a killed training goes on from the last one."""

    @model_validator(mode="after")
    def _one_repeat_a_set(self) -> TrainOptions:
        if self.repeats is not None and (len(self.repeats) != len(self.train) or min(self.repeats) < 1):
            raise ValueError(
                f"repeats must hold one number of 1 or more for each of the {len(self.train)} sets of train"
            )
        return self


class TrainBiOptions(TrainOptions):
    """Train a bi-encoder on scored pairs."""

    kind: ClassVar[str] = "train.bi"
    produces: ClassVar[str] = "bi-encoder"

    objective: Literal["cosent", "cosine", "angle"] = "cosent"
    """`cosent` ranks pairs by their cosine (Su 2022), `cosine` regresses the cosine on the score (Reimers and
    Gurevych 2019), `angle` ranks in complex space (Li and Li 2023, arXiv 2309.12871)."""


class TrainCrossOptions(TrainOptions):
    """Train a cross-encoder on scored pairs."""

    kind: ClassVar[str] = "train.cross"
    produces: ClassVar[str] = "cross-encoder"

    learning_rate: float = Field(default=1e-4, gt=0, le=1e-2)
    """Peak of a linear schedule; the head starts from random numbers and needs more than a bi-encoder."""
    batch_size: int = Field(default=16, ge=2)
    """Pairs a step."""
    orders: Literal["both", "random", "given"] = "both"
    """Present each pair in `both` orders (twice the steps), in one drawn at `random`, or as `given`."""
    negatives: float = Field(default=0.0, ge=0, le=10)
    """Random pairs of the training sentences, with the lowest score, for each training pair. Few gold pairs say
    little about unrelated sentences, and silver labels of random pairs then come out high."""
    pooling: Literal["mean", "cls"] = "mean"
    """What a new head reads: the mean over all tokens, right for a body that was trained as a bi-encoder, or
    the first token. Without effect if the model is a cross-encoder already."""

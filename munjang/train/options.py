"""Options of training, shared by bi-encoders and cross-encoders; no torch is imported to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from munjang.config.recipe import AnyModel, BiEncoder, Frozen, Input, Neutral, StageOptions, TrainingRows
from munjang.errors import ConfigError, Option, Phrase
from munjang.train.objectives import (
    BI_OBJECTIVES,
    CROSS_OBJECTIVES,
    DISTILLING,
    NEED_TRANSFORMER,
    OPTIONS_OF_OBJECTIVES,
    OPTIONS_OF_ROWS,
    choose_objective,
    common_task,
    require_dev,
)

BiObjective = Literal[
    "cosent",
    "cosine",
    "angle",
    "contrastive",
    "online-contrastive",
    "mnrl",
    "softmax",
    "triplet",
    "kl",
    "margin-mse",
    "simcse",
    "tsdae",
    "distil",
    "distil-cosine",
    "distil-similarity",
]
#: Options that say something of a transformer -> why they say nothing of token vectors.
_OF_TRANSFORMERS = {
    "freeze_layers": "so no layers",
    "lora": "so no linear layers to adapt",
    "gradient_checkpointing": "so no layers",
    "max_length": "it reads texts whole",
}
CrossObjective = Literal["bce", "mse", "classes", "listnet", "binary", "margin-mse"]


class TrainSet(Frozen):
    """One data set of a training; in a recipe its name alone stands for it, or a table with more."""

    data: TrainingRows
    """A data set or an earlier stage; the kind of its rows decides which objectives fit."""
    objective: str | None = None
    """How to learn from it; by default the stage's `objective`, else the first that takes such rows."""
    repeat: int = Field(default=1, ge=1, le=1000)
    """How often a pass shows it: unweighted, few gold pairs drown in many silver ones."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value


class Lora(Frozen):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685), folded into the weights at the end."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank of each update."""
    alpha: float = Field(default=32.0, gt=0)
    """An update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Before each update."""


class TrainOptions(StageOptions):
    """What training of either kind of model takes."""

    version: ClassVar[int] = 3

    model: AnyModel
    """Where to start: a bundled model, a folder, a hub id, or an earlier stage."""
    train: list[TrainSet] = Field(min_length=1)
    """Data sets or stages that are trained on, together and shuffled, each under its own objective."""
    objective: str | None = None
    """Of the sets that name none of their own."""
    dev: TrainingRows | list[TrainingRows]
    """Rows on which the best weights are chosen; never a test split. Scored pairs give Spearman, NLI accuracy,
    triplets accuracy, pairs the accuracy of finding each other, lists nDCG@10. Of several sets, such as one a language,
    the mean of what they give chooses."""
    exclude: list[TrainingRows] = Field(default_factory=list)
    """Training rows that share a sentence with these sets are left out and counted; name every test split."""
    epochs: float = Field(default=1.0, gt=0, le=100)
    """Passes over the training rows."""
    batch_size: int = Field(default=32, ge=2)
    """Rows a batch on average: batches hold rows of similar length up to a budget of tokens, so short ones more."""
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
    freeze_layers: int = Field(default=0, ge=0)
    """Lowest transformer layers that stay as they are, and the embeddings below them with them."""
    lora: Lora | None = None
    """Train low-rank adapters in place of the weights; needs the extra `munjang[lora]`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` takes bfloat16 where the device has matrix units for it (a GPU, or a CPU with AMX), else float32."""
    gradient_checkpointing: Annotated[bool, Neutral()] = False
    """Compute activations again in the backward pass: a third more time for much less memory, the same result."""
    evaluations: Annotated[int, Field(ge=1, le=100)] = 4
    """How often dev is scored, evenly over the training; the best weights are kept."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights, such as 0.99, which dev then scores and the model
    keeps; 0 takes the weights as they are. It smooths the noise of small batches at a high learning rate."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] = Field(default_factory=list, max_length=100)
    """Train once with each of these seeds, report mean and deviation on dev, and keep the best as the result; by
    default once, with the recipe's seed."""
    eval_budget: Annotated[int | None, Neutral()] = None
    """Tokens a batch when scoring dev; the engine's own default if not given."""
    checkpoint_seconds: Annotated[float, Field(ge=0), Neutral()] = 300.0
    """A checkpoint is committed about this often; a killed training goes on from the last one."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainOptions:
        words, layers, lora = Option("word_embeddings"), Option("freeze_layers"), Option("lora")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(Phrase("{} must differ from each other", Option("seeds")))
        if self.lora is not None and self.freeze_layers:
            raise ValueError(Phrase("{} freezes all layers: leave out {}", lora, layers))
        trains_words = "word_embeddings" in self.model_fields_set and self.word_embeddings != "frozen"
        if self.lora is not None and trains_words:
            raise ValueError(Phrase("{} leaves the word embeddings as they are: leave out {}", lora, words))
        if self.freeze_layers and trains_words:
            raise ValueError(Phrase("{} freezes the word embeddings below the layers too: leave out {}", layers, words))
        if not self.dev_sets or len(set(self.dev_sets)) < len(self.dev_sets):
            raise ValueError(Phrase("{} must name one set, or several different ones", Option("dev")))
        if self.batch_tokens is not None and "batch_size" in self.model_fields_set:
            sizes = (Option("batch_size"), Option("batch_tokens"))
            raise ValueError(Phrase("{} has no effect beside {}: leave out one of them", *sizes))
        return self

    @property
    def dev_sets(self) -> list[str]:
        """The sets of `dev`."""
        return [self.dev] if isinstance(self.dev, str) else list(self.dev)

    def require_inputs(self, inputs: Mapping[str, Input]) -> None:
        """Check objectives, heads, dev and what would have no effect; see `StageOptions`."""
        known = CROSS_OBJECTIVES if self.produces == "cross-encoder" else BI_OBJECTIVES
        rows = {number: inputs.get(f"train[{number}].data") for number in range(len(self.train))}
        chosen = {}
        for number, found in rows.items():
            if found is not None:
                one = self.train[number]
                where = self.option(f"train[{number}]", one.data)
                chosen[number] = choose_objective(known, found.kind, one.objective or self.objective, where)
        if chosen:
            names = {self.train[number].data: objective for number, objective in chosen.items()}
            task = common_task(names, self.option("train"))
            for option, found in inputs.items():
                if option == "dev" or option.startswith("dev["):
                    require_dev(task, found.kind, self.option(option, self.dev if isinstance(self.dev, str) else None))
        if len(chosen) == len(self.train):
            self._require_use("an objective", OPTIONS_OF_OBJECTIVES, [one.name for one in chosen.values()])
            self._require_use("rows", OPTIONS_OF_ROWS, [found.kind for found in rows.values() if found is not None])
        start = inputs.get("model")
        self._require_effect(start)
        if start is not None and start.layers == 0:
            self._require_no_transformer([one.name for one in chosen.values()])

    def length_said(self, reads: int) -> list[str]:
        """A sentence where a length was asked for that the model does not read.

        Args:
            reads: tokens that it does read.
        """
        if "max_length" not in self.model_fields_set or reads >= self.max_length:
            return []
        return [f"max_length is {self.max_length:,}, but the model reads {reads:,} tokens at most"]

    def _require_use(self, what: str, users: Mapping[str, tuple[str, ...]], there: list[str]) -> None:
        """Refuse options that were set where nothing in the training reads them."""
        for name, readers in users.items():
            if self._asked(name) and not set(readers) & set(there):
                raise self._idle(
                    name,
                    f"no set of this training has {what} that it is for",
                    expected=" or ".join(readers),
                    got=", ".join(dict.fromkeys(there)),
                )

    def _require_effect(self, start: Input | None) -> None:
        """Refuse options that were set and that the model to start from, or other options, leave without effect."""
        if self._asked("objective") and all(one.objective for one in self.train):
            raise self._idle("objective", "every set names an objective of its own")
        if start is not None and start.layers is not None and self.freeze_layers > start.layers:
            raise fewer_layers(self, start.layers)
        if start is not None and start.kind == "cross-encoder" and self._asked("pooling"):
            raise self._idle("pooling", "it is for a new head, and the start is a cross-encoder that keeps its own")

    def _require_no_transformer(self, objectives: list[str]) -> None:
        """Refuse what a start of token vectors cannot be trained with."""
        for name, why in _OF_TRANSFORMERS.items():
            if self._asked(name):
                raise self._idle(name, f"the start has no transformer, {why}")
        found = next((name for name in objectives if name in NEED_TRANSFORMER), None)
        if self.produces == "cross-encoder" or found is not None:
            raise ConfigError(
                "this training needs a model with a transformer",
                where=self.option("model", self.model),
                got="a static model: token vectors alone",
                hint=Phrase("set another objective than {}", Option("objective", found)) if found else None,
            )

    def _asked(self, name: str) -> bool:
        """True if an option was set, and to more than nothing; defaults are never refused."""
        return name in self.model_fields_set and bool(getattr(self, name))

    def _idle(self, name: str, why: str, **more: str) -> ConfigError:
        return ConfigError(
            Phrase("{} has no effect: {}", Option(name), why),
            where=self.option(name, getattr(self, name)),
            hint=Phrase("leave out {}", Option(name)),
            **more,
        )


def fewer_layers(options: TrainOptions, there: int) -> ConfigError:
    """The error where more layers are to be frozen than there are."""
    return ConfigError(
        "the model has fewer layers",
        where=options.option("freeze_layers", options.freeze_layers),
        expected=f"at most {there}",
        got=str(options.freeze_layers),
    )


class TrainBiOptions(TrainOptions):
    """Train a bi-encoder."""

    kind: ClassVar[str] = "train.bi"
    produces: ClassVar[str] = "bi-encoder"

    objective: BiObjective | None = None
    """Of the sets that name none of their own: `cosent`, `cosine`, `angle`, `contrastive` and `online-contrastive`
    learn from scored pairs; `mnrl` and `softmax` from NLI; `mnrl` from pairs, triplets and lists; `triplet` from
    triplets; `kl` and `margin-mse` from lists with a teacher's scores; `simcse` and `tsdae` from sentences; `distil`,
    `distil-cosine` and `distil-similarity` from any texts and a `teacher`."""
    teacher: BiEncoder | None = None
    """Bi-encoder whose vectors the student learns; of translations it reads the source only. Its vectors are kept in the
    cache, so that each text goes through it once, whatever runs learn from it."""
    projection: Literal["dense", "pca", "head"] | None = None
    """What joins vectors of different sizes: `dense` adds a layer to the student that is saved with it, so that it gives
    vectors of the teacher's size; `pca` brings the teacher's to the student's size, fitted on the training texts;
    `head` is a layer for the training only, and the student keeps its own size. Needed where the sizes differ."""
    matryoshka: list[Annotated[int, Field(ge=2, multiple_of=2)]] = Field(default_factory=list)
    """Smaller dimensions at which the objective is asked for too, such as [256, 128, 64] (Kusupati et al. 2022, arXiv
    2205.13147): the first numbers of a vector then serve by themselves."""
    similarity_scale: float = Field(default=20.0, gt=0)
    """What cosines are multiplied with before a softmax or a ranking: the inverse of the temperature."""
    margin: float = Field(default=0.5, gt=0, le=2)
    """Cosine distance that `triplet` and `contrastive` ask for."""

    def require_inputs(self, inputs: Mapping[str, Input]) -> None:
        """Besides what all trainings ask for, a teacher where there is something to learn from one."""
        super().require_inputs(inputs)
        for number, one in enumerate(self.train):
            if (one.objective or self.objective) in DISTILLING and self.teacher is None:
                raise ConfigError(
                    Phrase("{} learns a teacher's vectors", Option("objective", one.objective or self.objective)),
                    where=self.option(f"train[{number}]", one.data),
                    expected="a bi-encoder",
                    hint=Phrase("name one with {}", Option("teacher")),
                )


class TrainCrossOptions(TrainOptions):
    """Train a cross-encoder."""

    kind: ClassVar[str] = "train.cross"
    produces: ClassVar[str] = "cross-encoder"

    objective: CrossObjective | None = None
    """Of the sets that name none of their own: `bce` and `mse` learn from scored pairs, `classes` from NLI, `listnet`
    and `binary` from lists, triplets and pairs, `margin-mse` from lists with a teacher's raw scores."""
    learning_rate: float = Field(default=1e-4, gt=0, le=1e-2)
    """Peak of a linear schedule; the head starts from random numbers and needs more than a bi-encoder."""
    batch_size: int = Field(default=16, ge=2)
    """Rows a batch on average, as for bi-encoders; a pair in two orders is two rows, a list is one."""
    orders: Literal["both", "random", "given"] = "both"
    """Present each scored pair in `both` orders (twice the steps), in one drawn at `random`, or as `given`. Of NLI and
    of queries and texts the order means something: they are always presented as given."""
    negatives: float | None = Field(default=None, ge=0, le=100)
    """Scored pairs: random pairs of the training sentences with the lowest score, for each training pair; none by default.
    Few gold pairs say little about unrelated sentences, and silver labels of random pairs then come out high. Positive
    pairs: random texts that a query is shown with beside its own; 4 by default."""
    pooling: Literal["mean", "cls"] = "mean"
    """What a new head reads: the mean over all tokens, right for a body that was trained as a bi-encoder, or
    the first token. A model that is a cross-encoder already keeps its own."""

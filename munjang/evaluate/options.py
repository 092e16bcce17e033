"""Options of the evaluation stage; no torch is imported to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from munjang.config.recipe import (
    AnyModel,
    BiEncoder,
    CrossEncoder,
    Documents,
    Frozen,
    Input,
    LabelledTexts,
    MeasuredRows,
    Qrels,
    Queries,
    StageOptions,
    TrainingRows,
)
from munjang.errors import ConfigError, MunjangError, Option, Phrase
from munjang.evaluate.naming import read_set

TaskName = Literal[
    "sts",
    "pair-classification",
    "nli",
    "triplets",
    "reranking",
    "retrieval",
    "translation",
    "clustering",
    "classification",
]
Similarity = Literal["dot", "euclidean", "manhattan"]

#: The options that make one set, each combination with the task that it fixes.
_SHAPES: tuple[tuple[frozenset[str], str | None], ...] = (
    (frozenset({"data"}), None),
    (frozenset({"documents", "queries", "qrels"}), "retrieval"),
    (frozenset({"train", "test"}), "classification"),
    (frozenset({"mteb"}), None),
)


class MeasuredModel(Frozen):
    """One model of a table; in a recipe its name alone stands for it, a list of names, or a table with more."""

    model: Annotated[list[AnyModel], Field(min_length=1)]
    """A model, or one for each seed of the same training, of which the mean is compared."""
    reranker: list[CrossEncoder] = Field(default_factory=list)
    """A cross-encoder that orders anew what a bi-encoder finds: one for all, or one for each of `model`."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        table = dict(value) if isinstance(value, dict) else {"model": value} if isinstance(value, str | list) else value
        if isinstance(table, dict):
            table.update({key: [one] for key, one in table.items() if isinstance(one, str)})
        return table

    @model_validator(mode="after")
    def _as_many_rerankers(self) -> MeasuredModel:
        if len(self.reranker) not in (0, 1, len(self.model)):
            raise ValueError("reranker must be one for all models, or one for each")
        if len(set(self.runs())) < len(self.runs()):
            raise ValueError("the same model stands here twice: runs of one recipe are different models")
        return self

    def runs(self) -> list[tuple[str, str | None]]:
        """Each model with its reranker, if there is one."""
        rerankers: list[str | None] = [*self.reranker] or [None]
        return list(zip(self.model, rerankers * (len(self.model) // len(rerankers)), strict=True))


class MeasuredSet(Frozen):
    """One set to measure on; in a recipe its name alone stands for it, or a table with more."""

    name: str | None = Field(default=None, min_length=1)
    """In tables; by default the name of its data, or of its queries or test rows."""
    task: TaskName | None = None
    """How to measure; by default what its rows are made for: scored pairs `sts`, texts with labels `clustering`."""
    data: MeasuredRows | None = None
    """Rows of any kind that a task takes."""
    documents: Documents | None = None
    """Retrieval: the texts to be found, with their ids."""
    queries: Queries | None = None
    """Retrieval: what is looked for, with ids."""
    qrels: Qrels | None = None
    """Retrieval: which text answers which query."""
    train: LabelledTexts | None = None
    """Classification: what a logistic regression on the vectors learns from."""
    test: LabelledTexts | None = None
    """Classification: what it is measured on."""
    mteb: str | None = Field(default=None, min_length=1)
    """A task of the package mteb, which brings its data; `NAME` or `NAME:SUBSET`. Measured as Munjang measures."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """Pair classification: the score, on 0..1, from which on a pair counts as positive."""

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _of_one_shape(self) -> MeasuredSet:
        given = {name for shape, _ in _SHAPES for name in shape if getattr(self, name) is not None}
        tasks = [task for shape, task in _SHAPES if shape == given]
        if not tasks:
            shapes = "; or ".join(" and ".join(sorted(shape)) for shape, _ in _SHAPES)
            raise ValueError(f"a set needs {shapes}")
        if tasks[0] is not None and self.task not in (None, tasks[0]):
            raise ValueError(f"these parts make a set of the task {tasks[0]}, not {self.task}")
        if tasks[0] is None and self.data is not None and self.task in ("retrieval", "classification"):
            raise ValueError(f"a set of the task {self.task} is made of several parts")
        if "threshold" in self.model_fields_set and self.task != "pair-classification":
            raise ValueError('threshold needs task = "pair-classification"')
        return self

    @property
    def label(self) -> str:
        """Its name in tables."""
        if self.name is not None:
            return self.name
        source = self.data or self.queries or self.test or f"mteb:{self.mteb}"
        task = f"{self.task}@" if self.task is not None and self.data is not None else ""
        return task + source.removeprefix("data:")


class EvaluateOptions(StageOptions):
    """Measure models on sets of any kind, with 95% intervals."""

    kind: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 2
    produces: ClassVar[str] = "evaluation"

    models: dict[str, MeasuredModel] = Field(min_length=1)
    """Label in the table -> model; bi-encoders, cross-encoders and pairs of both side by side."""
    on: list[MeasuredSet] = Field(min_length=1)
    """The sets to measure on."""
    baseline: str | None = None
    """Label of the model that the others are compared with, row by row."""
    symmetric: bool = True
    """Let cross-encoders score both orders of a pair and take the mean, where the order means nothing."""
    similarities: list[Similarity] = Field(default_factory=list)
    """Correlate the dot product and negative distances of vectors with the scores too, beside the cosine."""
    rerank: int = Field(default=100, ge=1, le=1000)
    """How many of the texts that a bi-encoder found the cross-encoder behind it orders anew."""

    @model_validator(mode="before")
    @classmethod
    def _expanded(cls, value: Any) -> Any:
        """Names of groups and of compound sets, and `TASK@SET`, in place of what they stand for."""
        on = value.get("on") if isinstance(value, dict) else None
        if not isinstance(on, list):
            return value
        try:
            return {**value, "on": [part for one in on for part in _read(one)]}
        except MunjangError as error:
            raise ValueError(error.sentence()) from None

    @model_validator(mode="after")
    def _consistent(self) -> EvaluateOptions:
        if self.baseline is not None and self.baseline not in self.models:
            raise ValueError(Phrase("{} must be one of {}", Option("baseline"), ", ".join(self.models)))
        labels = [one.label for one in self.on]
        repeated = next((label for label in labels if labels.count(label) > 1), None)
        if repeated is not None:
            raise ValueError(f"two sets have the name {repeated}: give one of them another with name = ...")
        return self

    def require_inputs(self, inputs: Mapping[str, Input]) -> None:
        """Refuse a task that the rows of a set are not made for; see `StageOptions`."""
        from munjang.evaluate.tasks import TASKS  # with NumPy, which a help text can do without

        for number, one in enumerate(self.on):
            known = inputs.get(f"on[{number}].data")
            if known is not None and one.task is not None and TASKS[one.task].kind != known.kind:
                raise ConfigError(
                    f"the task {one.task} takes other rows",
                    where=f"stage.{self.name}.on[{number}]",
                    expected=TASKS[one.task].kind,
                    got=known.kind,
                )


def _read(one: Any) -> list[Any]:
    return read_set(one) if isinstance(one, str) else [one]


class ChooseOptions(StageOptions):
    """Take the best of several bi-encoders on dev."""

    kind: ClassVar[str] = "choose"
    produces: ClassVar[str] = "bi-encoder"

    models: dict[str, BiEncoder] = Field(min_length=2)
    """Label -> model; the first of equals is taken."""
    dev: TrainingRows
    """Rows that decide; never a test split. What they give is said under `dev` of the trainings."""

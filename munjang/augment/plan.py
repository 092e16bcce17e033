"""Augmented SBERT as a recipe: from few gold pairs, or none in the domain, to a bi-encoder with its gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from munjang.augment.options import MIXTURES, Strategy
from munjang.config.recipe import DATA_PREFIX, DataSpec, Frozen
from munjang.config.writing import Table, recipe_toml
from munjang.errors import Option, Phrase

#: Silver pairs for each gold pair where nothing is said, and the least and the most of them.
_SILVER_SHARE, _LEAST_SILVER, _MOST_SILVER = 4, 1_000, 20_000


class AugmentPlan(Frozen):
    """What is at hand, and how to use it."""

    gold: list[str] = Field(default_factory=list)
    """Scored pairs of the domain. Their sentences are paired anew as well."""
    existing: list[str] = Field(default_factory=list)
    """Scored pairs of other domains or languages, which teach along but are not paired anew. Alone, they stand in for gold."""
    raw: list[str] = Field(default_factory=list)
    """Raw sentences of the domain: any files with texts."""
    pairs: str | None = None
    """Pairs of the domain without labels, which are then labelled in place of mined ones."""
    dev: str
    """Scored pairs on which weights are chosen and teachers are tried; never a test split."""
    test: list[str] = Field(default_factory=list)
    """Sets to measure on at the end; no training sees a sentence of theirs."""
    model: str = "bundled:e5-small"
    """Where both kinds of model start."""
    strategies: list[Strategy | Literal["bm25+semantic", "mix"]] = Field(default=["semantic", "random"], min_length=1)
    """How pairs are chosen: random, kde, bm25, semantic, bm25+semantic, several together; or mix, which tries each of
    them by itself, and all of them together, and keeps what is best on dev."""
    max_pairs: int | None = Field(default=None, ge=1)
    """Silver pairs; by default four for each gold pair, at least 1,000 and at most 20,000."""
    target: Literal["scores", "triplets"] = "scores"
    """What the student learns from: graded scores, or triplets of a near and a far partner."""
    teachers: int = Field(default=1, ge=1, le=10)
    """Cross-encoders that are trained, with a seed each; the labels are their mean."""
    epochs: float = Field(default=3.0, gt=0, le=100)
    """Passes of the trainings over gold; silver is seen once."""
    force: bool = False
    """Go on where the gate says that the teachers are no better than the student."""

    @model_validator(mode="after")
    def _has_something(self) -> AugmentPlan:
        gold, existing, raw, pairs = (Option(name) for name in ("gold", "existing", "raw", "pairs"))
        if not self.gold and not self.existing:
            raise ValueError(Phrase("scored pairs are needed: {} of the domain, or {} of others", gold, existing))
        if not self.gold and not self.raw and self.pairs is None:
            raise ValueError(Phrase("without {} there must be {} or {} of the domain", gold, raw, pairs))
        if self.pairs is not None and ({"strategies", "max_pairs"} & self.model_fields_set or self.raw):
            given = (Option("raw"), Option("strategies"), Option("max_pairs"))
            raise ValueError(Phrase("{} are labelled as they are: leave out {}, {} and {}", pairs, *given))
        if "mix" in self.strategies and len(self.strategies) > 1:
            raise ValueError(Phrase("{}: mix stands alone", Option("strategies")))
        return self

    @property
    def gold_sets(self) -> list[str]:
        """All scored pairs that teach."""
        return [*self.gold, *self.existing]


def silver_count(gold_pairs: int) -> int:
    """Silver pairs where nothing is said."""
    return min(max(_SILVER_SHARE * gold_pairs, _LEAST_SILVER), _MOST_SILVER)


def recipe_text(
    plan: AugmentPlan, data: Mapping[str, DataSpec], name: str, seed: int, gold_pairs: int, base: Path
) -> str:
    """The recipe of a plan as TOML, to be run, read and changed.

    Args:
        plan: with names as `munjang.api.name_data` gives them.
        data: what `data:KEY` in the plan names.
        name: of the recipe.
        seed: of everything that is drawn.
        gold_pairs: how many pairs teach, for the number of silver ones.
        base: where relative paths start.
    """
    settings = {key: spec.model_dump(mode="json", exclude_defaults=True) for key, spec in data.items()}
    sources = {key: {**settings[key], "source": str(base / spec.source)} for key, spec in data.items()}
    head = (
        "Augmented SBERT (Thakur et al. 2021, arXiv 2010.08240), written by munjang augment; run it again with",
        "munjang run, change it, or give the same command once more.",
    )
    stages = _stages(plan, plan.max_pairs or silver_count(gold_pairs))
    return recipe_toml(name, "Augmented SBERT", seed, sources, stages, head)


def _stages(plan: AugmentPlan, silver: int) -> Iterator[tuple[str, Table]]:
    """(comment, stage) in order."""
    held_out = [plan.dev, *plan.test]
    train = {"dev": plan.dev, "exclude": plan.test}
    yield (
        "The student on gold alone: what silver has to beat.",
        {
            "name": "gold",
            "kind": "train.bi",
            "model": plan.model,
            "train": plan.gold_sets,
            **train,
            "epochs": plan.epochs,
            "ema": 0.99,
        },
    )
    sentences = [*plan.gold, *plan.raw] or [plan.pairs]
    yield from _teachers(plan, [s for s in sentences if s is not None], held_out, train, silver)
    variants = list(_variants(plan))
    for suffix, strategies in variants:
        if plan.pairs is None:
            kde = "kde" in strategies
            vectors = kde or "semantic" in strategies
            yield (
                "Candidate pairs: none that is known, none with a sentence of dev or test.",
                {
                    "name": f"pairs{suffix}",
                    "kind": "mine",
                    "sentences": sentences,
                    "strategies": strategies,
                    "model": "stage:gold" if vectors else None,
                    "scorer": "stage:cross" if kde else None,
                    "exclude": plan.gold_sets,
                    "held_out": held_out,
                    "max_pairs": silver,
                },
            )
        yield from _learned(plan, suffix, train)
    yield from _proof(plan, [suffix for suffix, _ in variants])


def _teachers(
    plan: AugmentPlan, sentences: list[str], held_out: list[str], train: Table, silver: int
) -> Iterator[tuple[str, Table]]:
    """A cross-encoder that first learns to see what the bi-encoder sees, then what gold says."""
    yield (
        "A new cross-encoder learns from few pairs what it could have learned from the bi-encoder. So it first learns\n"
        "the bi-encoder's view of pairs without labels, brought to gold's scale, and then gold.",
        {
            "name": "warm-pairs",
            "kind": "mine",
            "sentences": sentences,
            "strategies": {"semantic": 1, "random": 1},
            "model": "stage:gold",
            "exclude": plan.gold_sets,
            "held_out": held_out,
            "neighbours": 10,
            "max_pairs": max(silver, 4_000),
        },
    )
    yield (
        "",
        {
            "name": "warm",
            "kind": "label",
            "model": "stage:gold",
            "pairs": "stage:warm-pairs",
            "dev": plan.dev,
            "calibrate": True,
        },
    )
    yield (
        "",
        {
            "name": "cross-warm",
            "kind": "train.cross",
            "model": plan.model,
            "train": ["stage:warm"],
            **train,
            "orders": "random",
        },
    )
    yield (
        "The teacher.",
        {
            "name": "cross",
            "kind": "train.cross",
            "model": "stage:cross-warm",
            "train": plan.gold_sets,
            **train,
            "epochs": plan.epochs,
            "learning_rate": 5e-5,
            "seeds": list(range(1, plan.teachers + 1)) if plan.teachers > 1 else [],
        },
    )


def _variants(plan: AugmentPlan) -> Iterator[tuple[str, dict[str, float]]]:
    """(suffix of the stages, strategies) of each kind of silver that is tried."""
    if plan.strategies != ["mix"] or plan.pairs is not None:
        mixed: dict[str, float] = {}
        for strategy in plan.strategies:
            for part, share in MIXTURES.get(strategy, {strategy: 1.0}).items():
                mixed[part] = mixed.get(part, 0.0) + share
        yield "", mixed
        return
    for strategy in ("random", "kde", "bm25", "semantic"):
        yield f"-{strategy}", {strategy: 1.0}
    yield "-all", {"random": 1.0, "kde": 1.0, "bm25": 1.0, "semantic": 1.0}


def _learned(plan: AugmentPlan, suffix: str, train: Table) -> Iterator[tuple[str, Table]]:
    """Silver labels behind the gate, and the students that learn from them."""
    yield (
        "Silver labels of teacher and student together, each on gold's scale, behind the gate.",
        {
            "name": f"silver{suffix}",
            "kind": "label.triplets" if plan.target == "triplets" else "label",
            "model": ["stage:cross", "stage:gold"],
            "pairs": plan.pairs or f"stage:pairs{suffix}",
            "dev": plan.dev,
            "student": "stage:gold",
            "calibrate": True,
            "force": plan.force or None,
        },
    )
    silver = f"stage:silver{suffix}"
    yield (
        "",
        {
            "name": f"silver-only{suffix}",
            "kind": "train.bi",
            "model": plan.model,
            "train": [silver],
            **train,
            "ema": 0.99,
        },
    )
    yield (
        "The result: what silver gives first, then gold.",
        {
            "name": f"augmented{suffix}",
            "kind": "train.bi",
            "model": f"stage:silver-only{suffix}",
            "train": plan.gold_sets,
            **train,
            "epochs": plan.epochs,
            "ema": 0.99,
        },
    )


def _proof(plan: AugmentPlan, suffixes: list[str]) -> Iterator[tuple[str, Table]]:
    """The table of what was gained, against gold alone."""
    models: dict[str, str] = {"start": plan.model, "gold": "stage:gold"}
    for suffix in suffixes:
        models[f"silver{suffix}"] = f"stage:silver-only{suffix}"
        models[f"gold + silver{suffix}"] = f"stage:augmented{suffix}"
    models["cross-encoder"] = "stage:cross"
    yield (
        "What was gained, against gold alone.",
        {
            "name": "gain",
            "kind": "evaluate",
            "models": models,
            "on": [plan.dev, *plan.test],
            "baseline": "gold",
        },
    )
    if len(suffixes) > 1:
        yield (
            "The best of them on dev.",
            {
                "name": "best",
                "kind": "choose",
                "models": {suffix[1:]: f"stage:augmented{suffix}" for suffix in suffixes},
                "dev": plan.dev,
            },
        )


def used_data(name: str) -> str:
    """The key of a data set behind `data:KEY`, or the name itself."""
    return name[len(DATA_PREFIX) :] if name.startswith(DATA_PREFIX) else name

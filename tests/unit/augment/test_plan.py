"""A plan becomes a recipe that is checked like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from munjang.augment.plan import AugmentPlan, recipe_text, silver_count
from munjang.config.load import load_recipe
from munjang.config.recipe import DataSpec, Recipe
from munjang.errors import MunjangError
from munjang.stages.registry import OPTIONS


def recipe(tmp_path: Path, data: dict[str, DataSpec] | None = None, **plan: object) -> Recipe:
    text = recipe_text(AugmentPlan(**plan), data or {}, "domain", 7, 300, Path("/somewhere"))
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    return load_recipe(tmp_path / "recipe.toml", OPTIONS)


def names(found: Recipe) -> list[str]:
    return [stage.name for stage in found.stages]


def test_few_gold_pairs_are_paired_anew_with_raw_sentences(tmp_path: Path) -> None:
    found = recipe(tmp_path, gold=["korsts:train"], raw=["chatbot"], dev="korsts:dev", test=["korsts:test"])
    assert names(found) == [
        "gold",
        "warm-pairs",
        "warm",
        "cross-warm",
        "cross",
        "pairs",
        "silver",
        "silver-only",
        "augmented",
        "gain",
    ]
    stages = {stage.name: stage for stage in found.stages}
    assert stages["pairs"].sentences == ["korsts:train", "chatbot"]
    assert stages["pairs"].held_out == ["korsts:dev", "korsts:test"]
    assert stages["pairs"].max_pairs == 1_200
    assert stages["silver"].student == "stage:gold"
    for stage in found.stages:
        if stage.kind.startswith("train"):
            assert stage.exclude == ["korsts:test"]
    assert stages["gain"].baseline == "gold"
    assert found.seed == 7


def test_without_gold_of_the_domain_its_raw_sentences_alone_are_paired(tmp_path: Path) -> None:
    found = recipe(tmp_path, existing=["korsts:train"], raw=["support-raw"], dev="korsts:dev")
    stages = {stage.name: stage for stage in found.stages}
    assert stages["pairs"].sentences == ["support-raw"]
    assert [one.data for one in stages["cross"].train] == ["korsts:train"]


def test_given_pairs_are_not_mined(tmp_path: Path) -> None:
    data = {"my pairs.tsv": DataSpec(source="my pairs.tsv")}
    found = recipe(tmp_path, data, existing=["korsts:train"], pairs="data:my pairs.tsv", dev="korsts:dev")
    assert "pairs" not in names(found)
    stages = {stage.name: stage for stage in found.stages}
    assert stages["silver"].pairs == "data:my pairs.tsv"
    assert found.data["my pairs.tsv"].source == "/somewhere/my pairs.tsv"


def test_a_mix_tries_each_strategy_and_chooses_on_dev(tmp_path: Path) -> None:
    found = recipe(tmp_path, gold=["korsts:train"], dev="korsts:dev", strategies=["mix"])
    stages = {stage.name: stage for stage in found.stages}
    tried = [name for name in stages if name.startswith("augmented-")]
    assert tried == [f"augmented-{name}" for name in ("random", "kde", "bm25", "semantic", "all")]
    assert set(stages["best"].models) == {"random", "kde", "bm25", "semantic", "all"}
    assert stages["best"].dev == "korsts:dev"
    assert stages["pairs-kde"].scorer == "stage:cross"
    assert stages["pairs-bm25"].model is None


def test_targets_and_teachers(tmp_path: Path) -> None:
    found = recipe(tmp_path, gold=["korsts:train"], dev="korsts:dev", target="triplets", teachers=3, force=True)
    stages = {stage.name: stage for stage in found.stages}
    assert stages["silver"].kind == "label.triplets"
    assert stages["silver"].force
    assert stages["cross"].seeds == [1, 2, 3]


@pytest.mark.parametrize(("gold", "silver"), [(10, 1_000), (1_000, 4_000), (100_000, 20_000)])
def test_silver_grows_with_gold_within_bounds(gold: int, silver: int) -> None:
    assert silver_count(gold) == silver


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({}, "scored pairs are needed"),
        ({"existing": ["korsts:train"]}, "without gold there must be raw or pairs"),
        ({"gold": ["a"], "pairs": "b", "raw": ["c"]}, "labelled as they are"),
        ({"gold": ["a"], "strategies": ["mix", "random"]}, "mix stands alone"),
    ],
)
def test_plans_that_cannot_be(plan: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AugmentPlan(dev="dev", **plan)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["하나\t둘\t3"], "too few gold pairs"),
        ([f"하나 {n}\t둘 {n}\t3" for n in range(20)], "all gold scores are equal"),
    ],
)
def test_gold_that_cannot_teach_is_refused_before_anything_is_made(
    lines: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from munjang import api

    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *lines]) + "\n", encoding="utf-8")
    with pytest.raises(MunjangError, match=said):
        api.augment("run", gold=["gold.tsv"], dev="gold.tsv", reading={"scale": (0, 5)})
    assert not (tmp_path / "run").exists()

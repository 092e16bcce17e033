"""Grids: a stage written once stands for many values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from munjang.config.grid import GridError, expand
from munjang.config.load import RecipeError, load_recipe, tomllib
from munjang.stages.registry import OPTIONS

STUDY = """
name = "study"
[grid]
size = [20, 40]
seed = [1, 2]
[data."gold-{size}"]
source = "support:train"
sample = "{size}"
[[stage]]
name = "bi-{size}-{seed}"
kind = "train.bi"
model = "bundled:e5-small"
train = ["data:gold-{size}"]
dev = "support:dev"
seeds = ["{seed}"]
[[stage]]
name = "result-{size}"
kind = "evaluate"
models = { start = "bundled:e5-small", "gold {size}" = ["stage:bi-{size}-{seed}"] }
on = ["support:dev"]
"""


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    return tmp_path / "study.toml"


def test_stages_and_data_stand_once_for_each_value(tmp_path: Path) -> None:
    found = load_recipe(write(tmp_path, STUDY), OPTIONS)
    assert [stage.name for stage in found.stages] == [
        "bi-20-1",
        "bi-20-2",
        "bi-40-1",
        "bi-40-2",
        "result-20",
        "result-40",
    ]
    assert {key: spec.sample for key, spec in found.data.items()} == {"gold-20": 20, "gold-40": 40}
    assert found.stages[2].seeds == [1]
    assert found.stages[2].train[0].data == "data:gold-40"
    assert found.stages[5].models["gold 40"].model == ["stage:bi-40-1", "stage:bi-40-2"]
    assert found.stages[5].models["start"].model == ["bundled:e5-small"]


def test_keys_of_tables_fan_out_and_bind_what_is_inside() -> None:
    raw = tomllib.loads(
        """
[grid]
way = ["a", "b"]
seed = [1, 2]
[[stage]]
name = "result"
models = { "{way}" = ["stage:{way}-{seed}"] }
"""
    )
    assert expand(raw)["stage"][0]["models"] == {"a": ["stage:a-1", "stage:a-2"], "b": ["stage:b-1", "stage:b-2"]}


def test_a_recipe_without_a_grid_is_left_alone() -> None:
    raw = {"name": "x", "stage": [{"name": "a-{size}", "text": "{seed}"}]}
    assert expand(raw) == raw


def test_overrides_reach_the_grid_and_what_comes_of_it(tmp_path: Path) -> None:
    found = load_recipe(write(tmp_path, STUDY), OPTIONS, ("grid.size=[30]", "stage.bi-30-2.epochs=2"))
    assert [stage.name for stage in found.stages] == ["bi-30-1", "bi-30-2", "result-30"]
    assert [stage.epochs for stage in found.stages[:2]] == [1, 2]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ("size", "expected a table of lists"),
        ({}, "expected a table of lists"),
        ({"size": 3}, "grid.size: expected a list"),
        ({"size": []}, "grid.size: expected a list"),
        ({"size": [1, "1"]}, "each once"),
        ({"size": [True]}, "texts or numbers"),
        ({"a b": [1]}, "has a name of letters"),
    ],
)
def test_what_is_no_grid(grid: Any, said: str) -> None:
    with pytest.raises(GridError, match=said):
        expand({"grid": grid, "stage": []})


def test_an_axis_without_a_value_is_one_clear_mistake(tmp_path: Path) -> None:
    text = STUDY.replace('dev = "support:dev"', 'dev = "data:gold-{size}"').replace('name = "bi-{size}-', 'name = "bi-')
    with pytest.raises(RecipeError, match=r"stage.bi-\{seed\}.dev: \{size\} has no value here"):
        load_recipe(write(tmp_path, text), OPTIONS)

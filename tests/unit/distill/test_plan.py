"""Students, their recipe, and the recipe of the one that is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from munjang.config.load import load_recipe
from munjang.config.recipe import DataSpec, Recipe
from munjang.distill.chosen import chosen_recipe
from munjang.distill.options import DistillPlan
from munjang.distill.plan import Names, Student, candidates, made_for_of, recipe_text
from munjang.stages.registry import OPTIONS


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        (12, ["whole", "even-8", "even-6", "even-4", "even-3"]),
        (6, ["whole", "even-4", "even-3", "even-2"]),
        (3, ["whole", "even-2", "even-1"]),
        (2, ["whole", "even-1"]),
        (1, ["whole"]),
    ],
)
def test_students_have_fewer_and_fewer_layers_each_number_once(layers: int, names: list[str]) -> None:
    found = candidates(layers)
    assert [one.name for one in found] == names
    for one in found:
        assert one.share == (int(one.name.partition("-")[2]) / layers if one.convert else 1)
        assert one.convert == ({"keep_layers": one.name} if one.name != "whole" else {})


def text_of(**changes: object) -> str:
    asked = {"data": ["chatbot"], "dev": ["korsts:dev"], "keep": 0.9, "epochs": 2.0} | changes
    plan = DistillPlan(**asked)
    specs = {"my texts.txt": DataSpec(source="/data/my texts.txt")}
    names = Names(
        "bundled:e5-small",
        "bundled:minilm",
        [*plan.data, "data:my texts.txt"],
        [*plan.dev, "klue-sts:dev"],
        ["korsts:test"],
        specs,
    )
    students = [Student(one, epochs) for one, epochs in zip(candidates(4)[:3], (None, 0.25, 0.5), strict=True)]
    return recipe_text(plan, names, students, trim=True, projection="pca", name="small", seed=7, made_for="0123abcd")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "recipe.toml").write_text(text_of(keep_scripts=["hangul"]), encoding="utf-8")
    return load_recipe(tmp_path / "recipe.toml", OPTIONS)


def test_the_recipe_cuts_trains_and_measures_every_student(recipe: Recipe) -> None:
    stages = {stage.name: stage for stage in recipe.stages}
    assert list(stages) == ["convert-whole", "convert-even-3", "train-even-3", "convert-even-2", "train-even-2", "plan"]
    assert (stages["convert-whole"].keep_layers, stages["convert-even-2"].keep_layers) == (None, "even-2")
    for name in ("convert-whole", "convert-even-3"):
        assert stages[name].model == "bundled:minilm"
        assert stages[name].trim_vocab == ["chatbot", "data:my texts.txt"]
        assert (stages[name].keep_scripts, stages[name].held_out) == (["hangul"], ["korsts:dev", "klue-sts:dev"])
    trained = stages["train-even-3"]
    assert (trained.model, trained.teacher, trained.objective) == ("stage:convert-even-3", "bundled:e5-small", "distil")
    assert (trained.epochs, trained.evaluations, trained.projection) == (0.25, 1, "pca")
    assert (trained.dev, trained.exclude) == (["korsts:dev", "klue-sts:dev"], ["korsts:test"])
    plan = stages["plan"]
    assert (plan.teacher, plan.start, plan.keep, plan.epochs) == ("bundled:e5-small", "bundled:minilm", 0.9, 2.0)
    assert plan.students["whole"] == "stage:convert-whole"
    assert plan.students["even-2"] == "stage:train-even-2"


def test_a_recipe_says_what_it_was_made_for() -> None:
    assert made_for_of(text_of()) == "0123abcd"
    assert made_for_of('name = "another"\n') is None


def test_the_chosen_recipe_is_the_tried_one_but_for_its_length(recipe: Recipe, tmp_path: Path) -> None:
    text = chosen_recipe(recipe, "stage:train-even-2", "even-2", 3.0, tmp_path)
    (tmp_path / "chosen.toml").write_text(text, encoding="utf-8")
    found = load_recipe(tmp_path / "chosen.toml", OPTIONS)
    tried = {stage.name: stage for stage in recipe.stages}
    assert (found.name, found.seed, found.data) == ("small-even-2", 7, recipe.data)
    cut, trained = found.stages
    assert cut == tried["convert-even-2"]
    assert trained == tried["train-even-2"].model_copy(update={"epochs": 3.0, "evaluations": 4})


def test_the_chosen_recipe_reads_paths_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "texts.txt").write_text("환불은 언제 되나요?\n", encoding="utf-8")
    (tmp_path / "recipe.toml").write_text(
        """name = "own"
[data]
texts = "texts.txt"
other = "chatbot"
[[stage]]
name = "teach"
kind = "train.bi"
model = "model"
train = ["support:train"]
dev = "support:dev"
epochs = 0.5
[[stage]]
name = "cut"
kind = "convert"
model = "model"
to = "bi"
trim_vocab = ["texts.txt", "data:texts"]
[[stage]]
name = "small"
kind = "train.bi"
model = "stage:cut"
teacher = "stage:teach"
objective = "distil"
train = ["data:texts"]
dev = "support:dev"
epochs = 0.5
[[stage]]
name = "plan"
kind = "plan"
teacher = "stage:teach"
students = { small = "stage:small" }
dev = ["korsts:dev"]
""",
        encoding="utf-8",
    )
    own = load_recipe(tmp_path / "recipe.toml", OPTIONS)
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "elsewhere" / "chosen.toml"
    path.write_text(chosen_recipe(own, "stage:small", "small", 3.0, tmp_path), encoding="utf-8")
    found = load_recipe(path, OPTIONS)
    assert list(found.data) == ["texts"]
    assert found.data["texts"].source == str(tmp_path / "texts.txt")
    assert [stage.name for stage in found.stages] == ["teach", "cut", "small"]
    # What the student is made from, its teacher too, stays as it was.
    assert [found.stages[0].epochs, found.stages[2].epochs] == [0.5, 3.0]
    assert found.stages[1].model == str(tmp_path / "model")
    assert found.stages[1].trim_vocab == [str(tmp_path / "texts.txt"), "data:texts"]

"""Reading recipes: all mistakes at once, each with its path and the closest name, before any work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from munjang.config.load import load_recipe, parse_recipe
from munjang.config.recipe import (
    AnyModel,
    BiEncoder,
    CrossEncoder,
    DataSpec,
    Frozen,
    Neutral,
    Recipe,
    ScoredPairs,
    StageOptions,
    TrainingRows,
)
from munjang.errors import ConfigError, MissingInputError, MunjangError


class TrainBi(StageOptions):
    """Trains a bi-encoder."""

    kind: ClassVar[str] = "train-bi"
    produces: ClassVar[str] = "bi-encoder"
    base: str = "klue/roberta-small"
    pairs: list[ScoredPairs]
    epochs: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=2e-5, gt=0)
    batch_size: Annotated[int, Neutral()] = 32


class TrainCross(StageOptions):
    """Trains a cross-encoder."""

    kind: ClassVar[str] = "train-cross"
    produces: ClassVar[str] = "cross-encoder"
    pairs: ScoredPairs
    epochs: int = Field(default=1, ge=1)


class Label(StageOptions):
    """Scores pairs with a cross-encoder."""

    kind: ClassVar[str] = "label"
    produces: ClassVar[str] = "scored-pairs"
    scorer: CrossEncoder


class Evaluate(StageOptions):
    """Evaluates a model, beside another one if that is named."""

    kind: ClassVar[str] = "evaluate"
    produces: ClassVar[str] = "result"
    model: AnyModel
    beside: BiEncoder | None = None


class TrainSet(Frozen):
    """One set of a training."""

    data: TrainingRows
    objective: str = "mnrl"
    weights: tuple[float, float] = (0.5, 0.5)


class TrainMany(StageOptions):
    """Trains on several sets, each with options of its own."""

    kind: ClassVar[str] = "train-many"
    produces: ClassVar[str] = "bi-encoder"
    train: list[TrainSet] = Field(min_length=1)
    dev: TrainSet | None = None
    named: dict[str, TrainSet] = Field(default_factory=dict)


KINDS = {kind.kind: kind for kind in (TrainBi, TrainCross, Label, Evaluate)}
#: With the stage whose options hold models.
NESTED_KINDS = {**KINDS, TrainMany.kind: TrainMany}

GOOD = """
name = "augmented"
title = "Augmented SBERT"
seed = 7

[data]
gold = "korsts:train"
own = { source = "own.tsv", scale = [1, 5], columns = { sentence1 = "질문" } }

[[stage]]
kind = "train-cross"
name = "cross"
pairs = "data:gold"

[[stage]]
kind = "label"
name = "silver"
scorer = "stage:cross"

[[stage]]
kind = "train-bi"
name = "bi"
pairs = ["data:gold", "stage:silver"]
epochs = 3

[[stage]]
kind = "evaluate"
name = "test"
model = "stage:bi"
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Recipe]:
    """Writes a recipe and loads it, with overrides."""

    def write_and_load(text: str | bytes, *overrides: str) -> Recipe:
        path = tmp_path / "recipe.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_recipe(path, KINDS, overrides)

    return write_and_load


def mistakes(raw: dict[str, Any], kinds: dict[str, type[StageOptions]] = KINDS) -> list[str]:
    """The mistakes that a recipe is refused for, one a line, without the bullets."""
    with pytest.raises(ConfigError) as caught:
        parse_recipe(raw, kinds, where="recipe.toml")
    head, *lines = caught.value.what.split("\n")
    assert head.startswith(f"{len(lines)} mistake")
    assert caught.value.where == "recipe.toml"
    assert caught.value.exit_status == 78
    return [line.removeprefix("  - ") for line in lines]


def recipe(*stages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A recipe as a dictionary, with one data set named gold."""
    return {"name": "r", "data": {"gold": "korsts:train"}, "stage": list(stages), **more}


def cross(**more: Any) -> dict[str, Any]:
    """A correct stage that trains a cross-encoder."""
    return {"kind": "train-cross", "name": "cross", "pairs": "data:gold", **more}


def bi(**more: Any) -> dict[str, Any]:
    """A correct stage that trains a bi-encoder."""
    return {"kind": "train-bi", "name": "bi", "pairs": ["data:gold"], **more}


# -- good recipes


def test_a_good_recipe_comes_back_checked_and_in_order(load):
    loaded = load(GOOD)
    assert (loaded.name, loaded.title, loaded.seed) == ("augmented", "Augmented SBERT", 7)
    assert loaded.data == {
        "gold": DataSpec(source="korsts:train"),
        "own": DataSpec(source="own.tsv", scale=(1, 5), columns={"sentence1": "질문"}),
    }
    assert [(stage.kind, stage.name) for stage in loaded.stages] == [
        ("train-cross", "cross"),
        ("label", "silver"),
        ("train-bi", "bi"),
        ("evaluate", "test"),
    ]
    assert loaded.stages[2] == TrainBi(name="bi", pairs=["data:gold", "stage:silver"], epochs=3)


def test_title_and_seed_have_defaults():
    loaded = parse_recipe(recipe(cross()), KINDS, where="r")
    assert (loaded.title, loaded.seed) == ("r", 42)


def test_what_is_neither_a_stage_nor_data_is_left_to_the_stage():
    loaded = parse_recipe(recipe(bi(pairs=["pairs.tsv", "korsts:train"])), KINDS, where="r")
    assert loaded.stages[0].pairs == ["pairs.tsv", "korsts:train"]


def test_a_recipe_does_not_change_the_dictionary_it_was_made_from():
    raw = recipe(cross(), bi())
    parse_recipe(raw, KINDS, where="r")
    assert raw == recipe(cross(), bi())


# -- mistakes


def test_all_mistakes_are_listed_at_once_with_their_paths_and_closest_names():
    found = mistakes(
        {
            "name": "a/b",
            "title": 3,
            "seed": -1,
            "sede": 3,
            "data": {"gold": {"source": "x", "scael": [0, 5]}, "dev": {}, "test": {"source": "x", "scale": [5, 0]}},
            "stage": [
                {"kind": "train-bo", "name": "one"},
                {"kind": "train-bi", "name": "two", "pairs": ["a.tsv"], "epoch": 3},
                {"kind": "train-bi", "name": "three", "pairs": ["a.tsv"], "epochs": 0, "learning_rate": "fast"},
                {"kind": "train-cross", "name": "four"},
                {"kind": "label", "name": "Five", "scorer": "x"},
                "six",
            ],
        }
    )
    expected = [
        ("sede: unknown key", "'seed'"),
        ("name: ", "slashes"),
        ("title: ", "got 3"),
        ("seed: ", "got -1"),
        ("data.gold.scael: unknown key", "'scale'"),
        ("data.dev.source: ", "required"),
        ("data.test: ", "low to high"),
        ("stage.one.kind: ", "'train-bi'"),
        ("stage.two.epoch: unknown key", "'epochs'"),
        ("stage.three.epochs: ", "got 0"),
        ("stage.three.learning_rate: ", "got 'fast'"),
        ("stage.four.pairs: ", "required"),
        ("stage.Five.name: ", "got 'Five'"),
        ("stage[5]: ", "got 'six'"),
    ]
    for start, part in expected:
        assert [line for line in found if line.startswith(start) and part in line], (start, part, found)
    assert len(found) == len(expected)


REFERENCES = [
    (
        [bi(), cross(), {"kind": "label", "name": "x", "scorer": "stage:bi"}],
        "stage.x.scorer: stage:bi makes bi-encoder",
    ),
    ([bi(pairs=["stage:cross"]), cross()], "stage.bi.pairs: stage:cross comes later"),
    ([bi(pairs=["stage:bi"])], "stage.bi.pairs: stage:bi comes later"),
    ([cross(), bi(pairs=["data:gold", "stage:cross"])], "stage.bi.pairs: stage:cross makes cross-encoder"),
    ([cross(), {"kind": "label", "name": "x", "scorer": "stage:cros"}], "stage.x.scorer: stage:cros does not exist"),
    ([cross(pairs="data:glod")], "stage.cross.pairs: there is no data:glod"),
    ([cross(pairs="data:")], "stage.cross.pairs: there is no data:"),
    ([cross(pairs="stage:")], "stage.cross.pairs: stage:"),
    (
        [cross(), bi(), {"kind": "evaluate", "name": "e", "model": "stage:bi", "beside": "stage:cross"}],
        "stage.e.beside: ",
    ),
]


@pytest.mark.parametrize(("stages", "start"), REFERENCES, ids=[start for _, start in REFERENCES])
def test_a_reference_that_leads_nowhere_is_a_mistake_with_its_path(stages, start):
    found = mistakes(recipe(*stages))
    assert len(found) == 1
    assert found[0].startswith(start)


@pytest.mark.parametrize(
    ("stages", "suggestion"),
    [
        ([cross(), {"kind": "label", "name": "x", "scorer": "stage:cros"}], "did you mean 'cross'?"),
        ([cross(pairs="data:glod")], "did you mean 'gold'?"),
        ([cross(), {"kind": "label", "name": "x", "scorer": "stage:cross"}, bi(pairs=["stage:y"])], "does not exist"),
    ],
)
def test_a_misspelt_reference_names_the_closest_one(stages, suggestion):
    assert mistakes(recipe(*stages))[0].endswith(suggestion)


def test_a_reference_to_the_wrong_thing_says_what_is_expected():
    assert "expected cross-encoder" in mistakes(recipe(bi(), {"kind": "label", "name": "x", "scorer": "stage:bi"}))[0]


@pytest.mark.parametrize("broken", [bi(epochs=0), bi(kind="train-bo")], ids=["a wrong option", "an unknown kind"])
def test_a_mistake_in_a_stage_is_not_counted_again_where_the_stage_is_named(broken):
    assert len(mistakes(recipe(broken, {"kind": "evaluate", "name": "e", "model": "stage:bi"}))) == 1


def many(*sets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A stage that trains on some sets."""
    return {"kind": "train-many", "name": "bi", "train": list(sets), **more}


@pytest.mark.parametrize(
    ("stage", "start"),
    [
        (many({"data": "data:gold"}, {}), "stage.bi.train[1].data: this key is required"),
        (many({"data": "data:gold", "dta": 1}), "stage.bi.train[0].dta: unknown key; did you mean 'data'?"),
        (many({"data": 3}), "stage.bi.train[0].data: "),
        (many({"data": "data:gold", "weights": [1, "x"]}), "stage.bi.train[0].weights[1]: "),
        (many("data:gold"), "stage.bi.train[0]: "),
        (many({"data": "a"}, dev={"data": "b", "objectiv": ""}), "stage.bi.dev.objectiv: unknown key; did you mean"),
        (
            many({"data": "a"}, named={"x": {"dat": "b", "data": "c"}}),
            "stage.bi.named.x.dat: unknown key; did you mean",
        ),
        (many({"data": "a"}, trian=[]), "stage.bi.trian: unknown key; did you mean 'train'?"),
        (many({"data": "a"}, {"data": "data:glod"}), "stage.bi.train[1].data: there is no data:glod under [data]; did"),
        (many({"data": "stage:cross"}), "stage.bi.train[0].data: stage:cross makes cross-encoder, expected scored-"),
        (many({"data": "a"}, named={"x": {"data": "stage:y"}}), "stage.bi.named.x.data: stage:y does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_inside_a_nested_option_has_its_path_and_the_closest_name(stage, start):
    (found,) = mistakes(recipe(cross(), stage), NESTED_KINDS)
    assert found.startswith(start)


def test_nested_options_come_back_checked():
    loaded = parse_recipe(recipe(many({"data": "data:gold"}, {"data": "nli.tsv"})), NESTED_KINDS, where="r")
    assert loaded.stages[0].train == [TrainSet(data="data:gold"), TrainSet(data="nli.tsv")]


def test_a_wrong_part_is_a_mistake_that_says_what_is_right():
    wrong = {"gold": "korsts:train", "dev": {"source": "x", "part": [0.9, 0.1]}}
    (found,) = mistakes(recipe(cross(), data=wrong))
    assert found.startswith("data.dev: part must be two numbers from 0 to 1, from low to high, such as [0.9, 1]")


def test_two_stages_of_one_name_are_a_mistake():
    assert mistakes(recipe(cross(), cross())) == ["stage.cross: there are two stages of this name"]


@pytest.mark.parametrize("kind", [None, "", 3, True, ["train-bi"], {"a": 1}, "Train-Bi", "train_bi"], ids=repr)
def test_a_kind_that_does_not_exist_is_a_mistake(kind):
    found = mistakes(recipe(bi(kind=kind)))
    assert len(found) == 1
    assert found[0].startswith("stage.bi.kind: expected one of evaluate, label, train-bi, train-cross, got ")


def test_a_stage_without_a_name_is_found_by_its_number():
    assert mistakes(recipe(cross(), {"kind": "train-bi", "pairs": []}))[0].startswith("stage[1].name: ")


@pytest.mark.parametrize("name", ["", None, 3, "a/b", ".hidden", ["a"]], ids=repr)
def test_a_recipe_needs_a_name_fit_for_a_folder(name):
    assert [line.split(":")[0] for line in mistakes(recipe(cross(), name=name))] == ["name"]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "7", True, None], ids=repr)
def test_a_seed_is_a_whole_number(seed):
    assert [line.split(":")[0] for line in mistakes(recipe(cross(), seed=seed))] == ["seed"]


@pytest.mark.parametrize("stages", [None, [], {}, "x", 3, {"name": "x"}], ids=repr)
def test_a_recipe_needs_stages(stages):
    assert mistakes(recipe(stage=stages)) == ["stage: a recipe needs at least one [[stage]]"]


@pytest.mark.parametrize("data", [3, [], "korsts:train", [["gold"]]], ids=repr)
def test_data_is_a_table(data):
    assert any(line.startswith("data: ") for line in mistakes(recipe(bi(pairs=["a.tsv"]), data=data)))


@pytest.mark.parametrize(
    "spec", [3, [], None, {"source": 3}, {"source": "x", "sample": "many"}, {"source": ["x"]}], ids=repr
)
def test_a_wrong_data_set_is_a_mistake_with_its_path(spec):
    found = mistakes(recipe(bi(), data={"gold": "korsts:train", "bad": spec}))
    assert [line.split(":")[0].startswith("data.bad") for line in found] == [True]


def test_one_mistake_is_counted_in_the_singular():
    with pytest.raises(ConfigError, match=r"^r: 1 mistake in this recipe"):
        parse_recipe(recipe(cross(epochs=0)), KINDS, where="r")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["train-bi", "label", "data:gold", "stage:bi", "stage:x", "bi", "cross"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "name", "source", "scale", "pairs", "scorer", "epochs"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional={key: values for key in ("name", "title", "seed", "data", "stage", "extra")}))
def test_no_recipe_however_wrong_raises_anything_but_a_config_error(raw):
    with contextlib.suppress(ConfigError):
        parse_recipe(raw, KINDS, where="r")


stages = st.fixed_dictionaries(
    {"kind": st.sampled_from(sorted(KINDS)) | values},
    optional={key: values for key in ("name", "pairs", "scorer", "model", "epochs", "batch_size", "x")},
)


@given(st.lists(stages, max_size=4))
def test_no_stage_however_wrong_raises_anything_but_a_config_error(tables):
    with contextlib.suppress(ConfigError):
        parse_recipe(recipe(*tables), KINDS, where="r")


# -- files


@pytest.mark.parametrize(
    "text",
    [b"name = ", b"\xff\xfe", b"[stage", b"name = 'a'\nname = 'b'", b"\x00", "name = '가'".encode("cp949")],
    ids=repr,
)
def test_a_file_that_is_not_toml_is_a_config_error_that_names_it(load, text):
    with pytest.raises(ConfigError, match=r"recipe\.toml: this is not a TOML file"):
        load(text)


@pytest.mark.parametrize(
    "value", ["[" * 5000, "9" * 5000, "{a=" * 5000, "1979-13-45", "0x" + "f" * 20000], ids=lambda v: v[:8]
)
def test_a_toml_bomb_is_a_config_error(load, value):
    with pytest.raises(ConfigError):
        load(f'name = "a"\nseed = {value}\n')


def test_a_missing_recipe_is_a_missing_input(tmp_path):
    with pytest.raises(MissingInputError, match=r"gone\.toml") as caught:
        load_recipe(tmp_path / "gone.toml", KINDS)
    assert caught.value.exit_status == 66


def test_a_folder_is_not_a_recipe(tmp_path):
    with pytest.raises(MunjangError, match=tmp_path.name):
        load_recipe(tmp_path, KINDS)


# -- overrides


@pytest.mark.parametrize(
    ("override", "of", "expected"),
    [
        ("seed=9", lambda r: r.seed, 9),
        ("title=새 이름", lambda r: r.title, "새 이름"),
        ('title="quoted = yes"', lambda r: r.title, "quoted = yes"),
        ("name=other", lambda r: r.name, "other"),
        ("stage.bi.epochs=5", lambda r: r.stages[2].epochs, 5),
        ("stage.bi.learning_rate=1e-4", lambda r: r.stages[2].learning_rate, 1e-4),
        ("stage.bi.base=klue/roberta-base", lambda r: r.stages[2].base, "klue/roberta-base"),
        ('stage.bi.pairs=["data:own"]', lambda r: r.stages[2].pairs, ["data:own"]),
        ("stage.test.beside=stage:bi", lambda r: r.stages[3].beside, "stage:bi"),
        ("data.gold=mine.tsv", lambda r: r.data["gold"], DataSpec(source="mine.tsv")),
        ("data.gold.source=mine.tsv", lambda r: r.data["gold"], DataSpec(source="mine.tsv")),
        ("data.gold.sample=100", lambda r: r.data["gold"], DataSpec(source="korsts:train", sample=100)),
        ("data.own.scale=[0, 10]", lambda r: r.data["own"].scale, (0, 10)),
        ("data.own.columns.score=점수", lambda r: r.data["own"].columns, {"sentence1": "질문", "score": "점수"}),
        ("data.extra=more.tsv", lambda r: r.data["extra"], DataSpec(source="more.tsv")),
    ],
)
def test_an_override_takes_the_place_of_a_value(load, override, of, expected):
    assert of(load(GOOD, override)) == expected


def test_overrides_are_applied_in_order(load):
    assert load(GOOD, "seed=1", "seed=2", "stage.bi.epochs=4").seed == 2


def test_a_data_set_in_short_form_takes_several_overrides(load):
    loaded = load(GOOD, "data.gold.sample=10", "data.gold.scale=[0, 4]")
    assert loaded.data["gold"] == DataSpec(source="korsts:train", sample=10, scale=(0, 4))


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("seed", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("", "KEY=VALUE"),
        ("stage.bo.epochs=2", "'bo'"),
        ("stage.0.epochs=2", "'0'"),
        ("data.silver.source=x", "'silver'"),
        ("stages.bi.epochs=2", "'stages'"),
        ("seed.x=2", "seed.x"),
        ("stage.bi=2", "stage.bi"),
        ("stage.bi.epochs.x=2", "stage.bi.epochs.x"),
    ],
)
def test_an_override_that_names_nothing_is_refused_with_its_text(load, override, part):
    with pytest.raises(ConfigError) as caught:
        load(GOOD, override)
    assert caught.value.where == f"--set {override}"
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "start"),
    [
        ("sede=3", "sede: unknown key; did you mean 'seed'?"),
        ("seed=many", "seed: "),
        ("stage.bi.epoch=2", "stage.bi.epoch: unknown key; did you mean 'epochs'?"),
        ("stage.bi.epochs=two", "stage.bi.epochs: "),
        ("stage.bi.epochs=1.5", "stage.bi.epochs: "),
        ("data.gold.scale=5", "data.gold.scale: "),
        ("data.gold.scales=5", "data.gold.scales: unknown key; did you mean 'scale'?"),
        ("stage.test.model=stage:silver", "stage.test.model: stage:silver makes scored-pairs"),
        ("stage=3", "stage: "),
    ],
)
def test_an_override_is_checked_like_the_recipe(load, override, start):
    with pytest.raises(ConfigError) as caught:
        load(GOOD, override)
    assert f"\n  - {start}" in caught.value.what


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000], ids=["a number of 5,000 digits", "5,000 brackets"])
def test_a_bomb_in_an_override_is_a_config_error(load, value):
    with pytest.raises(ConfigError):
        load(GOOD, f"seed={value}")


def test_an_override_is_one_value_and_nothing_after_it_is_dropped(load):
    with pytest.raises(ConfigError):
        load(GOOD, "seed=1\nextra = 2")


@given(
    st.text(max_size=30)
    | st.builds("{}.{}={}".format, st.sampled_from(["stage.bi", "data.gold"]), st.text(), st.text())
)
def test_no_override_raises_anything_but_a_config_error(scratch, override):
    with contextlib.suppress(ConfigError):
        load_recipe(scratch("recipe.toml", GOOD), KINDS, (override,))

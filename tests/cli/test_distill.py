"""munjang distill plan: students tried, measured and one taken; gone on with where it was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

import munjang.stages.planning
from munjang.config.load import load_recipe
from munjang.data.catalog import SAMPLE_FOLDER
from munjang.stages.registry import OPTIONS
from tests.pages import Page

Run = Callable[..., tuple[int, str, str]]

SETS = ["--data", "support-raw", "--dev", "support:dev", "--exclude", "support:test"]


def plan(teacher: Path, *more: object) -> tuple[object, ...]:
    return ("distill", "plan", teacher, *SETS, "--budget-minutes", "5", "--epochs", "1", "--out", "run", *more)


def test_students_are_tried_and_the_chosen_one_is_trained_in_full(run: Run, tiny_bi: Path) -> None:
    status, printed, errors = run(*plan(tiny_bi, "--json"))
    assert status == 0, errors
    report = json.loads(printed)
    by_label = {one["label"]: one for one in report["models"]}
    assert [(one["label"], one["layers"]) for one in report["models"]] == [("teacher", 2), ("whole", 2), ("even-1", 1)]
    # All layers of the teacher give its vectors: there is nothing to train.
    assert by_label["whole"]["training"] == {}
    assert by_label["whole"]["dev"] == pytest.approx(by_label["teacher"]["dev"], abs=1e-3)
    assert by_label["even-1"]["training"]["epochs"] == 1.0
    assert by_label["even-1"]["parameters"] < by_label["teacher"]["parameters"]
    assert all(one["per_second"] > 0 and one["bytes"] > 10_000 for one in report["models"])
    assert [one["label"] for one in report["models"] if one["chosen"]] == [report["chosen"]]
    assert by_label[report["chosen"]]["dev"] >= report["least_dev"]
    assert (by_label[report["chosen"]]["front"], by_label["teacher"]["front"]) == (True, False)

    status, printed, _ = run(*plan(tiny_bi))
    assert status == 0
    for said in ("even-1", "chosen", "plan.html", "run/recipe.toml", f"run {report['files']['next']}"):
        assert said in printed
    status, printed, _ = run("run", report["files"]["next"], "--out", "full", "--json", "--allow-regression")
    stages = json.loads(printed)["stages"]
    assert (status, stages[-1]["name"]) == (0, f"train-{report['chosen']}" if len(stages) > 1 else "convert-whole")
    model = SentenceTransformer(str(Path(stages[-1]["directory"]) / "model"), device="cpu")
    assert model.encode(["환불은 언제 되나요?"]).shape == (1, 32)


def test_the_recipe_holds_what_was_asked_for(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_bytes((SAMPLE_FOLDER / "raw.txt").read_bytes())
    arguments = [
        "--data",
        "texts.txt",
        "--dev",
        "support:dev",
        "support-parallel",
        "--trim",
        "--keep-scripts",
        "digits",
    ]
    status, printed, errors = run("distill", "plan", tiny_bi.name, *arguments, "--out", "a/b", "--epochs", "1")
    assert status == 66  # a folder by that name is not here
    (tmp_path / tiny_bi.name).symlink_to(tiny_bi)
    status, printed, errors = run(
        "distill", "plan", tiny_bi.name, *arguments, "--out", "a/b", "--epochs", "1", "--json"
    )
    assert status == 0, errors
    recipe = load_recipe(tmp_path / "a" / "b" / "recipe.toml", OPTIONS)
    stages = {stage.name: stage for stage in recipe.stages}
    assert list(stages) == ["convert-whole", "convert-even-1", "train-even-1", "plan"]
    # Named from the working directory, read from the folder of the recipe.
    assert Path(stages["plan"].teacher).is_absolute()
    assert [Path(spec.source) for spec in recipe.data.values()] == [tmp_path / "texts.txt"]
    cut, trained, measured = stages["convert-even-1"], stages["train-even-1"], stages["plan"]
    assert (cut.trim_vocab, cut.keep_scripts, cut.keep_layers) == (["data:texts.txt"], ["digits"], "even-1")
    assert (trained.objective, trained.dev, trained.exclude) == ("distil", ["support:dev", "support-parallel"], [])
    assert measured.students == {"whole": "stage:convert-whole", "even-1": "stage:train-even-1"}
    report = json.loads(printed)
    assert list(report["models"][0]["dev_by_set"]) == ["support:dev", "support-parallel"]
    assert report["models"][0]["dev"] == pytest.approx(sum(report["models"][0]["dev_by_set"].values()) / 2)
    page = Page(Path(report["files"]["page"]).read_text(encoding="utf-8"))
    assert sum(tag == "svg" for tag, _ in page.tags) == 2
    assert sum(tag == "circle" for tag, _ in page.tags) == 2 * len(report["models"])
    assert "mean over the sets" in page.of_language("en")
    assert "여러 데이터의 평균" in page.of_language("ko")
    assert not any("http" in (value or "") for tag, attributes in page.tags for value in attributes.values())


def test_a_killed_plan_goes_on_with_its_recipe(run: Run, tiny_bi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(munjang.stages.planning, "run_plan", killed)
        assert run(*plan(tiny_bi))[0] == 130
    before = Path("run/recipe.toml").read_bytes()
    trained = next(Path("run/stages").glob("train-even-1-*/report.json")).stat().st_mtime_ns
    # The machine is another one now: what it could train in that time is not asked again.
    monkeypatch.setattr("munjang.api.distilling.probe", killed)
    status, _, errors = run(*plan(tiny_bi))
    assert status == 0, errors
    assert "going on with run/recipe.toml" in errors
    assert Path("run/recipe.toml").read_bytes() == before
    assert next(Path("run/stages").glob("train-even-1-*/report.json")).stat().st_mtime_ns == trained
    # Other arguments are another plan, which has to know the speed.
    assert run(*plan(tiny_bi, "--keep", "0.5"))[0] == 130


def test_a_start_beside_the_teacher_is_measured_and_all_of_its_students_learn(
    run: Run, tiny_bi: Path, tmp_path: Path
) -> None:
    from munjang.api import run_stage
    from munjang.train.options import TrainBiOptions

    sets = {"train": ["support-raw"], "dev": "support:dev", "objective": "distil", "epochs": 0.1}
    other = TrainBiOptions(name="other", model=str(tiny_bi), teacher=str(tiny_bi), **sets)
    run_stage(other, tmp_path / "other")
    status, printed, errors = run(*plan(tiny_bi, "--model", tmp_path / "other" / "model", "--json"))
    assert status == 0, errors
    report = json.loads(printed)
    assert [one["role"] for one in report["models"]] == ["teacher", "start", "student", "student"]
    assert all(one["training"] for one in report["models"][2:])


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--data", "support-raw"], 2, "required and not given: --dev"),
        (["--data", "support-raw", "--dev", "support:dev", "--budget-minutes", "0.0001"], 78, "at least 0.0"),
        (["--data", "support-raw", "--dev", "support:dev", "--budget-minutes", "0"], 2, "--budget-minutes"),
        (["--data", "support:dev", "--dev", "support:dev"], 78, "these are the rows of --data support:dev too"),
        (
            ["--data", "support-raw", "--dev", "support:dev", "--exclude", "copy.tsv", "--scale", "0", "5"],
            78,
            "copy.tsv",
        ),
        (["--data", "support-raw", "--dev", "support-raw:x"], 66, "--dev support-raw:x"),
        (["--data", "suport-raw", "--dev", "support:dev"], 66, "did you mean support-raw?"),
        (["--data", "support-raw", "--dev", "support-parallel", "support-queries"], 65, "--dev support-queries"),
        (["--data", "support-raw", "--dev", "support:dev", "--keep", "1.5"], 2, "--keep"),
        (["--data", "support-raw", "--dev", "support:dev", "--keep-scripts", "hangul"], 78, "or set --trim"),
        (["--data", "support-raw", "--dev", "support:dev", "--epochs", "0.1"], 65, "too few texts to train on"),
        (["--data", "support-raw", "--dev", "support:dev", "--model", "nowhere"], 66, "--model nowhere"),
    ],
)
def test_a_plan_that_cannot_be_is_one_error_and_leaves_nothing(
    arguments: list[str], status: int, said: str, run: Run, tiny_bi: Path, tmp_path: Path
) -> None:
    (tmp_path / "copy.tsv").write_bytes((SAMPLE_FOLDER / "pairs-dev.tsv").read_bytes())
    found, printed, errors = run("distill", "plan", tiny_bi, *arguments)
    assert (found, printed) == (status, "")
    assert said in errors
    assert [path.name for path in tmp_path.iterdir()] == ["copy.tsv"]


def test_a_cross_encoder_is_no_teacher(run: Run, tiny_cross: Path, tmp_path: Path) -> None:
    status, _, errors = run("distill", "plan", tiny_cross, *SETS)
    assert status == 65
    for said in ("this model is of another kind", "expected: bi-encoder", "hint: name a bi-encoder"):
        assert said in errors
    assert list(tmp_path.iterdir()) == []


def test_the_group_alone_prints_its_help(run: Run) -> None:
    status, printed, _ = run("distill")
    assert (status, "plan" in printed, "Try several students" in printed) == (0, True, True)


@pytest.mark.parametrize("arguments", [["--help"], ["nowhere", "--data", "support-raw", "--dev", "support:dev"]])
def test_help_and_errors_load_no_torch(arguments: list[str], python: Callable[..., object]) -> None:
    code = (
        f"import sys; from munjang.cli.app import run_command; run_command(['distill', 'plan', *{arguments}]);"
        "print([name for name in ('torch', 'transformers') if name in sys.modules], file=sys.stderr)"
    )
    _, errors = python(code).communicate()
    assert errors.splitlines()[-1] == "[]"

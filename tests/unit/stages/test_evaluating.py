"""The stage evaluate: what was measured is kept, what is new is measured, and what a model has seen is said."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from munjang import api
from munjang.data.rows import ScoredPair
from munjang.errors import ConfigError, DataError, UsageError
from munjang.models.record import record_of, write_record
from munjang.progress import Show
from munjang.stages import evaluating

SETS = ["support:dev", "pair-classification@support:dev"]


class Words:
    """What was said, and how often a model was measured."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.measured: list[tuple[str, list[str]]] = []

    @property
    def show(self) -> Show:
        """To hand on."""
        return Show(say=self.lines.append)


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Words:
    words, measure = Words(), evaluating.measure

    def counted(models, sets, **options):
        if sets:
            words.measured.append((models[0].label, [one.name for one in sets]))
        return measure(models, sets, **options)

    monkeypatch.setattr(evaluating, "measure", counted)
    return words


def test_a_second_evaluation_measures_what_is_new_alone(
    tiny_bi: Path, tiny_cross: Path, tmp_path: Path, words: Words
) -> None:
    out = tmp_path / "results"
    first, changed, _ = api.evaluate({"bi": str(tiny_bi)}, SETS, out, show=words.show)
    assert (words.measured, changed) == ([("bi", SETS)], [])
    words.measured.clear()
    models = {"bi": str(tiny_bi), "cross": str(tiny_cross)}
    second, changed, _ = api.evaluate(models, SETS, out, baseline="bi", show=words.show)
    assert words.measured == [("cross", SETS)]
    assert "  bi: 2 of 2 sets were measured before" in words.lines
    assert [(c.label, c.reason) for c in changed] == [("cross", "new")] * 2
    assert second.cell("bi", SETS[0]).estimates == first.cell("bi", SETS[0]).estimates
    assert second.cell("cross", SETS[0]).against.other == "bi"
    assert (out / "report.html").stat().st_size > 1_000_000
    assert json.loads((out / "results.json").read_text(encoding="utf-8")) == second.as_dict()


CLASSES = "text\tlabel\n" + "".join(f"문장 {n}\t{n % 3}\n" for n in range(12))
#: Model and set -> the settings that have it measured again.
DEPENDS = {
    ("bi", "support:dev"): {"similarities"},
    ("bi", "pair-classification@support:dev"): set(),
    ("bi", "support-search"): set(),
    ("bi", "clustering@classes.tsv"): {"seed"},
    ("cross", "support:dev"): {"symmetric"},
    ("cross", "pair-classification@support:dev"): {"symmetric"},
    ("both", "support-search"): {"rerank"},
}


def test_a_setting_has_measured_again_what_it_can_change_and_nothing_else(
    tiny_bi: Path, tiny_cross: Path, tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluating, "compare", partial(evaluating.compare, resamples=10))
    Path("classes.tsv").write_text(CLASSES, encoding="utf-8")
    models = {
        "bi": str(tiny_bi),
        "cross": str(tiny_cross),
        "both": {"model": str(tiny_bi), "reranker": str(tiny_cross)},
    }
    sets = list(dict.fromkeys(name for _, name in DEPENDS))
    first = api.evaluate(models, sets, "results").table
    assert {(cell.label, cell.set) for cell in first.cells} == set(DEPENDS)
    for setting, value in {"symmetric": False, "similarities": ["dot"], "rerank": 5, "seed": 7}.items():
        words.measured.clear()
        api.evaluate(models, sets, "results", **{setting: value})
        again = {(label, name) for label, names in words.measured for name in names} & set(DEPENDS)
        assert again == {cell for cell, settings in DEPENDS.items() if setting in settings}, setting


def test_a_killed_evaluation_keeps_what_it_measured(
    tiny_bi: Path, tmp_path: Path, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, add = tmp_path / "results", evaluating.Results.add

    def add_one_and_die(self, key, measurement) -> None:
        add(self, key, measurement)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluating.Results, "add", add_one_and_die)
        with pytest.raises(KeyboardInterrupt):
            api.evaluate({"bi": str(tiny_bi)}, SETS, out)
    words.measured.clear()
    api.evaluate({"bi": str(tiny_bi)}, SETS, out)
    assert words.measured == [("bi", SETS[1:])]


def test_what_a_model_was_trained_on_is_flagged(tiny_bi: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    shutil.copytree(tiny_bi, seen)
    pairs = api_rows("support:dev")
    write_record(seen, record_of([*pairs[:7], "그저 한 문장"]))
    models = {"unknown": str(tiny_bi), "seen": str(seen)}
    table, _, _ = api.evaluate(models, ["support:dev", "support:test"], tmp_path / "results", baseline="unknown")
    assert table.cell("unknown", "support:dev").first.contamination is None
    flagged = table.cell("seen", "support:dev").first.contamination
    assert (flagged["units"], flagged["of_units"]) == (7, len(pairs))
    assert table.cell("seen", "support:test").first.contamination["units"] == 0
    page = (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    assert f"seen in training: 7 rows, {flagged['texts']} texts" in page


def api_rows(name: str) -> list[ScoredPair]:
    from munjang.config.recipe import DataSpec
    from munjang.data.load import load_rows

    return load_rows(DataSpec(source=name), ("scored-pairs",), Path()).rows


def test_one_page_of_several_folders(tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    api.evaluate({"model": str(tiny_bi)}, ["support:dev"], tmp_path / "one")
    api.evaluate({"model": str(tiny_cross), "same": str(tiny_bi)}, ["support:dev"], tmp_path / "two")
    table = api.report([tmp_path / "one", tmp_path / "two"], tmp_path / "page", baseline="model")
    assert table.labels == ["model", "model (two)", "same"]
    assert table.cell("same", "support:dev").against.verdict == "tie"
    assert (tmp_path / "page" / "report.html").is_file()
    with pytest.raises(UsageError, match="the baseline was not measured"):
        api.report([tmp_path / "one"], tmp_path / "page", baseline="no such model")


def test_a_folder_of_other_things_is_left_alone(tiny_bi: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="something else than results"):
        api.evaluate({"bi": str(tiny_bi)}, ["support:dev"], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_one_model_under_two_labels_and_one_set_under_two_names(tiny_bi: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.tsv").write_text(
            "sentence1\tsentence2\tscore\n" + "".join(f"문장 {n}\t글 {n * n}\t{n % 5}\n" for n in range(12)),
            encoding="utf-8",
        )
    sets = [str(tmp_path / f"{name}.tsv") for name in ("one", "two")]
    models = {"a": str(tiny_bi), "b": str(tiny_bi)}
    for _ in range(2):
        table, _, _ = api.evaluate(models, sets, tmp_path / "results", baseline="a", scale=(0, 4))
        assert [(c.label, c.set) for c in table.cells] == [(label, name) for label in models for name in sets]
        assert {c.against.verdict for c in table.cells if c.against} == {"tie"}


def test_the_same_model_twice_is_no_two_runs(tiny_bi: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stands here twice"):
        api.evaluate({"a": [str(tiny_bi), str(tiny_bi)]}, ["support:dev"], tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_the_run_that_has_seen_most_flags_its_cell(tiny_bi: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    shutil.copytree(tiny_bi, seen)
    write_record(seen, record_of(api_rows("support:dev")[:5]))
    table, _, _ = api.evaluate({"m": [str(tiny_bi), str(seen)]}, ["support:dev"], tmp_path / "results")
    assert table.cells[0].as_dict()["contamination"]["units"] == 5


def test_a_gate_of_unknown_names_stops_before_any_work(tiny_bi: Path, tmp_path: Path) -> None:
    gates = tmp_path / "gates.toml"
    gates.write_text('[[gate]]\nmodel = "x"\non = "y"\nat_least = 1\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"gates\.toml: gate\[0\]\.model = 'x'.*gate\[0\]\.on = 'y'"):
        api.evaluate({"m": str(tiny_bi)}, ["support:dev"], tmp_path / "results", gate=gates)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("models", "option", "words"),
    [
        (["bi"], {"rerank": 5}, "a bi-encoder with a cross-encoder behind it on retrieval"),
        (["bi", "cross"], {"rerank": 5}, "without effect here: rerank = 5"),
        (["bi"], {"symmetric": False}, "a cross-encoder on sts or pair-classification"),
        (["cross"], {"similarities": ["dot"]}, "a bi-encoder on sts"),
        (["bi"], {"baseline": "bi"}, "a second model"),
    ],
)
def test_an_option_without_effect_is_refused(
    models: list[str], option: dict, words: str, tiny_bi: Path, tiny_cross: Path, tmp_path: Path
) -> None:
    folders = {"bi": str(tiny_bi), "cross": str(tiny_cross)}
    with pytest.raises(UsageError, match=words):
        api.evaluate({name: folders[name] for name in models}, ["support:dev"], tmp_path / "results", **option)
    assert not (tmp_path / "results").exists()

"""The doctor reads leniently, compares with known test sets, and leaves a page; the stage stops at errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from munjang import api
from munjang.config.recipe import DataSpec, Recipe
from munjang.data.catalog import known_tests
from munjang.data.lint import Finding
from munjang.errors import ConfigError, DataError, MissingInputError, UsageError
from munjang.files import damage
from munjang.pipeline.stage import Context
from munjang.stages.doctor import DoctorOptions, run_doctor

Look = Callable[..., dict[str, Finding]]
Model = Callable[..., Path]
Write = Callable[..., str]
Pairs = Callable[[int, int], list[tuple[str, str, float]]]
SCALE = {"scale": (0, 5)}


def test_a_set_that_cannot_be_read_does_not_hide_the_others(
    look_at: Look, write_pairs: Write, pairs: Pairs, tmp_path: Path
) -> None:
    good = write_pairs("good.tsv", [*pairs(0, 60), ("가", "나", "높음")])
    (tmp_path / "broken.tsv").write_bytes("sentence1\tsentence2\tscore\n환불은 며칠\t나\t3\n".encode() + b"\xed\x99\n")
    found = look_at("broken.tsv", good, **SCALE)
    assert (found["unreadable"].severity, found["unreadable"].where) == ("error", "broken.tsv")
    assert "cannot decode this file" in found["unreadable"].message
    assert found["rejected-rows"].where == "good.tsv"
    with pytest.raises(DataError, match="cannot decode this file"):
        look_at("broken.tsv", **SCALE)
    with pytest.raises(MissingInputError):
        look_at("gone.tsv", good, **SCALE)


def test_nothing_to_look_at_and_options_without_effect(look_at: Look) -> None:
    for options in ({}, {"teacher": "bundled:minilm", "recipe": "x.toml"}):
        with pytest.raises(UsageError):
            look_at(**options)


def test_a_model_alone_is_looked_at_even_if_it_cannot_be_loaded(look_at: Look, paper_model: Model) -> None:
    folder = paper_model()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert look_at(model=str(folder))["pickled-weights"].severity == "error"
    with pytest.raises(MissingInputError, match="no such model"):
        look_at(model="./gone")


def test_known_test_sets_on_this_machine_are_compared(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    lines = (real_data / "korsts" / "sts-test.tsv").read_text(encoding="utf-8").split("\n")
    leaked = [line.split("\t")[5] for line in lines[1:31]]
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"{text}\n" for text in leaked), encoding="utf-8")
    found = api.examine([str(path)])
    compared = found.as_dict()["known_tests"]
    assert {"korsts:test", "kornli:test", "stsb:test", "park:test", "jhe:eval", "support:test"} <= set(
        compared["compared"]
    )
    assert "klue-sts:dev" in compared["not_here"]
    finding = next(f for f in found.findings if f.code == "leakage")
    assert (finding.severity, finding.where) == ("warning", f"{path} / korsts:test")
    assert finding.message.startswith(f"{len(set(leaked))} sentences")
    alone = api.examine([str(path)], known_tests=False)
    assert (alone.tests, [f.code for f in alone.findings if f.code == "leakage"]) == ({}, [])
    # Named themselves they are no strangers, and what is held out is not compared with other tests.
    assert api.examine(["korsts:test"]).tests == {}
    assert "korsts:test" not in api.examine(["korsts:train", "korsts:test"]).tests


def test_known_test_sets_are_those_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    tests = known_tests()
    assert [name for name, here in tests.items() if here] == ["support:test"]
    assert {"korsts:test", "klue-sts:dev", "jhe:eval", "stsb_multi_mt:de:test"} <= set(tests)
    assert "korsts:dev" not in tests


def test_korsts_has_what_its_readme_says(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    found = {(f.code, f.where): f for f in api.doctor(["korsts:train", "korsts:dev", "korsts:test"])}
    shared = {where: f.message for (code, where), f in found.items() if code == "leakage"}
    assert shared == {
        "korsts:train / korsts:dev": "166 sentences and 3 whole pairs are in both sets",
        "korsts:train / korsts:test": "153 sentences and 2 whole pairs are in both sets",
        "korsts:dev / korsts:test": "85 sentences and 6 whole pairs are in both sets",
    }
    eight = found["identical-below-maximum", "korsts:train"]
    assert eight.message == "8 pairs are identical strings with a score below the maximum"
    assert not [f for f in found.values() if f.severity == "error"]


def test_the_report_is_a_folder_that_is_whole(
    look_at: Look, write_pairs: Write, pairs: Pairs, paper_model: Model
) -> None:
    name = write_pairs("gold.tsv", [*pairs(0, 60), ("가", "나", "<높음>")])
    model = paper_model()
    look_at(name, model=str(model), out="report", **SCALE)
    out = Path("report")
    assert damage(out) is None
    said = json.loads((out / "findings.json").read_text(encoding="utf-8"))
    assert said["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert [f["code"] for f in said["findings"]] == ["rejected-rows"]
    assert (said["read"][0]["encoding"], said["read"][0]["rejected"]) == ("utf-8-sig", 1)
    assert 0 < said["tokens"][str(model)]["gold.tsv"]["tokens_per_character"] < 1.2
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "&lt;높음&gt;" in page
    assert "<높음>" not in page
    with pytest.raises(ConfigError, match="exists already"):
        look_at(name, out="report", **SCALE)


def test_an_option_of_the_stage_without_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="teacher has no effect without model"):
        DoctorOptions(name="d", data=["support:dev"], teacher="bundled:minilm")


def test_the_stage_writes_its_findings_or_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"문장 {n}\t문장 {n}\t{n % 6}\n" for n in range(20))
    (tmp_path / "same.tsv").write_text(f"sentence1\tsentence2\tscore\n{rows}", encoding="utf-8")
    options = DoctorOptions(name="d", data=["data:same"], stop_on_error=False)
    spec = {"same": DataSpec(source="same.tsv", scale=(0, 5))}
    said: list[str] = []
    context = Context(Recipe("r", "r", 1, spec, (options,)), tmp_path, {}, "cpu", say=said.append)
    report = run_doctor(options, context, tmp_path)
    assert report["findings"]["error"] == 1
    assert report["known_tests"] == {"compared": [], "not_here": []}
    assert (tmp_path / "findings.json").is_file()
    assert (tmp_path / "report.html").is_file()
    assert any(line.startswith("  error: same: both sentences are the same") for line in said)
    with pytest.raises(DataError, match="both sentences are the same"):
        run_doctor(options.model_copy(update={"stop_on_error": True}), context, tmp_path)
    assert options.fingerprint_arguments() == options.model_copy(update={"stop_on_error": True}).fingerprint_arguments()


def test_the_doctor_needs_no_model_libraries(python: Callable[..., object], tmp_path: Path) -> None:
    code = (
        "import sys; from munjang import api; "
        "api.examine(['support:train'], recipe=sys.argv[1]); "
        "print(*(name for name in ('torch', 'transformers', 'sentence_transformers') if name in sys.modules))"
    )
    recipe = tmp_path / "r.toml"
    recipe.write_text('name = "r"\n[[stage]]\nname = "d"\nkind = "doctor"\ndata = ["support:dev"]\n', encoding="utf-8")
    printed, problems = python(code, recipe).communicate()
    assert (printed.strip(), problems) == ("", "")

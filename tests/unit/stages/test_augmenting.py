"""The stages mine, label and choose on a planted corpus, with models of random weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from munjang import api
from munjang.api import checked_options
from munjang.augment.gate import GateError
from munjang.augment.options import LabelClassesOptions, LabelOptions, LabelTripletsOptions, MineOptions
from munjang.augment.teachers import Teacher
from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import pair_key
from munjang.engine.certificate import Certificate
from munjang.errors import ConfigError, DataError
from munjang.evaluate.options import ChooseOptions
from munjang.text import match_key
from munjang.train.options import TrainBiOptions

STRATEGIES = ["random", "kde", "bm25", "semantic", "bm25+semantic", "all"]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs: Callable, write_pairs: Callable) -> Path:
    """A corpus whose raw sentences are those of gold, dev and test, turned, doubled, and in other spellings."""
    gold, dev, test = pairs(0, 40), pairs(40, 30), pairs(70, 20)
    write_pairs("gold.tsv", gold)
    write_pairs("dev.tsv", dev)
    write_pairs("test.tsv", test)
    texts = [text for row in [*gold, *dev, *test] for text in row[:2]]
    raw = [*texts, *(text.upper() + " " for text in texts), *(f"  {text}" for text in texts), *texts]
    (tmp_path / "raw.txt").write_text("\n".join(raw) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


DATA = {
    name: DataSpec(source=f"{name}.tsv" if name != "raw" else "raw.txt", scale=(0, 5) if name != "raw" else None)
    for name in ("gold", "dev", "test", "raw")
}


def mine(planted: Path, tiny_bi: Path, tiny_cross: Path, strategy: str, out: str = "pairs") -> dict[str, Any]:
    chosen: Any = ["random", "kde", "bm25", "semantic"] if strategy == "all" else strategy
    kde = strategy in ("kde", "all")
    options = MineOptions(
        name="pairs",
        sentences=["data:raw"],
        strategies=chosen,
        model=str(tiny_bi),
        scorer=str(tiny_cross) if kde else None,
        exclude=["data:gold"],
        held_out=["data:dev", "data:test"],
        max_pairs=60,
    )
    return api.run_stage(options, planted / out, data=DATA)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_silver_holds_no_gold_dev_test_reversed_or_identical_pair(
    strategy: str, planted: Path, tiny_bi: Path, tiny_cross: Path
) -> None:
    mine(planted, tiny_bi, tiny_cross, strategy)
    label = LabelOptions(
        name="silver", model=str(tiny_cross), pairs=str(planted / "pairs" / "pairs.parquet"), force=True
    )
    api.run_stage(label, planted / "silver", data={})
    silver = pyarrow.parquet.read_table(planted / "silver" / "pairs.parquet").to_pylist()
    keys = [pair_key(row["sentence1"], row["sentence2"]) for row in silver]
    rows = {name: load_rows(DATA[name], ("scored-pairs",), planted).rows for name in ("gold", "dev", "test")}
    known = {pair_key(row[0], row[1]) for some in rows.values() for row in some}
    held_out = {match_key(text) for name in ("dev", "test") for row in rows[name] for text in row[:2]}
    assert len(keys) > 20
    assert known.isdisjoint(keys)
    assert len(set(keys)) == len(keys)
    assert all(first != second for first, second in keys)
    assert all(text not in held_out for pair in keys for text in pair)
    assert all(0 <= row["score"] <= 1 for row in silver)


def test_mined_pairs_say_where_they_come_from(planted: Path, tiny_bi: Path, tiny_cross: Path) -> None:
    report = mine(planted, tiny_bi, tiny_cross, "all")
    table = pyarrow.parquet.read_table(planted / "pairs" / "pairs.parquet").to_pylist()
    assert sum(report["strategies"].values()) == len(table) == report["pairs"]
    for row in table:
        assert (row["rank"] > 0) == (row["strategy"] in ("semantic", "bm25"))
        assert (row["found_score"] is None) == (row["strategy"] == "random")
        assert -1.001 <= row["cosine"] <= 1.001
        assert row["found_by"]


def test_the_same_seed_mines_the_same_pairs(planted: Path, tiny_bi: Path, tiny_cross: Path) -> None:
    mine(planted, tiny_bi, tiny_cross, "all", "one")
    mine(planted, tiny_bi, tiny_cross, "all", "two")
    one, two = (pyarrow.parquet.read_table(planted / name / "pairs.parquet") for name in ("one", "two"))
    assert one.equals(two)


# -- labels


def label(planted: Path, out: str, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if not (planted / "given.tsv").exists():
        rows = load_rows(DATA["gold"], ("scored-pairs",), planted).rows
        lines = ["sentence1\tsentence2", *("\t".join(row[:2]) for row in rows)]
        (planted / "given.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    kind = options.pop("kind", LabelOptions)
    report = api.run_stage(
        kind(**{"name": "silver", "pairs": "data:given", **options}),
        planted / out,
        data={**DATA, "given": DataSpec(source="given.tsv"), "judge": DataSpec(source="judge.tsv", scale=(0, 1))},
    )
    return report, pyarrow.parquet.read_table(planted / out / "pairs.parquet").to_pylist()


def test_given_pairs_are_labelled_as_they_are(planted: Path, tiny_cross: Path) -> None:
    report, rows = label(planted, "silver", model=str(tiny_cross), force=True)
    assert len(rows) == 40
    assert {row["strategy"] for row in rows} == {"given"}
    assert sum(report["histogram"]) == 40
    assert (planted / "silver" / "silver.html").is_file()


def judged_by(planted: Path, model: Path) -> str:
    """A dev set whose gold is what a model says."""
    pairs = [row[:2] for row in load_rows(DATA["dev"], ("scored-pairs",), planted).rows]
    scores = Teacher("gold", model, "cpu").scores(pairs).mean(axis=1)
    lowest, highest = scores.min(), scores.max()
    lines = [f"{a}\t{b}\t{(s - lowest) / (highest - lowest):.4f}" for (a, b), s in zip(pairs, scores, strict=True)]
    (planted / "judge.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *lines]) + "\n", encoding="utf-8")
    return "data:judge"


def test_a_teacher_that_is_no_better_than_its_student_is_stopped_and_can_be_forced(
    planted: Path, tiny_cross: Path, tiny_bi: Path
) -> None:
    options = {"model": str(tiny_cross), "student": str(tiny_bi), "dev": judged_by(planted, tiny_bi)}
    with pytest.raises(GateError, match=r"the student 99\.") as caught:
        label(planted, "stopped", **options)
    assert "stage.silver.force = true" in str(caught.value)
    assert not (planted / "stopped").exists()
    report, _ = label(planted, "forced", **options, force=True)
    assert report["gate"]["forced"]
    assert not report["gate"]["passed"]
    assert report["gate"]["difference"][2] < 0


def test_a_teacher_that_is_better_may_teach(planted: Path, tiny_cross: Path, tiny_bi: Path) -> None:
    options = {"model": str(tiny_cross), "student": str(tiny_bi), "dev": judged_by(planted, tiny_cross)}
    report, rows = label(planted, "silver", **options, force=True)
    assert report["gate"]["checks"][0]["passed"]
    assert report["teachers"][0]["dev"] > 99.9
    assert report["student"]["dev"] < 90
    lines = (planted / "silver" / "contested.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) - 1 == report["contested"] == len(rows)


def test_an_export_labels_as_torch_does_and_is_made_once(
    planted: Path, tiny_cross: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(tiny_cross, planted / "own"))
    options = {"model": str(own), "dev": judged_by(planted, own), "calibrate": True, "force": True}
    _, by_torch = label(planted, "torch", **options)
    report, rows = label(planted, "exported", **options, backend="onnx-float32")
    assert report["teachers"][0]["backend"] == "onnx-float32"
    assert [row["score"] for row in rows] == pytest.approx([row["score"] for row in by_torch], abs=1e-4)
    monkeypatch.setattr("munjang.stages.certified.export_model", lambda *a, **k: pytest.fail("a second export"))
    assert label(planted, "again", **options, backend="onnx-float32")[1] == rows


def test_an_export_that_loses_too_much_does_not_label(
    planted: Path, tiny_cross: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(tiny_cross, planted / "own"))
    monkeypatch.setattr(Certificate, "holds", property(lambda certificate: False))
    options = {"model": str(own), "dev": judged_by(planted, own), "calibrate": True, "force": True}
    report, _ = label(planted, "silver", **options, backend="onnx-float32")
    assert report["teachers"][0]["backend"] == "torch"


def test_an_export_is_certified_on_dev() -> None:
    with pytest.raises(ConfigError, match="dev"):
        checked_options(LabelOptions, "label", name="silver", model=["m"], pairs="p", backend="openvino-int8")


def test_several_teachers_are_averaged_on_golds_scale_and_their_disagreement_is_kept(
    planted: Path, tiny_cross: Path, tiny_bi: Path
) -> None:
    options = {
        "model": [str(tiny_cross), str(tiny_bi)],
        "dev": judged_by(planted, tiny_cross),
        "calibrate": True,
        "force": True,
    }
    report, rows = label(planted, "silver", **options, keep_agreed=0.5)
    assert len(rows) == 20
    assert report["left_out"] == {"disagreement": 20, "match": 0}
    assert report["calibration"]["error_after"] < report["calibration"]["error_before"]
    assert rows[0]["labelled_by"].count("+") == 1
    everything, all_rows = label(planted, "all", **options)
    assert everything["pairs"] == 40
    assert max(row["disagreement"] for row in rows) <= sorted(row["disagreement"] for row in all_rows)[20]


def test_silver_can_follow_golds_spread(planted: Path, tiny_cross: Path) -> None:
    report, rows = label(planted, "silver", model=str(tiny_cross), match=["data:gold"], force=True)
    assert report["left_out"]["match"] == 40 - len(rows)
    assert sum(report["gold_histogram"]) == 40


def test_a_bi_encoder_alone_needs_a_calibration(planted: Path, tiny_bi: Path) -> None:
    with pytest.raises(ConfigError, match="on no scale of scores"):
        label(planted, "silver", model=str(tiny_bi))


def test_one_teacher_has_nobody_to_agree_with(planted: Path, tiny_cross: Path) -> None:
    with pytest.raises(DataError, match="cannot disagree with itself"):
        label(planted, "silver", model=str(tiny_cross), keep_agreed=0.5)


def test_all_seeds_of_a_stage_teach(planted: Path, tiny_bi: Path) -> None:
    (planted / "seeds.toml").write_text(
        f"""
name = "seeds"
[data]
gold = {{ source = "gold.tsv", scale = [0, 5] }}
dev = {{ source = "dev.tsv", scale = [0, 5] }}
[[stage]]
name = "cross"
kind = "train.cross"
model = "{tiny_bi}"
train = ["data:gold"]
dev = "data:dev"
evaluations = 1
seeds = [1, 2, 3]
[[stage]]
name = "silver"
kind = "label"
model = "stage:cross"
pairs = "data:gold"
force = true
""",
        encoding="utf-8",
    )
    result = api.run(planted / "seeds.toml", out=planted / "run")
    report = result.outcomes[-1].report
    assert [teacher["name"] for teacher in report["teachers"]] == [f"stage:cross seed-{n}" for n in (1, 2, 3)]
    assert report["disagreement"]["mean"] > 0


def test_classes_and_triplets_are_targets_too(planted: Path, tiny_cross: Path, tiny_bi: Path) -> None:
    nli = planted / "nli"
    api.convert(str(tiny_cross), nli, to="nli")
    report, rows = label(planted, "classes", kind=LabelClassesOptions, model=str(nli), force=True)
    assert {row["label"] for row in rows} <= {"entailment", "neutral", "contradiction"}
    assert sum(report["classes"].values()) == len(rows) == 40
    mine(planted, tiny_bi, tiny_cross, "semantic")
    options = LabelTripletsOptions(
        name="triplets",
        model=str(tiny_cross),
        pairs=str(planted / "pairs" / "pairs.parquet"),
        least_gap=0.01,
        force=True,
    )
    made = api.run_stage(options, planted / "triplets", data={})
    triplets = pyarrow.parquet.read_table(planted / "triplets" / "pairs.parquet").to_pylist()
    assert made["triplets"] == len(triplets) > 0
    assert load_rows(DataSpec(source=str(planted / "triplets" / "pairs.parquet")), ("triplets",), planted).rows
    assert all(row["gap"] >= 0.01 for row in triplets)


def test_three_classes_are_no_scores(planted: Path, tiny_cross: Path) -> None:
    nli = planted / "nli"
    api.convert(str(tiny_cross), nli, to="nli")
    with pytest.raises(DataError, match="classes, not scores"):
        label(planted, "silver", model=str(nli))


def test_the_best_on_dev_is_chosen(planted: Path, tiny_bi: Path) -> None:
    other = planted / "other"
    options = TrainBiOptions(
        name="bi", model=str(tiny_bi), train=[{"data": "data:gold"}], dev="data:dev", epochs=2, evaluations=1
    )
    api.run_stage(options, other, data=DATA)
    dev = judged_by(planted, tiny_bi)
    models = {"trained": str(other / "model"), "gold itself": str(tiny_bi)}
    choose = ChooseOptions(name="best", models=models, dev=dev)
    report = api.run_stage(choose, planted / "best", data={"judge": DataSpec(source="judge.tsv", scale=(0, 1))})
    assert report["best"] == "gold itself"
    assert report["dev"]["gold itself"] > report["dev"]["trained"]
    assert (planted / "best" / "model" / "modules.json").is_file()


def test_pairs_with_one_column_short_are_refused(planted: Path, tiny_cross: Path) -> None:
    (planted / "short.tsv").write_text("sentence1\tother\n하나\t둘\n", encoding="utf-8")
    options = LabelOptions(name="silver", model=str(tiny_cross), pairs="data:short")
    with pytest.raises(DataError, match="cannot tell what rows"):
        api.run_stage(options, planted / "silver", data={"short": DataSpec(source="short.tsv")})

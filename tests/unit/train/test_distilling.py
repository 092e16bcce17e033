"""Learning a teacher's vectors: losses by hand, sizes that differ, and what is refused before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from munjang import api
from munjang.config.recipe import DataSpec
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.errors import ConfigError, DataError
from munjang.train.distilling import Distil, reduced
from munjang.train.examples import TrainRows, distilled_texts
from munjang.train.objectives import BI_OBJECTIVES
from munjang.train.options import TrainBiOptions
from munjang.train.targets import VectorTable


@pytest.fixture(scope="module")
def teacher(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bi-encoder with other weights."""
    return perturbed(tiny_bi, tmp_path_factory.mktemp("teachers") / "teacher", 5)


@pytest.fixture(scope="module")
def wide_teacher(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with 48 numbers in place of 32."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense

    torch.manual_seed(1)
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    model.append(Dense(32, 48, activation_function=torch.nn.Identity()))
    folder = tmp_path_factory.mktemp("teachers") / "wide"
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def perturbed(folder: Path, out: Path, seed: int) -> Path:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    model.save_pretrained(str(out), create_model_card=False)
    return out


def options(student: Path, teacher: Path | None, **more: Any) -> TrainBiOptions:
    data = more.pop("data", "support-parallel")
    settings = {
        "dev": "support:dev",
        "epochs": 3,
        "learning_rate": 4e-4,
        "evaluations": 1,
        "objective": "distil",
        **more,
    }
    return TrainBiOptions(
        name="student",
        model=str(student),
        teacher=str(teacher) if teacher else None,
        train=[{"data": data}],
        **settings,
    )


def texts() -> list[str]:
    from munjang.data.load import load_rows

    rows = load_rows(DataSpec(source="support-parallel"), ("parallel-pairs",), Path()).rows
    return [row.source for row in rows]


# -- losses


def test_losses_by_hand() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [9.0, 9.0]]])
    known, targets = torch.tensor([[0, 1], [2, -1]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # Texts 0, 1, 2 against the first, the first and the second target; the last slot is empty.
    assert Distil("distil")(vectors, known, targets) == pytest.approx((0 + 2 + 0.36 + 0.04) / 3)
    assert Distil("distil-cosine")(vectors, known, targets) == pytest.approx((0 + 1 + 0.2) / 3)
    cosines = np.array([[1, 0, 0.6], [0, 1, 0.8], [0.6, 0.8, 1]])
    wanted = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    expected = ((cosines - wanted) ** 2).mean()
    assert Distil("distil-similarity")(vectors, known, targets) == pytest.approx(expected, rel=1e-5)


def test_targets_are_those_of_the_first_of_repeated_examples() -> None:
    table = VectorTable(np.arange(6, dtype=np.float32).reshape(3, 2))
    assert table.of([0, 2, 3, 8], 0, torch.device("cpu")).tolist() == [[0, 1], [4, 5], [0, 1], [4, 5]]


def test_a_smaller_space_keeps_cosines_as_far_as_it_can() -> None:
    draw = np.random.default_rng(1)
    flat = draw.normal(size=(200, 4)) @ draw.normal(size=(4, 12))
    vectors = (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)
    rows = TrainRows("x", "sentences", [str(n) for n in range(200)], BI_OBJECTIVES["distil"], vectors=vectors)
    small = reduced([rows], 4)[0].vectors
    assert small.shape == (200, 4)
    assert np.allclose(small @ small.T, vectors @ vectors.T, atol=1e-4)
    with pytest.raises(DataError, match="at least 300"):
        reduced([rows], 300)


@pytest.mark.parametrize("kind", ["scored-pairs", "triplets", "sentences"])
def test_each_text_is_read_once(kind: str) -> None:
    from munjang.data.rows import ScoredPair, Triplet

    rows: dict[str, list[Any]] = {
        "scored-pairs": [ScoredPair("가", "나", 1.0), ScoredPair("나", "다", 0.0)],
        "triplets": [Triplet("가", "나", "다")],
        "sentences": ["가", "나", "다", "가"],
    }
    assert distilled_texts(kind, rows[kind]) == [("가",), ("나",), ("다",)]


# -- trainings


@pytest.mark.parametrize("objective", ["distil", "distil-cosine"])
def test_a_student_learns_its_teachers_vectors_in_two_languages(
    objective: str, tiny_bi: Path, teacher: Path, tmp_path: Path
) -> None:
    student = perturbed(tiny_bi, tmp_path / "start", 9)
    parts = {
        "train": DataSpec(source="support-parallel", part=(0, 0.7)),
        "dev": DataSpec(source="support-parallel", part=(0.7, 1)),
    }
    chosen = options(student, teacher, objective=objective, data="data:train", dev="data:dev")
    api.run_stage(chosen, tmp_path / "out", data=parts)
    wanted = Encoder(teacher).encode(texts())
    before, after = (Encoder(folder).encode(texts()) for folder in (student, tmp_path / "out" / "model"))
    closed = (1 - cosine_of_rows(after, wanted).mean()) / (1 - cosine_of_rows(before, wanted).mean())
    assert closed < 0.8


def test_similarities_are_learned_in_any_number_of_dimensions(
    tiny_bi: Path, wide_teacher: Path, tmp_path: Path
) -> None:
    student = perturbed(tiny_bi, tmp_path / "start", 9)
    api.run_stage(options(student, wide_teacher, objective="distil-similarity", data="support:train"), tmp_path / "out")
    assert Encoder(tmp_path / "out" / "model").dimension == 32


@pytest.mark.parametrize(("projection", "size"), [("dense", 48), ("pca", 32), ("head", 32)])
def test_vectors_of_different_sizes_are_joined_as_asked(
    projection: str, size: int, tiny_bi: Path, wide_teacher: Path, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    chosen = options(tiny_bi, wide_teacher, projection=projection, epochs=2)
    api.run_stage(chosen, tmp_path / "out", data={})
    model = SentenceTransformer(str(tmp_path / "out" / "model"), device="cpu")
    vectors = model.encode(["환불은 언제 되나요?"])
    assert vectors.shape == (1, size)
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)


# -- what is refused


def test_what_does_not_fit_is_found_before_the_teacher_reads_a_text(
    tiny_bi: Path, teacher: Path, wide_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("munjang.stages.teaching.Encoder", None)  # calling it would be an error of another kind
    for chosen, said in (
        (options(tiny_bi, wide_teacher), r"vectors of different sizes.*expected 32.*got 48"),
        (options(tiny_bi, teacher, projection="dense"), "vectors of one size"),
        (options(wide_teacher, tiny_bi, projection="pca"), "smaller, not larger"),
        (options(tiny_bi, None), "learns a teacher's vectors"),
        (options(tiny_bi, teacher, objective="cosent", data="support:train"), "teacher.*has no effect"),
    ):
        with pytest.raises(ConfigError, match=said):
            api.run_stage(chosen, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_teacher_that_has_lost_a_module_is_refused(tiny_bi: Path, tmp_path: Path) -> None:
    import json
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny_bi, broken)
    settings = json.loads((broken / "1_Pooling" / "config.json").read_text())
    settings |= {key: 999 for key in settings if "dimension" in key}
    (broken / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="this teacher is not sound"):
        api.run_stage(options(tiny_bi, broken), tmp_path / "out")


def test_how_near_the_student_comes_is_reported_for_each_dev_set(tiny_bi: Path, teacher: Path, tmp_path: Path) -> None:
    student = perturbed(tiny_bi, tmp_path / "start", 9)
    parts = {
        "train": DataSpec(source="support-parallel", part=(0, 0.7)),
        "dev": DataSpec(source="support-parallel", part=(0.7, 1)),
    }
    chosen = options(student, teacher, data="data:train", dev=["data:dev", "support:dev"])
    report = api.run_stage(chosen, tmp_path / "out", data=parts)
    before, after = report["dev_parts_before"], report["dev_parts"]
    forth, back = (f"data:dev: matching accuracy x 100, {way}" for way in ("first to second", "second to first"))
    sts = "support:dev: Spearman x 100"
    assert list(after) == [
        forth,
        back,
        sts,
        "teacher: mean squared error x 1,000",
        "teacher: cosine x 100",
    ]
    assert report["dev_best"] == pytest.approx(((after[forth] + after[back]) / 2 + after[sts]) / 2)
    if report["best_step"]:
        assert after["teacher: cosine x 100"] > before["teacher: cosine x 100"]
        assert after["teacher: mean squared error x 1,000"] < before["teacher: mean squared error x 1,000"]


def test_texts_that_teacher_or_student_cannot_see_are_refused(
    tiny_bi: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("munjang.stages.teaching.Encoder", None)
    runes = tmp_path / "runes.txt"
    runes.write_text("\n".join(f"ᚠᚢᚦᚨᚱᚲ ᚷᚹᚺ{chr(0x16A0 + i)}" for i in range(40)), encoding="utf-8")
    with pytest.raises(DataError, match=r"the teacher cannot read these texts.*unknown tokens") as caught:
        api.run_stage(options(tiny_bi, teacher, data=str(runes)), tmp_path / "out")
    assert "runes.txt" in str(caught.value.where)
    assert not (tmp_path / "out").exists()


def test_an_english_teacher_is_not_given_korean_sources(tmp_path: Path, tiny_bi: Path) -> None:
    """Sides that were swapped: its vocabulary has single strokes of Hangul, so that no token is unknown."""
    from munjang.models.source import resolve_model

    teacher = resolve_model("bundled:minilm")
    chosen = options(tiny_bi, teacher, data="support-parallel", projection="dense")
    with pytest.raises(DataError, match=r"the teacher cannot read these texts.*tokens a character") as caught:
        api.run_stage(chosen, tmp_path / "out")
    assert "the teacher reads the source" in str(caught.value.hint)


def test_translations_with_swapped_sides_are_refused(
    tiny_bi: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("munjang.stages.teaching.Encoder", None)
    pairs = [(f"오늘은 {i}번째 날입니다", f"today is day number {i}") for i in range(60)]
    rows = [f"{a}\t{b}" if i % 10 else f"{b}\t{a}" for i, (a, b) in enumerate(pairs)]
    file = tmp_path / "swapped.tsv"
    file.write_text("\n".join(["source\ttarget", *rows]), encoding="utf-8")
    with pytest.raises(DataError, match="languages of the two sides are swapped") as caught:
        api.run_stage(options(tiny_bi, teacher, data=str(file)), tmp_path / "out")
    assert "6 of 60" in str(caught.value.got)
    assert not (tmp_path / "out").exists()


def test_a_teacher_without_the_prompt_of_its_kind_is_refused_until_it_is_named(
    tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json
    import shutil

    bare = tmp_path / "my-e5-model"
    shutil.copytree(tiny_bi, bare)
    place = bare / "config_sentence_transformers.json"
    settings = json.loads(place.read_text(encoding="utf-8"))
    place.write_text(json.dumps(settings | {"prompts": {}, "default_prompt_name": None}), encoding="utf-8")
    with pytest.raises(DataError, match=r"not sound.*trained with a prompt") as caught:
        api.run_stage(options(tiny_bi, bare), tmp_path / "out")
    assert "config_sentence_transformers.json" in str(caught.value.hint)
    named = {"prompts": {"none": ""}, "default_prompt_name": "none"}
    place.write_text(json.dumps(settings | named), encoding="utf-8")
    api.run_stage(options(tiny_bi, bare), tmp_path / "out")

"""munjang convert: another task, fewer layers, a smaller vocabulary, or all of these; whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang import api
from munjang.errors import ConfigError, DataError
from munjang.files import damage
from munjang.models.settings import cross_task

Run = Callable[..., tuple[int, str, str]]

PAIRS = [("환불은 언제 되나요?", "환불 시점이 궁금해요"), ("배송이 늦어요", "비밀번호를 잊었어요")]


def test_an_nli_model_becomes_one_for_similarity(run: Run, tiny_cross: Path, tmp_path: Path) -> None:
    assert run("convert", tiny_cross, "--to", "nli", "--out", "nli")[0] == 0
    status, printed, errors = run("convert", "nli", "--to", "sts", "--out", "sts")
    assert (status, printed) == (0, "model: sts\n")
    assert "the head is warm-started from the NLI head: entailment minus contradiction" in errors
    assert "outputs: 1 score; activation Sigmoid" in errors
    assert damage(tmp_path / "sts") is None
    models = [CrossEncoder(str(place), device="cpu") for place in (tiny_cross, tmp_path / "sts")]
    np.testing.assert_allclose(models[1].predict(PAIRS), models[0].predict(PAIRS), atol=1e-6)


def test_a_vocabulary_is_trimmed_by_sets_and_files(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("환불은 언제 되나요?\n배송이 늦어요\n", encoding="utf-8")
    arguments = ["convert", tiny_bi, "--trim-vocab", texts, "--held-out", "support:test", "--out", "small"]
    status, _, errors = run(*arguments)
    assert status == 0
    for words in ("2 of 2 texts have the same tokens", "of 200 held-out texts", "texts.txt: 2 rows read"):
        assert words in errors
    models = [SentenceTransformer(str(place), device="cpu") for place in (tiny_bi, tmp_path / "small")]
    shown = texts.read_text(encoding="utf-8").splitlines()
    np.testing.assert_allclose(models[1].encode(shown), models[0].encode(shown), atol=1e-6)
    assert models[1].prompts == models[0].prompts
    status, _, errors = run("convert", tiny_bi, "--trim-vocab", "support:train", texts, "--out", "more")
    assert "measure it on texts held out" in errors


@pytest.mark.parametrize(
    ("more", "hint"), [([], "name another task"), (["--trim-vocab", "support:train"], "leave it out")]
)
def test_a_bi_encoder_is_not_made_one_again(more: list[str], hint: str, run: Run, tiny_bi: Path) -> None:
    status, _, errors = run("convert", tiny_bi, "--to", "bi", *more, "--out", "same")
    assert status == 2
    assert "without effect here: --to bi" in errors
    assert hint in errors
    assert not Path("same").exists()
    assert run("convert", tiny_bi, "--to", "bi", "--max-length", "32", "--out", "shorter")[0] == 0


def test_dev_decides_which_layer_stays(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    from munjang.config.recipe import DataSpec
    from munjang.data.catalog import SAMPLE_FOLDER
    from munjang.data.load import load_rows
    from munjang.engine.encoder import Encoder
    from munjang.evaluate.dev import dev_of_encoder

    status, printed, _ = run(
        "convert", tiny_bi, "--keep-layers", "best-1", "--dev", "support:dev", "--out", "best", "--json"
    )
    report = json.loads(printed)["layers"]
    rows = load_rows(DataSpec(source="support:dev"), ("scored-pairs",), SAMPLE_FOLDER).rows
    scores = {}
    for layer in ("0", "1"):
        assert run("convert", tiny_bi, "--keep-layers", layer, "--out", f"only-{layer}")[0] == 0
        scores[int(layer)] = dev_of_encoder(Encoder(tmp_path / f"only-{layer}"), "scored-pairs", rows)
    best = max(scores, key=scores.__getitem__)
    assert (status, report["kept"]) == (0, [best])
    assert report["search"] == [{"dropped": 1 - best, "dev": pytest.approx(scores[best], abs=1e-3)}]
    again = run("convert", tiny_bi, "--keep-layers", "best-1", "--dev", "support:dev", "--out", "again")
    assert f"without layer {1 - best}" in again[2]


def test_a_student_of_one_layer_with_a_smaller_vocabulary(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    status, printed, _ = run(
        "convert", tiny_bi, "--keep-layers", "1", "--trim-vocab", "support:train", "--out", "student", "--json"
    )
    report = json.loads(printed)
    assert (status, report["convert"], report["layers"]["kept"]) == (0, None, [1])
    assert report["trim"]["parameters_before"] == report["layers"]["parameters_after"]
    assert not list((tmp_path / "student").glob(".*"))
    assert "layers 0 of 2 stay" in run("convert", tiny_bi, "--keep-layers", "first-1", "--out", "first")[2]
    student = SentenceTransformer(str(tmp_path / "student"), device="cpu")
    assert len(student[0].model.encoder.layer) == 1
    assert student.encode(["환불은 언제 되나요?"]).shape == (1, 32)


def test_both_at_once_are_one_folder(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    status, printed, _ = run(
        "convert", tiny_bi, "--to", "ranking", "--trim-vocab", "support:train", "--keep-scripts", "hangul", "digits",
        "--out", "both", "--json",
    )  # fmt: skip
    assert status == 0
    report = json.loads(printed)
    assert report["convert"]["dropped"] == ["Normalize"]
    assert report["convert"]["task"] == cross_task(tmp_path / "both") == "ranking"
    assert report["trim"]["pieces_after"] < report["trim"]["pieces_before"]
    assert report["trim"]["parameters_after"] < report["trim"]["parameters_before"]
    assert report["trim"]["kept"]["of the scripts"] > 0
    assert report["read"][0]["kept"] == 150
    assert damage(tmp_path / "both") is None
    assert not list((tmp_path / "both").glob(".*"))
    assert CrossEncoder(str(tmp_path / "both"), device="cpu").predict(PAIRS).shape == (2,)
    assert run("convert", "both", "--to", "bi", "--pooling", "mean", "--max-length", "32", "--out", "back")[0] == 0
    assert SentenceTransformer(str(tmp_path / "back"), device="cpu").max_seq_length == 32


def test_vectors_are_cut_by_what_texts_need(run: Run, tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    texts = tmp_path / "few.txt"
    texts.write_text("환불은 언제 되나요?\n배송이 늦어요\n", encoding="utf-8")
    arguments = ["convert", tiny_bi, "--dimensions", "8", "--dtype", "float16", "--out", "short", "--fit"]
    status, printed, _ = run(*arguments, "support:train", texts, "--json")
    report = json.loads(printed)
    assert (status, report["dimensions"]["before"], report["dimensions"]["after"]) == (0, 32, 8)
    assert report["dimensions"]["texts"] == 301
    assert [one["kept"] for one in report["read"]] == [150, 2]
    model = SentenceTransformer(str(tmp_path / "short"), device="cpu")
    assert model.encode(["배송"]).shape == (1, 8)
    assert {str(p.dtype) for p in model.parameters()} == {"torch.float16"}
    assert damage(tmp_path / "short") is None
    status, _, errors = run("convert", tiny_bi, "--dimensions", "3", "--out", "less", "--fit", texts)
    assert status == 65
    assert "too few texts" in errors
    assert "--fit" in errors
    status, _, errors = run("convert", tiny_cross, "--dimensions", "8", "--out", "less", "--fit", "support:dev")
    assert status == 2
    assert "a cross-encoder has no vectors to cut" in errors
    assert not (tmp_path / "less").exists()
    status, _, errors = run(
        "convert", tiny_cross, "--to", "bi", "--dimensions", "8", "--out", "bi", "--fit", "support:dev"
    )
    assert status == 0, errors
    assert "of the variance stays" in errors
    assert SentenceTransformer(str(tmp_path / "bi"), device="cpu").encode(["배송"]).shape == (1, 8)


def test_a_student_of_token_vectors(run: Run, tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    status, printed, _ = run(
        "convert", tiny_bi, "--to", "static", "--trim-vocab", "support:train", "--dimensions", "12",
        "--fit", "support:train", "--dtype", "float16", "--out", "static", "--json",
    )  # fmt: skip
    report = json.loads(printed)
    assert (status, report["convert"], report["dimensions"]) == (0, None, None)
    assert report["static"]["dimensions"] == 12
    assert report["static"]["pieces"] + report["static"]["without"] == report["trim"]["pieces_after"]
    assert report["static"]["dropped"] == ["Transformer", "Pooling", "prompts"]
    assert report["dtype"]["changed"] == 1
    assert damage(tmp_path / "static") is None
    assert not list((tmp_path / "static").glob(".*"))
    plain = SentenceTransformer(str(tmp_path / "static"), device="cpu")
    status, printed, _ = run("encode", "배송이 늦어요", "--model", "static")
    assert status == 0
    np.testing.assert_allclose(json.loads(printed), plain.encode("배송이 늦어요"), atol=2e-3)
    assert run("evaluate", "static", "--on", "support:dev", "--out", "found")[0] == 0
    for verb in (["--keep-layers", "first-1"], ["--to", "static"], ["--trim-vocab", "support:dev"], ["--to", "sts"]):
        status, _, errors = run("convert", "static", *verb, "--out", "again")
        assert status == 65, errors
        assert "no transformer" in errors
    status, printed, errors = run("convert", tiny_cross, "--to", "static", "--out", "from-cross", "--json")
    assert status == 0, errors
    assert json.loads(printed)["convert"]["task"] == "bi"


def test_numbers_are_rounded_last(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    status, printed, errors = run("convert", tiny_bi, "--to", "sts", "--dtype", "float16", "--out", "half", "--json")
    report = json.loads(printed)
    assert (status, report["dtype"]["dtype"], report["dtype"]["changed"]) == (0, "float16", report["dtype"]["tensors"])
    assert report["convert"]["task"] == cross_task(tmp_path / "half") == "sts"
    assert damage(tmp_path / "half") is None
    whole = CrossEncoder(str(tmp_path / "half"), device="cpu")
    assert {str(p.dtype) for p in whole.parameters()} == {"torch.float16"}
    status, _, errors = run("convert", tiny_bi, "--dtype", "bfloat16", "--out", "brain")
    assert status == 0
    assert "tensors became bfloat16" in errors
    assert "largest rounding error" in errors


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["MODEL", "--out", "o"], 2, ["nothing to do", "--to, --keep-layers, --trim-vocab, --dimensions or --dtype"]),
        (["MODEL", "--to", "sts"], 2, ["--out"]),
        (
            ["MODEL", "--keep-layers", "0", "5", "--out", "o"],
            78,
            ["--keep-layers '0 5'", "distinct numbers from 0 to 1"],
        ),
        (["MODEL", "--keep-layers", "every-2", "--out", "o"], 78, ["--keep-layers every-2", "first-N or even-N"]),
        (["MODEL", "--keep-layers", "best-1", "--out", "o"], 2, ["--keep-layers best-4 and --dev go together"]),
        (["MODEL", "--keep-layers", "0", "--dev", "support:dev", "--out", "o"], 2, ["go together"]),
        (["MODEL", "--keep-layers", "best-2", "--dev", "support:dev", "--out", "o"], 65, ["no layer to drop"]),
        (["--to", "sts", "--out", "o"], 2, ["MODEL"]),
        (["MODEL", "--to", "sentiment", "--out", "o"], 2, ["--to"]),
        (
            ["MODEL", "--to", "sts", "--out", "o", "--min-count", "2"],
            2,
            ["without effect here: --min-count", "--trim-vocab"],
        ),
        (
            ["MODEL", "--to", "sts", "--out", "o", "--keep-scripts", "hangul"],
            2,
            ["without effect here: --keep-scripts"],
        ),
        (
            ["MODEL", "--trim-vocab", "support:dev", "--out", "o", "--pooling", "cls"],
            2,
            ["without effect here: --pooling"],
        ),
        (["MODEL", "--to", "sts", "--out", "o", "--scale", "0", "5"], 2, ["without effect here: --scale"]),
        (["MODEL", "--dtype", "int8", "--out", "o"], 2, ["--dtype"]),
        (["MODEL", "--dtype", "float16", "--out", "o", "--fit", "support:dev"], 2, ["without effect here: --fit"]),
        (["MODEL", "--dimensions", "8", "--out", "o"], 2, ["--dimensions 8 are fitted on texts", "with --fit"]),
        (["MODEL", "--dimensions", "1", "--fit", "support:dev", "--out", "o"], 2, ["--dimensions"]),
        (
            ["MODEL", "--dimensions", "32", "--fit", "support:dev", "--out", "o"],
            78,
            ["no longer than that", "--dimensions 32", "1 to 31"],
        ),
        (
            ["MODEL", "--to", "sts", "--dimensions", "8", "--fit", "support:dev", "--out", "o"],
            2,
            ["a cross-encoder has no vectors to cut: --dimensions 8", "--to bi"],
        ),
        (["MODEL", "--to", "static", "--max-length", "64", "--out", "o"], 2, ["--max-length 64", "reads texts whole"]),
        (["MODEL", "--to", "static", "--dimensions", "64", "--out", "o"], 78, ["shorter than that", "at most 32"]),
        (["MODEL", "--dimensions", "8", "--fit", "gone.txt", "--out", "o"], 66, ["gone.txt"]),
        (["MODEL", "--dtype", "float16", "--out", "o", "--pooling", "cls"], 2, ["without effect here: --pooling"]),
        (["MODEL", "--to", "sts", "--out", "o", "--pooling", "median"], 78, ["unknown pooling", "mean", "median"]),
        (["MODEL", "--to", "sts", "--out", "o", "--max-length", "3"], 2, ["--max-length"]),
        (["MODEL", "--trim-vocab", "support:dev", "--out", "o", "--min-count", "0"], 2, ["--min-count"]),
        (
            ["MODEL", "--trim-vocab", "support:dev", "--keep-scripts", "hangeul", "--out", "o"],
            78,
            ["did you mean hangul"],
        ),
        (["MODEL", "--trim-vocab", "support:nope", "--out", "o"], 66, ["support:train"]),
        (["MODEL", "--trim-vocab", "gone.txt", "--out", "o"], 66, ["gone.txt"]),
        (["MODEL", "--trim-vocab", "--out", "o"], 2, ["--trim-vocab"]),
        (["no-model", "--to", "sts", "--out", "o"], 66, ["no such model"]),
        (["MODEL", "--to", "sts", "--out", "MODEL"], 78, ["this folder exists already"]),
        (
            ["MODEL", "--to", "bi", "--pooling", "cls", "--max-length", "32", "--out", "o"],
            78,
            ["this pooling would have no effect", "expected: mean"],
        ),
        (
            ["MODEL", "--to", "bi", "--pooling", "cls", "--out", "o"],
            2,
            ["without effect here: --to bi, --pooling cls", "got: a bi-encoder already"],
        ),
    ],
)
def test_wrong_input_is_one_message_and_leaves_nothing(
    arguments: list[str], status: int, words: list[str], run: Run, tiny_bi: Path, tmp_path: Path
) -> None:
    given = ["convert", *(str(tiny_bi) if a == "MODEL" else a for a in arguments)]
    found, _, errors = run(*given)
    assert found == status, errors
    assert errors.count("error:") == 1
    assert all(word in " ".join(errors.split()) for word in words), errors
    assert list(tmp_path.iterdir()) == []
    found, printed, _ = run(*given, "--json")
    assert set(json.loads(printed)["error"]) == {"code", "message", "where", "expected", "got", "hint"}


def test_a_failure_on_the_way_leaves_nothing(tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise DataError("a text has other tokens after trimming")

    monkeypatch.setattr("munjang.models.trim.trim_vocabulary", fail)
    with pytest.raises(DataError):
        api.convert(str(tiny_bi), tmp_path / "out", to="sts", trim_vocab=["support:dev"])
    assert list(tmp_path.iterdir()) == []


def test_the_function_refuses_what_the_command_refuses(tiny_bi: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        api.convert(str(tiny_bi), tmp_path / "out", to="sentiment")
    assert caught.value.expected == "sts or nli or ranking or bi or static"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError) as caught:
        api.convert(str(tiny_bi), tmp_path / "out", dtype="half")
    assert caught.value.expected == "float16 or bfloat16 or float32"
    report = api.convert(str(tiny_bi), tmp_path / "out", to="sts", max_length=40)
    assert report["trim"] is None
    assert report["convert"]["max_length"] == 40

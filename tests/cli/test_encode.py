"""munjang encode: texts to stdout, files to a folder; what is meant is never guessed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang import api
from munjang.engine.shards import read_encoding
from munjang.errors import ConfigError, UsageError
from munjang.files import damage

Run = Callable[..., tuple[int, str, str]]
TEXTS = ["환불은 언제 되나요?", "배송이 늦어요", "비밀번호를 잊었어요"]


@pytest.mark.parametrize("use", ["similarity", "query", "document"])
def test_texts_are_vectors_a_line(use: str, run: Run, tiny_bi: Path) -> None:
    status, printed, errors = run("encode", *TEXTS, "--model", tiny_bi, "--use", use, "--device", "cpu")
    assert (status, "error" in errors) == (0, False)
    found = np.array([json.loads(line) for line in printed.splitlines()], np.float32)
    prompt = {"similarity": "query"}.get(use, use)
    expected = SentenceTransformer(str(tiny_bi), device="cpu").encode(TEXTS, prompt_name=prompt)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found, api.encode_texts(TEXTS, str(tiny_bi), use=use, device="cpu"))


def test_texts_as_json_and_shorter_vectors(run: Run, tiny_bi: Path) -> None:
    status, printed, _ = run("encode", "환불", "--model", tiny_bi, "--dimension", "8", "--json", "--device", "cpu")
    answer = json.loads(printed)
    assert (status, answer["dimension"], answer["texts"][0]["text"]) == (0, 8, "환불")
    assert np.linalg.norm(answer["texts"][0]["vector"]) == pytest.approx(1, abs=1e-5)


def test_what_is_changed_or_cut_is_said(run: Run, tiny_bi: Path) -> None:
    status, printed, errors = run("encode", "환\u200b불", "가나 " * 300, "--model", tiny_bi, "--device", "cpu")
    assert (status, len(printed.splitlines())) == (0, 2)
    assert "1 of 2 texts were repaired or cut" in errors
    assert "1 of 2 texts exceed the model's length" in errors


def test_a_file_gives_the_vectors_of_its_texts(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text("번호\t본문\n" + "".join(f"a{i}\t{t}\n" for i, t in enumerate(TEXTS)) + "b\t \n")
    arguments = ["encode", "in.tsv", "--model", tiny_bi, "--id", "번호", "--out", "vectors", "--shard-rows", "2"]
    status, printed, _ = run(*arguments, "--device", "cpu")
    assert status == 0
    for words in (
        "4 rows read, 3 kept, 1 rejected (the text is blank in 1)",
        "in.tsv:5:본문: the text is blank",
        "all of them: vectors/rejects.jsonl",
        "vectors: vectors (32 dimensions, float32, 2 shards)",
    ):
        assert words in printed
    assert damage(tmp_path / "vectors") is None
    blocks = list(read_encoding(tmp_path / "vectors"))
    assert [key for block in blocks for key in block.ids] == ["a0", "a1", "a2"]
    expected = SentenceTransformer(str(tiny_bi), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(np.concatenate([b.vectors for b in blocks]), expected, atol=1e-5)
    status, printed, _ = run(*arguments)
    assert (status, "nothing to do: this encoding is finished" in printed) == (0, True)
    status, printed, _ = run(*arguments, "--json")
    report = json.loads(printed)
    assert (report["done_before"], report["prompt"], report["truncated"]) == (None, "질문: ", 0)
    status, _, errors = run(*arguments, "--precision", "int8")
    assert (status, "begun with other options: --precision" in errors) == (78, True)


def test_a_data_set_of_the_catalogue_and_parquet(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    given = ["support-queries", "--model", tiny_bi, "--precision", "int8", "--format", "parquet", "--use", "query"]
    status, printed, _ = run("encode", *given, "--out", "q", "--device", "cpu", "--json")
    report = json.loads(printed)
    assert (status, report["kept"], report["sources"]) == (0, 80, [{"name": "support-queries", "rows": 80}])
    assert report["largest_error"] < 0.005
    assert sum(len(block.rows) for block in read_encoding(tmp_path / "q")) == 80


@pytest.mark.parametrize("use", ["similarity", "query"])
def test_pairs_are_scored(use: str, run: Run, tiny_cross: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a,b\n" + "".join(f"{t},{TEXTS[0]}\n" for t in TEXTS), encoding="utf-8")
    given = ["encode", "in.csv", "--model", tiny_cross, "--pairs", "a", "b", "--use", use, "--out", "o"]
    status, printed, errors = run(*given, "--device", "cpu")
    assert status == 0, errors
    assert "scores: o (scores, 1 shard)" in printed
    model = CrossEncoder(str(tiny_cross), device="cpu")
    expected = model.predict([(text, TEXTS[0]) for text in TEXTS])
    if use == "similarity":
        expected = (expected + model.predict([(TEXTS[0], text) for text in TEXTS])) / 2
    np.testing.assert_allclose(next(read_encoding(tmp_path / "o")).vectors, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, ["nothing to encode", "--out FOLDER"]),
        (["in.tsv"], 2, ["names a file or a data set, not a text", "--out FOLDER"]),
        (["support-queries"], 2, ["names a file or a data set, not a text"]),
        (["gone.tsv"], 66, ["no such file", "gone.tsv"]),
        (["환불", " \u3164"], 65, ["a blank text has no vector", "text 2 of 2"]),
        (["환불", "--precision", "int8", "--id", "k"], 2, ["without effect here: --precision, --id", "--out"]),
        (["환불", "--precision", "int4"], 2, ["--precision"]),
        (["환불", "--dimension", "0"], 2, ["--dimension"]),
        (["환불", "--dimension", "33"], 78, ["fewer dimensions", "1 to 32"]),
        (["환불", "--model", "no-model"], 66, ["no such model"]),
        (["gone.tsv", "--out", "o"], 66, ["gone.tsv"]),
        (["환불은 언제 되나요?", "--out", "o"], 66, ["no such file"]),
        (["in.tsv", "--out", "o", "--text-column", "본문"], 65, ["there is no column '본문'", "columns a, b"]),
        (["in.tsv", "--out", "o"], 65, ["there is no column of texts", "--text-column a"]),
        (["in.tsv", "--out", "o", "--text-column", "a", "--dimension", "33"], 78, ["fewer dimensions"]),
        (["in.tsv", "--out", "o", "--shard-rows", "0"], 2, ["--shard-rows"]),
        (["in.tsv", "--out", "o", "--pairs", "a"], 2, ["--pairs"]),
        (["in.tsv", "--out", "o", "--pairs", "a", "b"], 65, ["of another kind", "cross-encoder"]),
        (
            ["in.tsv", "--out", "o", "--pairs", "a", "b", "--use", "document", "--dimension", "8"],
            2,
            ["without effect on pairs: --use document, --dimension 8"],
        ),
        (["in.tsv", "--out", "in.tsv"], 78, ["in.tsv"]),
    ],
)
def test_wrong_input_is_one_message_and_leaves_nothing(
    arguments: list[str], status: int, words: list[str], run: Run, tiny_bi: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.tsv").write_text("a\tb\n환불\t배송\n", encoding="utf-8")
    model = [] if "--model" in arguments else ["--model", tiny_bi]
    given = ["encode", *arguments, *model, "--device", "cpu"]
    found, _, errors = run(*given)
    assert found == status, errors
    assert errors.count("error:") == 1
    assert all(word in " ".join(errors.split()) for word in words), errors
    assert [path.name for path in tmp_path.iterdir()] == ["in.tsv"]
    found, printed, _ = run(*given, "--json")
    assert set(json.loads(printed)["error"]) == {"code", "message", "where", "expected", "got", "hint"}


def test_python_refuses_what_the_command_refuses(tiny_bi: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("환불\n", encoding="utf-8")
    with pytest.raises(UsageError, match="names a file"):
        api.encode_texts([str(tmp_path / "in.txt")], str(tiny_bi))
    with pytest.raises(ConfigError, match="unknown precision"):
        api.encode([tmp_path / "in.txt"], tmp_path / "o", str(tiny_bi), precision="int4")


def test_a_single_text_loads_nothing_of_its_own(python: Callable[..., subprocess.Popen[str]], tiny_bi: Path) -> None:
    """What sentence-transformers loads is its own; munjang's half of the path adds NumPy alone."""
    code = """
import sys
from munjang.engine import choosing
def stop(*arguments): raise KeyboardInterrupt
choosing.open_backend = stop
import munjang.engine.device
munjang.engine.device.choose_device = lambda wanted: "cpu"
from munjang.cli.app import run_command
assert run_command(sys.argv[1:]) == 130
heavy = ("pyarrow", "pandas", "plotly", "sklearn", "scipy", "torch", "transformers", "jinja2")
print(*(name for name in heavy if name in sys.modules))
"""
    printed, problems = python(code, "encode", "환불", "--model", tiny_bi).communicate(timeout=60)
    assert printed.split() == [], problems

"""`munjang evaluate`: how models and sets are named, and one message where something is not here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from munjang import api
from munjang.cli.app import run_command
from munjang.config.recipe import DataSpec
from munjang.errors import UsageError
from munjang.progress import Show

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in an empty folder, without any set but the embedded ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "no-cache"))

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run_command([str(a) for a in arguments])
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return call


def test_a_group_that_is_not_here_is_one_message(run: Run) -> None:
    status, printed, _ = run("evaluate", "bundled:e5-small", "--on", "korean-sts", "support:dev", "--json")
    error = json.loads(printed)["error"]
    assert (status, error["message"]) == (66, "4 of 5 sets are not here")
    assert error["where"] == "korsts:test, klue-sts:dev, stsb:dev, stsb_multi_mt:en:test"
    assert error["got"] == "here: support:dev"
    assert "--skip-missing" in error["hint"]


def test_what_is_not_here_is_left_out_if_asked(run: Run) -> None:
    del run  # for its folder without sets
    said: list[str] = []
    sets, data = api.name_sets(["korean-sts", "support:dev"], {}, skip_missing=True, show=Show(say=said.append))
    assert (sets, data) == ([{"data": "support:dev"}], {})
    assert said[0].startswith("  left out, for they are not here: korsts:test, klue-sts:dev, stsb:dev")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["m", "--on", "retreival@a,b,c"], 2, "did you mean retrieval@a,b,c?"),
        (["a=x,", "--on", "support:dev"], 2, "cannot read this model"),
        (["m", "--on", "support:dev", "support:dev"], 78, "two sets have the name support:dev"),
        (["m", "--on", "support:dev", "--rerank", "0"], 78, "--rerank"),
        (["m", "--on", "support:dev", "--similarities", "chebyshev"], 2, "--similarities"),
        (["bundled:e5-small", "--on", "support-search", "--scale", "0", "5"], 2, "without effect here: --scale"),
    ],
)
def test_wrong_words_are_one_message(arguments: list[str], status: int, words: str, run: Run) -> None:
    found, _, errors = run("evaluate", *arguments)
    assert found == status, errors
    assert words in " ".join(errors.split())
    assert errors.count("error:") == 1


def test_an_option_without_effect_is_one_message_with_its_flag(run: Run, tiny_bi: Path) -> None:
    status, _, errors = run("evaluate", tiny_bi, "--on", "support:dev", "--rerank", "5", "--no-symmetric")
    assert status == 2
    assert "without effect here: --no-symmetric, --rerank 5" in errors
    assert (
        "expected: a cross-encoder on sts or pair-classification; a bi-encoder with a cross-encoder behind it" in errors
    )


def test_files_of_compound_sets_are_read_as_data_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (tmp_path / "beir" / name).touch()
    sets, data = api.name_sets(["beir", "classification@a.tsv,b.tsv", "support:dev"], {"encoding": "cp949"})
    assert sets == [
        {
            "name": "beir",
            "documents": "data:beir/corpus.jsonl",
            "queries": "data:beir/queries.jsonl",
            "qrels": "data:beir/qrels/test.tsv",
        },
        {"name": "classification@a.tsv,b.tsv", "train": "data:a.tsv", "test": "data:b.tsv"},
        {"data": "support:dev"},
    ]
    assert data["a.tsv"] == DataSpec(source="a.tsv", encoding="cp949")
    assert data["beir/queries.jsonl"].encoding is None
    with pytest.raises(UsageError, match="without effect"):
        api.name_sets(["support:dev"], {"encoding": "cp949"})

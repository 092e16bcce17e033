"""Models and sets in one word: what each spelling means, and one clear message where it means nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from munjang.data.catalog import CATALOG, COMPOUNDS, GROUPS
from munjang.errors import MissingInputError, UsageError
from munjang.evaluate import naming, tasks
from munjang.evaluate.naming import read_model, read_set, read_sets
from munjang.evaluate.options import Similarity, TaskName

SEARCH = {"documents": "support-help", "queries": "support-queries", "qrels": "support-qrels"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that nothing exists by chance."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MUNJANG_DATA", str(tmp_path / "data"))
    return tmp_path


# -- models


@pytest.mark.parametrize(
    ("text", "label", "fields"),
    [
        ("bundled:e5-small", "bundled:e5-small", {"model": ["bundled:e5-small"]}),
        ("mine=runs/a/model", "mine", {"model": ["runs/a/model"]}),
        ("bi+cross", "bi+cross", {"model": ["bi"], "reranker": ["cross"]}),
        ("both=org/bi+org/cross", "both", {"model": ["org/bi"], "reranker": ["org/cross"]}),
        ("seeds=a,b,c", "seeds", {"model": ["a", "b", "c"]}),
        ("s=a+x,b+y", "s", {"model": ["a", "b"], "reranker": ["x", "y"]}),
        ("=a", "=a", {"model": ["=a"]}),
        ("", "", {"model": [""]}),
    ],
)
def test_a_model_in_one_word(text: str, label: str, fields: dict[str, Any]) -> None:
    assert read_model(text) == (label, fields)


@pytest.mark.parametrize("name", ["a+b", "a,b", "a=b", "a+b,c"])
def test_a_path_that_exists_is_not_taken_apart(name: str, folder: Path) -> None:
    (folder / name).mkdir()
    assert read_model(name) == (name, {"model": [name]})
    assert read_model(f"x={name}") == ("x", {"model": [name]})


@pytest.mark.parametrize("text", ["a,", "x=a,,b", "a+", "+b", "a+b+c", "x=a+b,c"])
def test_a_model_that_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_model(text)
    assert caught.value.got == text


# -- sets


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("korsts:test", [{"data": "korsts:test"}]),
        ("my/pairs.tsv", [{"data": "my/pairs.tsv"}]),
        ("data:gold", [{"data": "data:gold"}]),
        ("pair-classification@korsts:test", [{"data": "korsts:test", "task": "pair-classification"}]),
        ("clustering@data:topics", [{"data": "data:topics", "task": "clustering"}]),
        ("support-search", [{"name": "support-search", **SEARCH}]),
        ("retrieval@support-search", [{"name": "support-search", **SEARCH}]),
        (
            "retrieval@d.tsv,q.tsv,r.tsv",
            [{"name": "retrieval@d.tsv,q.tsv,r.tsv", "documents": "d.tsv", "queries": "q.tsv", "qrels": "r.tsv"}],
        ),
        ("classification@a.tsv,b.tsv", [{"name": "classification@a.tsv,b.tsv", "train": "a.tsv", "test": "b.tsv"}]),
        ("mteb:KorSTS", [{"mteb": "KorSTS"}]),
        ("mteb:XNLI:ko", [{"mteb": "XNLI:ko"}]),
        ("korean-sts", [{"data": name} for name in GROUPS["korean-sts"]]),
    ],
)
def test_a_set_in_one_word(text: str, sets: list[dict[str, str]]) -> None:
    assert read_set(text) == sets


def test_a_group_may_be_measured_by_another_task() -> None:
    sets = read_set("pair-classification@korean-sts")
    assert [one["data"] for one in sets] == list(GROUPS["korean-sts"])
    assert {one["task"] for one in sets} == {"pair-classification"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("retreival@a,b,c", "did you mean retrieval@a,b,c?"),
        ("retrieval@a,b", "made of 3 parts"),
        ("classification@topics.tsv", "made of 2 parts"),
        ("sts@support-search", "made for the task retrieval"),
    ],
)
def test_a_set_that_cannot_be_read_is_said(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_set(text)
    assert words in caught.value.sentence()


def test_a_file_with_an_at_sign_is_a_file(folder: Path) -> None:
    (folder / "sts@home.tsv").touch()
    assert read_set("sts@home.tsv") == [{"data": "sts@home.tsv"}]
    assert read_set("mail@x/pairs.tsv".replace("mail@x", "a/mail@x")) == [{"data": "a/mail@x/pairs.tsv"}]


# -- what is at hand


def put(folder: Path, name: str) -> None:
    """An empty file where a set of the catalogue is looked for."""
    base, _, split = name.rpartition(":")
    path = folder / "data" / CATALOG[base].parts[split].files[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_a_group_with_missing_sets_names_all_of_them_and_what_is_here(folder: Path) -> None:
    put(folder, "korsts:test")
    put(folder, "stsb_multi_mt:en:test")
    with pytest.raises(MissingInputError) as caught:
        read_sets(["korean-sts"])
    error = caught.value
    assert error.what == "2 of 4 sets are not here"
    assert error.where == "klue-sts:dev, stsb:dev"
    assert error.got == "here: korsts:test, stsb_multi_mt:en:test"
    assert "--skip-missing" in error.hint
    assert "klue-sts/klue-sts-v1.1_dev.json" in error.hint


def test_missing_sets_are_left_out_and_said_if_asked(folder: Path) -> None:
    put(folder, "korsts:test")
    said: list[str] = []
    found = read_sets(["korean-sts", "support-search"], skip_missing=True, say=said.append)
    assert found == [{"data": "korsts:test"}, {"name": "support-search", **SEARCH}]
    assert said == ["  left out, for they are not here: klue-sts:dev, stsb:dev, stsb_multi_mt:en:test"]


def test_if_nothing_is_here_leaving_out_is_no_way_out() -> None:
    with pytest.raises(MissingInputError, match="4 of 4") as caught:
        read_sets(["korean-sts"], skip_missing=True)
    assert "--skip-missing" not in caught.value.hint


def test_a_single_missing_set_keeps_its_own_message() -> None:
    with pytest.raises(MissingInputError, match="klue-sts-sample is not here"):
        read_sets(["klue-sts-sample"])


def test_a_folder_of_beir_is_a_set_of_three_files(folder: Path) -> None:
    (folder / "beir" / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (folder / "beir" / name).touch()
    (one,) = read_sets(["beir"])
    assert one["name"] == "beir"
    assert [Path(one[part]["source"]).name for part in naming.PARTS["retrieval"]] == [
        "corpus.jsonl",
        "queries.jsonl",
        "test.tsv",
    ]
    with pytest.raises(UsageError, match="made for the task retrieval"):
        read_sets(["sts@beir"])


# -- one truth


def test_the_names_here_are_those_of_the_tasks() -> None:
    assert set(get_args(TaskName)) == {*naming.ROW_TASKS, *naming.PARTS} == set(tasks.TASKS)
    assert get_args(Similarity) == tasks.SIMILARITIES
    assert {t.name: tuple(n for n, _ in t.parts) for t in tasks.TASKS.values() if t.parts} == naming.PARTS


def test_groups_and_compounds_name_sets_of_the_catalogue() -> None:
    names = {name if len(entry.parts) == 1 else f"{name}:{s}" for name, entry in CATALOG.items() for s in entry.parts}
    assert {member for members in GROUPS.values() for member in members} <= names
    assert {member for parts in COMPOUNDS.values() for member in parts.values()} <= names
    assert not names & {*GROUPS, *COMPOUNDS}
    assert {tuple(parts) for parts in COMPOUNDS.values()} <= set(naming.PARTS.values())

"""The catalogue: every known name leads to files or to one clear error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from munjang.data import catalog
from munjang.data.catalog import CATALOG, STSB_LANGUAGES, Entry, Part, data_folder, locate, split_name
from munjang.data.readers import ROLES
from munjang.errors import MissingInputError, MunjangError, UnavailableError

NAMES = [f"{name}:{split}" for name, entry in CATALOG.items() for split in entry.parts]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty data folder, and no hub."""
    monkeypatch.setenv("MUNJANG_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def put(folder: Path, name: str, content: str = "x\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


# -- the entries


@pytest.mark.parametrize("name", CATALOG)
def test_every_entry_is_complete(name):
    entry = CATALOG[name]
    assert entry.rows in ROLES
    assert entry.parts
    assert entry.licence
    assert entry.about
    assert set(entry.columns) <= set(ROLES[entry.rows])
    assert (entry.scale is not None) == (entry.rows == "scored-pairs")
    on_hub = any(part.hub for part in entry.parts.values())
    assert (entry.hub_scale is not None) == (on_hub and entry.rows == "scored-pairs")
    assert entry.header or set(entry.columns) == set(ROLES[entry.rows])


@pytest.mark.parametrize("name", CATALOG)
def test_no_two_splits_of_a_set_share_a_place(name):
    places = [(part.files, part.aligned) for part in CATALOG[name].parts.values()]
    hubs = [part.hub for part in CATALOG[name].parts.values() if part.hub]
    assert len(set(places)) == len(places)
    assert len(set(hubs)) == len(hubs)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", repository) for repository, _, _ in hubs)


def test_every_system_of_the_practice_has_its_data():
    known = {"korsts", "klue-sts", "kornli", "stsb", "park", "jhe", "chatbot", "klue-ner", "klue-dp"}
    assert known | {f"stsb_multi_mt:{language}" for language in STSB_LANGUAGES} <= set(CATALOG)


# -- names


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("korsts:train", ("korsts", "train")),
        ("korsts", ("korsts", "")),
        ("korsts:nope", ("korsts", "nope")),
        ("chatbot", ("chatbot", "all")),
        ("chatbot:all", ("chatbot", "all")),
        ("klue-sts-sample", ("klue-sts-sample", "dev")),
        ("stsb_multi_mt:en", ("stsb_multi_mt:en", "")),
        ("stsb_multi_mt:en:test", ("stsb_multi_mt:en", "test")),
        ("my.tsv", None),
        ("C:data.tsv", None),
        ("", None),
        (":", None),
    ],
)
def test_a_name_is_a_set_and_a_split(source, expected):
    assert split_name(source) == expected


@pytest.mark.parametrize("source", ["korsts", "korsts:valid", "korsts:", "stsb_multi_mt:en"])
def test_a_split_that_is_not_there_is_answered_with_those_that_are(tmp_path, source):
    with pytest.raises(MissingInputError, match="name a split") as caught:
        locate(source, tmp_path)
    base = source if source in CATALOG else source.rpartition(":")[0]
    assert caught.value.expected == f"{base}:train, {base}:dev, {base}:test"


@pytest.mark.parametrize(
    ("source", "suggestion"),
    [
        ("kosts:train", "korsts"),
        ("KorSTS:train", None),
        ("kornl", "kornli"),
        ("klue_sts", "klue-sts"),
        ("zzz.tsv", None),
    ],
)
def test_a_misspelt_name_is_answered_with_the_closest(tmp_path, source, suggestion):
    with pytest.raises(MissingInputError, match="no data set of this name") as caught:
        locate(source, tmp_path)
    assert "munjang data" in caught.value.hint
    if suggestion:
        assert f"did you mean {suggestion}?" in caught.value.hint


@pytest.mark.parametrize(
    "source", ["~no-such-user/a.tsv", "가" * 3000, "a\0.tsv", "", "x" * 300], ids=lambda s: ascii(s[:15])
)
def test_a_path_that_cannot_be_is_a_missing_input(tmp_path, source):
    with pytest.raises(MissingInputError):
        locate(source, tmp_path / "gone")


# -- paths


def test_relative_paths_start_at_the_recipe_and_absolute_ones_are_kept(tmp_path, monkeypatch):
    path = put(tmp_path / "recipes", "own.tsv")
    monkeypatch.chdir(tmp_path)
    for source in ("own.tsv", "./own.tsv", str(path)):
        located = locate(source, tmp_path / "recipes")
        assert located.paths[0].samefile(path)
        assert (located.rows, located.scale, located.header, located.name) == (None, None, True, source)
    with pytest.raises(MissingInputError):
        locate("own.tsv", tmp_path)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = put(tmp_path, "own.tsv")
    assert locate("~/own.tsv", Path("/")).paths == (path,)
    monkeypatch.setenv("MUNJANG_DATA", "~/data")
    assert data_folder() == tmp_path / "data"


def test_a_known_name_wins_over_a_file_of_that_name(tmp_path):
    put(tmp_path, "chatbot")
    with pytest.raises(MissingInputError, match="chatbot"):
        locate("chatbot", tmp_path)


# -- files below the data folder


@pytest.mark.parametrize("name", NAMES)
def test_every_known_name_finds_its_files_below_the_folder(tmp_path, folder, monkeypatch, name):
    monkeypatch.setattr(catalog, "SAMPLE_FOLDER", folder)
    known, split = split_name(name)
    entry, part = CATALOG[known], CATALOG[known].parts[split]
    paths = tuple(put(folder, part.files[0] + suffix) for suffix in part.aligned or ("",))
    located = locate(name, tmp_path)
    assert located.paths == paths
    assert (located.rows, located.scale, located.columns) == (entry.rows, entry.scale, entry.columns)
    assert located.header == entry.header


def test_the_first_file_that_exists_is_taken(tmp_path, folder):
    second = put(folder, "stsb_multi_mt/stsb-en-dev.csv")
    assert locate("stsb_multi_mt:en:dev", tmp_path).paths == (second,)
    first = put(folder, "stsb-en/stsb-en-dev.csv")
    assert locate("stsb_multi_mt:en:dev", tmp_path).paths == (first,)


def test_half_of_an_aligned_pair_is_not_enough(tmp_path, folder):
    put(folder, "parallel-ko-en/jhe-dev.ko")
    with pytest.raises(MissingInputError, match="jhe:dev"):
        locate("jhe:dev", tmp_path)


def test_the_label_names_the_split_where_there_are_several(tmp_path, folder):
    put(folder, "korsts/sts-dev.tsv")
    put(folder, "raw-ko/chatbot.txt")
    assert locate("korsts:dev", tmp_path).name == "korsts:dev"
    assert locate("chatbot", tmp_path).name == locate("chatbot:all", tmp_path).name == "chatbot"


def test_the_real_folder_has_every_set_it_claims(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    names = ["korsts:train", "kornli:dev", "stsb:dev", "park:test", "jhe:eval", "chatbot", "klue-ner", "klue-dp"]
    assert all(path.is_relative_to(real_data) for name in names for path in locate(name, tmp_path).paths)


# -- the hub


def test_what_is_not_here_is_taken_from_the_hub_with_the_hubs_scale(tmp_path, monkeypatch):
    asked = []

    def fetch(*arguments: str, hint: str) -> Path:
        asked.append((arguments, hint))
        return tmp_path / "0000.parquet"

    monkeypatch.setattr(catalog, "fetch_dataset_file", fetch)
    located = locate("stsb:dev", tmp_path)
    assert asked[0][0] == ("sentence-transformers/stsb", "default", "validation")
    assert "stsb-en/stsb-en-dev.csv" in asked[0][1]
    assert located.paths == (tmp_path / "0000.parquet",)
    assert (located.scale, located.columns, located.header, located.name) == ((0, 1), {}, True, "stsb:dev")


@pytest.mark.parametrize("name", [n for n in NAMES if not CATALOG[split_name(n)[0]].embedded])
@pytest.mark.parametrize("is_set", [True, False], ids=["a folder", "no folder"])
def test_without_files_and_hub_the_error_says_where_to_put_them(tmp_path, folder, monkeypatch, name, is_set):
    if not is_set:
        monkeypatch.delenv("MUNJANG_DATA")
    known, split = split_name(name)
    part = CATALOG[known].parts[split]
    with pytest.raises(MunjangError) as caught:
        locate(name, tmp_path)
    assert type(caught.value) is (UnavailableError if part.hub else MissingInputError)
    assert f"$MUNJANG_DATA/{part.files[0]}" in caught.value.hint
    assert ("MUNJANG_DATA is not set" in str(caught.value)) == (not is_set)


def test_an_empty_setting_is_no_folder(monkeypatch):
    monkeypatch.setenv("MUNJANG_DATA", "")
    assert data_folder() is None


def test_sets_in_the_package_need_no_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("MUNJANG_DATA")
    monkeypatch.setattr(catalog, "SAMPLE_FOLDER", tmp_path)
    path = put(tmp_path, "raw.txt")
    monkeypatch.setitem(CATALOG, "tiny", Entry("sentences", {"all": Part(("raw.txt",))}, "CC0", "x", embedded=True))
    assert locate("tiny", Path("/")).paths == (path,)

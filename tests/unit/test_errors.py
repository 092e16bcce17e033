"""Errors: one status a cause, one line for logs, one shape for JSON, and what the disk says in plain words."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
from pathlib import Path

import pytest

from munjang import errors
from munjang.errors import (
    EXIT_STATUSES,
    ConfigError,
    DataError,
    DiskError,
    LockedError,
    MissingInputError,
    MunjangError,
    Option,
    Phrase,
    UnavailableError,
    UsageError,
    from_os_error,
    missing_extra,
)

KINDS = [
    (MunjangError, "internal", 70, 500),
    (UsageError, "usage", 2, 400),
    (DataError, "data", 65, 422),
    (MissingInputError, "missing-input", 66, 404),
    (UnavailableError, "unavailable", 69, 503),
    (DiskError, "disk", 74, 507),
    (LockedError, "locked", 75, 409),
    (ConfigError, "config", 78, 400),
]


@pytest.mark.parametrize(("kind", "code", "exit_status", "http_status"), KINDS)
def test_each_cause_has_its_code_and_statuses(kind, code, exit_status, http_status):
    error = kind("wrong")
    assert (error.code, error.exit_status, error.http_status) == (code, exit_status, http_status)
    assert isinstance(error, MunjangError)
    assert exit_status in EXIT_STATUSES


def test_the_table_above_names_every_kind_of_error():
    defined = {o for o in vars(errors).values() if isinstance(o, type) and issubclass(o, MunjangError)}
    assert defined == {kind for kind, *_ in KINDS}


def test_no_two_causes_share_a_status():
    assert len({exit_status for _, _, exit_status, _ in KINDS}) == len(KINDS)
    assert len({code for _, code, *_ in KINDS}) == len(KINDS)


def test_a_full_error_reads_place_then_cause_then_expected_got_and_remedy():
    error = DataError(
        "the score is outside the scale", where="a.tsv:3:score", expected="0 to 5", got="7", hint="mend it"
    )
    assert str(error) == "a.tsv:3:score: the score is outside the scale; expected 0 to 5; got 7; mend it"


def test_an_error_without_a_place_starts_with_its_cause():
    assert str(DataError("empty")) == "empty"
    assert str(DataError("empty", hint="fill it")) == "empty; fill it"


def test_an_empty_finding_is_still_reported():
    assert str(DataError("wrong", got="")) == "wrong; got "


def test_the_json_shape_is_the_same_for_every_error():
    error = DataError("wrong", where=Path("가.tsv"))
    assert json.loads(json.dumps(error.as_dict())) == {
        "code": "data",
        "message": "wrong",
        "where": "가.tsv",
        "expected": None,
        "got": None,
        "hint": None,
    }


def test_an_error_survives_the_way_back_from_a_worker_process():
    error = DiskError("cannot write: full", where="/x", expected="room", got="none", hint="free some")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is DiskError
    assert (str(back), back.as_dict()) == (str(error), error.as_dict())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_refusing_disk_is_named_with_a_remedy(number):
    error = from_os_error(OSError(number, os.strerror(number)), Path("/data/x"), doing="write")
    assert type(error) is DiskError
    assert error.where == "/data/x"
    assert error.what == f"cannot write: {os.strerror(number)}"
    assert error.hint


@pytest.mark.parametrize("number", [errno.EEXIST, errno.ENOTDIR])
def test_a_file_in_the_place_of_a_folder_is_named_with_a_remedy(number):
    error = from_os_error(OSError(number, os.strerror(number)), Path("/data/x"), doing="write")
    assert (type(error), error.hint.partition(":")[0]) == (DiskError, "a file stands where a folder is needed")


def test_a_full_disk_and_a_read_only_disk_have_different_remedies():
    hints = {from_os_error(OSError(n, "x"), "/", doing="write").hint for n in (errno.ENOSPC, errno.EROFS, errno.EFBIG)}
    assert len(hints) == 3


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.ENOTDIR])
def test_a_path_that_is_not_there_is_a_missing_input(number):
    error = from_os_error(OSError(number, os.strerror(number)), "/data/x", doing="read")
    assert type(error) is MissingInputError
    assert error.where == "/data/x"


def test_a_broken_disk_is_reported_without_a_made_up_remedy():
    error = from_os_error(OSError(errno.EIO, os.strerror(errno.EIO)), "/data/x", doing="read")
    assert (type(error), error.what, error.hint) == (DiskError, f"cannot read: {os.strerror(errno.EIO)}", None)


def test_a_system_error_without_a_number_keeps_its_words():
    assert from_os_error(OSError("the cable is out"), "/x", doing="read").what == "cannot read: the cable is out"


def test_a_missing_extra_is_one_line_with_the_command():
    error = missing_extra("accelerate", "train")
    assert type(error) is UnavailableError
    assert "accelerate" in str(error)
    assert "pip install 'munjang[train]'" in str(error)
    assert "\n" not in str(error)


OPTIONS = [
    (Option("scale", [0, 5]), "scale = [0, 5]"),
    (Option("columns", {"sentence1": '질문 "하나"'}), 'columns = {sentence1 = "질문 \\"하나\\""}'),
    (Option("margin", table="stage.bi"), "stage.bi.margin"),
    (Option("train[0].data", "korsts:train", "stage.bi"), 'stage.bi.train[0].data = "korsts:train"'),
    (Option("symmetric", False), "symmetric = false"),
]


@pytest.mark.parametrize(("option", "text"), OPTIONS)
def test_an_option_is_written_as_in_a_recipe(option, text):
    assert option.in_recipe() == text


def test_a_phrase_is_a_string_that_others_may_write_in_their_way():
    phrase = Phrase("say {} or {}; {}", Option("scale", [0, 5]), "go", Phrase("leave out {}", Option("margin")))
    assert phrase == "say scale = [0, 5] or go; leave out margin"
    assert phrase.written(lambda option: f"<{option.name}>") == "say <scale> or go; leave out <margin>"
    assert Phrase.joined(", ", [phrase, "{}"]).written(lambda option: "x") == "say x or go; leave out x, {}"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda phrase: pickle.loads(pickle.dumps(phrase))])
def test_a_phrase_survives_a_copy(copied):
    phrase = copied(Phrase("map {}", Option("columns", {"score": "A"})))
    assert phrase == 'map columns = {score = "A"}'
    assert phrase.written(lambda option: str(option.value)) == "map {'score': 'A'}"


def test_an_error_is_rewritten_as_a_whole_and_stays_what_it_is():
    scale = Option("scale", [0, 5], "data.gold")
    error = DataError(Phrase("{} is wrong", Option("scale")), where=scale, got="7", hint=Phrase("set {}", scale))
    found = error.rewritten(lambda option: f"--{option.name}")
    assert (type(found), found.what, found.where, found.got) == (DataError, "--scale is wrong", "--scale", "7")
    assert (error.where, error.hint) == ("data.gold.scale = [0, 5]", "set data.gold.scale = [0, 5]")
    assert found.expected is None


def test_the_option_that_named_an_input_is_said_once():
    option = Option("train", "data:a.tsv", "stage.bi")
    for where, expected in ((None, ""), ("data:a.tsv", ""), ("a.tsv", ""), ("/x/a.tsv:3", " (/x/a.tsv:3)")):
        error = DataError("wrong", where=where)
        error.inside(option)
        assert error.where == f'stage.bi.train = "data:a.tsv"{expected}'
        assert str(error) == f"{error.where}: wrong"

"""The door for the disk: whole or absent, old or new, and every flipped byte is found."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from munjang.errors import DataError, DiskError, LockedError, MissingInputError, MunjangError
from munjang.files import (
    MANIFEST,
    MANIFEST_FORMAT,
    canonical_json,
    damage,
    digest_bytes,
    digest_file,
    digest_folder,
    digest_of_manifest,
    lock,
    new_directory,
    read_json,
    read_manifest,
    remove_leftovers,
    write_bytes,
    write_json,
)


def commit(final: Path) -> Path:
    """A committed directory of three files, one of them empty and one in a folder."""
    with new_directory(final, fingerprint="f00d") as folder:
        (folder / "model.bin").write_bytes(bytes(range(256)))
        (folder / "empty.txt").write_text("")
        (folder / "sub").mkdir()
        (folder / "sub" / "문장.txt").write_text("안녕하세요")
    return final


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def failing_fsync(monkeypatch, nth: int, number: int = errno.ENOSPC):
    """Lets the nth fsync fail; yields the list of calls."""
    calls: list[int] = []

    def fsync(_handle: int) -> None:
        calls.append(1)
        if len(calls) == nth:
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield calls


# -- digests and JSON


def test_a_digest_is_128_bits_of_blake2b_and_the_same_for_bytes_and_files(tmp_path):
    content = "가나다".encode() * 1_000_000
    (tmp_path / "x").write_bytes(content)
    assert digest_file(tmp_path / "x") == digest_bytes(content)
    assert digest_bytes(b"") == "cae66941d9efbd404e4d88758ea67670"


def test_the_digest_of_a_missing_file_names_it(tmp_path):
    with pytest.raises(MissingInputError, match="gone"):
        digest_file(tmp_path / "gone")


def test_the_digest_of_a_folder_follows_names_and_contents_only(tmp_path):
    for name in ("a", "b"):
        commit(tmp_path / name)
        os.utime(tmp_path / name / "model.bin", (hash(name) % 1000, 0))
    (tmp_path / "b" / ".hidden").write_text("x")
    digest = digest_folder(tmp_path / "a")
    assert digest == digest_folder(tmp_path / "b")
    (tmp_path / "b" / "sub" / "문장.txt").rename(tmp_path / "b" / "문장.txt")
    assert digest != digest_folder(tmp_path / "b")
    (tmp_path / "a" / "empty.txt").write_text("x")
    assert digest != digest_folder(tmp_path / "a")


def test_a_manifest_tells_the_digest_of_its_folder_without_reading_the_files(tmp_path):
    final = commit(tmp_path / "out")
    assert digest_of_manifest(read_manifest(final)) == digest_folder(final)


def test_a_file_name_in_another_encoding_does_not_stop_a_folder(tmp_path):
    """Archives made on a Korean Windows unpack to names in cp949."""
    (tmp_path / "in").mkdir()
    foreign = os.path.join(os.fsencode(tmp_path / "in"), "모델.txt".encode("cp949"))
    with open(foreign, "wb") as file:
        file.write(b"x")
    assert len(digest_folder(tmp_path / "in")) == 32
    with new_directory(tmp_path / "out") as folder:
        shutil.copytree(tmp_path / "in", folder / "copy")
    assert damage(tmp_path / "out") is None


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": 1, "a": ["가", 1.5, None]}) == '{"a":["가",1.5,null],"b":1}'
    assert canonical_json({"a": 1, "b": 2}) == canonical_json({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_non_finite_number_goes_into_no_json(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"loss": value})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"loss": value})
    assert names(tmp_path) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(value=json_values)
def test_json_comes_back_as_it_was_written(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "round.json"
    write_json(path, value)
    assert read_json(path) == value


def test_a_lone_surrogate_does_not_stop_a_json_file(tmp_path):
    write_json(tmp_path / "x.json", {"text": "\ud800"})
    assert read_json(tmp_path / "x.json") in ({"text": "\ud800"}, {"text": "\ufffd"})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1} x', b"[" * 100_000], ids=lambda c: repr(c[:10]))
def test_a_damaged_json_file_is_a_data_error_that_names_it(tmp_path, content):
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(DataError, match=r"state\.json"):
        read_json(tmp_path / "state.json")


def test_a_missing_json_file_is_a_missing_input(tmp_path):
    with pytest.raises(MissingInputError):
        read_json(tmp_path / "state.json")


# -- small files


def test_a_small_file_is_replaced_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "x.json"
    write_json(path, {"n": 1})
    write_json(path, {"n": 2})
    assert read_json(path) == {"n": 2}
    assert names(path.parent) == ["x.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, number):
    path = tmp_path / "x.json"
    write_json(path, {"n": 1})
    with failing_fsync(monkeypatch, 1, number), pytest.raises(DiskError) as caught:
        write_json(path, {"n": 2})
    assert caught.value.exit_status == 74
    assert caught.value.where == str(path)
    assert read_json(path) == {"n": 1}
    assert names(tmp_path) == ["x.json"]


def test_a_write_whose_folder_cannot_be_flushed_is_reported_and_whole(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"n": 1})
    with failing_fsync(monkeypatch, 2, errno.EIO), pytest.raises(DiskError):
        write_json(path, {"n": 2})
    assert read_json(path) in ({"n": 1}, {"n": 2})
    assert names(tmp_path) == ["x.json"]


def test_a_file_is_flushed_before_its_name_changes_and_the_folder_after(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), replace(self, to))[1])
    write_bytes(tmp_path / "x", b"1")
    assert events[1:] == ["rename", str(tmp_path)]
    assert Path(events[0]).name.startswith(".tmp-x")


def test_a_path_below_a_file_is_a_named_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MunjangError, match="file"):
        write_bytes(tmp_path / "file" / "x", b"1")
    with pytest.raises(MunjangError, match="file"), new_directory(tmp_path / "file" / "x"):
        pass
    with pytest.raises(MunjangError, match="file"), lock(tmp_path / "file"):
        pass


def test_a_folder_that_cannot_be_written_is_a_disk_error(tmp_path):
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    for attempt in (lambda: write_bytes(tmp_path / "x", b"1"), lambda: commit(tmp_path / "out")):
        with pytest.raises(DiskError) as caught:
            attempt()
        assert "mode of the folder" in caught.value.hint
    with pytest.raises(DiskError), lock(tmp_path):
        pass
    assert names(tmp_path) == []


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from munjang.errors import DiskError
from munjang.files import damage, new_directory, read_json, write_json

folder = Path(sys.argv[1])
old, new = {"text": "가" * 1000}, {"text": "나" * 3000}
write_json(folder / "x.json", old)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

def limited(limit, work):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        work()
        return 0
    except DiskError as error:
        return error.exit_status
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

def directory(final):
    with new_directory(final) as temporary:
        (temporary / "a.bin").write_bytes(b"a" * 4000)

outcomes = []
for limit in range(0, 10_001, 200):
    status = limited(limit, lambda: write_json(folder / "x.json", new))
    content = read_json(folder / "x.json")
    outcomes.append(["file", limit, status, "old" if content == old else "new" if content == new else "broken"])
    final = folder / f"out-{limit}"
    status = limited(limit, lambda: directory(final))
    state = "absent" if not final.exists() else damage(final) or "whole"
    outcomes.append(["directory", limit, status, state])
outcomes.append(["leftovers", [p.name for p in folder.iterdir() if p.name.startswith(".tmp-")]])
print(json.dumps(outcomes))
"""


def test_a_disk_that_refuses_at_any_byte_leaves_the_old_state_or_the_new_one(tmp_path, python):
    output, problems = python(FULL_DISK, tmp_path).communicate(timeout=60)
    assert problems == ""
    *outcomes, leftovers = json.loads(output)
    assert leftovers == ["leftovers", []]
    expected = {("file", 74): "old", ("file", 0): "new", ("directory", 74): "absent", ("directory", 0): "whole"}
    assert [o for o in outcomes if expected.get((o[0], o[2])) != o[3]] == []
    assert {(kind, status) for kind, _, status, _ in outcomes} == set(expected)


# -- directories


def test_a_committed_directory_has_a_manifest_of_all_its_files(tmp_path):
    final = commit(tmp_path / "deep" / "out")
    manifest = read_manifest(final)
    assert manifest["format"] == MANIFEST_FORMAT
    assert manifest["meta"] == {"fingerprint": "f00d"}
    assert manifest["files"] == {
        "model.bin": {"size": 256, "blake2b": digest_bytes(bytes(range(256)))},
        "empty.txt": {"size": 0, "blake2b": digest_bytes(b"")},
        "sub/문장.txt": {"size": 15, "blake2b": digest_bytes("안녕하세요".encode())},
    }
    assert damage(final) is None
    assert names(final.parent) == ["out"]


def test_committed_files_can_be_read_by_others(tmp_path):
    with new_directory(tmp_path / "out") as folder:
        (folder / "x").write_text("x")
        (folder / "x").chmod(0o600)
    assert (tmp_path / "out" / "x").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), DataError("bad rows"), SystemExit(1)])
def test_an_exception_leaves_nothing_behind_and_passes_unchanged(tmp_path, error):
    def fill() -> None:
        with new_directory(tmp_path / "out") as folder:
            (folder / "half.bin").write_bytes(b"x")
            raise error

    with pytest.raises(type(error)) as caught:
        fill()
    assert caught.value is error
    assert names(tmp_path) == []


def test_a_full_disk_inside_the_block_is_a_disk_error_with_the_free_space(tmp_path):
    with pytest.raises(DiskError, match="MB free") as caught, new_directory(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")
    assert caught.value.exit_status == 74
    assert "model.safetensors" in str(caught.value)
    assert names(tmp_path) == []


def test_a_commit_that_fails_at_any_flush_leaves_all_or_nothing(tmp_path, monkeypatch):
    reached = set()
    for nth in range(1, 50):
        final = tmp_path / f"out-{nth}"
        with failing_fsync(monkeypatch, nth) as calls, contextlib.suppress(DiskError):
            commit(final)
        reached.add(final.exists())
        assert not final.exists() or damage(final) is None
        assert not [name for name in names(tmp_path) if name.startswith(".tmp-")]
        if len(calls) < nth:
            break
    assert reached == {False, True}
    assert nth > 6


def test_everything_is_flushed_before_the_directory_gets_its_name(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.rename

    def path_of(handle: int) -> str:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        inside = [part for part in path.relative_to(tmp_path).parts if not part.startswith(".tmp-out-")]
        return "/".join(inside)

    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(path_of(fd)), fsync(fd))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (events.append("renamed"), rename(self, to))[1])
    commit(tmp_path / "out")
    at = events.index("renamed")
    before, after = events[:at], events[at + 1 :]
    assert {"model.bin", "empty.txt", "sub", "sub/문장.txt"} <= set(before)
    assert any(MANIFEST in name for name in before)
    assert "" in before, "the temporary directory itself"
    assert after == [""]


def test_commits_and_writes_leak_no_file_handle(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(10):
        commit(tmp_path / f"out-{number}")
        write_json(tmp_path / "x.json", number)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_that_is_taken_is_refused_and_kept(tmp_path):
    commit(tmp_path / "out")
    before = read_manifest(tmp_path / "out")
    with pytest.raises(DiskError, match="exists already"):
        commit(tmp_path / "out")
    assert read_manifest(tmp_path / "out") == before
    assert damage(tmp_path / "out") is None
    assert names(tmp_path) == ["out"]


def test_a_copy_of_a_committed_directory_can_be_committed(tmp_path):
    source = commit(tmp_path / "source")
    with new_directory(tmp_path / "copy") as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    assert damage(tmp_path / "copy") is None
    assert digest_folder(tmp_path / "copy") == digest_folder(source)


def test_an_empty_directory_of_the_name_is_refused_too(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(DiskError, match="exists already"):
        commit(tmp_path / "out")
    assert names(tmp_path / "out") == []


KILLED = """
import os, signal, sys
from pathlib import Path
from munjang.files import new_directory
with new_directory(Path(sys.argv[1])) as folder:
    (folder / "half.bin").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_directory_and_its_leftovers_can_be_removed(tmp_path, python):
    process = python(KILLED, tmp_path / "out")
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    assert [name.startswith(".tmp-out") for name in names(tmp_path)] == [True]
    assert remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == []


def test_only_leftovers_are_removed(tmp_path):
    commit(tmp_path / "out")
    (tmp_path / ".tmp-x.json-12").write_text("x")
    (tmp_path / ".tmp-dir-12" / "deep").mkdir(parents=True)
    (tmp_path / ".lock").write_text("12")
    assert remove_leftovers(tmp_path) == 2
    assert names(tmp_path) == [".lock", "out"]
    assert remove_leftovers(tmp_path / "absent") == 0


# -- damage


def test_every_flipped_byte_of_a_file_is_found(tmp_path):
    path = commit(tmp_path / "out") / "model.bin"
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert damage(tmp_path / "out") == "model.bin has changed since it was written"
    path.write_bytes(good)
    assert damage(tmp_path / "out") is None


@pytest.mark.parametrize("size", [0, 1, 255, 257])
def test_a_file_of_another_length_is_found_with_both_lengths(tmp_path, size):
    path = commit(tmp_path / "out") / "model.bin"
    path.write_bytes(b"x" * size)
    assert damage(tmp_path / "out") == f"model.bin has {size} bytes instead of 256"


@pytest.mark.parametrize("name", ["model.bin", "empty.txt", "sub/문장.txt"])
def test_a_deleted_file_is_found(tmp_path, name):
    (commit(tmp_path / "out") / name).unlink()
    assert damage(tmp_path / "out") == f"{name} is missing"


def test_two_swapped_files_are_found(tmp_path):
    with new_directory(tmp_path / "out") as folder:
        (folder / "a").write_text("one")
        (folder / "b").write_text("two")
    (tmp_path / "out" / "a").write_text("two")
    (tmp_path / "out" / "b").write_text("one")
    assert damage(tmp_path / "out") is not None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"files": []}',
        '{"files": {"x": 1}}',
        '{"files": {"x": {}}}',
        '{"files": {"model.bin": {"size": 256}}}',
        '{"format": null, "files": {}}',
        '{"format": "1", "files": {}}',
        "[" * 100_000,
    ],
    ids=lambda content: content[:40],
)
def test_a_manifest_of_another_shape_is_damage(tmp_path, content):
    final = commit(tmp_path / "out")
    (final / MANIFEST).write_text(content)
    assert damage(final) is not None


def test_a_missing_manifest_is_damage(tmp_path):
    final = commit(tmp_path / "out")
    (final / MANIFEST).unlink()
    assert read_manifest(final) is None
    assert damage(final) == "its manifest is missing or damaged"


def test_every_flipped_byte_of_a_manifest_is_found(tmp_path):
    path = commit(tmp_path / "out") / MANIFEST
    good = path.read_bytes()
    unnoticed = []
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        try:
            found = damage(tmp_path / "out")
        except MunjangError as error:
            found = error.what
        if found is None:
            unnoticed.append(good[:at].count(b"\n") + 1)
    assert unnoticed == [], "flips on these lines of the manifest"


def test_a_file_that_the_manifest_does_not_name_is_not_taken_for_damage(tmp_path):
    final = commit(tmp_path / "out")
    (final / "notes.txt").write_text("mine")
    assert damage(final) is None


def test_a_newer_format_is_refused_with_both_versions(tmp_path):
    final = commit(tmp_path / "out")
    manifest = read_manifest(final)
    (final / MANIFEST).write_text(json.dumps({**manifest, "format": MANIFEST_FORMAT + 1}))
    for attempt in (read_manifest, damage):
        with pytest.raises(DataError, match="newer Munjang") as caught:
            attempt(final)
        assert caught.value.expected == f"format {MANIFEST_FORMAT} or older"
        assert caught.value.got == f"format {MANIFEST_FORMAT + 1}"


# -- locks

HOLDER = """
import sys, time
from pathlib import Path
from munjang.files import lock
with lock(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_the_lock_until_that_one_is_killed(tmp_path, python):
    holder = python(HOLDER, tmp_path / "run")
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError) as caught, lock(tmp_path / "run"):
            pytest.fail("two processes hold the lock")
        assert caught.value.what == f"this run is locked by process {holder.pid}"
        assert caught.value.exit_status == 75
        assert caught.value.where == str(tmp_path / "run")
    finally:
        holder.kill()
        holder.communicate(timeout=30)
    with lock(tmp_path / "run"):
        assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"


WAITER = """
import sys
from pathlib import Path
from munjang.files import lock
print("waiting", flush=True)
with lock(Path(sys.argv[1]), wait=True):
    print("held", flush=True)
"""


def test_a_process_that_waits_gets_the_lock_once_the_other_one_is_gone(tmp_path, python):
    with lock(tmp_path):
        waiter = python(WAITER, tmp_path)
        assert waiter.stdout.readline() == "waiting\n"
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    output, problems = waiter.communicate(timeout=30)
    assert output == "held\n", problems
    assert (tmp_path / ".lock").read_text() == f"{waiter.pid}\n"


def test_a_lock_is_freed_at_the_end_also_after_an_exception(tmp_path):
    for _ in range(3):
        with pytest.raises(ValueError, match="a bug"), lock(tmp_path, "index"):
            raise ValueError("a bug")
    with lock(tmp_path), pytest.raises(LockedError, match="this index"), lock(tmp_path, "index"):
        pass


def test_a_failed_attempt_to_lock_leaks_no_file_handle(tmp_path):
    with lock(tmp_path):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with pytest.raises(LockedError), lock(tmp_path):
                pass
        assert len(os.listdir("/proc/self/fd")) == before

"""Files to folders of vectors: every row is there once, in its place, or rejected with a reason; whatever the format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stub_model import DIMENSION, StubModel, vector

from munjang.data.texts import TextFile, Wanted
from munjang.engine import bulk
from munjang.engine.bulk import Job, encode_files
from munjang.engine.shards import read_encoding, read_summary, shard_name
from munjang.errors import ConfigError, DataError, LockedError, MissingInputError
from munjang.files import damage, lock
from munjang.progress import QUIET, Show

Encode = Callable[..., dict[str, Any]]


@pytest.fixture
def encode(tmp_path: Path) -> Encode:
    """Encodes files of `tmp_path` into its folder `out` with a stub, in shards of ten rows."""

    def call(*names: str, model: Any = None, show: Show = QUIET, out: str = "out", **options: Any) -> dict[str, Any]:
        wanted = Wanted(options.pop("texts", ()), options.pop("id", None), options.pop("encoding", None))
        job = Job("stub", "f" * 32, shard_rows=options.pop("shard_rows", 10), wanted=wanted, **options)
        files = [TextFile(name, tmp_path / name) for name in names]
        return encode_files(files, tmp_path / out, job, lambda: model or StubModel(), show)

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def whole(folder: Path) -> tuple[list[int], list[str | None], np.ndarray]:
    blocks = list(read_encoding(folder))
    ids = [key for block in blocks for key in block.ids]
    return [int(r) for b in blocks for r in b.rows], ids, np.concatenate([b.vectors for b in blocks])


def write_tsv(path: Path, rows: int) -> list[str]:
    texts = [f"질문 {i}번입니다" for i in range(rows)]
    lines = ["key\ttext\tother", *(f"k{i}\t{text}\t{i}" for i, text in enumerate(texts))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return texts


def write_as(path: Path, texts: list[str]) -> None:
    records = [{"key": f"k{i}", "text": text} for i, text in enumerate(texts)]
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        pa.parquet.write_table(pa.Table.from_pylist(records), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    elif path.suffix == ".txt":
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        path.write_text("".join(mark.join(r.values()) + "\n" for r in [{"k": "key", "t": "text"}, *records]))


@pytest.mark.parametrize("suffix", [".tsv", ".csv", ".json", ".jsonl", ".parquet", ".txt"])
@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_every_format_in_and_out_holds_each_row_once(suffix: str, form: str, encode: Encode, tmp_path: Path) -> None:
    texts = [f"문장 {i}" for i in range(23)]
    write_as(tmp_path / f"in{suffix}", texts)
    key = None if suffix == ".txt" else "key"
    report = encode(f"in{suffix}", format=form, id=key)
    rows, ids, vectors = whole(tmp_path / "out")
    assert rows == list(range(23))
    assert ids == ([None] * 23 if key is None else [f"k{i}" for i in range(23)])
    np.testing.assert_array_equal(vectors, np.array([vector(t) for t in texts], np.float32))
    assert (report["read"], report["kept"], report["rejected"], report["shards"]) == (23, 23, 0, 3)
    assert damage(tmp_path / "out") is None
    assert not (tmp_path / "out.part").exists()


@pytest.mark.parametrize("form", ["npy", "parquet"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_precisions_are_within_their_stated_error(precision: str, form: str, encode: Encode, tmp_path: Path) -> None:
    texts = write_tsv(tmp_path / "in.tsv", 25)
    report = encode("in.tsv", precision=precision, format=form)
    expected = np.array([vector(t) for t in texts], np.float32)
    _, _, found = whole(tmp_path / "out")
    off = np.abs(found - expected)
    if precision == "binary":
        assert report["largest_error"] is None
        np.testing.assert_array_equal(found > 0, expected > 0)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
        return
    assert off.max() == pytest.approx(report["largest_error"])
    steps = [np.load(p) for p in sorted((tmp_path / "out" / "scales").glob("*.npy"))]
    assert len(steps) == (3 if precision == "int8" else 0)
    for number, scale in enumerate(steps):
        assert (off[10 * number : 10 * number + 10] <= scale / 2 + 1e-7).all()
    assert off.max() <= {"float32": 0, "float16": 2**-11, "int8": 1 / 254 + 1e-6}[precision]


def test_rows_without_a_text_are_rejected_and_listed(encode: Encode, tmp_path: Path) -> None:
    lines = ["id\ttext", "1\t환불", "2\t", "3\t \u3164 ", "4", "\t배송", "6\t취소\t덤", "7\t결제"]
    (tmp_path / "in.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = encode("in.tsv", id="id", shard_rows=3)
    assert (report["read"], report["kept"], report["rejected"]) == (7, 2, 5)
    assert sum(report["rejected_because"].values()) == 5
    assert whole(tmp_path / "out")[:2] == ([0, 6], ["1", "7"])
    listed = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert [(r["row"], r["line"], r["column"]) for r in listed] == [
        (1, 3, "text"), (2, 4, "text"), (3, 5, None), (4, 6, "id"), (5, 7, None),
    ]  # fmt: skip
    assert listed[0]["reason"] == "the text is blank"
    # A shard of rejects alone holds no vectors, of the same length.
    assert [np.load(p).shape for p in sorted((tmp_path / "out" / "vectors").glob("*"))] == [
        (1, DIMENSION), (0, DIMENSION), (1, DIMENSION),
    ]  # fmt: skip


def test_what_was_changed_and_cut_is_counted(encode: Encode, tmp_path: Path) -> None:
    million = "가나다라 " * 200_000
    texts = ["환불", "e\u0301", million[:1_000_000], "배송\u200b이", "x" * 1_500]
    (tmp_path / "in.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    model = StubModel()
    report = encode("in.txt", model=model)
    assert report["kept"] == 5
    assert (report["repaired"], report["truncated"]) == (3, 2)
    assert report["changes"] == {"cut": 1, "filler": 1, "nfc": 1}
    assert max(map(len, model.texts)) <= 32_768
    (tmp_path / "long.txt").write_text("환불\n" + "가" * 1_000_001 + "\n배송\n", encoding="utf-8")
    report = encode("long.txt", out="long")
    assert report["rejected_because"] == {"the line is longer than 1,000,000 characters": 1}
    assert whole(tmp_path / "long")[0] == [0, 2]


def test_several_files_are_one_row_of_shards(encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "a.tsv", 7)
    write_as(tmp_path / "b.txt", [f"글 {i}" for i in range(8)])
    report = encode("a.tsv", "b.txt")
    assert [source["rows"] for source in report["sources"]] == [7, 8]
    rows, _, vectors = whole(tmp_path / "out")
    assert rows == list(range(15))
    assert vectors[7].tolist() == pytest.approx(vector("글 0"))


class StoppedError(BaseException):
    pass


class Dying(StubModel):
    """Encodes so many texts, then fails."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def encode(self, texts, use="similarity", progress=None):
        if len(self.texts) + len(texts) > self.room:
            raise StoppedError
        return super().encode(texts, use, progress)


@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_what_was_stopped_goes_on_and_ends_with_the_same_bytes(form: str, encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "in.tsv", 45)
    encode("in.tsv", out="unbroken", format=form, id="key")
    said: list[str] = []
    for room in (3, 25):
        with pytest.raises(StoppedError):
            encode("in.tsv", model=Dying(room), format=form, id="key", show=Show(say=said.append))
        assert not (tmp_path / "out").exists()
        assert (tmp_path / "out.part").exists() == (room > 10)
    assert said == ["2 finished shards are kept in out.part; the same command goes on to out"]
    rest = StubModel()
    assert encode("in.tsv", model=rest, format=form, id="key")["done_before"] == 2
    assert len(rest.texts) == 25
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")
    idle = StubModel()
    assert encode("in.tsv", model=idle, format=form, id="key")["done_before"] is None
    assert idle.texts == []


def begin(encode: Encode, room: int = 25) -> None:
    with pytest.raises(StoppedError):
        encode("in.tsv", model=Dying(room))


def test_a_damaged_shard_is_made_again_and_said(encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "in.tsv", 45)
    encode("in.tsv", out="unbroken")
    begin(encode)
    path = tmp_path / "out.part" / shard_name(0) / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    said: list[str] = []
    rest = StubModel()
    encode("in.tsv", model=rest, show=Show(say=said.append))
    assert said == ["shard-00000: vectors.npy has changed since it was written; it is made again"]
    assert len(rest.texts) == 35
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")


def test_a_damaged_result_is_refused(encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "in.tsv", 15)
    encode("in.tsv")
    (tmp_path / "out" / "vectors" / "00001.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"damaged.*00001\.npy"):
        encode("in.tsv")


@pytest.mark.parametrize("finished", [True, False])
def test_other_options_and_a_changed_file_are_refused(finished: bool, encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "in.tsv", 45)
    encode("in.tsv") if finished else begin(encode)
    before = contents(tmp_path)
    for options in ({"precision": "int8"}, {"use": "query"}, {"shard_rows": 11}, {"texts": ("other",)}, {"id": "key"}):
        with pytest.raises(ConfigError, match="begun with other options: "):
            encode("in.tsv", **options)
    write_tsv(tmp_path / "in.tsv", 46)
    with pytest.raises(DataError, match="the input has changed since"):
        encode("in.tsv")
    write_tsv(tmp_path / "in.tsv", 45)
    assert contents(tmp_path) == before
    assert encode("in.tsv")["kept"] == 45


def test_shards_that_a_kill_left_behind_a_finished_result_go_away(encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "in.tsv", 45)
    begin(encode)
    shutil.copytree(tmp_path / "out.part", tmp_path / "kept")
    encode("in.tsv")
    shutil.copytree(tmp_path / "kept", tmp_path / "out.part")
    assert encode("in.tsv")["done_before"] is None
    assert not (tmp_path / "out.part").exists()


def test_two_backends_are_not_mixed(encode: Encode, tmp_path: Path) -> None:
    class Other(StubModel):
        backend = SimpleNamespace(name="openvino-int8")

    write_tsv(tmp_path / "in.tsv", 45)
    begin(encode)
    with pytest.raises(ConfigError, match=r"another backend.*expected stub.*got openvino-int8"):
        encode("in.tsv", model=Other())
    assert encode("in.tsv")["backend"] == "stub"


def test_a_second_process_is_told_who_holds_the_folder(encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "in.tsv", 5)
    with lock(tmp_path / "out.part"), pytest.raises(LockedError, match="this encoding is locked by process"):
        encode("in.tsv")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("a\tb\n1\t2\n", {}, "there is no column of texts"),
        ("a\ttext\n1\t2\n", {"id": "key"}, "there is no column 'key'"),
        ("a\ttext\n1\t2\n", {"texts": ("b",)}, "there is no column 'b'"),
        ("text\n\n \n", {}, "no rows were left after reading.*2 rejected: the text is blank"),
        ("text\n", {}, "no rows were left after reading"),
        ("", {}, "this file is empty"),
    ],
)
def test_a_file_without_texts_is_one_error_and_leaves_nothing(
    content: str, options: dict[str, Any], words: str, encode: Encode, tmp_path: Path
) -> None:
    (tmp_path / "in.tsv").write_text(content)
    with pytest.raises(DataError, match=words):
        encode("in.tsv", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tsv"]


def test_the_last_file_is_looked_at_before_the_first_is_encoded(encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "a.tsv", 25)
    (tmp_path / "b.tsv").write_text("x\ty\n1\t2\n")
    model = StubModel()
    with pytest.raises(DataError, match=r"b\.tsv: there is no column of texts"):
        encode("a.tsv", "b.tsv", model=model)
    assert model.texts == []


def test_a_folder_of_something_else_is_left_alone(encode: Encode, tmp_path: Path) -> None:
    write_tsv(tmp_path / "in.tsv", 5)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="holds no finished encoding"):
        encode("in.tsv")
    with pytest.raises(MissingInputError, match="no finished encoding"):
        read_summary(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.tsv", "out"]


def test_blocks_do_not_change_the_result(encode: Encode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tsv(tmp_path / "in.tsv", 45)
    encode("in.tsv", out="unbroken", precision="int8", shard_rows=20)
    monkeypatch.setattr(bulk, "_BLOCK_ROWS", 7)
    seen: list[tuple[int, int, str]] = []
    show = Show(progress=lambda title: lambda done, total, note="": seen.append((done, total, note)))
    encode("in.tsv", precision="int8", shard_rows=20, show=show)
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")
    assert [done for done, _, _ in seen] == [7, 14, 20, 27, 34, 40, 45]
    assert all(done < total and note == "9 tokens/s" for done, total, note in seen)


def test_files_without_hard_links_are_copied(encode: Encode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError("no links here")

    write_tsv(tmp_path / "in.tsv", 15)
    encode("in.tsv", out="linked")
    monkeypatch.setattr("os.link", refuse)
    encode("in.tsv")
    assert contents(tmp_path / "out") == contents(tmp_path / "linked")


def test_memory_does_not_grow_with_the_file(python: Callable[..., Any], tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from munjang.data.texts import TextFile
from munjang.engine.bulk import Job, encode_files
from munjang.progress import QUIET
from stub_model import StubModel

class Forgetful(StubModel):
    def encode(self, *arguments, **named):
        self.texts = []
        return super().encode(*arguments, **named)

def peak(name):
    encode_files([TextFile(name, Path(name))], Path(name + "-out"), Job("stub", "f", shard_rows=5_000), Forgetful, QUIET)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

print(peak(sys.argv[1]), peak(sys.argv[2]))
"""
    for name, rows in (("small.jsonl", 20_000), ("large.jsonl", 200_000)):
        with (tmp_path / name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps({"id": i, "text": f"문장 {i} " + "가나다 " * 30}) + "\n" for i in range(rows))
    tests = str(Path(__file__).parents[2])
    root = str(Path(bulk.__file__).parents[2])
    paths = {"PYTHONPATH": f"{root}:{tests}"}
    printed, problems = python(code, tmp_path / "small.jsonl", tmp_path / "large.jsonl", **paths).communicate(
        timeout=300
    )
    assert problems == ""
    small, large = map(int, printed.split())
    # The large file is 90 MB as text; 8 MB is less than a tenth of what holding its rows would take.
    assert large - small < 8_000, f"{small / 1e3:.0f} MB, then {large / 1e3:.0f} MB"

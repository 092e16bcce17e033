"""The cache of outputs: a hit is what was computed, to the bit; everything that could be wrong is a miss."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from munjang.engine import cache as caching
from munjang.engine import running
from munjang.engine.cache import ModelCache, OutputCache, keys_of
from munjang.engine.encoder import Encoder
from munjang.engine.running import NonFiniteError
from munjang.engine.scorer import Scorer
from munjang.engine.torch_backend import TorchBackend
from munjang.errors import ConfigError

TEXTS = ["환불은 언제 되나요?", "배송", "주문을 취소하고 싶은데 버튼이 보이지 않아요", "네", "길다 " * 200]
PAIRS = [("환불", "배송"), ("배송", "환불"), ("네", "네")]
WIDTH = 6
Python = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache turned on, in a folder of its own; returns the folder of its stores."""
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path / "home"))
    monkeypatch.setenv("MUNJANG_CACHE_BYTES", str(1 << 30))
    return tmp_path / "home" / "outputs"


@pytest.fixture(autouse=True)
def _no_warning_but_those_looked_for() -> object:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        yield


def some(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keys, rows and flags."""
    draw = np.random.default_rng(seed)
    keys = keys_of([f"{seed}/{i}" for i in range(count)])
    return keys, draw.normal(size=(count, WIDTH)).astype(np.float32), draw.random(count) < 0.3


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.rows"))


def same(found: caching.Found, rows: np.ndarray, cut: np.ndarray) -> bool:
    return bool(found.mask.all()) and found.rows.tobytes() == rows.tobytes() and np.array_equal(found.cut, cut)


# -- one store


def test_what_was_put_comes_back_bit_by_bit_in_any_order(tmp_path: Path) -> None:
    keys, rows, cut = some(500)
    rows[0, :3] = [-0.0, 1e-45, np.finfo(np.float32).max]
    OutputCache(tmp_path / "store", WIDTH).put(keys[:300], rows[:300], cut[:300])
    OutputCache(tmp_path / "store", WIDTH).put(keys[200:400], rows[200:400], cut[200:400])
    order = np.random.default_rng(1).permutation(500)
    found = OutputCache(tmp_path / "store", WIDTH).get(keys[order])
    known = order < 400
    assert np.array_equal(found.mask, known)
    assert found.rows.tobytes() == rows[order[known]].tobytes()
    assert np.array_equal(found.cut, cut[order[known]])


def test_an_open_store_sees_what_others_add_and_survives_what_they_delete(tmp_path: Path) -> None:
    keys, rows, cut = some(40)
    reader, writer = (OutputCache(tmp_path / "store", WIDTH) for _ in range(2))
    assert not reader.get(keys).mask.any()
    writer.put(keys, rows, cut)
    assert same(reader.get(keys), rows, cut)
    shard = reader._shards[shards(tmp_path)[0].name]
    shutil.rmtree(tmp_path / "store")
    assert shard.read(np.arange(40))[0].shape == (40, WIDTH)
    assert not reader.get(keys).mask.any()


def test_no_keys_and_rows_that_are_not_finite_are_no_entries(tmp_path: Path) -> None:
    store = OutputCache(tmp_path / "store", WIDTH)
    keys, rows, cut = some(4)
    assert store.get(keys[:0]).rows.shape == (0, WIDTH)
    rows[1, 2], rows[3, 0] = np.nan, np.inf
    store.put(keys, rows, cut)
    assert store.get(keys).mask.tolist() == [True, False, True, False]
    store.put(keys[3:], rows[3:], cut[3:])
    assert len(shards(tmp_path)) == 1


def test_small_shards_are_merged_and_nothing_is_lost(tmp_path: Path) -> None:
    keys, rows, cut = some(300)
    store, reader = OutputCache(tmp_path / "store", WIDTH), OutputCache(tmp_path / "store", WIDTH)
    most = 0
    for i in range(300):
        store.put(keys[i : i + 1], rows[i : i + 1], cut[i : i + 1])
        most = max(most, len(shards(tmp_path)))
        assert reader.get(keys).mask.sum() == i + 1
    assert same(reader.get(keys), rows, cut)
    print(f"300 puts of one row: {len(shards(tmp_path))} shards, at most {most}")
    assert most <= 32


def test_the_bound_holds_over_all_stores_and_the_oldest_go_first(tmp_path: Path) -> None:
    keys, rows, cut = some(100)
    one = 24 + 100 * (24 + 4 * WIDTH)
    stores = [OutputCache(tmp_path / f"store{i}", WIDTH, limit=3 * one) for i in range(5)]
    for age, store in enumerate(stores[:3]):
        store.put(keys, rows, cut)
        (path,) = shards(tmp_path / f"store{age}")
        os.utime(path, (1000 + age, 1000 + age))
    assert stores[0].get(keys[:1]).mask.all()  # used now, so it is the youngest
    for store in stores[3:]:
        store.put(keys, rows, cut)
        assert sum(path.stat().st_size for path in shards(tmp_path)) <= 3 * one
    assert [bool(store.get(keys).mask.all()) for store in stores] == [True, False, False, True, True]


def test_a_bound_below_one_shard_keeps_nothing(tmp_path: Path) -> None:
    store = OutputCache(tmp_path / "store", WIDTH, limit=100)
    store.put(*some(10))
    assert shards(tmp_path) == []


def test_a_large_put_is_written_in_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_SHARD_BYTES", 4 * WIDTH * 30)
    keys, rows, cut = some(100)
    store = OutputCache(tmp_path / "store", WIDTH)
    store.put(keys, rows, cut)
    assert len(shards(tmp_path)) == 4
    assert same(store.get(keys), rows, cut)


def test_what_killed_processes_left_goes_after_an_hour(tmp_path: Path) -> None:
    store = OutputCache(tmp_path / "store", WIDTH)
    store.put(*some(3))
    for name, hours in (("young", 0), ("old", 2)):
        (tmp_path / "store" / f".tmp-{name}").touch()
        (tmp_path / f"empty-{name}").mkdir()
        for path in (tmp_path / "store" / f".tmp-{name}", tmp_path / f"empty-{name}"):
            os.utime(path, (time.time() - 3600 * hours,) * 2)
    store.put(*some(3, seed=1))
    assert (tmp_path / "store" / ".tmp-young").exists()
    assert not (tmp_path / "store" / ".tmp-old").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty-young", "store"]


# -- damage


def test_flipped_bytes_and_cuts_are_found_and_give_no_wrong_row(tmp_path: Path) -> None:
    keys, rows, cut = some(50)
    OutputCache(tmp_path / "store", WIDTH).put(keys, rows, cut)
    (path,) = shards(tmp_path)
    whole, draw = path.read_bytes(), random.Random(0)
    flips = [draw.randrange(len(whole)) for _ in range(300)]
    lengths = [*range(8), *(draw.randrange(len(whole)) for _ in range(92))]
    damaged = [whole[:at] + bytes([whole[at] ^ draw.randrange(1, 256)]) + whole[at + 1 :] for at in flips]
    damaged += [whole[:n] for n in lengths] + [whole + b"\0", whole + whole]
    for content in damaged:
        path.write_bytes(content)
        store = OutputCache(tmp_path / "store", WIDTH)
        with pytest.warns(UserWarning, match="was damaged and is deleted"):
            found = store.get(keys)
        assert not found.mask.any()
        assert not path.exists()
        assert not store.get(keys).mask.any()  # and nothing more is said
    print(f"{len(damaged)} damaged shards, all found, 0 wrong rows")


@pytest.mark.parametrize("widths", [(WIDTH, WIDTH), (WIDTH, WIDTH + 1)])
def test_swapped_files_are_not_taken_for_each_other(tmp_path: Path, widths: tuple[int, int]) -> None:
    for name, width, factor in zip(("one", "other"), widths, (1, 2), strict=True):
        keys, rows, cut = some(5)
        OutputCache(tmp_path / name, width).put(keys, factor * np.resize(rows, (5, width)), cut)
    one, other = shards(tmp_path)
    one.rename(tmp_path / "spare")
    other.rename(one)
    (tmp_path / "spare").rename(other)
    for name, width in zip(("one", "other"), widths, strict=True):
        store = OutputCache(tmp_path / name, width)
        with pytest.warns(UserWarning, match="damaged"):
            assert not store.get(keys).mask.any()
    assert shards(tmp_path) == []


def test_swapped_rows_are_found(tmp_path: Path) -> None:
    keys, rows, cut = some(5)
    OutputCache(tmp_path / "store", WIDTH).put(keys, rows, cut)
    (path,) = shards(tmp_path)
    content, size = path.read_bytes(), 4 * WIDTH
    path.write_bytes(content[: -2 * size] + content[-size:] + content[-2 * size : -size])
    with pytest.warns(UserWarning, match="damaged"):
        assert not OutputCache(tmp_path / "store", WIDTH).get(keys).mask.any()


def test_a_damaged_shard_that_cannot_be_deleted_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, rows, cut = some(5)
    OutputCache(tmp_path / "store", WIDTH).put(keys, rows, cut)
    shards(tmp_path)[0].write_bytes(b"munjang1")
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no")))
    store = OutputCache(tmp_path / "store", WIDTH)
    with pytest.warns(UserWarning, match="damaged"):
        store.get(keys)
    assert not store.get(keys).mask.any()


# -- processes

_WRITE = """
import sys
from pathlib import Path
import numpy as np
from munjang.engine.cache import OutputCache, keys_of
folder, offset, times, width = Path(sys.argv[1]), *map(int, sys.argv[2:])
store = OutputCache(folder, width)
print("ready", flush=True)
for i in range(times):
    names = [str(n) for n in range(offset + 20 * i, offset + 20 * i + 40)]
    rows = np.array([[float(n)] * width for n in names], np.float32)
    store.put(keys_of(names), rows, np.zeros(40, bool))
    print(offset + 20 * i + 40, flush=True)
"""


def test_two_processes_write_at_once(tmp_path: Path, python: Python) -> None:
    both = [python(_WRITE, tmp_path / "store", offset, 60, WIDTH) for offset in (0, 600)]
    for one in both:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said
        assert said == ""
    expected = np.arange(0, 600 + 59 * 20 + 40)
    found = OutputCache(tmp_path / "store", WIDTH).get(keys_of([str(n) for n in expected]))
    assert found.mask.all()
    assert np.array_equal(found.rows[:, 0], expected)
    print(f"{len(expected)} keys of 2 processes in {len(shards(tmp_path))} shards")


def test_a_kill_leaves_what_was_there_or_what_is_new(tmp_path: Path, python: Python) -> None:
    draw, width = random.Random(3), 4096
    for _ in range(6):
        folder = tmp_path / f"{draw.random()}" / "store"
        writer = python(_WRITE, folder, 0, 100_000, width)
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(draw.randrange(2, 30))]
        time.sleep(draw.random() / 50)
        writer.kill()
        writer.communicate()
        done = int(lines[-1])
        found = OutputCache(folder, width).get(keys_of([str(n) for n in range(done + 10_000)]))
        assert found.mask[:done].all()
        assert np.array_equal(found.rows[:, 0], np.flatnonzero(found.mask))


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_keys_and_stores_do_not_depend_on_the_process(tmp_path: Path, tiny_bi: Path, python: Python, seed: str) -> None:
    code = """
import os, sys
from pathlib import Path
from munjang.engine.cache import ModelCache, keys_of
os.chdir(sys.argv[2])
os.environ["MUNJANG_CACHE"] = sys.argv[2]
print(keys_of(["환불", ""]).tolist(), keys_of([("가", "나")]).tolist())
print(ModelCache(Path(sys.argv[1]), "torch-float32", "vectors", 32).store("질문: ")._folder.name)
"""
    variables = {"PYTHONHASHSEED": seed, "MUNJANG_CACHE_BYTES": "9", "PYTHONIOENCODING": "utf-8"}
    said, error = python(code, tiny_bi, tmp_path, **variables).communicate(timeout=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUNJANG_CACHE_BYTES", "9")
        store = ModelCache(tiny_bi, "torch-float32", "vectors", 32).store("질문: ")
    assert said.splitlines() == [
        f"{keys_of(['환불', '']).tolist()} {keys_of([('가', '나')]).tolist()}",
        store._folder.name,
    ], error


# -- encoders and scorers


def changed(model: Path, tmp_path: Path) -> Path:
    """The same model with one number of one weight changed."""
    other = SentenceTransformer(str(model), device="cpu")
    other[0].model.embeddings.word_embeddings.weight.data[7, 0] += 1
    other.save_pretrained(str(tmp_path / "changed"), create_model_card=False)
    return tmp_path / "changed"


def hits(encoder: Encoder, *arguments: object) -> int:
    encoder.encode(TEXTS, *arguments)
    return encoder.counts.cached


def test_what_changes_vectors_is_a_miss_and_what_does_not_is_a_hit(
    tiny_bi: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = len(TEXTS)
    assert hits(Encoder(tiny_bi, cache=True)) == 0
    moved = shutil.copytree(tiny_bi, tmp_path / "moved")
    assert hits(Encoder(tiny_bi, cache=True)) == everything
    assert hits(Encoder(moved, cache=True)) == everything
    assert hits(Encoder(tiny_bi, budget=7, cache=True)) == everything
    assert hits(Encoder(tiny_bi, dimension=8, cache=True)) == everything
    assert hits(Encoder(tiny_bi, cache=True), "query") == everything  # the default prompt is the one for queries
    assert hits(Encoder(tiny_bi, cache=True), "document") == 0
    assert hits(Encoder(tiny_bi)) == 0
    assert hits(Encoder(changed(tiny_bi, tmp_path), cache=True)) == 0
    with (moved / "config_sentence_transformers.json").open("a") as file:
        file.write("\n")
    assert hits(Encoder(moved, cache=True)) == 0
    monkeypatch.setattr(TorchBackend, "identity", "torch-float16")
    assert hits(Encoder(tiny_bi, cache=True)) == 0
    monkeypatch.undo()
    monkeypatch.setenv("MUNJANG_CACHE", str(home.parent))
    monkeypatch.setenv("MUNJANG_CACHE_BYTES", "1000000")
    monkeypatch.setattr(caching, "version", lambda name: "0")
    assert hits(Encoder(tiny_bi, cache=True)) == 0


def test_stores_differ_by_what_they_hold_and_its_width(tiny_bi: Path, home: Path) -> None:
    kinds = [("torch-float32", "vectors", 32), ("torch-float32", "logits", 32), ("torch-float32", "vectors", 31)]
    kinds += [("torch-float32-cuda", "vectors", 32)]
    assert len({ModelCache(tiny_bi, *kind).store("")._folder for kind in kinds}) == len(kinds)


def test_texts_that_are_shown_alike_are_one_entry_and_all_others_are_not(tiny_bi: Path, home: Path) -> None:
    Encoder(tiny_bi, cache=True).encode(["환불", "a b"])
    encoder = Encoder(tiny_bi, cache=True)
    encoder.encode(["\u1112\u116a\u11ab\u1107\u116e\u11af", "a b ", "A b"])
    assert (encoder.counts.cached, encoder.counts.computed) == (1, 2)
    assert len({keys_of([pair]).tobytes() for pair in (("ab", "c"), ("a", "bc"), ("c", "ab"), ("", "abc"))}) == 4


def test_a_hit_gives_what_was_computed(tiny_bi: Path, home: Path) -> None:
    fresh, partly, known = (Encoder(tiny_bi, cache=True) for _ in range(3))
    fresh.encode(TEXTS[1:4:2])
    computed = partly.encode(TEXTS + TEXTS[:2])
    seen: list[tuple[int, int]] = []
    read = known.encode(TEXTS + TEXTS[:2], progress=lambda done, total, note="": seen.append((done, total)))
    assert computed.tobytes() == read.tobytes()
    assert np.abs(read - Encoder(tiny_bi).encode(TEXTS + TEXTS[:2])).max() < 1e-6
    assert known.cut == partly.cut == {TEXTS[4]}
    assert astuple(known.counts) == (7, 5, 5, 0, 0.0, 1, 0)
    assert (partly.counts.cached, partly.counts.computed, partly.counts.truncated) == (2, 3, 1)
    assert partly.counts.tokens < Encoder(tiny_bi).model.max_seq_length * 3 + 1
    assert seen == [(5, 5)]
    whole = Encoder(tiny_bi, cache=True).encode(TEXTS)[:, :8]
    cut = Encoder(tiny_bi, dimension=8, cache=True).encode(TEXTS)
    assert np.allclose(cut, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)


def test_scores_are_cached_pair_by_pair_and_order_by_order(tiny_cross: Path, home: Path) -> None:
    first = Scorer(tiny_cross, symmetric=False, cache=True)
    computed = first.score(PAIRS[:1])
    turned = Scorer(tiny_cross, symmetric=False, cache=True)
    turned.score(PAIRS[1:2])
    assert (first.counts.cached, turned.counts.cached) == (0, 0)
    both = Scorer(tiny_cross, cache=True)
    both.score(PAIRS)
    assert (both.counts.cached, both.counts.computed) == (2, 1)
    again = Scorer(tiny_cross, symmetric=False, cache=True)
    assert again.score(PAIRS[:1]).tobytes() == computed.tobytes()
    assert again.counts.cached == 1
    assert np.array_equal(again.logits(PAIRS), Scorer(tiny_cross, cache=True).logits(PAIRS))


def test_a_model_that_may_have_been_changed_is_computed(tiny_bi: Path, tiny_cross: Path, home: Path) -> None:
    encoder = Encoder(tiny_bi, cache=True)
    encoder.encode(TEXTS)
    encoder.model.max_seq_length = 8
    short = encoder.encode(TEXTS)
    assert encoder.counts.cached == 0
    assert np.abs(short - Encoder(tiny_bi, cache=True).encode(TEXTS)).max() > 1e-3
    for runner in (
        Encoder.of(SentenceTransformer(str(tiny_bi), device="cpu")),
        Encoder(tiny_bi, cache=True).uncached(),
    ):
        runner.encode(TEXTS)
        assert runner.counts.cached == 0
    known = Scorer(tiny_cross, cache=True)
    of_model = Scorer.of(Scorer(tiny_cross).model)
    for runner in (known, of_model, known.uncached()):
        runner.score(PAIRS)
        assert runner.counts.cached == 0


def test_what_is_computed_is_kept_part_by_part(tiny_bi: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_PART", 2)
    plain, calls = TorchBackend.run, []

    def killed(self, read, positions):
        calls.append(len(positions))
        if sum(calls) > 4:
            raise KeyboardInterrupt
        return plain(self, read, positions)

    monkeypatch.setattr(TorchBackend, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        Encoder(tiny_bi, cache=True).encode(TEXTS)
    monkeypatch.setattr(TorchBackend, "run", plain)
    encoder = Encoder(tiny_bi, cache=True)
    encoder.encode(TEXTS)
    assert encoder.counts.cached == 4


def test_within_a_part_it_is_kept_after_a_while(tiny_bi: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_KEEP_AFTER", 0.0)
    encoder = Encoder(tiny_bi, budget=1, cache=True)
    monkeypatch.setattr(encoder.backend, "threads", 1)
    sizes: list[int] = []
    put = OutputCache.put
    monkeypatch.setattr(OutputCache, "put", lambda self, k, r, c: sizes.append(len(k)) or put(self, k, r, c))
    encoder.encode(TEXTS)
    assert sizes == [1] * len(TEXTS)
    assert hits(Encoder(tiny_bi, cache=True)) == len(TEXTS)


def test_outputs_that_are_not_finite_are_an_error_and_not_kept(
    tiny_bi: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchBackend, "run", lambda self, read, at: np.full((len(at), 32), np.nan, np.float32))
    with pytest.raises(NonFiniteError):
        Encoder(tiny_bi, cache=True).encode(TEXTS)
    assert shards(home) == []


# -- off, or not to be had


def test_zero_bytes_turn_it_off(tiny_bi: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_CACHE_BYTES", "0")
    assert hits(Encoder(tiny_bi, cache=True)) == hits(Encoder(tiny_bi, cache=True)) == 0
    assert not home.exists()


@pytest.mark.parametrize("wrong", ["2GB", "-1", "1.5", "二"])
def test_a_bound_that_is_no_number_is_named(
    tiny_bi: Path, home: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("MUNJANG_CACHE_BYTES", wrong)
    with pytest.raises(ConfigError) as caught:
        Encoder(tiny_bi, cache=True).encode(TEXTS)
    assert caught.value.where == "MUNJANG_CACHE_BYTES"


def test_where_the_disk_refuses_work_goes_on_and_that_is_said_once(tiny_bi: Path, home: Path) -> None:
    expected = Encoder(tiny_bi).encode(TEXTS)
    home.parent.mkdir()
    home.write_text("a file in the way")
    encoder = Encoder(tiny_bi, cache=True)
    with pytest.warns(UserWarning, match="cache of outputs") as said:
        found = [encoder.encode(TEXTS) for _ in range(2)]
    assert len(said) == 1
    assert all(np.array_equal(one, expected) for one in found)


def test_a_full_disk_stops_no_work(tiny_bi: Path, home: Path, python: Python) -> None:
    code = """
import resource, sys, warnings
from munjang.engine.encoder import Encoder
warnings.simplefilter("always")
encoder = Encoder(sys.argv[1], cache=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for use in ("query", "document", "query"):
    print(encoder.encode([str(n) for n in range(50)], use).shape)
"""
    writer = python(code, tiny_bi)
    said, warned = writer.communicate(timeout=120)
    assert said.split("\n")[:3] == ["(50, 32)"] * 3, warned
    assert "computed outputs are not kept" in warned
    assert shards(home) == []
    assert not list(home.rglob(".tmp-*"))

"""Bulk encoding: files of any size to shards of vectors, in bounded memory; killed anywhere, it goes on.

Rows are cut into shards by their number alone, so a shard is a function of the files and the options. Each is committed
by itself in `OUT.part`, with what was counted in its manifest; when all are there, `OUT` appears at once. What is killed
loses the shard under way, and the end is the same to the byte as without the kill.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from munjang.data.load import READER_VERSION
from munjang.data.tables import file_format
from munjang.data.texts import TextFile, TextRow, Wanted, count_rows, require_columns, stream_texts
from munjang.engine.precision import Stored, restore, store
from munjang.engine.running import EncodeCounts
from munjang.engine.shards import SUMMARY, Shard, assemble, read_summary, shard_name, write_shard
from munjang.errors import ConfigError, DataError, Option, Phrase
from munjang.files import (
    canonical_json,
    damage,
    digest_bytes,
    digest_file,
    lock,
    read_json,
    read_manifest,
    remove_leftovers,
    write_json,
)
from munjang.progress import Progress, Show

if TYPE_CHECKING:
    from munjang.engine.backend import Backend
    from munjang.engine.scorer import Scorer

#: Raised when the same files and options give other bytes than before.
VERSION = 1
SHARD_ROWS = 50_000
#: Texts that are encoded together: enough to find others of their length, few enough for any memory.
_BLOCK_ROWS = 16_384
_BLOCK_CHARS = 8_000_000
_SETTINGS = "settings.json"
#: Different reasons of rejects that are counted by themselves; the others are counted together.
_REASONS = 20


class Model(Protocol):
    """What encodes: `munjang.engine.encoder.Encoder`, or `PairScores`."""

    counts: EncodeCounts

    @property
    def backend(self) -> Backend:
        """What runs the model; its name is kept."""

    @property
    def dimension(self) -> int:
        """Length of a vector; 1 for scores."""

    def encode(self, texts: Sequence[Any], use: str, progress: Progress) -> np.ndarray:
        """Vectors of texts, float32 (n, dimension), or scores of pairs, float32 (n,)."""

    def prompt(self, use: str) -> str:
        """What goes before each text."""


class PairScores:
    """A cross-encoder where a bi-encoder is expected: pairs in, scores out."""

    dimension = 1

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self.counts, self.backend = scorer, scorer.counts, scorer.backend

    def encode(self, texts: Sequence[tuple[str, str]], use: str, progress: Progress) -> np.ndarray:
        """Scores of pairs, float32 (n,)."""
        return self._scorer.score(texts, progress)

    def prompt(self, use: str) -> str:
        """Pairs have no prompt."""
        return ""


@dataclass(frozen=True)
class Job:
    """What is to be done with every row."""

    model: str
    """As the user named it."""
    fingerprint: str
    """Of the model's files."""
    backend: str = "auto"
    """As asked for; what `auto` took is kept with each shard, and a second one is not mixed in."""
    use: str = "similarity"
    dimension: int | None = None
    """Of the vectors, if they are to be cut."""
    precision: str = "float32"
    format: str = "npy"
    shard_rows: int = SHARD_ROWS
    """Rows read a shard: a shard is what a kill can cost, and what is held in memory."""
    wanted: Wanted = field(default_factory=Wanted)

    @property
    def kind(self) -> str:
        """`vectors`, or `scores` for pairs."""
        return "scores" if len(self.wanted.texts) == 2 else "vectors"

    def settings(self, files: Sequence[TextFile]) -> dict[str, Any]:
        """Everything that decides the bytes of the result; the names of model and files do not."""
        options = {
            name: value for name, value in asdict(self).items() if name not in ("model", "wanted", "fingerprint")
        }
        texts, key, encoding = self.wanted
        columns = {"text_column": list(texts), "id": key, "encoding": encoding}
        read = [
            {"digest": digest_file(f.path), "format": file_format(f.path), "header": f.header, "columns": {**f.columns}}
            for f in files
        ]
        versions = {"bulk": VERSION, "reader": READER_VERSION}
        return {"versions": versions, "model": self.fingerprint, **options, **columns, "sources": read}


class _Run(NamedTuple):
    """An encoding under way."""

    job: Job
    files: Sequence[TextFile]
    part: Path
    open_model: Callable[[], Model]
    show: Show


def encode_files(
    files: Sequence[TextFile], out: Path, job: Job, open_model: Callable[[], Model], show: Show
) -> dict[str, Any]:
    """Encode every row of some files into a folder, or go on where an earlier call was killed.

    Args:
        files: see `munjang.data.texts.find_text_files`.
        out: the folder; until it is whole its shards lie in a folder of this name and `.part`.
        job: what to do.
        open_model: loads the model; called only if a shard is to be made.
        show: how to tell about progress.

    Returns:
        What `encoding.json` says, and beside it `done_before`: how many shards were there already, or None if all was done.

    Raises:
        ConfigError: the folder holds something else, or was begun with other options. LockedError: another process is
            at it. DataError: the files have changed since, lack a column, or hold no text at all. DiskError: no room.
    """
    out = out.absolute()
    asked = job.settings(files)
    part = out.with_name(f"{out.name}.part")
    if out.exists() and not part.exists():
        return _finished(out, asked)
    with lock(part, "encoding"):
        try:
            if out.exists():  # whole, but a kill came before the shards were removed; or another process made it
                summary = _finished(out, asked)
            else:
                remove_leftovers(part)
                _begin(part, out, asked)
                require_columns(files, job.wanted)
                metas, before = _make_shards(_Run(job, files, part, open_model, show))
                summary = {**_summary(job, files, metas), "settings": asked}
                assemble(out, part, len(metas), summary, digest_bytes(canonical_json(asked).encode()))
                summary = {**summary, "done_before": before}
        except BaseException as error:
            _say_what_is_kept(part, out, error, show)
            raise
        shutil.rmtree(part, ignore_errors=True)
    return summary


def _finished(out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The summary of an encoding that is whole, and was made as is asked now."""
    if not (out / SUMMARY).is_file() or read_manifest(out) is None:
        hint = Phrase("name a new one with {}, or delete it", Option("out"))
        raise ConfigError("this folder exists already, and holds no finished encoding", where=out, hint=hint)
    summary = read_summary(out)
    _require_same(summary["settings"], asked, out)
    if wrong := damage(out):
        raise DataError("this encoding is damaged", where=out, got=wrong, hint="delete the folder and encode again")
    return {**summary, "done_before": None}


def _begin(part: Path, out: Path, asked: dict[str, Any]) -> None:
    path = part / _SETTINGS
    if path.is_file():
        _require_same(read_json(path), asked, out)
    else:
        write_json(path, asked)


def _require_same(begun: dict[str, Any], asked: dict[str, Any], out: Path) -> None:
    other = [name for name in asked if begun.get(name) != asked[name]]
    if not other:
        return
    hint = Phrase("repeat the command as it was, name a new folder with {}, or delete this one", Option("out"))
    if other == ["sources"]:
        raise DataError("the input has changed since this encoding was begun", where=out, hint=hint)
    named = [Phrase("{}", Option(name)) if name not in ("sources", "versions") else name for name in other]
    raise ConfigError(
        Phrase("this encoding was begun with other options: {}", Phrase.joined(", ", named)), where=out, hint=hint
    )


def _say_what_is_kept(part: Path, out: Path, error: BaseException, show: Show) -> None:
    """After a failure or a signal: nothing is left of what was only begun; what is finished is named."""
    finished = len(list(part.glob("shard-*")))
    if finished == 0:
        shutil.rmtree(part, ignore_errors=True)
    elif not isinstance(error, Exception):
        show.say(f"{finished:,} finished shards are kept in {part.name}; the same command goes on to {out.name}")


def _make_shards(run: _Run) -> tuple[list[dict[str, Any]], int]:
    """What was counted in each shard, those that were there already verified; and how many were."""
    rows = stream_texts(run.files, run.job.wanted)
    progress = run.show.progress("encode")
    total = count_rows(run.files)
    metas: list[dict[str, Any]] = []
    before, model = 0, None
    for number in count():
        place = run.part / shard_name(number)
        meta = _verified(place, run.show)
        if meta is not None:
            before += 1
            for _ in islice(rows, meta["read"]):
                pass
        else:
            first = next(rows, None)
            if first is None:
                break
            model = model or run.open_model()
            _require_one_backend(metas, model.backend.name, run)
            done = number * run.job.shard_rows
            meta = _make_shard(
                place,
                islice(chain([first], rows), run.job.shard_rows),
                run,
                model,
                # The number of rows is an estimate; a display takes the last one for the end.
                lambda more, _, note="", done=done: progress(done + more, max(total, done + more + 1), note),
            )
        _require_one_backend(metas, meta["backend"], run)
        metas.append(meta)
        if meta["read"] < run.job.shard_rows:
            break
    if not sum(meta["kept"] for meta in metas):
        _refuse_nothing(run, metas)
    return metas, before


def _require_one_backend(metas: list[dict[str, Any]], name: str, run: _Run) -> None:
    if metas and metas[0]["backend"] != name:
        begun = metas[0]["backend"]
        hint = "bring that one back, or delete the folder and begin anew"
        raise ConfigError(
            "this encoding was begun with another backend", where=run.part, expected=begun, got=name, hint=hint
        )


def _refuse_nothing(run: _Run, metas: list[dict[str, Any]]) -> None:
    reasons = sum((Counter(meta["rejected"]) for meta in metas), Counter())
    for place in run.part.glob("shard-*"):
        shutil.rmtree(place)
    got = f"{sum(meta['read'] for meta in metas):,} read"
    got += "".join(f"; {number:,} rejected: {reason}" for reason, number in reasons.most_common(3))
    raise DataError("no rows were left after reading", where=", ".join(f.name for f in run.files), got=got)


def _verified(place: Path, show: Show) -> dict[str, Any] | None:
    """What was counted in a finished shard; a damaged one is removed, and that is said."""
    if not place.exists():
        return None
    wrong = damage(place)
    if wrong is None:
        return (read_manifest(place) or {})["meta"]
    show.say(f"{place.name}: {wrong}; it is made again")
    shutil.rmtree(place)
    return None


def _make_shard(place: Path, rows: Iterator[TextRow], run: _Run, model: Model, progress: Progress) -> dict[str, Any]:
    """Encode a shard's rows block by block, and commit it."""
    job, shard, before = run.job, Shard(), asdict(model.counts)
    seen, reasons, changes = Counter[int](), Counter[str](), Counter[str]()
    blocks: list[np.ndarray] = []
    read = repaired = 0
    for block in _blocks(rows):
        base = read
        for row in block:
            read += 1
            seen[row.file] += 1
            changes.update(row.changes)
            repaired += bool(row.changes)
            if row.reject is None:
                shard.rows.append(row.number)
                shard.ids.append(row.id)
                continue
            reasons[row.reject.reason.partition(":")[0]] += 1
            shard.rejects.append({"row": row.number, **asdict(row.reject)})
        texts = [row.texts if job.kind == "scores" else row.texts[0] for row in block if row.reject is None]
        if texts:
            step = len(block) / len(texts)
            blocks.append(
                model.encode(
                    texts, job.use, lambda done, of, note="", b=base, s=step: progress(b + int(done * s), of, note)
                )
            )
    nothing = np.zeros((0,) if job.kind == "scores" else (0, model.dimension), np.float32)
    stored, error = _stored(np.concatenate(blocks) if blocks else nothing, job.precision)
    after = asdict(model.counts)
    meta = {
        "read": read,
        "kept": len(shard.rows),
        "rejected": _bounded(reasons),
        "changes": dict(sorted(changes.items())),
        "repaired": repaired,
        "truncated": after["truncated"] - before["truncated"],
        "tokens": after["tokens"] - before["tokens"],
        "rows_of": {str(file): number for file, number in sorted(seen.items())},
        "dimension": model.dimension,
        "prompt": model.prompt(job.use),
        "backend": model.backend.name,
        "largest_error": error,
    }
    write_shard(place, shard, stored, job.format, meta)
    return meta


def _stored(outputs: np.ndarray, precision: str) -> tuple[Stored, float | None]:
    """A shard's outputs in a precision, and by how much they are off at most; None for signs."""
    stored = store(outputs, precision)
    if precision == "binary":
        return stored, None
    off = np.abs(restore(stored, precision, outputs.shape[-1]) - outputs)
    return stored, float(off.max(initial=0))


def _bounded(reasons: Counter[str]) -> dict[str, int]:
    """The most frequent reasons; messages of a parser may differ with every row."""
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    others = sum(number for _, number in ranked[_REASONS:])
    return {**dict(ranked[:_REASONS]), **({"other reasons": others} if others else {})}


def _blocks(rows: Iterator[TextRow]) -> Iterator[list[TextRow]]:
    block: list[TextRow] = []
    characters = 0
    for row in rows:
        block.append(row)
        characters += sum(map(len, row.texts))
        if len(block) >= _BLOCK_ROWS or characters >= _BLOCK_CHARS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _summary(job: Job, files: Sequence[TextFile], metas: list[dict[str, Any]]) -> dict[str, Any]:
    """What `encoding.json` says; nothing in it depends on the clock or on how often the work was stopped."""

    def added(name: str) -> Counter[str]:
        return sum((Counter(meta[name]) for meta in metas), Counter())

    rejected, rows_of = added("rejected"), added("rows_of")
    errors = [meta["largest_error"] for meta in metas if meta["largest_error"] is not None]
    return {
        "kind": job.kind,
        "model": job.model,
        "model_fingerprint": job.fingerprint,
        "backend": metas[0]["backend"],
        "use": job.use,
        "prompt": metas[0]["prompt"],
        "dimension": metas[0]["dimension"],
        "precision": job.precision,
        "largest_error": max(errors) if errors else None,
        "format": job.format,
        "shards": len(metas),
        "sources": [{"name": file.name, "rows": rows_of[str(n)]} for n, file in enumerate(files)],
        **{name: sum(meta[name] for meta in metas) for name in ("read", "kept")},
        "rejected": rejected.total(),
        "rejected_because": _bounded(rejected),
        "changes": dict(sorted(added("changes").items())),
        **{name: sum(meta[name] for meta in metas) for name in ("repaired", "truncated", "tokens")},
    }

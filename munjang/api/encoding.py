"""Texts turned into vectors: a few at once, or files of any size into a folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.errors import ConfigError, DataError, MissingInputError, Option, Phrase, UsageError
from munjang.models.source import ENCODER, RERANKER, resolve_model
from munjang.progress import QUIET, Show
from munjang.text import clean, is_blank

if TYPE_CHECKING:
    import numpy as np

    from munjang.engine.backend import Backend
    from munjang.engine.bulk import Job, Model

USES = ("similarity", "query", "document")


def encode_texts(
    texts: Sequence[str],
    model: str = ENCODER,
    *,
    use: str = "similarity",
    dimension: int | None = None,
    device: str | None = None,
    backend: str = "auto",
    show: Show = QUIET,
) -> np.ndarray:
    """Vectors of a few texts. For many calls keep an `Encoder` instead.

    Args:
        texts: themselves; each passes the door for text as the rows of a file do, so both give the same vector.
        model: a bi-encoder: `bundled:ko-small`, a folder, or an id of the hub.
        use: which of the model's prompts goes before each text: `similarity` (its default one), `query` or `document`.
        dimension: of the vectors, if they are to be cut.
        device: such as `cpu`; by default cuda, else mps, else cpu. Named `cpu`, an export runs without loading torch.
        backend: what runs the model; see `munjang.engine.choosing`.
        show: told what was changed or cut off.

    Returns:
        float32 (len(texts), dimension).

    Raises:
        UsageError: a text is the name of a file or of a data set, which are encoded into a folder.
        DataError: a text is blank, or the model is no bi-encoder. MissingInputError, UnavailableError: no such model.
    """
    _require_known("use", use, USES)
    for text in texts:
        _require_text(text)
    cleaned = [clean(text) for text in texts]
    blank = next((i for i, one in enumerate(cleaned) if is_blank(one.text)), None)
    if blank is not None:
        raise DataError("a blank text has no vector", where=f"text {blank + 1} of {len(texts)}")
    folder = resolve_model(model)

    from munjang.engine.encoder import Encoder

    encoder = Encoder(folder, _device(device), backend=backend, dimension=dimension)
    _say_backend(encoder.backend, show)
    vectors = encoder.encode([one.text for one in cleaned], use)
    changed = sum(bool(one.changes) for one in cleaned)
    if changed:
        show.say(f"  {changed:,} of {len(texts):,} texts were repaired or cut before they were read")
    if encoder.counts.truncated:
        show.say(
            f"  {encoder.counts.truncated:,} of {len(texts):,} texts exceed the model's length; their end was cut off"
        )
    return vectors


def encode(
    sources: Sequence[str | Path],
    out: str | Path,
    model: str | None = None,
    *,
    use: str = "similarity",
    dimension: int | None = None,
    precision: str = "float32",
    format: str = "npy",
    text_column: str | None = None,
    id: str | None = None,
    pairs: tuple[str, str] | None = None,
    encoding: str | None = None,
    shard_rows: int = 50_000,
    device: str | None = None,
    backend: str = "auto",
    show: Show = QUIET,
) -> dict[str, Any]:
    """Encode every text of some files into a folder; the same call goes on where an earlier one was killed.

    Args:
        sources: TSV, CSV, JSON, JSONL, Parquet or text files, or names of the catalogue.
        out: the folder; see `munjang.engine.shards` for what lies in it.
        model: a bi-encoder, by default `bundled:ko-small`, or with `pairs` a cross-encoder, by default
            `bundled:ko-reranker`; a folder, or an id of the hub.
        use: see `encode_texts`; of pairs, `similarity` scores both orders and takes the mean, `query` the order given.
        precision: `float32`, `float16`, `int8` or `binary`; see `munjang.engine.precision.store`.
        format: `npy` or `parquet`.
        text_column: of the texts; by default the first of the usual names, or the only column.
        id: column of ids to keep beside the vectors; they need not be distinct.
        pairs: two columns of texts to be scored by a cross-encoder, in place of vectors.
        encoding: forces an encoding of the files.
        shard_rows: rows a shard, which is what a kill can cost; a shard's vectors are held in memory.
        dimension, device, backend, show: see `encode_texts`.

    Returns:
        What `encoding.json` says; `done_before`, shards that were there already, None if all was; `seconds`.

    Raises:
        UsageError: options without effect. MissingInputError, UnavailableError: a file or the model is missing.
        ConfigError, LockedError, DataError, DiskError: see `munjang.engine.bulk.encode_files`.
    """
    from munjang.data.texts import Wanted, find_text_files
    from munjang.engine.bulk import Job, encode_files
    from munjang.models.folder import fingerprint_model, require_kind

    began = time.monotonic()
    model = model or (RERANKER if pairs else ENCODER)
    _require_options(use, precision, format, shard_rows)
    _require_effect_on_pairs(pairs, use, dimension, precision, text_column)
    files = find_text_files([str(source) for source in sources], Path.cwd())
    folder = resolve_model(model)
    require_kind(folder, "bi-encoder" if pairs is None else "cross-encoder")
    columns = pairs or ([] if text_column is None else [text_column])
    wanted = Wanted(tuple(columns), id, encoding)
    job = Job(model, fingerprint_model(folder), backend, use, dimension, precision, format, shard_rows, wanted)
    report = encode_files(files, Path(out), job, lambda: _open_model(folder, job, device, show), show)
    return {**report, "seconds": time.monotonic() - began}


def _open_model(folder: Path, job: Job, device: str | None, show: Show) -> Model:
    model: Model
    if job.kind == "scores":
        from munjang.engine.bulk import PairScores
        from munjang.engine.scorer import Scorer

        scorer = Scorer(folder, _device(device), symmetric=job.use == "similarity", backend=job.backend)
        model = PairScores(scorer)
    else:
        from munjang.engine.encoder import Encoder

        model = Encoder(folder, _device(device), backend=job.backend, dimension=job.dimension)
    _say_backend(model.backend, show)
    return model


def _say_backend(backend: Backend, show: Show) -> None:
    if backend.note:
        show.say(f"  {backend.name} runs the model: {backend.note}")


def _device(wanted: str | None) -> str:
    if wanted == "cpu":
        return wanted  # always there; to look for others takes torch, and torch takes seconds
    from munjang.engine.device import choose_device

    return choose_device(wanted)


def _require_options(use: str, precision: str, format: str, shard_rows: int) -> None:
    from munjang.engine.precision import PRECISIONS
    from munjang.engine.shards import FORMATS

    for name, value, known in (("use", use, USES), ("precision", precision, PRECISIONS), ("format", format, FORMATS)):
        _require_known(name, value, known)
    if shard_rows < 1:
        raise ConfigError("a shard has at least one row", where=Option("shard_rows", shard_rows))


def _require_known(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ConfigError(f"unknown {name}", where=Option(name), expected=" or ".join(known), got=value)


def _require_effect_on_pairs(
    pairs: tuple[str, str] | None, use: str, dimension: int | None, precision: str, text_column: str | None
) -> None:
    """Refuse what has no meaning for a single number a row."""
    if pairs is None:
        return
    idle = {
        "use": use if use == "document" else None,
        "dimension": dimension,
        "precision": precision if precision in ("int8", "binary") else None,
        "text_column": text_column,
    }
    named = [Phrase("{}", Option(name, value)) for name, value in idle.items() if value is not None]
    if named:
        raise UsageError(Phrase("without effect on pairs: {}", Phrase.joined(", ", named)))


def _require_text(text: str) -> None:
    """Refuse what is meant as a file or a data set: without a folder to write to, its name would be encoded."""
    from munjang.data.catalog import split_name
    from munjang.data.tables import FORMATS

    try:
        there = Path(text).exists()
    except (OSError, ValueError):
        there = False  # a name that no file can have
    if there or split_name(text) is not None:
        raise UsageError(
            "this names a file or a data set, not a text", got=text, expected=Phrase("{}", Option("out", "FOLDER"))
        )
    if not any(c.isspace() for c in text) and Path(text).suffix.lower() in FORMATS:
        raise MissingInputError("no such file", where=text, hint="check the spelling of the path")

"""Exports a model to another runtime, measures what became of it, and certifies that.

What stands in front of an export is a tokenizer, and behind it nothing: it gives vectors or logits.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sentence_transformers import CrossEncoder
from torch import nn

from munjang.engine.backend import Backend
from munjang.engine.certificate import EXPORTS, FILE, GOLDEN, Certificate
from munjang.engine.choosing import open_backend, open_export
from munjang.engine.encoder import cosine_of_rows
from munjang.engine.features import Features
from munjang.engine.graphs import require_libraries, versions_of, write_graph
from munjang.engine.native.backend import NativeBackend
from munjang.engine.native.opening import require_outline
from munjang.engine.native.outline import Outline
from munjang.engine.native.rounding import Inputs, choose_rounding, write_rounding
from munjang.engine.running import run_inputs
from munjang.engine.tokens import Tokens, load_tokenizer
from munjang.engine.torch_backend import TorchBackend
from munjang.errors import DataError, DiskError, MissingInputError, UnavailableError
from munjang.files import new_directory, write_json
from munjang.models.folder import fingerprint_model, model_kind
from munjang.models.settings import default_prompt, transformer_folder

PRECISIONS = ("float32", "int8")
#: Inputs on which an export is compared with torch.
SAMPLE = 400
#: Of these, how many show the native kernels the range of activations; the others have not been seen when it is compared.
_CALIBRATION = 200
#: Texts of which the vectors are kept for `munjang verify`.
_GOLDEN = (
    "환불은 언제 되나요?",
    "배송 조회가 안 돼요.",
    "회원 탈퇴는 어디에서 하나요?",
    "결제가 두 번 되었는데 한 번은 취소해 주세요",
    "A man is playing a guitar.",
    "How long does a refund take?",
    "The parcel has not arrived, and nobody answers the phone.",
    "네",
)
#: Activations that an export can stand in for: what follows the logits is computed outside of it.
_ACTIVATIONS = (nn.Sigmoid, nn.Identity)


class Dev(NamedTuple):
    """Rows with scores on which the loss of an export is measured."""

    name: str
    pairs: Sequence[tuple[str, str]]
    scores: np.ndarray
    """float64 (pairs,)."""


def export_model(
    folder: Path,
    backend: str,
    precision: str,
    sample: Sequence[str],
    dev: Dev | None = None,
    *,
    accept: bool = False,
    spearman: Callable[[np.ndarray, np.ndarray], float | None],
    say: Callable[[str], None] = lambda line: None,
) -> Certificate:
    """Export a model beside itself, into `.munjang/BACKEND-PRECISION/`, in place of an earlier one of that name.

    Args:
        folder: of a bi-encoder or a cross-encoder.
        backend: `native`, `openvino` or `onnx`.
        precision: `float32`, or `int8` for weights and activations.
        sample: texts of the user's own: they calibrate the quantiser, and outputs are compared on them. A
            cross-encoder reads them two by two.
        dev: what `auto` asks for before it takes an export in int8.
        accept: let `auto` take it whatever is measured.
        spearman: rank correlation of two vectors, None where there is none.
        say: prints a line.

    Returns:
        The certificate, which is also written beside the export.

    Raises:
        UnavailableError: a library is not installed. DataError: the model cannot be exported, or is read otherwise by the
            tokenizer alone. DiskError: the folder cannot be written.
    """
    kind = model_kind(folder)
    transformer_folder(folder)  # there is nothing to gain from an export of a table
    require_outline(folder) if backend == "native" else require_libraries(backend, precision)
    if not os.access(folder, os.W_OK):
        raise DiskError("an export lies beside its model, and this folder cannot be written", where=folder)
    reference = open_backend(folder, kind, "cpu", None, "torch")
    assert isinstance(reference, TorchBackend)
    prompt = default_prompt(folder) if kind == "bi-encoder" else ""
    inputs = _inputs(kind, sample)[:SAMPLE]
    if len(inputs) < 2:
        raise DataError("the sample is too small", expected="2 texts or more", got=f"{len(sample)}")
    types = _require_same_tokens(folder, reference, inputs, prompt)
    draft = _draft(folder, kind, backend, precision, reference, types, len(inputs), accept)
    with _made(folder / EXPORTS / f"{backend}-{precision}", model=folder.name) as place:
        say(f"exporting to {backend} in {precision}")
        if backend == "native":
            _write_native(folder, draft, inputs, prompt, place, say)
        else:
            write_graph(reference, types, backend, precision, inputs, prompt, place)
        exported = open_export(folder, place, draft)
        say(f"comparing with torch on {len(inputs):,} of the sample")
        certificate = _measured(draft, reference, exported, inputs, prompt, dev, spearman)
        write_json(place / FILE, certificate.as_dict())
        write_json(place / GOLDEN, _golden(reference, kind, prompt, certificate.model))
    return certificate


def prove_native(folder: Path, kind: str, outline: Outline) -> Certificate:
    """Compare the native kernels in float32 with torch on a few texts of all lengths.

    Raises:
        UnavailableError: what the tokenizer alone reads is not what the model reads, or an activation stays in torch.
    """
    reference = open_backend(folder, kind, "cpu", None, "torch")
    assert isinstance(reference, TorchBackend)
    prompt = default_prompt(folder) if kind == "bi-encoder" else ""
    inputs = _inputs(kind, [*_GOLDEN, *(text * 40 for text in _GOLDEN)])
    try:
        types = _require_same_tokens(folder, reference, inputs, prompt)
    except DataError as error:
        raise UnavailableError(error.what, where=folder, got=error.got, hint="use torch") from error
    draft = _draft(folder, kind, "native", "float32", reference, types, len(inputs), False)
    return _measured(draft, reference, NativeBackend(folder, outline, draft), inputs, prompt, None, lambda x, y: None)


def _write_native(
    folder: Path, draft: Certificate, inputs: list[Any], prompt: str, place: Path, say: Callable[[str], None]
) -> None:
    """What the kernels need beside a model: nothing in float32; in eight bits how its products are rounded."""
    if draft.precision == "float32":
        return
    outline = require_outline(folder)
    read = Tokens(load_tokenizer(transformer_folder(folder)), draft.limit, inputs[:_CALIBRATION], prompt)
    shown = Inputs(read.ids, read.types if draft.types else None)
    write_rounding(place, choose_rounding(outline, shown, draft.kind == "bi-encoder", say))


def _draft(
    folder: Path,
    kind: str,
    backend: str,
    precision: str,
    reference: TorchBackend,
    types: bool,
    sample: int,
    accept: bool,
) -> Certificate:
    """A certificate of which nothing is measured yet."""
    return Certificate(
        model=fingerprint_model(folder),
        kind=kind,
        backend=backend,
        precision=precision,
        outputs=reference.outputs,
        limit=reference.model.get_max_seq_length(),
        pad=int(reference.model.tokenizer.pad_token_id or 0),
        types=types,
        sample=sample,
        accepted=accept,
        versions=versions_of(backend),
    )


@contextlib.contextmanager
def _made(target: Path, **meta: Any) -> Iterator[Path]:
    """A new directory in place of an older one, which stays until the new one is whole."""
    older = target.with_name(f".old-{target.name}")
    target.parent.mkdir(exist_ok=True)
    with new_directory(target.with_name(f".new-{target.name}"), **meta) as place:
        yield place
    shutil.rmtree(older, ignore_errors=True)
    if target.exists():
        target.rename(older)
    target.with_name(f".new-{target.name}").rename(target)
    shutil.rmtree(older, ignore_errors=True)


def _inputs(kind: str, sample: Sequence[str]) -> list[Any]:
    texts = list(dict.fromkeys(sample))
    # Sets stand one after the other; a part of them should hold something of each.
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    return texts if kind == "bi-encoder" else list(zip(texts[::2], texts[1::2], strict=False))


def _require_same_tokens(folder: Path, reference: TorchBackend, inputs: list[Any], prompt: str) -> bool:
    """True if the model is given token types; an error where the tokenizer alone reads otherwise than the model."""
    model = reference.model
    if isinstance(model, CrossEncoder) and not isinstance(model.activation_fn, _ACTIVATIONS):
        got = type(model.activation_fn).__name__
        raise DataError("this activation stays in torch", where=folder, expected="Sigmoid or Identity", got=got)
    read = Features(model, inputs, prompt)
    alone = Tokens(load_tokenizer(transformer_folder(folder)), model.get_max_seq_length(), inputs, prompt)
    types = read.columns.get("token_type_ids")
    for i, ids in enumerate(read.columns["input_ids"]):
        if not np.array_equal(ids, alone.ids[i]) or (
            types is not None and not np.array_equal(types[i], alone.types[i])
        ):
            raise DataError(
                "the tokenizer alone reads a text otherwise than the model",
                where=folder,
                got=repr(inputs[i])[:80],
                hint="use this model with torch",
            )
    return types is not None


def _measured(
    draft: Certificate,
    reference: Backend,
    exported: Backend,
    inputs: list[Any],
    prompt: str,
    dev: Dev | None,
    spearman: Callable[[np.ndarray, np.ndarray], float | None],
) -> Certificate:
    seconds: dict[str, list[float]] = {"torch": [], "export": []}
    outputs: dict[str, np.ndarray] = {}
    for _ in range(2):  # in turn, so that both meet the same machine; the first round warms up
        for name, backend in (("torch", reference), ("export", exported)):
            began = time.perf_counter()
            outputs[name] = run_inputs(backend, inputs, prompt).outputs
            seconds[name].append(time.perf_counter() - began)
    ratio = min(seconds["torch"]) / min(seconds["export"])
    found: dict[str, Any] = {"speed_ratio": round(ratio, 2)}
    if draft.kind == "bi-encoder":
        cosines = cosine_of_rows(outputs["torch"], outputs["export"])
        found |= {"cosine_least": round(float(cosines.min()), 6), "cosine_mean": round(float(cosines.mean()), 6)}
    else:
        found["difference_largest"] = round(float(np.abs(outputs["torch"] - outputs["export"]).max()), 6)
    if dev is not None:
        figures = [_on_dev(backend, draft, prompt, dev, spearman) for backend in (reference, exported)]
        found |= {"dev": dev.name, "dev_rows": len(dev.pairs), "dev_torch": figures[0], "dev_export": figures[1]}
    return replace(draft, **found)


def _on_dev(
    backend: Backend,
    draft: Certificate,
    prompt: str,
    dev: Dev,
    spearman: Callable[[np.ndarray, np.ndarray], float | None],
) -> float | None:
    """Spearman x 100 of a backend on dev."""
    if draft.kind == "cross-encoder":
        predicted = run_inputs(backend, list(dev.pairs)).outputs[:, 0]
    else:
        texts = list(dict.fromkeys(text for pair in dev.pairs for text in pair))
        vectors = dict(zip(texts, run_inputs(backend, texts, prompt).outputs, strict=True))
        predicted = cosine_of_rows(*(np.stack([vectors[pair[side]] for pair in dev.pairs]) for side in (0, 1)))
    value = spearman(predicted, dev.scores)
    return None if value is None else round(100 * value, 2)


def _golden(reference: TorchBackend, kind: str, prompt: str, fingerprint: str) -> dict[str, Any]:
    inputs = _inputs(kind, _GOLDEN)
    return {
        "format": 1,
        "model": fingerprint,
        "kind": kind,
        "prompt": prompt,
        "inputs": inputs,
        "outputs": [[round(float(value), 7) for value in row] for row in run_inputs(reference, inputs, prompt).outputs],
    }


def read_golden(path: Path) -> dict[str, Any]:
    """Golden outputs of an export.

    Raises:
        MissingInputError: there is no such file. DataError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content[name] for name in ("model", "kind", "prompt", "inputs", "outputs")}
    except FileNotFoundError as error:
        raise MissingInputError("no golden outputs", where=path) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("this file is damaged", where=path, got=str(error)[:200]) from error

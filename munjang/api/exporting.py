"""Models for other runtimes, and whether what runs is still the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from munjang.api.naming import name_data
from munjang.config.recipe import Recipe
from munjang.engine.certificate import GOLDEN, exports_of
from munjang.errors import MissingInputError
from munjang.models.source import resolve_model
from munjang.pipeline.stage import Context
from munjang.progress import QUIET, Show

if TYPE_CHECKING:
    from munjang.engine.certificate import Certificate
    from munjang.engine.verifying import Verified


#: Texts that are at hand everywhere, in Korean and English.
_SAMPLE = ("support-raw", "support-parallel")


def export(
    model: str,
    to: str,
    *,
    precision: str = "float32",
    sample: Sequence[str] = (),
    dev: str | None = None,
    accept: bool = False,
    show: Show = QUIET,
    **settings: Any,
) -> Certificate:
    """Export a model beside itself and certify what became of it.

    Args:
        model: `bundled:e5-small`, a folder, or an id of the hub.
        to: `native`, `openvino` or `onnx`.
        precision: `float32` or `int8`.
        sample: data sets of the user's own texts: they calibrate `int8`, and outputs are compared on them. By default the
            embedded sentences of customer support, Korean and English.
        dev: scored pairs on which the loss is measured; without it `auto` never takes an `int8` by itself.
        accept: let `auto` take it whatever was measured.
        show: how to tell about progress.
        settings: how to read paths, such as `scale=(0, 5)`.

    Returns:
        The certificate.

    Raises:
        MissingInputError, UnavailableError, DataError, DiskError: something is missing, cannot be exported or written;
            then an earlier export stays as it was.
    """
    from munjang.engine.exporting import Dev, export_model
    from munjang.evaluate.statistics import spearman, whole
    from munjang.evaluate.sts import gold_scores
    from munjang.stages.converting import read_texts
    from munjang.stages.inputs import load_input_rows

    folder = resolve_model(model, Path.cwd())
    names, specs = name_data([*(sample or _SAMPLE), *([dev] if dev else [])], settings)
    context = Context(Recipe("export", "export", 42, specs, ()), Path.cwd(), {}, "cpu", show.progress, show.say)
    texts = read_texts(context, names[:-1] if dev else names)
    rows = load_input_rows(context, names[-1], ("scored-pairs",)).rows if dev else []
    judged = Dev(str(dev), [row[:2] for row in rows], gold_scores(rows)) if dev else None
    return export_model(
        folder, to, precision, texts, judged, accept=accept, spearman=lambda x, y: whole(spearman, x, y), say=show.say
    )


def verify(target: str, *, golden: str | None = None, model: str = "default") -> Verified:
    """Compare a model, or a server of embeddings, with the golden outputs of an export.

    Args:
        target: a model, or the address of a server that speaks the OpenAI embeddings API.
        golden: the model beside which the export lies, or a file `golden.json`; `target` itself by default.
        model: the name that a request to a server gives.

    Raises:
        MissingInputError: there are no golden outputs. Others as `munjang.engine.verifying` says.
    """
    from munjang.engine.exporting import read_golden
    from munjang.engine.verifying import verify_folder, verify_url

    at_url = target.startswith(("http://", "https://"))
    if at_url and golden is None:
        raise MissingInputError("golden outputs are needed", hint="name the exported model: --golden MODEL")
    content = read_golden(_golden_file(golden or target))
    return verify_url(target, content, model) if at_url else verify_folder(resolve_model(target, Path.cwd()), content)


def _golden_file(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    folder = resolve_model(name, Path.cwd())
    place = next((place for place, _ in exports_of(folder)), None)
    if place is None:
        hint = f"run: munjang export {name} --to onnx"
        raise MissingInputError("this model has no export of its present weights", where=folder, hint=hint)
    return place / GOLDEN

"""The stage convert: a model for another task, with fewer layers, a smaller vocabulary, shorter vectors, other numbers."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from munjang.data.readers import ROLES
from munjang.data.rows import sentences_of
from munjang.models.folder import model_kind, read_modules
from munjang.models.options import ConvertOptions
from munjang.models.record import RECORD_FILE
from munjang.pipeline.stage import Context
from munjang.stages.inputs import MODEL_FOLDER, load_input_rows, model_folder
from munjang.stages.layer_search import kept_layers

#: Kinds of rows that hold texts.
HOLD_TEXTS = tuple(kind for kind in ROLES if kind != "qrels")
#: In the order in which they are taken: a head reads what all layers learnt, texts are compared with the smaller model,
#: and numbers are rounded once.
_STEPS = ("convert", "layers", "trim", "static", "dimensions", "dtype")


def run_convert(options: ConvertOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write the converted model to `out/model`."""
    sets = (options.trim_vocab, options.held_out, options.fit)
    texts = [read_texts(context, some) for some in sets]
    (out / MODEL_FOLDER).mkdir()
    folder = model_folder(context, options.model)
    asked = asked_of(options, folder, *texts, context.recipe.seed)
    asked["layers"], asked["search"] = kept_layers(folder, options.keep_layers, options.dev, context)
    return write_converted(folder, out / MODEL_FOLDER, asked, context)


def asked_of(
    options: Any, folder: Path, trimming: list[str], held_out: list[str], fit: list[str], seed: int
) -> dict[str, Any]:
    """What `write_converted` takes.

    Args:
        options: what has the fields of `ConvertOptions`; `to` may be None.
        folder: of the model.
        trimming: texts that name the pieces to keep. held_out: texts to measure that on. fit: texts to fit on.
        seed: of a new head.
    """
    static = options.to == "static"
    made = {"task": "bi" if static else options.to, "pooling": options.pooling, "max_length": options.max_length}
    # A static model is made of vectors: of a bi-encoder's, as they are.
    whole = static and options.pooling is None and model_kind(folder) == "bi-encoder" and bool(read_modules(folder))
    vocabulary = {
        "texts": trimming,
        "held_out": held_out,
        "scripts": options.keep_scripts,
        "min_count": options.min_count,
    }
    fitted = {"size": options.dimensions, "texts": list(dict.fromkeys(fit))}
    return {
        "convert": None if options.to is None or whole else {**made, "seed": seed},
        "layers": options.keep_layers,
        "trim": vocabulary if options.trim_vocab else None,
        "static": fitted if static else None,
        "dimensions": fitted if options.dimensions is not None and not static else None,
        "dtype": options.dtype,
    }


def read_texts(context: Context, values: Sequence[str]) -> list[str]:
    """All texts of some data sets, in order."""
    return [text for value in values for text in sentences_of(load_input_rows(context, value, HOLD_TEXTS).rows)]


def write_converted(folder: Path, place: Path, asked: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Convert, cut layers, trim, make static, shorten vectors and round, as far as each is asked for.

    Args:
        folder: of the model.
        place: folder to write into; new or empty.
        asked: step -> arguments of its function, None for what stays: `convert` (`munjang.models.convert.convert`),
            `layers` (the layers for `munjang.models.layers.cut_layers`), `search` (how they were found), `trim`
            (`munjang.models.trim.trim_vocabulary`),
            `static` (`munjang.models.static.to_static`), `dimensions` (`munjang.models.dimensions.cut_dimensions`),
            `dtype` (the type for `munjang.models.dtypes.store_as`); see `asked_of`.
        context: says what was done, shows progress, names the device.

    Returns:
        The reports under these names; None for what was not asked.
    """
    reports: dict[str, Any] = dict.fromkeys(_STEPS)
    steps = [name for name in _STEPS if asked.get(name)]
    source = folder
    if asked.get("dimensions"):
        _require_fit(folder, asked)
    for name in steps:
        # Hidden, so that it is no part of what is committed.
        target = place if name == steps[-1] else place / f".{name}"
        report = _step(name, folder, target, asked[name], context)
        reports[name] = report.as_dict()
        for line in report.sentences():
            context.say(f"  {line}")
        folder = target
    if asked.get("search"):
        reports["layers"]["search"] = asked["search"]
    for name in steps:
        shutil.rmtree(place / f".{name}", ignore_errors=True)
    if (source / RECORD_FILE).is_file():
        shutil.copyfile(source / RECORD_FILE, place / RECORD_FILE)  # another head, but the texts were seen
    return reports


def _require_fit(folder: Path, asked: Mapping[str, Any]) -> None:
    """Find a cut of the vectors that cannot be made before any step; a new bi-encoder has vectors of its tokens' size."""
    from munjang.models.dimensions import require_fit

    if model_kind(folder) == "bi-encoder" or not asked.get("convert"):
        require_fit(folder, asked["dimensions"]["size"], len(asked["dimensions"]["texts"]))


def _step(name: str, folder: Path, target: Path, asked: Any, context: Context) -> Any:
    if name == "convert":
        from munjang.models.convert import convert

        return convert(folder, out=target, **asked)
    if name == "layers":
        from munjang.models.layers import cut_layers

        return cut_layers(folder, target, asked)
    if name == "trim":
        from munjang.models.trim import trim_vocabulary

        return trim_vocabulary(folder, target, **asked)
    if name == "static":
        from munjang.models.static import to_static

        progress = context.progress("vectors of the vocabulary")
        return to_static(folder, target, **asked, device=context.device, progress=progress)
    if name == "dimensions":
        from munjang.models.dimensions import cut_dimensions

        progress = context.progress(f"vectors of {len(asked['texts']):,} texts")
        return cut_dimensions(folder, target, **asked, device=context.device, progress=progress)
    from munjang.models.dtypes import store_as

    return store_as(folder, target, asked)

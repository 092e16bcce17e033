"""The stage convert: a model for another task, with a smaller vocabulary, or both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from munjang.data.readers import ROLES
from munjang.data.rows import sentences_of
from munjang.models.options import ConvertOptions
from munjang.models.record import RECORD_FILE
from munjang.pipeline.stage import Context
from munjang.stages.inputs import MODEL_FOLDER, load_input_rows, model_folder

#: Kinds of rows that hold texts.
HOLD_TEXTS = tuple(kind for kind in ROLES if kind != "qrels")


def run_convert(options: ConvertOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write the converted model to `out/model`."""
    head = {"pooling": options.pooling, "max_length": options.max_length, "seed": context.recipe.seed}
    trim = None
    if options.trim_vocab:
        trim = {
            "texts": read_texts(context, options.trim_vocab),
            "held_out": read_texts(context, options.held_out),
            "scripts": options.keep_scripts,
            "min_count": options.min_count,
        }
    (out / MODEL_FOLDER).mkdir()
    folder = model_folder(context, options.model)
    return write_converted(folder, out / MODEL_FOLDER, options.to, head, trim, context.say)


def read_texts(context: Context, values: Sequence[str]) -> list[str]:
    """All texts of some data sets, in order."""
    return [text for value in values for text in sentences_of(load_input_rows(context, value, HOLD_TEXTS).rows)]


def write_converted(
    folder: Path,
    place: Path,
    to: str | None,
    head: dict[str, Any] | None,
    trim: dict[str, Any] | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Convert and then trim, as far as each is asked for.

    Args:
        folder: of the model.
        place: folder to write into; new or empty.
        to: the task, or None.
        head: arguments of `munjang.models.convert.convert`, or None where the task stays.
        trim: arguments of `munjang.models.trim.trim_vocabulary`, or None where the vocabulary stays.
        say: prints a line for the user.

    Returns:
        The two reports as `convert` and `trim`; None for what was not asked.
    """
    from munjang.models.convert import convert
    from munjang.models.trim import trim_vocabulary

    reports: dict[str, Any] = {"convert": None, "trim": None}
    source = folder
    # Hidden, so that it is no part of what is committed.
    whole = place if trim is None else place / ".whole"
    if head is not None:
        converted = convert(folder, to, whole, **head)
        reports["convert"] = converted.as_dict()
        for line in converted.sentences():
            say(f"  {line}")
        folder = whole
    if trim is not None:
        trimmed = trim_vocabulary(folder, place, **trim)
        reports["trim"] = trimmed.as_dict()
        for line in trimmed.sentences():
            say(f"  {line}")
        shutil.rmtree(place / ".whole", ignore_errors=True)
    if (source / RECORD_FILE).is_file():
        shutil.copyfile(source / RECORD_FILE, place / RECORD_FILE)  # another head, but the texts were seen
    return reports

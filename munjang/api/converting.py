"""Models turned into others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from munjang.api.naming import name_data
from munjang.api.runs import require_new
from munjang.config.recipe import Recipe
from munjang.errors import Option, Phrase, UsageError
from munjang.files import new_directory
from munjang.models.folder import model_kind, read_modules
from munjang.models.pieces import require_scripts
from munjang.models.source import resolve_model
from munjang.pipeline.stage import Context
from munjang.progress import QUIET, Show
from munjang.stages.converting import read_texts, write_converted


def convert(
    model: str,
    out: str | Path,
    *,
    to: str | None = None,
    keep_layers: Sequence[int] | str = (),
    trim_vocab: Sequence[str] = (),
    keep_scripts: Sequence[str] = (),
    held_out: Sequence[str] = (),
    min_count: int = 1,
    pooling: str | None = None,
    max_length: int | None = None,
    seed: int = 42,
    show: Show = QUIET,
    **settings: Any,
) -> dict[str, Any]:
    """Write a model as an ordinary folder: for another task, with some of its layers, without pieces that texts never use.

    Args:
        model: `bundled:e5-small`, a folder, or an id of the hub.
        out: must not exist yet.
        to: `sts`, `nli`, `ranking` or `bi`; see `munjang.models.convert`.
        keep_layers: numbers from 0, or a rule such as `even-4`; see `munjang.models.layers.which_layers`.
        trim_vocab: data sets that name the pieces to keep; see `munjang.models.trim`.
        keep_scripts: of which all pieces stay besides, such as `hangul`.
        held_out: data sets on which is measured what the trimming covers.
        min_count: how often a piece must occur in `trim_vocab`.
        pooling: of a new head or of the vectors; by default the model's own, else `mean`.
        max_length: tokens; at most, and by default, the model's own limit.
        seed: of a new head.
        show: how to tell about progress.
        settings: how to read paths, such as `scale=(0, 5)`.

    Returns:
        `convert`, `layers` and `trim`, the reports of these (None for what was not asked), and `read`, one entry a data set.

    Raises:
        UsageError: nothing was asked, or an option would have no effect. ConfigError: `out` exists, or a value is wrong.
        MissingInputError, UnavailableError, DataError: the model or a data set is missing or damaged, or the result would
            not be the same where it must be; then nothing is written.
    """
    about_vocabulary = {"keep_scripts": keep_scripts, "held_out": held_out, "min_count": min_count != 1}
    about_task = {"pooling": pooling, "max_length": max_length}
    _require_effect(to, keep_layers, trim_vocab, about_task, about_vocabulary)
    target = Path(out)
    require_new(target)
    require_scripts(keep_scripts)
    folder = resolve_model(model, Path.cwd())
    if to == "bi" and max_length is None:
        _require_other_kind(folder, {"to": to, "pooling": pooling}, bool(trim_vocab or keep_layers))
    names, specs = name_data([*trim_vocab, *held_out], settings)
    context = Context(Recipe("convert", "convert", seed, specs, ()), Path.cwd(), {}, "cpu", show.progress, show.say)
    split = len(trim_vocab)
    head = {"task": to, "pooling": pooling, "max_length": max_length, "seed": seed} if to is not None else None
    texts = {"texts": read_texts(context, names[:split]), "held_out": read_texts(context, names[split:])}
    trim = {**texts, "scripts": keep_scripts, "min_count": min_count} if trim_vocab else None
    with new_directory(target, model=model, to=to) as place:
        asked = {"convert": head, "layers": keep_layers, "trim": trim}
        reports = write_converted(folder, place, asked, show.say)
    return {**reports, "read": context.readings}


def _require_other_kind(folder: Path, options: dict[str, Any], trimmed: bool) -> None:
    """Refuse to make a bi-encoder of one; a bare transformer has no vectors of its own yet."""
    if model_kind(folder) == "bi-encoder" and read_modules(folder):
        idle = [Phrase("{}", Option(name, value)) for name, value in options.items() if value is not None]
        raise UsageError(
            Phrase("without effect here: {}", Phrase.joined(", ", idle)),
            where=folder,
            got="a bi-encoder already",
            hint="leave it out" if trimmed else "name another task, or use the model as it is",
        )


def _require_effect(
    to: str | None,
    keep_layers: Sequence[int] | str,
    trim_vocab: Sequence[str],
    about_task: dict[str, Any],
    about_vocabulary: dict[str, Any],
) -> None:
    """Refuse a conversion that would do nothing, and options that would have no effect on it."""
    if to is None and not trim_vocab and not keep_layers:
        ways = (Option("to"), Option("keep_layers"), Option("trim_vocab"))
        raise UsageError("nothing to do", expected=Phrase("{}, {} or {}", *ways))
    without = {**({} if to else about_task), **({} if trim_vocab else about_vocabulary)}
    idle = [Phrase("{}", Option(name)) for name, value in without.items() if value]
    if idle:
        missing = ["to"] * (to is None) + ["trim_vocab"] * (not trim_vocab)
        raise UsageError(
            Phrase("without effect here: {}", Phrase.joined(", ", idle)),
            expected=Phrase.joined(" and ", (Phrase("{}", Option(name)) for name in missing)),
        )

"""Models turned into others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from munjang.api.naming import name_data
from munjang.api.runs import require_new
from munjang.config.recipe import Recipe
from munjang.errors import ConfigError, Option, Phrase, UsageError
from munjang.files import new_directory
from munjang.models.folder import model_kind, read_modules
from munjang.models.options import DTYPES, TARGETS, best_count
from munjang.models.pieces import require_scripts
from munjang.models.source import resolve_model
from munjang.pipeline.stage import Context
from munjang.progress import QUIET, Show
from munjang.stages.converting import asked_of, read_texts, write_converted
from munjang.stages.layer_search import kept_layers

#: Options that each ask for something by themselves.
_STEPS = ("to", "keep_layers", "trim_vocab", "dimensions", "dtype")


def convert(
    model: str,
    out: str | Path,
    *,
    to: str | None = None,
    keep_layers: Sequence[int] | str = (),
    dev: str | None = None,
    trim_vocab: Sequence[str] = (),
    keep_scripts: Sequence[str] = (),
    held_out: Sequence[str] = (),
    min_count: int = 1,
    pooling: str | None = None,
    max_length: int | None = None,
    dimensions: int | None = None,
    fit: Sequence[str] = (),
    dtype: str | None = None,
    seed: int = 42,
    show: Show = QUIET,
    **settings: Any,
) -> dict[str, Any]:
    """Write a model as an ordinary folder: for another task, with some of its layers, without pieces that texts never use, with
    shorter vectors, in another number format.

    Args:
        model: `bundled:e5-small`, a folder, or an id of the hub.
        out: must not exist yet.
        to: `sts`, `nli`, `ranking` or `bi`, see `munjang.models.convert`; or `static`, see `munjang.models.static`.
        keep_layers: numbers from 0, or a rule such as `even-4`; see `munjang.models.layers.which_layers`; or `best-4`, which
            `dev` decides.
        dev: data set that decides; see `munjang.stages.layer_search`.
        trim_vocab: data sets that name the pieces to keep; see `munjang.models.trim`.
        keep_scripts: of which all pieces stay besides, such as `hangul`.
        held_out: data sets on which is measured what the trimming covers.
        min_count: how often a piece must occur in `trim_vocab`.
        pooling: of a new head or of the vectors; by default the model's own, else `mean`.
        max_length: tokens; at most, and by default, the model's own limit.
        dimensions: numbers of a vector, fewer than now; see `munjang.models.dimensions`. Of a static model by default 256.
        fit: data sets on whose texts these are fitted; for a static model those in which its pieces are counted.
        dtype: of the weights, `float16`, `bfloat16` or `float32`; see `munjang.models.dtypes`.
        seed: of a new head.
        show: how to tell about progress.
        settings: how to read paths, such as `scale=(0, 5)`.

    Returns:
        The reports of `convert`, `layers`, `trim`, `static`, `dimensions` and `dtype` (None for what was not asked), and `read`,
        one entry a data set.

    Raises:
        UsageError: nothing was asked, or an option would have no effect. ConfigError: `out` exists, or a value is wrong.
        MissingInputError, UnavailableError, DataError: the model or a data set is missing or damaged, or the result would
            not be the same where it must be; then nothing is written.
    """
    wanted = _Wanted(
        to, keep_layers, dev, trim_vocab, keep_scripts, held_out, min_count, pooling, max_length, dimensions, fit, dtype, seed
    )  # fmt: skip
    return _convert(model, Path(out), wanted, show, settings)


class _Wanted(NamedTuple):
    """What a conversion shall do, as `convert` takes it."""

    to: str | None
    keep_layers: Sequence[int] | str
    dev: str | None
    trim_vocab: Sequence[str]
    keep_scripts: Sequence[str]
    held_out: Sequence[str]
    min_count: int
    pooling: str | None
    max_length: int | None
    dimensions: int | None
    fit: Sequence[str]
    dtype: str | None
    seed: int

    def require_effect(self) -> None:
        """Refuse values that are none, a conversion that would do nothing, and options that would have no effect on it."""
        steps = {name: getattr(self, name) for name in _STEPS}
        if not any(steps.values()):
            ways = [Phrase("{}", Option(name)) for name in steps]
            raise UsageError("nothing to do", expected=Phrase("{} or {}", Phrase.joined(", ", ways[:-1]), ways[-1]))
        details = {
            "to": {"pooling": self.pooling, "max_length": self.max_length},
            "trim_vocab": {
                "keep_scripts": self.keep_scripts,
                "held_out": self.held_out,
                "min_count": self.min_count != 1,
            },
        }
        if self.to != "static":
            details["dimensions"] = {"fit": self.fit}
        without = {step: more for step, more in details.items() if not steps[step]}
        idle = [Phrase("{}", Option(name)) for more in without.values() for name, value in more.items() if value]
        if idle:
            missing = [Phrase("{}", Option(step)) for step in without]
            raise UsageError(
                Phrase("without effect here: {}", Phrase.joined(", ", idle)), expected=Phrase.joined(" and ", missing)
            )
        if self.to == "static" and self.max_length is not None:
            raise UsageError(
                Phrase("without effect here: {}", Option("max_length", self.max_length)),
                got="a static model, which reads texts whole",
                hint=Phrase("leave out {}", Option("max_length")),
            )
        if self.dimensions is not None and not self.fit and self.to != "static":
            raise UsageError(
                Phrase("{} are fitted on texts", Option("dimensions", self.dimensions)),
                hint=Phrase("name data sets with {}", Option("fit")),
            )
        if (best_count(self.keep_layers) is None) != (self.dev is None):
            given = Option("keep_layers", "best-4") if self.dev else Option("dev")
            raise UsageError(
                Phrase("{} and {} go together", Option("keep_layers", "best-4"), Option("dev")),
                hint=Phrase("name {} as well: rows decide which layers stay", given),
            )
        require_scripts(self.keep_scripts)
        if self.to is not None and self.to not in TARGETS:
            raise ConfigError("unknown task", where=Option("to", self.to), expected=" or ".join(TARGETS))
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ConfigError("unknown number format", where=Option("dtype", self.dtype), expected=" or ".join(DTYPES))


def _convert(model: str, target: Path, wanted: _Wanted, show: Show, settings: dict[str, Any]) -> dict[str, Any]:
    wanted.require_effect()
    require_new(target)
    folder = resolve_model(model, Path.cwd())
    if wanted.to == "bi" and wanted.max_length is None:
        _require_other_kind(folder, wanted)
    if wanted.dimensions is not None:
        _require_vectors(folder, wanted)
    sets = (wanted.trim_vocab, wanted.held_out, wanted.fit, [wanted.dev] if wanted.dev else [])
    names, specs = name_data([name for some in sets for name in some], settings)
    context = Context(
        Recipe("convert", "convert", wanted.seed, specs, ()), Path.cwd(), {}, "cpu", show.progress, show.say
    )
    left = iter(names)
    texts = [read_texts(context, list(islice(left, len(some)))) for some in sets[:3]]
    asked = asked_of(wanted, folder, *texts, wanted.seed)
    asked["layers"], asked["search"] = kept_layers(folder, wanted.keep_layers, next(left, None), context)
    with new_directory(target, model=model, to=wanted.to) as place:
        reports = write_converted(folder, place, asked, context)
    return {**reports, "read": context.readings}


def _require_vectors(folder: Path, wanted: _Wanted) -> None:
    """Refuse to cut the vectors of what has none."""
    kind = "bi-encoder" if wanted.to in ("bi", "static") else "cross-encoder" if wanted.to else model_kind(folder)
    if kind != "bi-encoder":
        raise UsageError(
            Phrase("a cross-encoder has no vectors to cut: {}", Option("dimensions", wanted.dimensions)),
            where=None if wanted.to else folder,
            hint=Phrase("name {}", Option("to", "bi")),
        )


def _require_other_kind(folder: Path, wanted: _Wanted) -> None:
    """Refuse to make a bi-encoder of one; a bare transformer has no vectors of its own yet."""
    if model_kind(folder) == "bi-encoder" and read_modules(folder):
        options = {"to": wanted.to, "pooling": wanted.pooling}
        idle = [Phrase("{}", Option(name, value)) for name, value in options.items() if value is not None]
        more = any(getattr(wanted, name) for name in _STEPS[1:])
        raise UsageError(
            Phrase("without effect here: {}", Phrase.joined(", ", idle)),
            where=folder,
            got="a bi-encoder already",
            hint="leave it out" if more else "name another task, or use the model as it is",
        )

"""A distillation planned in one call: the recipe is written, and run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from munjang.api.naming import checked_options, name_data
from munjang.api.runs import RunResult, run
from munjang.config.recipe import DATA_PREFIX, DataSpec, TrainingRows
from munjang.data.load import fingerprint_rows, load_rows
from munjang.data.readers import Rows
from munjang.distill.budget import epochs_within, probe
from munjang.distill.options import DistillPlan
from munjang.distill.plan import MOST_PIECES, Names, Student, candidates, made_for_of, recipe_text
from munjang.engine.device import choose_device
from munjang.errors import ConfigError, DataError, MunjangError, Option, Phrase
from munjang.evaluate.dev import dev_metric
from munjang.files import canonical_json, digest_bytes, write_bytes
from munjang.models.folder import fingerprint_model, layers_of, require_kind
from munjang.models.settings import transformer_settings, vector_size
from munjang.models.source import BUNDLED_PREFIX, resolve_model
from munjang.progress import QUIET, Show
from munjang.train.examples import distilled_texts, without_leaks
from munjang.train.objectives import BI_OBJECTIVES, choose_objective, require_dev

RECIPE_FILE = "recipe.toml"
#: Raised when the same arguments give another recipe.
_PLANNER = 1
#: Kinds of rows, in the order in which a training tries them for the columns of a file.
_ROWS: tuple[str, ...] = get_args(TrainingRows)[1].accepts


def plan_distillation(
    teacher: str,
    out: str | Path,
    *,
    seed: int = 42,
    device: str | None = None,
    show: Show = QUIET,
    reading: Mapping[str, Any] | None = None,
    **plan: Any,
) -> RunResult:
    """Train several students of a bi-encoder briefly, measure them, and write the recipe of the one to take.

    The recipe of the run is written to `out/recipe.toml`. Where it is there and was made for the same arguments, models and
    data, it is taken as it is, so that the same call goes on where it was stopped.

    Args:
        teacher: a bi-encoder.
        out: directory of the run.
        seed: of everything that is drawn.
        device: such as `cpu`; by default cuda, else mps, else cpu.
        show: how to tell about progress.
        reading: fields of `DataSpec` for files, such as `scale`.
        plan: fields of `munjang.distill.options.DistillPlan`.

    Returns:
        The run; its stage `plan` holds `chosen.toml`, `plan.html` and the report.

    Raises:
        ConfigError: the plan is wrong, or its budget too small; then nothing is written. MissingInputError,
            UnavailableError, DataError: a model or data are not there, or of another kind.
    """
    checked = checked_options(DistillPlan, "distill plan", **plan)
    folders = [_bi_encoder(Option("teacher", teacher)), _bi_encoder(Option("model", checked.model or teacher))]
    rows = _Rows.named(checked, dict(reading or {}), seed)
    rows.require_apart()
    names = Names(
        _absolute(teacher), _absolute(checked.model or teacher), rows.data, rows.dev, rows.exclude, rows.absolute()
    )
    inputs = [fingerprint_model(folder) for folder in folders]
    inputs += [rows.fingerprint(value) for _, value in rows.listed()]
    options = checked.model_dump(mode="json", exclude={"data", "dev", "exclude", "model"})
    arguments = [_PLANNER, options, [names.teacher, names.start, *rows.listed()], seed, inputs]
    made_for = digest_bytes(canonical_json(arguments).encode())
    path = Path(out) / RECIPE_FILE
    if path.is_file() and made_for_of(path.read_text(encoding="utf-8", errors="replace")) == made_for:
        show.say(f"going on with {path}")
    else:
        text = _recipe(checked, names, folders, rows, Path(out), seed, made_for, device, show)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())
    return run(path, out=out, device=device, show=show)


def _bi_encoder(option: Option) -> Path:
    """The folder of the bi-encoder that an option names."""
    try:
        folder = resolve_model(option.value, Path.cwd())
        require_kind(folder, "bi-encoder")
    except MunjangError as error:
        if isinstance(error, DataError) and error.got == "cross-encoder":
            error.hint = "name a bi-encoder"
        error.inside(option)
        raise
    return folder


def _absolute(name: str) -> str:
    """A model as a recipe of another folder names it."""
    path = Path(name).expanduser()
    return str(path.absolute()) if not name.startswith(BUNDLED_PREFIX) and path.is_dir() else name


@dataclass
class _Rows:
    """The sets of a plan, as its recipe names them."""

    data: list[str]
    dev: list[str]
    exclude: list[str]
    specs: dict[str, DataSpec]
    seed: int

    @classmethod
    def named(cls, plan: DistillPlan, reading: dict[str, Any], seed: int) -> _Rows:
        names, specs = name_data([*plan.data, *plan.dev, *plan.exclude], reading)
        first, second = len(plan.data), len(plan.data) + len(plan.dev)
        return cls(names[:first], names[first:second], names[second:], specs, seed)

    def listed(self) -> list[tuple[str, str]]:
        """(option, value) of every set, in order."""
        return [(name, value) for name in ("data", "dev", "exclude") for value in getattr(self, name)]

    def spec(self, value: str) -> DataSpec:
        return self.specs[value.removeprefix(DATA_PREFIX)] if value.startswith(DATA_PREFIX) else DataSpec(source=value)

    def absolute(self) -> dict[str, DataSpec]:
        """How files are read, as a recipe of another folder names them."""
        return {key: spec.model_copy(update={"source": str(Path.cwd() / key)}) for key, spec in self.specs.items()}

    def fingerprint(self, value: str) -> dict[str, object]:
        return fingerprint_rows(self.spec(value), Path.cwd())

    def require_apart(self) -> None:
        """Refuse one set in two parts, under whatever names: what measures is not learnt from."""
        known: dict[str, tuple[str, str]] = {}
        for name, value in self.listed():
            try:
                content = self.fingerprint(value)
            except MunjangError as error:
                error.inside(Option(name, value))
                raise
            # The same bytes may be read in two ways, by a name of the catalogue and by a path.
            same = canonical_json([content["files"], *(content.get(key) for key in ("part", "sample"))])
            before = known.setdefault(same, (name, value))
            if before != (name, value) and (name == "dev" or before[0] != name):
                raise ConfigError(
                    Phrase("these are the rows of {} too", Option(*before)),
                    where=Option(name, value),
                    expected="other rows: what is learnt from, what measures and what tests stand apart",
                )

    def examples(self) -> list[tuple[str, ...]]:
        """The texts of each example of a pass, all sets read and those held out left out."""
        loaded: dict[str, list[Rows]] = {"data": [], "dev": [], "exclude": []}
        for name, value in self.listed():
            where = Option(name, value)
            try:
                rows = load_rows(self.spec(value), _ROWS, Path.cwd(), self.seed)
            except MunjangError as error:
                error.inside(where)
                raise
            if name == "data":
                choose_objective(BI_OBJECTIVES, rows.kind, "distil", where)
            if name == "dev":
                require_dev("bi", rows.kind, where)
            loaded[name].append(rows)
        tests = [rows.rows for rows in loaded["exclude"]]
        devs = [without_leaks(rows.rows, tests) for rows in loaded["dev"]]
        for rows, dev, value in zip(loaded["dev"], devs, self.dev, strict=True):
            dev_metric(rows.kind, dev, False, value)
        kept = [(rows.kind, without_leaks(rows.rows, [*devs, *tests])) for rows in loaded["data"]]
        for value, (_, some) in zip(self.data, kept, strict=True):
            if not some:
                raise DataError("every row shares a sentence with dev or an excluded set", where=Option("data", value))
        return [texts for kind, some in kept for texts in distilled_texts(kind, some)]


def _recipe(
    plan: DistillPlan,
    names: Names,
    folders: Sequence[Path],
    rows: _Rows,
    out: Path,
    seed: int,
    made_for: str,
    device: str | None,
    show: Show,
) -> str:
    """The text of the recipe: the data read, the model's speed measured, the budget shared."""
    teacher, start = folders
    trim = _trims(plan, start)
    layers = layers_of(start)
    found = candidates(layers or 0) if layers else []
    # With all layers of the teacher a student has the teacher's vectors already.
    learns = [one for one in found if one.convert or not teacher.samefile(start)]
    if not learns:
        raise ConfigError(
            "there is nothing to cut",
            where=Option("model", plan.model) if plan.model else Option("teacher", names.teacher),
            expected="a transformer of two layers or more",
            got="no layers that its settings count" if layers is None else "one layer",
        )
    examples = rows.examples()
    show.say(f"  {len(examples):,} examples to learn from; measuring how fast the model reads them")
    cost = probe(start, choose_device(device), examples)
    epochs = epochs_within(plan.budget_minutes, cost, [one.share for one in learns], plan.epochs)
    known = {one.name: count for one, count in zip(learns, epochs, strict=True)}
    shown = ", ".join(f"{name} {count:g}" for name, count in known.items())
    show.say(f"  {cost.tokens_per_second:,.0f} tokens/s; passes over the data: {shown}")
    return recipe_text(
        plan,
        names,
        [Student(one, known.get(one.name)) for one in found],
        trim=trim,
        projection=_projection(teacher, start),
        name=re.sub(r"[^\w.-]+", "-", out.resolve().name).strip("-.") or "distill",
        seed=seed,
        made_for=made_for,
    )


def _trims(plan: DistillPlan, start: Path) -> bool:
    """Whether the vocabulary is trimmed, by the plan or by its size."""
    pieces = transformer_settings(start).get("vocab_size")
    large = isinstance(pieces, int) and pieces > MOST_PIECES
    trim = large if plan.trim is None else plan.trim
    if plan.keep_scripts and not trim:
        raise ConfigError(
            Phrase("{} has no effect: the vocabulary stays whole", Option("keep_scripts")),
            where=Option("keep_scripts", plan.keep_scripts),
            hint=Phrase("leave it out, or set {}", Option("trim", True)),
        )
    return trim


def _projection(teacher: Path, start: Path) -> str | None:
    """What joins vectors of different sizes: students keep their own, or take the teacher's where that is smaller."""
    own, taught = vector_size(start), vector_size(teacher)
    if own is None or taught is None or own == taught:
        return None
    return "pca" if taught > own else "dense"

"""munjang train bi | cross: the options of the stages, as flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from munjang import api
from munjang.cli.output import (
    REGRESSED,
    Reading,
    Running,
    print_json,
    print_regression,
    relative,
    showing,
    stdout,
)
from munjang.config.recipe import AnyModel
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions, TrainSet

#: Lists are written --train A B; the first value of each list is required where the flag is given.
_FLAGS = Parameter(name="*", consume_multiple=(1, None), negative_iterable=())


class BiFlags(TrainBiOptions):
    """`TrainBiOptions` with what the command line may leave out."""

    name: Annotated[str, Parameter(show=False)] = "bi"
    model: AnyModel = "bundled:e5-small"
    """Where to start: a bundled model, a folder, or a hub id."""
    train: list[str]
    """Data sets to train on, together and shuffled; each kind of rows has its own default objective."""
    dev: list[str]
    """Rows on which the best weights are chosen; never a test split. Of several sets the mean of what they give chooses."""


class CrossFlags(TrainCrossOptions):
    """`TrainCrossOptions` with what the command line may leave out."""

    name: Annotated[str, Parameter(show=False)] = "cross"
    model: AnyModel = "bundled:e5-small"
    """Where to start: the body of a bi-encoder gets a new head, a cross-encoder goes on."""
    train: list[str]
    """Data sets to train on, together and shuffled; each kind of rows has its own default objective."""
    dev: list[str]
    """Rows on which the best weights are chosen; never a test split. Of several sets the mean of what they give chooses."""


def bi(
    *,
    options: Annotated[BiFlags, _FLAGS],
    out: Path,
    seed: int = 42,
    allow_regression: Annotated[bool, Parameter(negative=())] = False,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train a bi-encoder into OUT/model and keep the weights that are best on dev.

    Args:
        out: Folder to make; must not exist.
        seed: Of the order of rows and of dropout.
        allow_regression: Exit with 0 also where nothing beat the starting weights on dev.
    """
    return _train(TrainBiOptions, options, out, seed, allow_regression, reading, common)


def cross(
    *,
    options: Annotated[CrossFlags, _FLAGS],
    out: Path,
    seed: int = 42,
    allow_regression: Annotated[bool, Parameter(negative=())] = False,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train a cross-encoder into OUT/model and keep the weights that are best on dev.

    Args:
        out: Folder to make; must not exist.
        seed: Of the head, the order of rows and of dropout.
        allow_regression: Exit with 0 also where nothing beat the starting weights on dev.
    """
    return _train(TrainCrossOptions, options, out, seed, allow_regression, reading, common)


def _train(
    kind: type[TrainOptions],
    flags: BiFlags | CrossFlags,
    out: Path,
    seed: int,
    allow_regression: bool,
    reading: Reading | None,
    common: Running | None,
) -> int:
    common = common or Running()
    sources = [*flags.train, *flags.dev, *flags.exclude]
    names, data = api.name_data(sources, (reading or Reading()).settings())
    split, kept_out = len(flags.train), len(flags.train) + len(flags.dev)
    # What was left out stays left out: an option that was set is refused where it has no effect.
    values = {option: getattr(flags, option) for option in flags.model_fields_set | {"name", "model"}}
    sets = [TrainSet(data=name) for name in names[:split]]
    dev = names[split] if len(flags.dev) == 1 else names[split:kept_out]
    options = kind(**values | {"train": sets, "dev": dev, "exclude": names[kept_out:]})
    with showing(common.json) as show:
        report = api.run_stage(options, out, data=data, seed=seed, device=common.device, show=show)
    if common.json:
        print_json(report)
    else:
        stdout().print(f"{options.produces}: {relative(out / 'model')}", soft_wrap=True)
        if report["regressed"]:
            print_regression(options.name)
    return REGRESSED if report["regressed"] and not allow_regression else 0

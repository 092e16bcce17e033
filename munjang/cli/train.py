"""munjang train bi | cross: the options of the stages, as flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from munjang import api
from munjang.cli.output import Reading, Running, print_json, relative, showing, stdout
from munjang.config.recipe import AnyModel
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions

#: Lists are written --train A B; the first value of each list is required where the flag is given.
_FLAGS = Parameter(name="*", consume_multiple=(1, None), negative_iterable=())


class BiFlags(TrainBiOptions):
    """`TrainBiOptions` with what the command line may leave out."""

    name: Annotated[str, Parameter(show=False)] = "bi"
    model: AnyModel = "bundled:e5-small"
    """Where to start: a bundled model, a folder, or a hub id."""


class CrossFlags(TrainCrossOptions):
    """`TrainCrossOptions` with what the command line may leave out."""

    name: Annotated[str, Parameter(show=False)] = "cross"
    model: AnyModel = "bundled:e5-small"
    """Where to start: the body of a bi-encoder gets a new head, a cross-encoder goes on."""


def bi(
    *,
    options: Annotated[BiFlags, _FLAGS],
    out: Path,
    seed: int = 42,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train a bi-encoder into OUT/model and keep the weights that are best on dev.

    Args:
        out: Folder to make; must not exist.
        seed: Of the order of rows and of dropout.
    """
    return _train(options, out, seed, reading, common)


def cross(
    *,
    options: Annotated[CrossFlags, _FLAGS],
    out: Path,
    seed: int = 42,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train a cross-encoder into OUT/model and keep the weights that are best on dev.

    Args:
        out: Folder to make; must not exist.
        seed: Of the head, the order of rows and of dropout.
    """
    return _train(options, out, seed, reading, common)


def _train(options: TrainOptions, out: Path, seed: int, reading: Reading | None, common: Running | None) -> int:
    common = common or Running()
    sources = [*options.train, options.dev, *options.exclude]
    names, data = api.name_data(sources, (reading or Reading()).settings())
    split = len(options.train)
    named = options.model_copy(update={"train": names[:split], "dev": names[split], "exclude": names[split + 1 :]})
    with showing(common.json) as show:
        report = api.run_stage(named, out, data=data, seed=seed, device=common.device, show=show)
    if common.json:
        print_json(report)
        return 0
    stdout().print(f"{options.produces}: {relative(out / 'model')}", soft_wrap=True)
    return 0

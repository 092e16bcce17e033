"""munjang train bi | cross"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from munjang import api
from munjang.cli.output import Reading, Running, print_json, relative, showing, stdout
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions

_Many = Annotated[list[str], Parameter(consume_multiple=(1, None), negative=())]


def bi(
    *,
    model: str = "bundled:e5-small",
    train: _Many,
    dev: str,
    exclude: _Many = (),
    out: Path,
    epochs: float = 1.0,
    batch_size: int = 32,
    learning_rate: float = 6e-5,
    max_length: int = 128,
    objective: str = "cosent",
    freeze_embeddings: bool = True,
    seed: int = 42,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train a bi-encoder into OUT/model and keep the weights that are best on dev.

    Args:
        model: Where to start: bundled:e5-small, a folder, a hub id.
        train: Sets to train on: catalogue names such as korsts:train, or files.
        dev: Set on which the best weights are chosen; never a test split.
        exclude: Sets whose sentences must not be trained on; name every test split.
        out: Folder to make; must not exist.
        epochs: Passes over the training pairs.
        batch_size: Pairs a step.
        learning_rate: Peak of the linear schedule.
        max_length: Tokens a text; what exceeds it is cut and counted.
        objective: cosent, cosine or angle.
        freeze_embeddings: Leave the word embeddings as they are: three times faster with a large vocabulary.
        seed: Of the order of rows and of dropout.
    """
    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "max_length": max_length}
    settings |= {"objective": objective, "freeze_embeddings": freeze_embeddings}
    return _train(TrainBiOptions, model, train, dev, exclude, out, settings, seed, reading, common)


def cross(
    *,
    model: str = "bundled:e5-small",
    train: _Many,
    dev: str,
    exclude: _Many = (),
    out: Path,
    epochs: float = 1.0,
    batch_size: int = 16,
    learning_rate: float = 1e-4,
    max_length: int = 128,
    orders: str = "both",
    freeze_embeddings: bool = True,
    seed: int = 42,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train a cross-encoder into OUT/model and keep the weights that are best on dev.

    Args:
        model: Where to start: a bi-encoder's body gets a new head, a cross-encoder goes on.
        train: Sets to train on: catalogue names such as korsts:train, or files.
        dev: Set on which the best weights are chosen; never a test split.
        exclude: Sets whose sentences must not be trained on; name every test split.
        out: Folder to make; must not exist.
        epochs: Passes over the training pairs.
        batch_size: Pairs a step.
        learning_rate: Peak of the linear schedule.
        max_length: Tokens a pair; what exceeds it is cut and counted.
        orders: Present each pair in both orders, in one at random, or as given.
        freeze_embeddings: Leave the word embeddings as they are: faster with a large vocabulary.
        seed: Of the head, the order of rows and of dropout.
    """
    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "max_length": max_length}
    settings |= {"orders": orders, "freeze_embeddings": freeze_embeddings}
    return _train(TrainCrossOptions, model, train, dev, exclude, out, settings, seed, reading, common)


def _train(
    kind: type[TrainOptions],
    model: str,
    train: list[str],
    dev: str,
    exclude: list[str],
    out: Path,
    settings: dict[str, Any],
    seed: int,
    reading: Reading | None,
    common: Running | None,
) -> int:
    common = common or Running()
    names, data = api.name_data([*train, dev, *exclude], (reading or Reading()).settings())
    split = len(train)
    options = api.checked_options(
        kind,
        name=kind.kind.split(".")[1],
        model=model,
        train=names[:split],
        dev=names[split],
        exclude=names[split + 1 :],
        **settings,
    )
    with showing(common.json) as show:
        report = api.run_stage(options, out, data=data, seed=seed, device=common.device, show=show)
    if common.json:
        print_json(report)
        return 0
    stdout().print(f"{kind.produces}: {relative(out / 'model')}", soft_wrap=True)
    return 0

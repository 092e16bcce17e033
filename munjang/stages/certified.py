"""Exports that a stage makes for itself: a model of which millions of outputs are wanted is worth a minute of exporting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from munjang.data.rows import ScoredPair
from munjang.engine.certificate import exports_of
from munjang.engine.exporting import Dev, export_model
from munjang.evaluate.statistics import spearman, whole
from munjang.evaluate.sts import gold_scores
from munjang.pipeline.stage import Context


def certified_backend(
    context: Context, name: str, folder: Path, wanted: str, texts: Sequence[str], dev: Sequence[ScoredPair], where: str
) -> str:
    """What to open a model with: the wanted export, made where there is none, if it loses no more on dev than it may.

    Args:
        context: of the stage.
        name: of the model, as messages call it.
        folder: of the model; the export lies beside it and serves other commands too.
        wanted: `torch`, or an export by its name, such as `openvino-int8`.
        texts: of the work ahead; they calibrate int8, and a cross-encoder reads them two by two.
        dev: pairs on which the export is compared with torch.
        where: what the user calls dev.

    Raises:
        UnavailableError: the library is not installed. DataError, DiskError: see `munjang.engine.exporting`.
    """
    if wanted == "torch":
        return wanted
    if context.device != "cpu":
        context.say(f"  {name}: exports run on a CPU, so torch labels on {context.device}")
        return "torch"
    backend, precision = wanted.rsplit("-", 1)
    known = [c for _, c in exports_of(folder) if (c.backend, c.precision) == (backend, precision)]
    # One of a command that knew no dev set says nothing of what it costs.
    found = next((c for c in known if c.loss is not None or c.holds), None)
    if found is None:
        judged = Dev(where, [row[:2] for row in dev], gold_scores(list(dev)))
        found = export_model(
            folder,
            backend,
            precision,
            texts,
            judged,
            spearman=lambda x, y: whole(spearman, x, y),
            say=lambda line: context.say(f"  {name}: {line}"),
        )
    lost = "unknown" if found.loss is None else f"{found.loss:.2f} points"
    context.say(f"  {name}: {wanted} is {found.speed_ratio:.1f} times as fast as torch; loss on dev {lost}")
    if not found.holds:
        context.say(f"  {name}: that is too much, so torch labels")
        return "torch"
    return wanted

"""The stage choose: the best of several bi-encoders on dev."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from munjang.engine.encoder import Encoder
from munjang.errors import DataError
from munjang.evaluate.dev import dev_metric, dev_of_encoder
from munjang.evaluate.options import ChooseOptions
from munjang.files import link_or_copy
from munjang.pipeline.stage import Context
from munjang.stages.inputs import MODEL_FOLDER, load_input_rows, model_folder
from munjang.train.objectives import DEV_KINDS


def run_choose(options: ChooseOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write the best model to `out/model`, and what each reached to the report."""
    rows = load_input_rows(context, options.dev, DEV_KINDS["bi"])
    context.readings[-1] |= {"use": "dev"}
    metric = dev_metric(rows.kind, rows.rows, False, options.dev)
    reached: dict[str, float | None] = {}
    for label, value in options.models.items():
        encoder = Encoder(model_folder(context, value), context.device, cache=True)
        reached[label] = dev_of_encoder(encoder, rows.kind, rows.rows)
    known = {label: value for label, value in reached.items() if value is not None}
    if not known:
        raise DataError("no model can be told from another on this dev set", where=options.dev, got=metric)
    best = max(known, key=known.__getitem__)
    shown = ", ".join(f"{label} {value:.2f}" for label, value in known.items())
    context.say(f"  dev {metric}: {shown}; {best} is taken")
    shutil.copytree(model_folder(context, options.models[best]), out / MODEL_FOLDER, copy_function=link_or_copy)
    return {"best": best, "dev_metric": metric, "dev": reached}

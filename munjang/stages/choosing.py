"""The stage choose: the best of several bi-encoders on dev."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from munjang.errors import DataError
from munjang.evaluate.options import ChooseOptions
from munjang.files import link_or_copy
from munjang.pipeline.stage import Context
from munjang.stages.dev import Dev
from munjang.stages.inputs import MODEL_FOLDER, model_folder


def run_choose(options: ChooseOptions, context: Context, out: Path) -> dict[str, Any]:
    """Write the best model to `out/model`, and what each reached to the report."""
    dev = Dev(context, options.dev)
    reached = {label: dev(model_folder(context, value)) for label, value in options.models.items()}
    known = {label: value for label, value in reached.items() if value is not None}
    if not known:
        raise DataError("no model can be told from another on this dev set", where=options.dev, got=dev.metric)
    best = max(known, key=known.__getitem__)
    shown = ", ".join(f"{label} {value:.2f}" for label, value in known.items())
    context.say(f"  dev {dev.metric}: {shown}; {best} is taken")
    shutil.copytree(model_folder(context, options.models[best]), out / MODEL_FOLDER, copy_function=link_or_copy)
    return {"best": best, "dev_metric": dev.metric, "dev": reached}

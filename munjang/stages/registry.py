"""The kinds of stage by name. A new kind is an options class, a function, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from munjang.augment.options import LabelClassesOptions, LabelOptions, LabelTripletsOptions, MineOptions
from munjang.config.recipe import StageOptions
from munjang.distill.options import PlanOptions
from munjang.evaluate.options import ChooseOptions, EvaluateOptions
from munjang.index.options import IndexOptions, SearchOptions
from munjang.models.options import ConvertOptions, MergeOptions
from munjang.pipeline.stage import Context, StageKind
from munjang.stages.doctor import DoctorOptions
from munjang.train.options import TrainBiOptions, TrainCrossOptions, TrainOptions


def _late(module: str, function: str, options: Any, context: Context, out: Path) -> dict[str, Any]:
    # Stages import torch. Loading them when they run keeps a recipe's errors and `--help` fast.
    return getattr(import_module(f"munjang.stages.{module}"), function)(options, context, out)


_FUNCTIONS: tuple[tuple[type[StageOptions], str, str], ...] = (
    (DoctorOptions, "doctor", "run_doctor"),
    (EvaluateOptions, "evaluating", "run_evaluate"),
    (TrainBiOptions, "training", "run_train_bi"),
    (TrainCrossOptions, "training", "run_train_cross"),
    (ConvertOptions, "converting", "run_convert"),
    (MergeOptions, "merging", "run_merge"),
    (MineOptions, "mining", "run_mine"),
    (LabelOptions, "labelling", "run_label"),
    (LabelClassesOptions, "labelling", "run_label_classes"),
    (LabelTripletsOptions, "labelling", "run_label_triplets"),
    (PlanOptions, "planning", "run_plan"),
    (ChooseOptions, "choosing", "run_choose"),
    (IndexOptions, "indexing", "run_index"),
    (SearchOptions, "evaluating", "run_search"),
)

KINDS: Mapping[str, StageKind] = {
    options.kind: StageKind(options, partial(_late, module, function), together=issubclass(options, TrainOptions))
    for options, module, function in _FUNCTIONS
}
OPTIONS: Mapping[str, type[StageOptions]] = {name: kind.options for name, kind in KINDS.items()}

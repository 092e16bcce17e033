"""Which layers a student keeps, by dev: from all of them on, the one whose loss costs least is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn

from munjang.engine.encoder import Encoder
from munjang.engine.loading import load_model
from munjang.errors import DataError, Option
from munjang.models.folder import require_kind
from munjang.models.layers import layer_list
from munjang.models.options import best_count
from munjang.pipeline.stage import Context
from munjang.stages.dev import Dev


def kept_layers(
    folder: Path, wanted: Sequence[int] | str | None, dev: str | None, context: Context
) -> tuple[Sequence[int] | str | None, list[dict[str, Any]]]:
    """The layers to keep, and how they were found; other rules than `best-N` are handed on as they are.

    A greedy search: every layer that is left is tried without, and the one without which dev is best goes, until N are left.
    Layers that stand beside each other do much the same, so that this finds a better start than even spacing where the
    parts of a model are not alike (Sajjad et al. 2023, arXiv 2004.03844, compare ways to drop layers). Nothing is trained
    on the way.

    Args:
        folder: of a bi-encoder.
        wanted: see `munjang.models.layers.which_layers`.
        dev: names the rows that decide.
        context: of the stage.

    Returns:
        The layers, and for each one that went `{"dropped": layer, "dev": score without it}`, in order.

    Raises:
        DataError: the model is no bi-encoder, has no such list of layers, or cannot be scored on dev. ConfigError: it has
            no more layers than are to stay.
    """
    count = best_count(wanted)
    if count is None or dev is None:
        return wanted, []
    require_kind(folder, "bi-encoder")
    model = load_model(SentenceTransformer, folder, context.device)
    place = layer_list(model.transformers_model.base_model)
    whole = list(place)
    if count >= len(whole):
        raise DataError(
            "the model has no layer to drop",
            where=Option("keep_layers", str(wanted)),
            expected=f"fewer than its {len(whole)}",
        )
    score = Dev(context, dev)
    kept, steps = list(range(len(whole))), []
    tries, done = sum(range(count + 1, len(whole) + 1)), 0
    progress = context.progress("looking for the layers to keep")
    while len(kept) > count:
        found = []
        for layer in kept:
            _set(place, [whole[i] for i in kept if i != layer])
            value = score.of(Encoder.of(model, context.device))
            done += 1
            progress(done, tries)
            if value is not None:
                found.append((value, layer))
        if not found:
            raise DataError("without any of its layers the model cannot be scored on this dev set", where=dev)
        value, dropped = max(found, key=lambda one: (one[0], -one[1]))
        kept.remove(dropped)
        steps.append({"dropped": dropped, "dev": value})
        context.say(f"  without layer {dropped}: dev {score.metric} {value:.2f}")
    return kept, steps


def _set(place: nn.ModuleList, layers: list[nn.Module]) -> None:
    """Let a list hold other layers; the model that owns it then computes with these."""
    del place[:]
    place.extend(layers)

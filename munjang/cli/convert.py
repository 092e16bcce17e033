"""munjang convert"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from munjang import api
from munjang.cli.output import Common, Reading, print_json, relative, showing, stdout

_LIST = Parameter(consume_multiple=(1, None), negative=())


def convert(
    model: str,
    /,
    *,
    to: Literal["sts", "nli", "ranking", "bi"] | None = None,
    keep_layers: Annotated[list[str] | None, _LIST] = None,
    trim_vocab: Annotated[list[str] | None, _LIST] = None,
    keep_scripts: Annotated[list[str] | None, _LIST] = None,
    held_out: Annotated[list[str] | None, _LIST] = None,
    min_count: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1,
    pooling: str | None = None,
    max_length: Annotated[int | None, Parameter(validator=validators.Number(gte=8))] = None,
    dtype: Literal["float16", "bfloat16", "float32"] | None = None,
    seed: int = 42,
    out: Path,
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Turn a model into one for another task, keep some of its layers, leave the pieces out that its texts never use, round
    its numbers.

    Args:
        model: bundled:e5-small, a folder, or a hub id.
        to: sts, nli and ranking are cross-encoders, bi is a bi-encoder.
        keep_layers: Layers that stay, such as 0 4 7 11; or even-4, four from the first to the last; or first-4.
        trim_vocab: Data sets whose pieces the vocabulary keeps: catalogue names or files.
        keep_scripts: Scripts of which all pieces stay besides, such as hangul latin digits.
        held_out: Data sets on which is measured what the smaller vocabulary covers.
        min_count: How often a piece must occur to stay.
        pooling: What a new head or the vectors read, such as mean or cls; by default the model's own, else mean.
        max_length: Tokens; at most, and by default, the model's own limit.
        dtype: Number format of the weights; float16 and bfloat16 take half the disk of float32. By default as they are.
        seed: Of a new head.
        out: Folder to make; must not exist.
    """
    common = common or Common()
    with showing(common.json) as show:
        report = api.convert(
            model,
            out,
            to=to,
            keep_layers=_layers(keep_layers or ()),
            trim_vocab=trim_vocab or (),
            keep_scripts=keep_scripts or (),
            held_out=held_out or (),
            min_count=min_count,
            pooling=pooling,
            max_length=max_length,
            dtype=dtype,
            seed=seed,
            show=show,
            **(reading or Reading()).settings(),
        )
    if common.json:
        print_json(report)
        return 0
    stdout().print(f"model: {relative(out)}", soft_wrap=True)
    return 0


def _layers(values: Sequence[str]) -> list[int] | str:
    """Numbers, or the name of a rule; what is neither is refused where the layers are known."""
    return [int(value) for value in values] if all(map(str.isdecimal, values)) else " ".join(values)

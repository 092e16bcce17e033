"""munjang convert"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from munjang import api
from munjang.cli.output import Common, Reading, print_json, relative, showing, stdout

_LIST = Parameter(consume_multiple=(1, None), negative=())


@Parameter(name="*")
@dataclass(frozen=True)
class Smaller:
    """What makes a model smaller."""

    keep_layers: Annotated[list[str] | None, _LIST] = None
    """Layers that stay, such as 0 4 7 11; or even-4, four from the first to the last; or first-4; or best-4, by --dev."""
    dev: str | None = None
    """Rows that decide which layers best-4 and its like keep; never a test split."""
    trim_vocab: Annotated[list[str] | None, _LIST] = None
    """Data sets whose pieces the vocabulary keeps: catalogue names or files."""
    keep_scripts: Annotated[list[str] | None, _LIST] = None
    """Scripts of which all pieces stay besides, such as hangul latin digits."""
    held_out: Annotated[list[str] | None, _LIST] = None
    """Data sets on which is measured what the smaller vocabulary covers."""
    min_count: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 1
    """How often a piece must occur to stay."""
    dimensions: Annotated[int | None, Parameter(validator=validators.Number(gte=2))] = None
    """Numbers of a vector, fewer than the model's: its vectors are cut to the principal directions of some texts; with --to
    static, by default 256, of the pieces of the vocabulary."""
    fit: Annotated[list[str] | None, _LIST] = None
    """Data sets on whose texts these are fitted, or with --to static the pieces are counted: catalogue names or files."""
    dtype: Literal["float16", "bfloat16", "float32"] | None = None
    """Number format of the weights; float16 and bfloat16 take half the disk of float32. By default as they are."""

    def arguments(self) -> dict[str, Any]:
        """As arguments of `munjang.api.convert`."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["keep_layers"] = _layers(self.keep_layers or ())
        return {name: value for name, value in given.items() if value is not None}


def convert(
    model: str,
    /,
    *,
    to: Literal["sts", "nli", "ranking", "bi", "static"] | None = None,
    smaller: Smaller | None = None,
    pooling: str | None = None,
    max_length: Annotated[int | None, Parameter(validator=validators.Number(gte=8))] = None,
    seed: int = 42,
    out: Path,
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Turn a model into one for another task, keep some of its layers, leave the pieces out that its texts never use,
    shorten its vectors, round its numbers.

    Args:
        model: bundled:e5-small, a folder, or a hub id.
        to: sts, nli and ranking are cross-encoders, bi is a bi-encoder, static one of token vectors without a transformer.
        pooling: What a new head or the vectors read, such as mean or cls; by default the model's own, else mean.
        max_length: Tokens; at most, and by default, the model's own limit.
        seed: Of a new head.
        out: Folder to make; must not exist.
    """
    common = common or Common()
    with showing(common.json) as show:
        report = api.convert(
            model,
            out,
            to=to,
            pooling=pooling,
            max_length=max_length,
            seed=seed,
            show=show,
            **(smaller or Smaller()).arguments(),
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

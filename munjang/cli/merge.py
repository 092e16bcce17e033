"""munjang merge"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from munjang import api
from munjang.cli.output import Reading, Running, print_json, relative, showing, stdout
from munjang.models.options import MergeOptions

_LIST = Parameter(consume_multiple=(1, None), negative=())


def merge(
    models: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    shares: Annotated[list[float] | None, _LIST] = None,
    dev: str | None = None,
    greedy: Annotated[bool, Parameter(negative=())] = False,
    out: Path,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Average the weights of bi-encoders that were trained from one start, into OUT/model.

    Args:
        models: Two or more of one architecture and one tokenizer: folders, bundled models, hub ids.
        shares: How much of each; by default equal.
        dev: Rows on which each of the models and their mean are measured.
        greedy: Start with the best on dev, and take each next one in only if the mean does not fall for it.
        out: Folder to make; must not exist.
    """
    common = common or Running()
    names, data = api.name_data([dev] if dev else [], (reading or Reading()).settings() if dev else {})
    options = api.checked_options(
        MergeOptions,
        "merge",
        name="merge",
        models=models,
        shares=shares or [],
        dev=names[0] if names else None,
        greedy=greedy,
    )
    with showing(common.json) as show:
        report = api.run_stage(options, out, data=data, device=common.device, show=show)
    if common.json:
        print_json(report)
        return 0
    stdout().print(f"bi-encoder: {relative(out / 'model')}", soft_wrap=True)
    return 0

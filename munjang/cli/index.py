"""munjang index build"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from munjang import api
from munjang.cli.output import Reading, Running, print_json, program, relative, showing, stdout
from munjang.errors import UsageError
from munjang.index.options import IndexOptions


def build(
    *documents: str,
    model: str = "bundled:e5-small",
    reranker: str | None = None,
    out: Annotated[Path, Parameter(name="--out")],
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Encode texts into an index.

    Args:
        documents: Files with columns id and text, text files of one sentence a line, or catalogue names.
        model: Bi-encoder of texts and queries.
        reranker: Cross-encoder that orders the first hits anew.
        out: Folder to make; must not exist.
    """
    common = common or Running()
    if not documents:
        raise UsageError("name at least one file or data set of texts")
    names, data = api.name_data(documents, (reading or Reading()).settings())
    options = api.checked_options(IndexOptions, "index", name="index", model=model, reranker=reranker, documents=names)
    with showing(common.json) as show:
        report = api.run_stage(options, out, data=data, device=common.device, show=show)
    if common.json:
        print_json(report)
        return 0
    stdout().print(
        f'{report["documents"]:,} texts\nsearch: {program()} search {relative(out)} "질문을 여기에"', soft_wrap=True
    )
    return 0

"""munjang serve"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from munjang import api
from munjang.cli.output import Running, print_json, showing
from munjang.progress import Show


def serve(
    *,
    model: str | None = None,
    reranker: str | None = None,
    index: Path | None = None,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 8080,
    token_file: Path | None = None,
    backend: str = "auto",
    common: Running | None = None,
) -> int:
    """Serve models over HTTP: embeddings, reranking, similarity and search.

    Args:
        model: Bi-encoder; by default the index's, or bundled:ko-small without an index.
        reranker: Cross-encoder; by default the index's, if it has one.
        index: Folder of an index, or directory of a run, whose last index is taken.
        host: Address to listen at; one that other machines reach needs a token.
        port: To listen at; 0 takes a free one.
        token_file: File that holds the token; by default the variable MUNJANG_TOKEN, if it is set.
        backend: What runs the models: auto, torch, native, or an export such as native-int8.
    """
    common = common or Running()
    with showing(common.json) as show:
        said = Show(say=_print_address) if common.json else show
        whole = api.serve(
            model,
            reranker,
            index,
            host=host,
            port=port,
            token_file=token_file,
            device=common.device,
            backend=backend,
            show=said,
        )
    return 0 if whole else 70


def _print_address(line: str) -> None:
    print_json({"address": line.split()[0]})
    sys.stdout.flush()

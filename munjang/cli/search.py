"""munjang search"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators
from rich.markup import escape

from munjang import api
from munjang.cli.output import Running, print_json, stdout, table
from munjang.text import printable

if TYPE_CHECKING:
    from munjang.index.search import Answer, Hit


_Count = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))]
_CountOrNone = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=1000))]


def search(
    index: Path,
    query: str,
    /,
    *,
    top: _Count = 5,
    rerank: _CountOrNone = 20,
    backend: str = "auto",
    common: Running | None = None,
) -> int:
    """Find the texts nearest to a query: the bi-encoder's order and the order after reranking, side by side.

    Args:
        index: Folder of an index, or directory of a run.
        query: What to look for.
        top: Hits to show.
        rerank: First hits that the cross-encoder orders anew; 0 for none.
        backend: What runs the models: auto, torch, native, or an export such as native-int8.
    """
    common = common or Running()
    answer = api.search(index, query, top=top, rerank=rerank, device=common.device, backend=backend)
    if common.json:
        print_json(_as_json(answer))
        return 0
    _print(answer, top)
    return 0


def _as_json(answer: Answer) -> dict[str, Any]:
    return {
        "query": answer.query,
        "milliseconds": {"encode": answer.encode_ms, "find": answer.find_ms, "rerank": answer.rerank_ms},
        "hits": [
            {
                "id": h.document.id,
                "text": h.document.text,
                "rank": h.rank,
                "cosine": h.cosine,
                "reranked": h.reranked,
                "score": h.score,
            }
            for h in answer.hits
        ],
    }


def _print(answer: Answer, top: int) -> None:
    found = sorted(answer.hits, key=lambda hit: hit.rank)[:top]
    console = stdout()
    if answer.rerank_ms is None:
        view = table(escape(printable(answer.query)), "#", "cosine", "found by the bi-encoder")
        for hit in found:
            view.add_row(str(hit.rank), f"{hit.cosine:.3f}", _text(hit))
    else:
        view = table(
            escape(printable(answer.query)),
            "#",
            "cosine",
            "found by the bi-encoder",
            "was",
            "score",
            "after the cross-encoder",
        )
        for left, right in zip(found, answer.reranked()[:top], strict=True):
            view.add_row(
                str(left.rank),
                f"{left.cosine:.3f}",
                _text(left),
                _moved(right),
                f"{right.score or 0:.3f}",
                _text(right),
                end_section=True,
            )
    console.print(view)
    times = f"encode {answer.encode_ms:.0f} ms, find {answer.find_ms:.1f} ms"
    console.print(times + (f", rerank {answer.rerank_ms:.0f} ms" if answer.rerank_ms is not None else ""))


def _text(hit: Hit) -> str:
    return f"{escape(printable(hit.document.text, 300))} [dim]({escape(printable(hit.document.id, 40))})[/]"


def _moved(hit: Hit) -> str:
    steps = hit.rank - (hit.reranked or hit.rank)
    return f"{hit.rank}" + (f" ↑{steps}" if steps > 0 else f" ↓{-steps}" if steps < 0 else "")

"""The door for pages: one file each, one look, Korean and English, no network.

A template extends `base.html` and fills its block `content`. Texts of its own come by `t(korean, english)`; whatever comes from
outside is escaped by the template engine and, in plots, by `label`.
"""

from __future__ import annotations

import html
import math
from pathlib import Path
from typing import Any

from munjang.files import write_bytes

#: One colour a model, by its place; told apart also by those who do not see red and green, and on paper.
COLOURS = ("#3b6fd4", "#d9782d", "#2f9e77", "#b04fa8", "#8a8f2a", "#c8434e")
GREY = "#808080"
GRID = "rgba(128,128,128,0.25)"
#: As in the page. Plotly measures texts before they stand in it, so that they cannot inherit their font.
_FONT = 'system-ui, "Apple SD Gothic Neo", "Noto Sans KR", NanumGothic, sans-serif'


def render_page(package: str, template: str, **values: Any) -> str:
    """A page as HTML.

    Args:
        package: whose folder `templates` holds the template.
        template: a file name there.
        values: what the template names. `plots=True` puts the plot library into the page, 4.5 MB.
    """
    import jinja2

    loaders = [jinja2.PackageLoader(package), jinja2.PackageLoader("munjang")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.globals["t"] = in_both
    return environment.get_template(template).render(plotly=_plot_library() if values.get("plots") else "", **values)


def in_both(korean: str, english: str) -> Any:
    """Both languages, of which the style sheet shows the one that the reader chose; once what is the same in both."""
    from markupsafe import Markup, escape

    if korean == english:
        return escape(english)
    return Markup('<span lang="ko">{}</span><span lang="en">{}</span>').format(korean, english)


def write_page(path: Path, page: str) -> None:
    """Write a page; a lone surrogate (a file name in another encoding) is not UTF-8, but escaped it can be read."""
    write_bytes(path, page.encode("utf-8", "backslashreplace"))


def label(text: str, limit: int = 300) -> str:
    """A text from outside as plotly takes texts, which it reads as HTML."""
    return html.escape(text if len(text) <= limit else text[: limit - 1] + "…")


def number(value: float | None, digits: int = 4) -> float | None:
    """A number for a plot: rounded, and None for what is not finite, which JSON cannot hold."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def figure_html(figure: Any, name: str, height: int, top: int = 12) -> str:
    """A plotly figure as a part of a page.

    Args:
        figure: a `plotly.graph_objects.Figure`.
        name: its id in the page; a random one would make two pages of the same results differ.
        height: in pixels.
        top: margin above it in pixels, for titles.
    """
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 12, "t": top, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY, "family": _FONT},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left"},
        dragmode=False,
    )
    config = {"responsive": True, "displayModeBar": False}
    return figure.to_html(full_html=False, include_plotlyjs=False, config=config, div_id=name)


def _plot_library() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()

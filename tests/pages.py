"""A page as a browser takes it apart, for the tests of pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """Tags with their attributes, visible text, scripts, styles."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._languages: list[str] = []
        self._inside = self._language = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""
        if tag == "span":
            self._language = dict(attrs).get("lang") or self._language

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""
        if tag == "span":
            self._language = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            {"script": self.scripts, "style": self.styles}[self._inside].append(data)
            return
        self.text.append(data)
        self._languages.append(self._language)

    @property
    def words(self) -> str:
        """The visible text in both languages on one line."""
        return _on_one_line(self.text)

    def of_language(self, language: str) -> str:
        """What a reader of one language sees, on one line."""
        shown = zip(self.text, self._languages, strict=True)
        return _on_one_line([text for text, own in shown if own in ("", language)])

    @property
    def plots(self) -> list[list[dict[str, Any]]]:
        """The traces of each plot."""
        scripts = [s for s in self.scripts if "Plotly.newPlot(" in s and len(s) < 1_000_000]  # longer is plotly itself
        starts = [script.index("[", script.index("Plotly.newPlot(")) for script in scripts]
        decoder = json.JSONDecoder()
        return [decoder.raw_decode(script, start)[0] for script, start in zip(scripts, starts, strict=True)]


def _on_one_line(texts: list[str]) -> str:
    return " ".join(" ".join(texts).split())

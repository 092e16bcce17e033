"""Writes recipes as TOML, to be run, read and changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from munjang.errors import as_toml

Table = dict[str, Any]


def recipe_toml(
    name: str,
    title: str,
    seed: int,
    data: Mapping[str, Mapping[str, Any]],
    stages: Iterable[tuple[str, Mapping[str, Any]]],
    head: Sequence[str] = (),
) -> str:
    """The text of a recipe.

    Args:
        name: of the recipe; what is not allowed in one is the caller's to leave out.
        title: of the recipe.
        seed: of everything that is drawn.
        data: key -> fields of a `DataSpec`.
        stages: (comment, options with the kind) in order; what is None or an empty list is left out.
        head: lines of a comment above all.
    """
    lines = [*_comment(head), f"name = {as_toml(name)}", f"title = {as_toml(title)}", f"seed = {seed}"]
    for key, settings in data.items():
        lines += ["", f"[data.{as_toml(key)}]", *_assignments(settings)]
    for comment, stage in stages:
        lines += ["", *_comment(comment.splitlines()), "[[stage]]", *_assignments(stage)]
    return "\n".join(lines) + "\n"


def _comment(lines: Iterable[str]) -> list[str]:
    return [f"# {line}" for line in lines]


def _assignments(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {as_toml(value)}" for key, value in table.items() if value is not None and value != []]

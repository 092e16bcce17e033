"""Recipes that are written are read again as they were meant."""

from __future__ import annotations

from munjang.config.load import tomllib
from munjang.config.writing import recipe_toml


def test_what_is_written_is_what_is_read() -> None:
    stages = [
        (
            "first line\nsecond line",
            {"name": "bi", "train": ["a", "data:나의 글"], "epochs": 0.25, "ema": None, "x": []},
        ),
        ("", {"name": "result", "models": {"gold + silver": "stage:bi", "a": {"b": [1, 2]}}, "force": False}),
    ]
    text = recipe_toml(
        'a "name"', "제목", 7, {"나의 글": {"source": "/글.txt", "scale": [0, 5]}}, stages, ["head", "more"]
    )
    assert text.startswith("# head\n# more\nname = ")
    assert "\n# first line\n# second line\n[[stage]]\n" in text
    read = tomllib.loads(text)
    assert (read["name"], read["title"], read["seed"]) == ('a "name"', "제목", 7)
    assert read["data"] == {"나의 글": {"source": "/글.txt", "scale": [0, 5]}}
    assert read["stage"][0] == {"name": "bi", "train": ["a", "data:나의 글"], "epochs": 0.25}
    assert read["stage"][1] == dict(stages[1][1])

"""Names and reasons in Korean: every one that the code can make has an entry, and no entry is left over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import munjang
from munjang.evaluate.korean import KOREAN, korean
from munjang.evaluate.tasks import TASKS

#: Terms that Korean texts write in English as well.
SAME = {"Spearman", "Pearson", "nDCG@10", "MRR@10", "MAP", "MAP@100", "V-measure"}
SOURCES = [*Path(munjang.__file__).parent.joinpath("evaluate").glob("*.py")]
SOURCES += [Path(munjang.__file__).parent / "engine" / name for name in ("encoder.py", "scorer.py", "running.py")]


def literals(node: ast.AST | None) -> Iterator[str]:
    """The texts that an expression may have as its value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
    if isinstance(node, ast.IfExp):
        yield from (text for branch in (node.body, node.orelse) for text in literals(branch))
    if isinstance(node, ast.JoinedStr):  # its only variable part is which scores are equal
        for which in ("predicted", "gold"):
            yield "".join(v.value if isinstance(v, ast.Constant) else which for v in node.values)


def reasons() -> Iterator[str]:
    """All reasons that stand in the code."""
    for node in (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.FunctionDef) and node.name == "undefined":
            yield from (text for one in ast.walk(node) if isinstance(one, ast.Return) for text in literals(one.value))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("UnmeasurableError", "NonFiniteError"):
            yield from literals(node.args[0])
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Estimate":
            yield from (text for given in node.keywords if given.arg == "reason" for text in literals(given.value))


def test_every_task_metric_and_reason_has_a_korean_name() -> None:
    names = {task.label for task in TASKS.values()}
    kinds = ("bi-encoder", "cross-encoder", "retrieve+rerank")
    names |= {metric.label for task in TASKS.values() for kind in kinds for metric in task.every_metric(kind)}
    found = set(reasons())
    assert len(found) > 20
    assert sorted((names | found) - set(KOREAN) - SAME) == []


def test_no_entry_is_of_a_text_that_is_gone() -> None:
    code = " ".join(path.read_text(encoding="utf-8") for path in SOURCES if path.name != "korean.py")
    made = {"all predicted scores are equal", "all gold scores are equal"}
    for english in set(KOREAN) - made:
        assert all(f'"{part}"' in code for part in english.split(", ")) or f'"{english}"' in code, english


@pytest.mark.parametrize(("english", "shown"), [("1 row", "행이 하나뿐임"), ("a new reason", "a new reason")])
def test_an_unknown_text_stays(english: str, shown: str) -> None:
    assert korean(english) == shown

"""The house: imports go down only, files and functions stay short, and the heavy libraries load late."""

from __future__ import annotations

import ast
import importlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import munjang

Python = Callable[..., subprocess.Popen[str]]

PACKAGE = Path(munjang.__file__).parent
LAYERS = (
    ("errors", "text", "files", "progress", "hub", "page"),
    ("config", "pipeline"),
    ("data", "models", "engine"),
    ("train", "evaluate", "index"),
    ("augment", "distill", "explore"),
    ("stages", "serve"),
    ("api", "cli", "__init__", "__main__"),
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
#: Folders of these layers stand side by side and know nothing of each other.
APART = {3}
DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc", "tools"}
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "sentence_transformers", "transformers")


def part_of(module: str) -> str:
    """The folder or module directly below the package that a dotted name lies in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def module_of(path: Path) -> str:
    return ".".join(("munjang", *path.relative_to(PACKAGE).with_suffix("").parts))


def imported_modules(source: str, module: str) -> Iterator[tuple[int, str]]:
    """Line and name of every module of the package that a source text imports, at any depth, for types or not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: -node.level]
                base = ".".join([*above, *([node.module] if node.module else [])])
            # `from munjang import errors` names a module, `from munjang import __version__` does not.
            names = [f"{base}.{a.name}" if base == "munjang" and a.name in LAYER else base for a in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            names = [_leading_text(argument) for argument in node.args]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "munjang")


def _leading_text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def wrong_imports(source: str, module: str) -> list[str]:
    """Imports that go up, or sideways where that is forbidden, as `line: target`."""
    here = part_of(module)
    found = []
    for line, target in imported_modules(source, module):
        there = part_of(target)
        up = LAYER[there] > LAYER[here]
        sideways = there != here and LAYER[there] == LAYER[here] and LAYER[here] in APART
        if up or sideways:
            found.append(f"{line}: {target}")
    return found


def test_every_part_of_the_package_has_a_layer() -> None:
    assert {part_of(module_of(path)) for path in SOURCES} == set(LAYER)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down_only(path: Path) -> None:
    assert wrong_imports(path.read_text(encoding="utf-8"), module_of(path)) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("munjang.files", "from munjang.config.recipe import Recipe", True),
        ("munjang.data.load", "def f():\n    import munjang.stages.inputs", True),
        ("munjang.train.loop", "from munjang.evaluate import metrics", True),
        ("munjang.train.loop", "from ..evaluate import metrics", True),
        ("munjang.index.store", "from .. import api", True),
        ("munjang.train.loop", "if TYPE_CHECKING:\n    from munjang.index.store import StoredIndex", True),
        ("munjang.data.load", "import_module(f'munjang.cli.{name}')", True),
        ("munjang.data.load", "importlib.import_module('munjang.cli.app')", True),
        ("munjang.train.bi", "from munjang.train.loop import fit", False),
        ("munjang.train.bi", "from .loop import fit", False),
        ("munjang.models.tokens", "from munjang.data.lint import Finding", False),
        ("munjang.augment.pairs", "from munjang.evaluate.compare import Cell", False),
        ("munjang.files", "from munjang import errors\nimport torch", False),
    ],
)
def test_the_walk_of_imports_tells_right_from_wrong(module: str, source: str, wrong: bool) -> None:
    assert bool(wrong_imports(source, module)) is wrong


def test_the_walk_finds_the_imports_that_are_there() -> None:
    found = dict.fromkeys(name for path in SOURCES for _, name in imported_modules(path.read_text(), module_of(path)))
    assert {"munjang.errors", "munjang.engine.topk", "munjang.train.options", "munjang.stages."} <= set(found)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 400
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno >= 60} == {}


def test_there_is_no_drawer_for_odds_and_ends() -> None:
    names = {part.removesuffix(".py").strip("_") for path in PACKAGE.rglob("*") for part in path.parts[-1:]}
    assert names & DRAWERS == set()


LOADED = f"; import sys; print(*(name for name in {HEAVY} if name in sys.modules))"


@pytest.mark.parametrize("module", ["munjang", "munjang.cli.app", "munjang.stages.registry", "munjang.api"])
def test_importing_needs_no_model_libraries(python: Python, module: str) -> None:
    printed, problems = python(f"import {module}{LOADED}").communicate()
    assert (printed.split(), problems) == ([], "")


def test_a_model_loads_its_libraries_and_a_name_does_not(python: Python, tiny_bi: Path) -> None:
    printed, _ = python(f"import munjang; munjang.Encoder, munjang.Scorer{LOADED}").communicate()
    assert printed.split() == []
    folder = str(tiny_bi)
    printed, _ = python(f"import munjang; munjang.Encoder({folder!r}){LOADED}").communicate()
    assert printed.split() == list(HEAVY)


def test_the_public_names_are_few_and_lead_somewhere() -> None:
    assert len(munjang.__all__) <= 15
    assert len(set(munjang.__all__)) == len(munjang.__all__)
    assert dir(munjang) == sorted(munjang.__all__)
    for name in munjang.__all__:
        assert getattr(munjang, name) is not None
        module = munjang._PUBLIC.get(name)
        if module is not None:
            assert getattr(importlib.import_module(module), name) is getattr(munjang, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'encoder'"):
        _ = munjang.encoder

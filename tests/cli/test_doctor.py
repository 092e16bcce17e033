"""munjang doctor: exit status by severity, one JSON value, a report, and one clear error for what cannot be looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from munjang.cli.app import run_command

Run = Callable[..., tuple[int, str, str]]
HEADER = "score\tsentence1\tsentence2\n"
GOOD = "".join(f"{n % 6}\t{n}번 창구에서 환불을 해 주나요\t{n * 7}번 배송지로 보내 주세요\n" for n in range(30))
REJECTED = "높음\t한 문장\t두 문장\n"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the doctor in the test's folder; returns its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MUNJANG_DATA", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        status = run_command(["doctor", *map(str, arguments)])
        return status, *capfd.readouterr()

    return call


@pytest.mark.parametrize(
    ("content", "options", "status"),
    [
        (GOOD, [], 0),
        (GOOD + REJECTED, [], 1),
        (GOOD + REJECTED, ["--rejects", "skip"], 0),
        (GOOD + REJECTED, ["--rejects", "skip", "--fail-on", "warning"], 1),
        (GOOD + GOOD.splitlines()[0] + "\n", ["--fail-on", "warning"], 0),
        (GOOD + GOOD.splitlines()[0] + "\n", ["--fail-on", "note"], 1),
    ],
)
def test_the_exit_status_goes_by_severity(content: str, options: list[str], status: int, run: Run) -> None:
    Path("gold.tsv").write_text(HEADER + content, encoding="utf-8")
    found, printed, _ = run("gold.tsv", "--scale", "0", "5", *options)
    assert found == status
    assert ("nothing found" in printed) is (content == GOOD)


def test_each_finding_has_a_severity_a_place_an_example_and_a_remedy(run: Run) -> None:
    Path("gold.tsv").write_text(HEADER + GOOD + REJECTED, encoding="utf-8")
    _, printed, errors = run("gold.tsv", "--scale", "0", "5")
    assert printed.splitlines() == [
        "error rejected-rows (gold.tsv): 1 of 31 rows is malformed and reading stops at the first: "
        "expected a number from 0 to 5 (1)",
        "  example: gold.tsv:32:score: expected a number from 0 to 5: 높음",
        '  remedy: mend the rows, or have them left out and counted: rejects = "skip"',
    ]
    assert "31 rows read, 30 kept, 1 rejected" in errors
    assert "compared with known test sets: support:test" in errors


def test_json_is_one_value_with_all_that_was_looked_at(run: Run, paper_model: Callable[..., Path]) -> None:
    Path("gold.tsv").write_bytes((HEADER + GOOD + REJECTED).encode("cp949"))
    model = paper_model()
    status, printed, errors = run("gold.tsv", "--scale", "0", "5", "--model", model, "--json")
    assert (status, errors) == (1, "")
    said = json.loads(printed)
    assert set(said) == {"counts", "findings", "read", "known_tests", "tokens"}
    assert [(f["severity"], f["code"]) for f in said["findings"]] == [("error", "rejected-rows"), ("note", "encoding")]
    assert all(set(f) == {"severity", "code", "where", "message", "example", "remedy"} for f in said["findings"])
    assert said["read"][0]["encoding"] == "cp949"
    assert said["known_tests"]["compared"] == ["support:test"]
    assert "korsts:test" in said["known_tests"]["not_here"]
    assert said["tokens"][str(model)]["gold.tsv"]["texts"] == 60


def test_a_report_is_written_and_never_over_another(run: Run) -> None:
    Path("gold.tsv").write_text(HEADER + GOOD, encoding="utf-8")
    status, printed, _ = run("gold.tsv", "--scale", "0", "5", "--out", "report")
    assert (status, printed) == (0, "nothing found\nreport: report/report.html\n")
    assert {path.name for path in Path("report").iterdir()} == {"findings.json", "report.html", "manifest.json"}
    status, _, errors = run("gold.tsv", "--scale", "0", "5", "--out", "report")
    assert status == 78
    assert "exists already" in errors


def test_what_is_the_same_of_several_sets_is_said_once(run: Run) -> None:
    for name in ("a.tsv", "b.tsv"):
        Path(name).write_bytes((HEADER + GOOD.replace("번", f"번 {name[0]}")).encode("cp949"))
    _, printed, _ = run("a.tsv", "b.tsv", "--scale", "0", "5", "--no-known-tests")
    assert printed.count("note encoding") == 1
    assert "note encoding (a.tsv, b.tsv): the file is no UTF-8" in printed


def test_a_recipe_alone(run: Run, paper_model: Callable[..., Path]) -> None:
    Path("gold-test.tsv").write_text(HEADER + GOOD, encoding="utf-8")
    Path("r.toml").write_text(
        'name = "r"\n[data]\ngold-test = { source = "gold-test.tsv", scale = [0, 5] }\n[[stage]]\nname = "bi"\n'
        f'kind = "train.bi"\nmodel = "{paper_model()}"\ntrain = ["support:train"]\ndev = "data:gold-test"\n',
        encoding="utf-8",
    )
    status, printed, _ = run("--recipe", "r.toml")
    assert status == 1
    assert printed.startswith(
        "error dev-is-test (stage.bi.dev = 'data:gold-test'): the weights are chosen on a test split\n"
    )
    Path("r.toml").write_text("name = ", encoding="utf-8")
    status, printed, errors = run("--recipe", "r.toml")
    assert (status, errors) == (1, "")
    assert printed.startswith("error broken-recipe (r.toml): this is not a TOML file")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "name at least one data set, a model or a recipe"),
        (["support:dev", "--teacher", "bundled:minilm"], 2, "without effect here: --teacher"),
        (["support:dev", "--fail-on", "never"], 2, "--fail-on"),
        (["--recipe", "gone.toml"], 66, "no such recipe"),
        (["--model", "./gone"], 66, "no such model"),
        (["--model", "bundled:nope"], 66, "no such bundled model"),
        (["gold.tsv"], 65, "the scale of the scores is not declared"),
    ],
)
def test_what_cannot_be_looked_at_is_one_error(arguments: list[str], status: int, words: str, run: Run) -> None:
    Path("gold.tsv").write_text(HEADER + GOOD, encoding="utf-8")
    found, printed, errors = run(*arguments)
    assert (found, printed) == (status, "")
    assert errors.count("error:") == 1
    assert words in " ".join(errors.split())
    assert "Traceback" not in errors

"""The command line as a user meets it: exit statuses, one message an error, one JSON value with --json."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from munjang.cli.app import run_command
from munjang.errors import EXIT_STATUSES

Run = Callable[..., tuple[int, str, str]]

PAIRS = "score\tsentence1\tsentence2\n4.5\t환불은 언제 되나요?\t환불 시점이 궁금해요\n0.5\t배송이 늦어요\t비밀번호를 잊었어요\n"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        status = run_command([str(a) for a in arguments])
        printed = capfd.readouterr()
        return status, printed.out, printed.err

    return call


def is_one_message(errors: str) -> bool:
    return errors.count("error:") == 1 and "Traceback" not in errors


@pytest.mark.parametrize(
    "verb", ["", "run", "doctor", "train bi", "convert", "evaluate", "index build", "search", "serve"]
)
def test_help_needs_no_numerical_libraries(verb: str) -> None:
    code = "import sys; from munjang.cli.app import run_command; run_command([*sys.argv[1:], '--help']); print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code, *verb.split()], capture_output=True, text=True, check=True)
    assert ("Exit status" if not verb else "Usage") in finished.stdout
    loaded = set(finished.stdout.splitlines()[-1].split())
    assert not loaded & {"torch", "transformers", "sentence_transformers", "pyarrow", "scipy", "numpy"}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "RECIPE", "--out", "taken"], "name another folder"),
        (["evaluate", "MODEL", "--on", "support:dev", "--out", "taken"], "name another folder"),
        (["doctor", "support:dev", "--out", "taken/below"], "name another folder"),
        (["convert", "MODEL", "--to", "sts", "--out", "taken"], "name a new one with --out"),
    ],
)
def test_a_file_where_a_folder_is_to_be_made_has_a_next_step(
    arguments: list[str], hint: str, run: Run, tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("mine", encoding="utf-8")
    Path("r.toml").write_text(
        'name = "r"\n[[stage]]\nname = "look"\nkind = "doctor"\ndata = ["support:dev"]\n', encoding="utf-8"
    )
    status, _, errors = run(*({"MODEL": tiny_bi, "RECIPE": "r.toml"}.get(a, a) for a in arguments))
    assert status in (74, 78)
    assert is_one_message(errors)
    assert hint in errors
    assert "MB free" not in errors
    assert Path("taken").read_text(encoding="utf-8") == "mine"


def test_help_lists_every_verb_and_exit_status(run: Run) -> None:
    status, printed, _ = run("--help")
    assert status == 0
    for word in (
        "run",
        "doctor",
        "train",
        "convert",
        "evaluate",
        "index",
        "search",
        "data",
        "models",
        *map(str, EXIT_STATUSES),
    ):
        assert word in printed


@pytest.mark.parametrize(
    "verb",
    ["run", "doctor", "train bi", "train cross", "convert", "evaluate", "index build", "search", "data", "models"],
)
def test_every_verb_explains_itself_and_takes_json(verb: str, run: Run) -> None:
    status, printed, _ = run(*verb.split(), "--help")
    assert status == 0
    assert "--json" in printed


@pytest.mark.parametrize(
    ("arguments", "words", "verb"),
    [
        (["fly"], 'Unknown command "fly"', ""),
        (["run"], "required and not given: RECIPE", "run "),
        (["run", "a.toml", "--nope"], "Unknown option: --nope", "run "),
        (["search", "index"], "required and not given: QUERY", "search "),
        (["convert"], "required and not given: MODEL, --out", "convert "),
        (["evaluate", "m", "--on"], "--on needs a value", "evaluate "),
        (["train", "bi"], "required and not given: --train, --dev, --out", "train bi "),
        (
            ["train", "bi", "--trian", "a", "--dev", "b", "--out", "c"],
            "not given: --train (did you write --trian for --train?)",
            "train bi ",
        ),
        (["doctor", "a.tsv", "--scale", "0"], "--scale needs 2 values, got 1", "doctor "),
        (["models", "large"], "more than this verb takes: large", "models "),
        (
            ["train", "bi", "--train", "a", "--dev", "b", "--out", "c", "--lora.rank", "4", "--freeze-layers", "2"],
            "--lora freezes all layers: leave out --freeze-layers",
            "train bi ",
        ),
        (
            ["train", "bi", "--train", "a", "--dev", "b", "--out", "c", "--matryoshka", "3", "--epochs", "two"],
            "--epochs: input should be a valid number, unable to parse string as a number, got 'two'; --matryoshka: input",
            "train bi ",
        ),
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments: list[str], words: str, verb: str, run: Run) -> None:
    status, printed, errors = run(*arguments)
    assert status == 2
    assert is_one_message(errors)
    assert words in errors
    assert f"hint: run: munjang {verb}--help" in errors
    status, printed, errors = run(*arguments, "--json")
    assert (status, json.loads(printed)["error"]["code"]) == (2, "usage")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["run", "no-such.toml"], 66, ["no such recipe", "recipes/quickstart.toml"]),
        (["doctor", "no-such.tsv"], 66, ["no such file", "munjang data"]),
        (["doctor", "korst:train"], 66, ["did you mean korsts"]),
        (["doctor", "korsts"], 66, ["korsts:train, korsts:dev, korsts:test"]),
        (["doctor", "support:train", "--model", "e5-small"], 66, ["did you mean bundled:e5-small"]),
        (["evaluate", "bundled:nope", "--on", "support:dev"], 66, ["bundled:e5-small or bundled:minilm"]),
        (["search", "no-index", "환불"], 66, ["there is no index here", "munjang index build"]),
        (
            ["train", "bi", "--train", "support:train", "--dev", "support:dev", "--out", "o", "--epochs", "-1"],
            2,
            ["--epochs: input should be greater than 0"],
        ),
        (["evaluate", "bundled:e5-small", "--on", "support:dev", "--device", "quantum"], 78, ["cpu"]),
    ],
)
def test_bad_input_is_one_message_with_place_and_remedy(
    arguments: list[str], status: int, words: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, _, errors = run(*arguments)
    assert found == status, errors
    assert is_one_message(errors)
    assert all(word in " ".join(errors.split()) for word in words)
    assert list(tmp_path.iterdir()) == []
    found, printed, _ = run(*arguments, "--json")
    assert found == status
    assert set(json.loads(printed)["error"]) == {"code", "message", "where", "expected", "got", "hint"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PAIRS.replace("4.5", "매우 비슷함"), ["pairs.tsv:2:score", "expected a number from 0 to 5", "매우 비슷함"]),
        (PAIRS.replace("4.5", "4,5"), ["pairs.tsv:2:score", "decimal point"]),
        (PAIRS.replace("4.5", "7"), ["pairs.tsv:2:score", "outside the declared scale"]),
        (PAIRS.replace("sentence2", "문장이"), ["there is no column for sentence2", "문장이"]),
        (PAIRS.splitlines()[0] + "\n", ["no rows were left"]),
        ("", ["this file is empty"]),
        (PAIRS + "3.0\t한 문장뿐\n", ["pairs.tsv:4", "expected 3 columns, got 2"]),
    ],
)
def test_bad_rows_are_named_by_file_line_and_column(
    content: str, words: list[str], run: Run, tiny_bi: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(content, encoding="utf-8")
    status, _, errors = run("evaluate", tiny_bi, "--on", path, "--scale", "0", "5", "--out", tmp_path / "out")
    assert status == 65, errors
    assert is_one_message(errors)
    assert all(word in errors for word in words)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["doctor", "support:train", "--scale", "0", "100"], 2, "without effect here: --scale"),
        (["doctor", "pairs.tsv", "--scale", "5", "0"], 78, "scale must be two finite numbers, from low to high"),
        (["doctor", "pairs.tsv", "--rejects", "foo"], 2, "--rejects"),
        (["doctor", ""], 66, "a data set's name is empty"),
        (["doctor", "."], 66, "this is a folder"),
        (["doctor"], 2, "name at least one data set"),
        (["evaluate", "--on", "support:dev"], 2, "name at least one model"),
        (["evaluate", "", "--on", "support:dev"], 66, "a model's name is empty"),
        (["evaluate", "stage:bi", "--on", "support:dev"], 2, "a stage can be named in a recipe only"),
        (["evaluate", "a=bundled:minilm", "a=x", "--on", "support:dev"], 2, "two models have the same label"),
        (["search", "i", "q", "--top", "0"], 2, "--top"),
        (["search", "i", "q", "--rerank", "-1"], 2, "--rerank"),
    ],
)
def test_wrong_values_are_named(
    arguments: list[str], status: int, words: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    found, _, errors = run(*arguments)
    assert found == status, errors
    assert is_one_message(errors)
    assert words in " ".join(errors.split())


def test_skipped_rows_are_counted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(PAIRS + "높음\t한 문장\t두 문장\n", encoding="utf-8")
    status, _, errors = run("doctor", path, "--scale", "0", "5", "--rejects", "skip")
    assert status == 0
    assert "3 rows read, 2 kept, 1 rejected" in errors


def test_the_doctor_exits_with_1_on_an_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "same.tsv"
    rows = "".join(f"{i % 5}\t문장 {i}\t문장 {i}\n" for i in range(20))
    path.write_text("score\tsentence1\tsentence2\n" + rows, encoding="utf-8")
    status, printed, _ = run("doctor", path, "--scale", "0", "5", "--json")
    assert status == 1
    answer = json.loads(printed)
    assert "same-column" in {finding["code"] for finding in answer["findings"]}
    assert (answer["read"][0]["read"], answer["read"][0]["kept"]) == (20, 20)


def test_all_mistakes_of_a_recipe_come_at_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        'name = "bad"\ncolour = 1\n[[stage]]\nname = "bi"\nkind = "train.by"\n'
        '[[stage]]\nname = "cross"\nkind = "train.cross"\nmodel = "stage:bi"\ntrain = ["support:train"]\n'
        'dev = "data:dev"\nepoch = 3\n',
        encoding="utf-8",
    )
    status, _, errors = run("run", path, "--out", tmp_path / "run")
    assert status == 78
    for words in (
        "colour: unknown key",
        "did you mean 'train.bi'",
        "stage.cross.epoch: unknown key; did you mean 'epochs'",
    ):
        assert words in errors
    assert not (tmp_path / "run").exists()


def test_a_missing_input_is_found_before_any_work(run: Run, tmp_path: Path, tiny_bi: Path) -> None:
    path = tmp_path / "late.toml"
    path.write_text(
        f'name = "late"\n[[stage]]\nname = "doctor"\nkind = "doctor"\ndata = ["support:dev"]\n'
        f'[[stage]]\nname = "result"\nkind = "evaluate"\nmodels = {{ a = "{tiny_bi}" }}\non = ["gone.tsv"]\n',
        encoding="utf-8",
    )
    status, _, errors = run("run", path, "--out", tmp_path / "run")
    assert status == 66
    assert 'stage.result.on[0].data = "gone.tsv"' in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("bound", "status", "word"), [(-100, 0, "passed"), (99.9, 4, "FAILED")])
def test_a_gate_decides_the_status(
    run: Run, tiny_bi: Path, tmp_path: Path, bound: float, status: int, word: str
) -> None:
    gates = tmp_path / "gates.toml"
    gates.write_text(f'[[gate]]\nmodel = "m"\non = "support:dev"\nat_least = {bound}\n', encoding="utf-8")
    out = tmp_path / "evaluation"
    found, printed, _ = run("evaluate", f"m={tiny_bi}", "--on", "support:dev", "--out", out, "--gate", gates)
    assert found == status
    assert f"gate {word}: m on support:dev: spearman" in printed
    assert (out / "results.json").is_file()


def test_a_wrong_gate_stops_before_any_work(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    gates = tmp_path / "gates.toml"
    gates.write_text('[[gate]]\nmodel = "m"\n', encoding="utf-8")
    out = tmp_path / "evaluation"
    found, _, errors = run("evaluate", f"m={tiny_bi}", "--on", "support:dev", "--out", out, "--gate", gates)
    assert found == 78
    assert "gate" in errors
    assert not out.exists()


def test_evaluate_prints_a_table_and_leaves_the_reports(
    run: Run, tiny_bi: Path, tiny_cross: Path, tmp_path: Path
) -> None:
    out = tmp_path / "evaluation"
    status, printed, _ = run(
        "evaluate", f"before={tiny_bi}", f"after={tiny_cross}", "--on", "support:dev", "--out", out, "--device", "cpu"
    )
    assert status == 0
    assert "before" in printed
    assert "cross-encoder" in printed
    names = {path.name for path in out.iterdir()}
    assert names - {".lock"} == {"results.json", "results.csv", "report.html", "measurements", "evaluations"}
    status, printed, _ = run("evaluate", tiny_bi, "--on", "support:dev", "--out", out, "--device", "cpu", "--json")
    assert status == 0
    assert list(json.loads(printed)["models"]) == [str(tiny_bi)]
    assert len(list((out / "measurements").iterdir())) == 2
    status, printed, _ = run("report", out, "--out", tmp_path / "page", "--baseline", "before")
    assert status == 0
    assert "after on support:dev" in printed
    assert (tmp_path / "page" / "report.html").is_file()


def test_train_index_and_search_work_one_by_one(run: Run, tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    out = tmp_path / "bi"
    arguments = [
        "--model",
        tiny_bi,
        "--train",
        "support:dev",
        "--dev",
        "support:train",
        "--out",
        out,
        "--device",
        "cpu",
        "--allow-regression",
        "--json",
    ]
    status, printed, _ = run("train", "bi", *arguments)
    assert status == 0
    assert json.loads(printed)["rows"] == 60
    index = tmp_path / "index"
    texts = tmp_path / "texts.txt"
    texts.write_text("환불은 삼 일 안에 됩니다\n배송은 이틀 걸립니다\n비밀번호는 설정에서 바꿉니다\n", encoding="utf-8")
    assert (
        run(
            "index",
            "build",
            texts,
            "--model",
            out / "model",
            "--reranker",
            tiny_cross,
            "--out",
            index,
            "--device",
            "cpu",
        )[0]
        == 0
    )
    status, printed, _ = run("search", index, "환불은 삼 일 안에 됩니다", "--top", "2", "--device", "cpu", "--json")
    answer = json.loads(printed)
    assert status == 0
    assert {hit["id"] for hit in answer["hits"]} <= {"1", "2", "3"}
    assert all(hit["score"] is not None for hit in answer["hits"])
    status, printed, _ = run("search", index, "환불은 언제", "--device", "cpu")
    assert status == 0
    assert "found by the bi-encoder" in printed
    assert "after the cross-encoder" in printed
    assert run("search", index, "\u3164 ", "--device", "cpu")[0] == 65


@pytest.mark.parametrize("allowed", [False, True])
def test_a_training_that_is_no_better_than_its_start_says_so_last_and_exits_with_3(
    allowed: bool, run: Run, tiny_bi: Path, tmp_path: Path
) -> None:
    arguments = ["--model", tiny_bi, "--train", "support:dev", "--dev", "support:train", "--learning-rate", "1e-12"]
    arguments += ["--device", "cpu", *(["--allow-regression"] if allowed else [])]
    status, printed, errors = run("train", "bi", *arguments, "--out", tmp_path / "bi")
    assert status == (0 if allowed else 3)
    assert "NO BETTER on dev than its start" in printed.splitlines()[-1]
    assert "nothing beat the starting weights" in errors
    status, printed, _ = run("train", "bi", *arguments, "--out", tmp_path / "again", "--json")
    assert status == (0 if allowed else 3)
    assert json.loads(printed)["regressed"] is True


def test_a_run_with_such_a_training_says_so_too(run: Run, tiny_bi: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f"""name = "r"
[[stage]]
name = "bi"
kind = "train.bi"
model = "{tiny_bi}"
train = ["support:dev"]
dev = "support:train"
learning_rate = 1e-12
"""
    )
    command = ["run", recipe, "--out", tmp_path / "run", "--device", "cpu"]
    status, printed, _ = run(*command)
    assert status == 3
    assert printed.splitlines()[-1].startswith("bi: NO BETTER on dev")
    assert run(*command)[0] == 3  # also where nothing was left to do
    assert run(*command, "--allow-regression")[0] == 0


def test_data_and_models_are_listed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUNJANG_DATA", raising=False)
    status, printed, _ = run("data", "--json")
    rows = {row["name"]: row for row in json.loads(printed)}
    assert status == 0
    assert rows["support:train"]["here"]
    assert not rows["korsts:train"]["here"]
    assert json.loads(run("models", "--json")[1])[0]["name"] == "bundled:ko-small"
    assert run("data")[0] == run("models")[0] == 0


def test_python_m_munjang_is_the_command() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "munjang", "--version"], capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == "0.1.0"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "bi", "--train", "pairs.tsv", "--dev", "support:dev"], ["--train pairs.tsv (", "--scale 0 5"]),
        (["train", "bi", "--train", "gone.tsv", "--dev", "support:dev"], ["where: --train gone.tsv\n"]),
        (["train", "bi", "--train", "other.tsv", "--dev", "support:dev", "--scale", "0", "5"], ["--columns.score A"]),
        (["train", "bi", "--train", "bad.tsv", "--dev", "support:dev", "--scale", "0", "5"], ["--rejects skip"]),
        (["train", "bi", "--train", "pairs.abc", "--dev", "support:dev"], ['format = "tsv" (in a recipe)']),
        (["train", "bi", "--train", "stage:mine", "--dev", "support:dev"], ["in a recipe only", "got: stage:mine"]),
        (
            ["train", "bi", "--train", "support:train", "--dev", "raw.txt"],
            ["where: --dev raw.txt\n", "train bi --help"],
        ),
        (["train", "bi", "--train", "support:train", "--dev", "support:dev", "--model", "x"], ["where: --model x\n"]),
        (
            ["train", "bi", "--train", "support:train", "--dev", "support:dev", "--margin", "0.3"],
            ["--margin has no effect", "where: --margin 0.3", "hint: leave out --margin"],
        ),
        (["evaluate", "gone", "--on", "support:dev"], ["where: gone\n"]),
        (
            ["evaluate", "a", "--on", "support:dev", "--baseline", "b"],
            ["--baseline must be one of a", "evaluate --help"],
        ),
        (["index", "build"], ["name at least one file or data set of texts"]),
        (
            ["convert", "m"],
            ["expected: --to, --keep-layers, --trim-vocab, --dimensions or --dtype", "run: munjang convert --help"],
        ),
        (["convert", "m", "--to", "sts", "--min-count", "2"], ["without effect here: --min-count"]),
        (["doctor", "pairs.tsv", "--scale", "0", "5", "--columns.word", "A"], ["have roles", "got: word"]),
        (["doctor", "cut.tsv", "--scale", "0", "5"], ["--encoding cp949"]),
    ],
)
def test_an_error_of_a_verb_speaks_of_flags(
    arguments: list[str], words: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {
        "pairs.tsv": PAIRS,
        "pairs.abc": PAIRS,
        "other.tsv": PAIRS.replace("score", "A"),
        "bad.tsv": PAIRS.replace("4.5", "many"),
        "raw.txt": "환불은 언제 되나요?\n",
    }
    for name, text in files.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("cut.tsv").write_bytes(PAIRS.encode()[:-2] + b"\xff\xfe\xff")
    out = ["--out", "o"] if arguments[0] in ("train", "index", "convert") else []
    status, _, errors = run(*arguments, *out)
    assert status > 0
    assert is_one_message(errors)
    assert all(word in errors for word in words), errors
    assert "stage." not in errors
    _, printed, _ = run(*arguments, *out, "--json")
    assert "stage." not in printed


def test_an_error_of_a_run_speaks_of_the_recipe(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    recipe = tmp_path / "r.toml"
    recipe.write_text('name = "r"\n[[stage]]\nname = "d"\nkind = "doctor"\ndata = ["pairs.tsv"]\n', encoding="utf-8")
    status, _, errors = run("run", recipe, "--out", tmp_path / "run")
    assert status == 65
    assert 'stage.d.data = "pairs.tsv"' in errors
    assert "such as scale = [0, 5]" in errors

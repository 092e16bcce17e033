"""The model card: what the hub reads in front, code that runs, figures as they are, and texts that stay texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from munjang.config.load import tomllib
from munjang.models.card import Start, describe_start, model_card, read_front, write_card
from munjang.models.source import BUNDLED
from munjang.train.options import TrainBiOptions, TrainCrossOptions

HOSTILE = "a|b`c`<b>d</b> [e](http://f) *g* __h__ ![i](j) &amp; \\| $k$ ```"
NLI = ("contradiction", "entailment", "neutral")
REPORT: dict[str, Any] = {
    "rows": 5749,
    "excluded": 312,
    "steps": 1440,
    "truncated": 7,
    "dev_before": None,
    "dev_best": 82.643,
    "best_step": 900,
    "dev_metric": "Spearman x 100",
}
SETTINGS = TrainBiOptions(
    name="bi",
    model="bundled:e5-small",
    train=[{"data": "korsts:train", "repeat": 8}, "stage:silver", HOSTILE],
    dev="klue-sts:dev",
    exclude=["stsb:test"],
).model_dump(mode="json")


def reading(source: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "read": 6000, "kept": 5990, **more}


READINGS = [
    reading("korsts:train", used=5749),
    *map(reading, ("stage:silver", HOSTILE, "klue-sts:dev", "stsb:test")),
]


def card(produces: str = "bi-encoder", settings: dict[str, Any] | None = None, **more: Any) -> str:
    given_values = {"readings": READINGS, "start": describe_start("bundled:e5-small", Path()), **more}
    report = given_values.pop("report", REPORT)
    kind = "train.bi" if produces == "bi-encoder" else "train.cross"
    return model_card(settings or SETTINGS, "my recipe", report, kind=kind, produces=produces, **given_values)


def front(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def block(text: str, language: str) -> str:
    (found,) = re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)
    return found


def rendered(text: str) -> str:
    """The card below its front as the hub shows it: HTML of GitHub's Markdown."""
    return MarkdownIt("gfm-like", {"linkify": False}).render(text.split("---\n", 2)[2])


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the table below a heading, as they are shown."""
    part = re.search(rf"<h2>{heading}</h2>(.*?)(?:<h2>|$)", rendered(text), re.DOTALL)[1]
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)]


# -- the front


def test_the_front_of_a_bi_encoder() -> None:
    assert front(card()) == {
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "sentence-similarity", "feature-extraction", "munjang"],
        "language": ["ko"],
        "base_model": "intfloat/multilingual-e5-small",
        "datasets": ["dkoterwa/kor-sts"],  # of dev and of what was excluded nothing was trained
    }


@pytest.mark.parametrize(("labels", "tag"), [((), "text-ranking"), (NLI, "text-classification")])
def test_the_front_of_a_cross_encoder(labels: tuple[str, ...], tag: str) -> None:
    found = front(card("cross-encoder", labels=labels))
    assert (found["pipeline_tag"], found["tags"]) == (tag, ["sentence-transformers", "cross-encoder", "munjang"])


def test_what_is_not_known_is_left_out() -> None:
    found = front(card(readings=[reading(HOSTILE)], start=Start("./mine")))
    assert found.keys() == {"library_name", "pipeline_tag", "tags"}


def test_the_hub_accepts_the_front(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    path = tmp_path / "README.md"
    path.write_text(card(), encoding="utf-8")
    data = ModelCard.load(path).data
    assert (data.base_model, data.datasets, data.license) == (
        "intfloat/multilingual-e5-small",
        ["dkoterwa/kor-sts"],
        None,
    )


# -- the parts


@pytest.mark.parametrize(
    ("produces", "labels", "fixture", "printed"),
    [
        ("bi-encoder", (), "tiny_bi", r"tensor\(\[\[1\.0000, "),
        ("cross-encoder", (), "tiny_cross", r"\[0\.\d+\]"),
        ("cross-encoder", NLI, "tiny_classes", r"\['(contradiction|entailment|neutral)'\]"),
    ],
)
def test_the_code_runs_with_a_model_of_its_kind(
    produces: str,
    labels: tuple[str, ...],
    fixture: str,
    printed: str,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = block(card(produces, labels=labels), "python")
    assert "munjang" not in code
    folder = request.getfixturevalue(fixture)
    exec(code.replace('"path/to/this/folder"', repr(str(folder))), {})
    assert re.match(printed, capsys.readouterr().out)


@pytest.fixture(scope="module")
def tiny_classes(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder of three classes with the body of `tiny_bi` and a random head."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    body = Transformer(str(tiny_bi), max_seq_length=96)
    head = Dense(32, 3, activation_function=None, module_output_name="scores")
    folder = tmp_path_factory.mktemp("classes")
    CrossEncoder(modules=[body, Pooling(32, "mean"), head], device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


def test_the_recipe_is_the_stage_as_toml() -> None:
    def given(value: Any) -> Any:
        """TOML has no null: what is None is left out."""
        if isinstance(value, dict):
            return {key: given(one) for key, one in value.items() if one is not None}
        return [given(one) for one in value] if isinstance(value, list) else value

    found = tomllib.loads(block(card(seed=7), "toml"))
    assert found["seed"] == 7
    assert found["stage"] == [{"kind": "train.bi", **given(SETTINGS)}]
    assert found["stage"][0]["train"][0] == {"data": "korsts:train", "repeat": 8, "tolerance": 0.0}


@given(
    st.text(max_size=40), st.dictionaries(st.text(max_size=5), st.integers() | st.booleans() | st.text(), max_size=3)
)
def test_any_setting_goes_through_toml(text: str, mapping: dict[str, Any]) -> None:
    settings = {"name": "bi", "model": text, "train": [text], "mapping": mapping, "nothing": None}
    found = tomllib.loads(block(card(settings=settings), "toml"))["stage"][0]
    assert found == {"name": "bi", "kind": "train.bi", "model": text, "train": [text], "mapping": mapping}


def test_the_data_table_says_what_was_read_and_whose_it_is() -> None:
    _, korsts, silver, mine, dev, test = rows(card(), "Data")
    assert korsts == ["korsts:train", "train", "6,000", "5,990", "5,749", "CC BY-SA 4.0"]
    assert silver == ["stage:silver", "train", "6,000", "5,990", "not recorded", "that of what the recipe made it from"]
    assert mine[1:] == ["train", "6,000", "5,990", "not recorded", "yours"]
    assert (dev[1], test[1]) == ("dev", "excluded")
    assert "5,749 distinct rows" in card()
    assert "312 more share a sentence" in card()


def test_without_used_rows_there_is_no_column_of_them() -> None:
    head, line = rows(card(readings=[reading("korsts:train", use="dev")]), "Data")
    assert head == ["set", "for", "rows read", "rows kept", "licence"]
    assert line == ["korsts:train", "dev", "6,000", "5,990", "CC BY-SA 4.0"]


def test_the_figures_are_those_of_the_report() -> None:
    seeds = [{"seed": 42, "dev_best": 82.643}, {"seed": 43, "dev_best": None}]
    assert rows(card(report={**REPORT, "seeds": seeds}), "Figures") == [
        ["on dev", "Spearman x 100"],
        ["before", "undefined"],
        ["best, at step 900 of 1,440", "82.64"],
        ["best with seed 42", "82.64"],
        ["best with seed 43", "undefined"],
    ]


def test_limits_and_licences_are_said() -> None:
    text = card(report={**REPORT, "warnings": ["12 dev rows were left out"]})
    assert "What exceeds 128 tokens is cut; in training 7 were." in text
    assert "- 12 dev rows were left out" in text
    assert "- Starting model bundled:e5-small (from intfloat/multilingual-e5-small): MIT." in text
    assert "- korsts:train, klue-sts:dev: CC BY-SA 4.0." in text  # nothing of an excluded set is in the model
    assert "- Starting model ./mine: its licence is not known here" in card(start=Start("./mine"))


def test_texts_from_outside_stay_texts() -> None:
    text = card(settings={**SETTINGS, "name": HOSTILE}, report={**REPORT, "dev_metric": HOSTILE, "warnings": [HOSTILE]})
    shown = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    page = rendered(text)
    assert not re.search(r"<(b|a|em|strong|img)\b", page)
    assert f"<h1>{shown}: a bi-encoder</h1>" in page
    assert f"<li>{shown}</li>" in page
    assert rows(text, "Data")[3][0] == shown
    assert rows(text, "Figures")[0][1] == shown
    assert all(len(row) == 6 for row in rows(text, "Data"))


@given(st.text(max_size=30))
def test_no_name_breaks_the_data_table(name: str) -> None:
    table = rows(card(readings=[reading(name), reading("korsts:dev")]), "Data")
    assert [len(row) for row in table] == [5, 5, 5]


# -- what a start is


def test_a_bundled_start_is_known_by_its_name() -> None:
    assert {name: describe_start(f"bundled:{name}", Path()) for name in BUNDLED} == {
        "ko-small": Start("bundled:ko-small", "intfloat/multilingual-e5-small", "CC BY-SA 4.0"),
        "ko-reranker": Start("bundled:ko-reranker", "intfloat/multilingual-e5-small", "CC BY-SA 4.0"),
        "e5-small": Start("bundled:e5-small", "intfloat/multilingual-e5-small", "MIT"),
        "minilm": Start("bundled:minilm", "sentence-transformers/all-MiniLM-L6-v2", "Apache-2.0"),
    }


@pytest.mark.parametrize(
    ("written", "base", "licence"),
    [
        ("license: mit\nbase_model: klue/roberta-base", "klue/roberta-base", "mit"),
        ("license: mit\nbase_model: [klue/roberta-base]", "klue/roberta-base", "mit"),
        ("base_model: intfloat/multilingual-e5-small", "intfloat/multilingual-e5-small", "MIT"),
        ("base_model: ../elsewhere\nlicense: [a, b]", None, None),
        ("base_model: 'a/b\n  evil: 1'", None, None),
        ("- a list", None, None),
        ("license: [", None, None),
        ("[" * 60_000, None, None),
    ],
)
def test_another_start_is_known_by_its_card(
    tmp_path: Path, written: str, base: str | None, licence: str | None
) -> None:
    (tmp_path / "README.md").write_text(f"---\n{written}\n---\n# title\n", encoding="utf-8")
    assert describe_start("stage:first", tmp_path) == Start("stage:first", base, licence)


def test_a_model_of_the_hub_is_its_own_base(tmp_path: Path) -> None:
    folder = tmp_path / "models--klue--roberta-base" / "snapshots" / "0"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: cc-by-sa-4.0\nbase_model: a/b\n---\n", encoding="utf-8")
    assert describe_start("klue/roberta-base", folder) == Start(
        "klue/roberta-base", "klue/roberta-base", "cc-by-sa-4.0"
    )


def test_a_card_of_munjang_hands_its_base_on(tmp_path: Path, make_options: Callable[..., Any]) -> None:
    write_card(tmp_path, make_options(), "r", REPORT, start=describe_start("bundled:e5-small", Path()))
    assert read_front(tmp_path / "README.md")["base_model"] == "intfloat/multilingual-e5-small"
    assert describe_start("stage:bi", tmp_path) == Start("stage:bi", "intfloat/multilingual-e5-small", "MIT")


@pytest.mark.parametrize("content", [None, b"", b"# no front", b"---\nopen: 1\n", b"\xff\xfe---\n"])
def test_a_folder_without_a_readable_front_says_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "README.md").write_bytes(content)
    assert read_front(tmp_path / "README.md") == {}


# -- the call of the stage


def test_the_short_call_writes_a_card(tmp_path: Path) -> None:
    options = TrainCrossOptions(name="cross", model="bundled:e5-small", train=["a.tsv"], dev="b.tsv")
    report = {key: value for key, value in REPORT.items() if key != "dev_metric"}
    write_card(tmp_path, options, "\udcff recipe", report)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert front(text)["pipeline_tag"] == "text-ranking"
    assert "recipe" in text
    assert rows(text, "Figures")[0] == ["on dev", "score"]


@pytest.fixture(scope="session")
def make_options() -> Callable[..., TrainBiOptions]:
    """Options of a bi-encoder."""
    return lambda: TrainBiOptions(name="bi", model="bundled:e5-small", train=["korsts:train"], dev="korsts:dev")

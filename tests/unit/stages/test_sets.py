"""From a recipe's options to sets with rows: files, earlier names and compounds, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from munjang.config.recipe import DataSpec, Recipe
from munjang.errors import DataError
from munjang.evaluate.options import EvaluateOptions
from munjang.evaluate.sets import EvalSet, Run
from munjang.pipeline.stage import Context
from munjang.stages.inputs import RunInputs
from munjang.stages.sets import load_models, load_sets


@pytest.fixture
def load(tmp_path: Path):
    """Writes files, checks the options as a run does, and loads the sets; also gives what was said."""

    def call(on: list[Any], files: dict[str, str], **specs: dict) -> tuple[list[EvalSet], list[str]]:
        for name, content in files.items():
            (tmp_path / name).write_text(content, encoding="utf-8")
        data = {name: DataSpec(**spec) for name, spec in specs.items()}
        options = EvaluateOptions(name="result", models={"a": "bundled:e5-small"}, on=on)
        recipe = Recipe("r", "r", 42, data, ())
        said: list[str] = []
        context = Context(recipe, tmp_path, {}, "cpu", say=said.append)
        inputs = RunInputs(recipe, tmp_path)
        for _, value, reference in options.references():
            if "bi-encoder" not in reference.accepts:
                inputs.fingerprint(value, reference.accepts)
        return load_sets(options, context), said

    return call


def test_the_task_follows_from_the_rows(load) -> None:
    files = {
        "nli.tsv": "premise\thypothesis\tlabel\n가\t나\tneutral\n",
        "triplets.tsv": "anchor\tpositive\tnegative\n가\t나\t다\n",
        "lists.tsv": "query\tdocument\trelevance\n가\t나\t1\n가\t다\t0\n",
        "pairs.tsv": "ko\ten\n가\ta\n",
        "topics.tsv": "text\tlabel\n가\t배송\n",
        "scored.tsv": "sentence1\tsentence2\tscore\n가\t나\t3\n",
    }
    on = [*list(files)[:5], "data:scored"]
    sets, _ = load(on, files, scored={"source": "scored.tsv", "scale": (0, 5)})
    assert [one.task for one in sets] == ["nli", "triplets", "reranking", "translation", "clustering", "sts"]
    assert [one.name for one in sets] == [*list(files)[:5], "scored"]
    assert all(len(one.rows) == 1 for one in sets)


def test_a_set_may_be_measured_by_another_task(load) -> None:
    (one,), _ = load([{"data": "support:dev", "task": "pair-classification", "threshold": 0.7}], {})
    assert (one.task, one.threshold, one.name) == ("pair-classification", 0.7, "pair-classification@support:dev")


def test_the_embedded_search_is_a_set(load) -> None:
    (one,), said = load(["support-search"], {})
    assert (one.task, len(one.rows.documents), len(one.rows.queries)) == ("retrieval", 504, 80)
    assert len(said) == 3
    assert len(one.texts()) == 584


def test_sentences_serve_as_documents_by_their_line(load) -> None:
    files = {
        "d.txt": "환불 안내\n배송 안내\n",
        "q.tsv": "id\ttext\nq\t환불\n",
        "r.tsv": "qid\tdocid\trel\nq\t2\t1\nq\t9\t1\n",
    }
    (one,), said = load([{"documents": "d.txt", "queries": "q.tsv", "qrels": "r.tsv"}], files)
    assert [row.id for row in one.rows.documents] == ["1", "2"]
    assert said[-1] == "  1 of 2 judgements name an unknown query or document"


def test_train_and_test_make_a_classification(load) -> None:
    files = {name: "sentence\tlabel\n가\t배송\n나\t환불\n" for name in ("a.tsv", "b.tsv")}
    (one,), _ = load([{"name": "topics", "train": "a.tsv", "test": "b.tsv"}], files)
    assert (one.name, one.task, len(one.rows.train), len(one.texts())) == ("topics", "classification", 2, 2)


@pytest.mark.parametrize(
    ("documents", "qrels", "words"),
    [
        ("id\ttext\nd\t가\nd\t나\n", "qid\tdocid\trel\nq\td\t1\n", "an id occurs twice"),
        ("id\ttext\nd\t가\n", "qid\tdocid\trel\nx\td\t1\n", "no relevance judgement names"),
    ],
)
def test_ids_that_repeat_or_match_nothing_are_refused(load, documents: str, qrels: str, words: str) -> None:
    files = {"d.tsv": documents, "q.tsv": "id\ttext\nq\t환불\n", "r.tsv": qrels}
    with pytest.raises(DataError, match=words):
        load([{"documents": "d.tsv", "queries": "q.tsv", "qrels": "r.tsv"}], files)


def test_models_have_their_folders_and_rerankers(tmp_path: Path, tiny_bi: Path, tiny_cross: Path) -> None:
    options = EvaluateOptions(
        name="r",
        models={"bi": str(tiny_bi), "both": {"model": "stage:bi", "reranker": str(tiny_cross)}},
        on=["support:test"],
    )
    context = Context(Recipe("r", "r", 42, {}, ()), tmp_path, {"bi": tmp_path / "stage"}, "cpu")
    one, both = load_models(options, context)
    assert (one.label, one.runs) == ("bi", [Run(tiny_bi)])
    assert both.runs == [Run(tmp_path / "stage" / "model", tiny_cross)]

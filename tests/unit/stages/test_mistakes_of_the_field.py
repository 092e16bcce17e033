"""Mistakes that run silently elsewhere, each planted once in data, a model or a recipe, and named by the doctor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from munjang.data.lint import Finding

Look = Callable[..., dict[str, Finding]]
Model = Callable[..., Path]
Write = Callable[..., str]
Sentence = Callable[[int], str]
Pairs = Callable[[int, int], list[tuple[str, str, float]]]
SCALE = {"scale": (0, 5)}
ST = "sentence_transformers.models."


def nli(premises: int, sentence: Sentence) -> list[tuple[str, str, str]]:
    labels = ("entailment", "neutral", "contradiction")
    return [(sentence(n), sentence(100 + 3 * n + i), label) for n in range(premises) for i, label in enumerate(labels)]


def test_gold_pairs_that_come_back_as_silver(look_at: Look, write_pairs: Write, pairs: Pairs) -> None:
    gold = pairs(0, 60)
    silver = [(right, left, 5 - score) for left, right, score in gold[:30]] + pairs(60, 30)
    found = look_at(write_pairs("gold.tsv", gold), write_pairs("silver.tsv", silver), **SCALE)
    finding = found["conflicting-sets"]
    assert (finding.severity, finding.where) == ("warning", "gold.tsv / silver.tsv")
    assert "of 30 pairs in both sets have different scores" in finding.message
    assert "exclude of mine" in finding.remedy


def test_each_pair_in_both_directions(look_at: Look, write_pairs: Write, pairs: Pairs) -> None:
    rows = pairs(0, 60)
    found = look_at(write_pairs("silver.tsv", [*rows, *((b, a, s) for a, b, s in rows)]), **SCALE)
    assert found["duplicate-pairs"].message.startswith("60 pairs occur more than once")


def test_a_sentence_paired_with_itself_under_the_score_of_another(
    look_at: Look, write_pairs: Write, pairs: Pairs
) -> None:
    found = look_at(write_pairs("pairs.tsv", [(a, a, score) for a, _, score in pairs(0, 60)]), **SCALE)
    assert found["same-column"].severity == "error"
    assert "60 of 60 pairs" in found["same-column"].message
    assert found["identical-below-maximum"].severity == "warning"


def test_a_dense_layer_that_is_dropped(look_at: Look, paper_model: Model) -> None:
    dense = {"in_features": 32, "out_features": 16, "activation_function": "torch.nn.modules.activation.Tanh"}
    plain = [
        {"idx": i, "name": str(i), "path": p, "type": ST + t}
        for i, (p, t) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling")])
    ]
    folder = paper_model(files={"modules.json": plain, "2_Dense/config.json": dense})
    finding = look_at(model=str(folder))["unlisted-module"]
    assert finding.severity == "error"
    assert "2_Dense" in finding.message
    assert "dropped" in finding.message


def test_a_test_set_that_chooses_the_weights(look_at: Look, recipe: Write, paper_model: Model) -> None:
    name = recipe(
        paper_model(), ('source = "choose.tsv"', 'source = "measure.tsv"'), ('exclude = ["data:measure"]\n', "")
    )
    finding = look_at(recipe=name)["dev-is-measured"]
    assert (finding.severity, finding.where) == ("error", "stage.bi.dev = 'data:choose'")
    assert "stage.result measures on the set that chose the weights" in finding.message


def test_a_similarity_head_that_kept_the_activation_of_nli(
    look_at: Look, write_pairs: Write, paper_model: Model, pairs: Pairs
) -> None:
    files = {
        "config.json": {
            "architectures": ["BertForSequenceClassification"],
            "id2label": {"0": "LABEL_0"},
            "munjang": {"task": "sts"},
            "sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"},
        },
        "modules.json": None,
        "1_Pooling/config.json": None,
        "config_sentence_transformers.json": None,
    }
    folder = paper_model(files=files, weights={"model.safetensors": {"classifier.weight": [1, 32]}})
    finding = look_at(write_pairs("pairs.tsv", pairs(0, 60)), model=str(folder), **SCALE)["head-activation"]
    assert finding.severity == "error"
    assert "raw logits instead of scores from 0 to 1" in finding.message
    assert "--to sts" in finding.remedy


def test_texts_that_would_be_cut_without_a_word(
    look_at: Look, write_pairs: Write, paper_model: Model, pairs: Pairs, sentence: Sentence
) -> None:
    long = [(sentence(1) * 8, sentence(2), 2.5)]
    finding = look_at(write_pairs("pairs.tsv", [*pairs(0, 60), *long]), model=str(paper_model()), **SCALE)["truncation"]
    assert finding.severity == "warning"
    assert finding.message == "1 of 122 texts exceeds 64 tokens and will be cut"
    assert finding.example.endswith("tokens)")


def test_columns_that_changed_places(look_at: Look, write_pairs: Write, sentence: Sentence) -> None:
    turned = write_pairs("nli.tsv", nli(30, sentence), header="hypothesis\tpremise\tlabel")
    assert look_at(turned)["swapped-columns"].severity == "warning"
    right = write_pairs("right.tsv", nli(30, sentence), header="premise\thypothesis\tlabel")
    assert "swapped-columns" not in look_at(right)


def test_quotes_that_would_swallow_rows(look_at: Look, write_pairs: Write, tmp_path: Path, pairs: Pairs) -> None:
    rows = [f"{a},{b},{s}" for a, b, s in pairs(0, 60)]
    rows[5] = '"' + rows[5]
    (tmp_path / "pairs.csv").write_text("\n".join(["sentence1,sentence2,score", *rows]) + "\n", encoding="utf-8")
    finding = look_at("pairs.csv", **SCALE)["rejected-rows"]
    assert finding.severity == "error"
    assert finding.message.startswith("1 of 60 rows is malformed")
    assert "a double quote is not closed" in finding.message
    assert finding.example.startswith("pairs.csv:7")


def test_margins_of_probabilities(
    look_at: Look, recipe: Write, paper_model: Model, tmp_path: Path, sentence: Sentence
) -> None:
    lists = [
        {"query": sentence(n), "documents": [sentence(n + 100), sentence(n + 200)], "scores": [0.9, 0.1]}
        for n in range(30)
    ]
    (tmp_path / "lists.jsonl").write_text("\n".join(map(json.dumps, lists)) + "\n", encoding="utf-8")
    changes = (
        ('gold = { source = "gold.tsv", scale = [0, 5] }', 'gold = "lists.jsonl"'),
        ('["data:gold"]', '[{ data = "data:gold", objective = "margin-mse" }]'),
    )
    finding = look_at(recipe=recipe(paper_model(), *changes))["probability-scores"]
    assert (finding.severity, finding.where) == ("error", "stage.bi.train")
    assert finding.example == "0.1 to 0.9"


def test_one_set_in_another_unit_than_it_declares(
    look_at: Look, recipe: Write, write_pairs: Write, paper_model: Model, pairs: Pairs
) -> None:
    write_pairs("silver.tsv", [(a, b, score / 5) for a, b, score in pairs(160, 50)])
    more = '"data:gold", "data:silver"', "gold = {", 'silver = { source = "silver.tsv", scale = [0, 5] }\ngold = {'
    found = look_at(recipe=recipe(paper_model(), ('"data:gold"', more[0]), (more[1], more[2])))
    assert found["mixed-units"].severity == "warning"
    assert "data:silver is 0.20 of its declared scale, that of data:gold 1.00" in found["mixed-units"].message
    assert found["scale"].severity == "error"


def test_scores_from_0_to_5_declared_as_0_to_1(look_at: Look, write_pairs: Write, pairs: Pairs) -> None:
    finding = look_at(write_pairs("pairs.tsv", pairs(0, 60)), scale=(0, 1))["scale"]
    assert finding.severity == "error"
    assert finding.message.endswith("they reach from 1.5 to 5")


def test_a_vocabulary_that_cannot_see_the_language(
    look_at: Look, write_pairs: Write, paper_model: Model, pairs: Pairs
) -> None:
    folder = paper_model()
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"] = {p: i for p, i in tokenizer["model"]["vocab"].items() if i < 90}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    finding = look_at(write_pairs("pairs.tsv", pairs(0, 60)), model=str(folder), **SCALE)["unknown-tokens"]
    assert finding.severity == "error"


def test_settings_by_which_a_server_would_give_other_vectors(look_at: Look, paper_model: Model) -> None:
    folder = paper_model(
        files={
            "1_Pooling/config.json": {"word_embedding_dimension": 768},
            "sentence_bert_config.json": {"max_seq_length": 512},
        }
    )
    found = look_at(model=str(folder))
    assert {code: f.severity for code, f in found.items()} == {
        "dimension-mismatch": "error",
        "length-over-positions": "error",
    }


def test_a_teacher_of_another_size(look_at: Look, paper_model: Model) -> None:
    files = {"config.json": {"hidden_size": 48}, "1_Pooling/config.json": {"word_embedding_dimension": 48}}
    found = look_at(model=str(paper_model("student")), teacher=str(paper_model("teacher", files=files)))
    assert found["teacher-dimension"].severity == "warning"
    assert "lost when the training ends" in found["teacher-dimension"].remedy


@pytest.mark.parametrize("share", [1, 4])
def test_a_test_set_that_was_trained_on(share: int, look_at: Look, write_pairs: Write, pairs: Pairs) -> None:
    test = pairs(100, 40)
    found = look_at(
        write_pairs("gold.tsv", [*pairs(0, 60), *test[::share]]), write_pairs("gold-test.tsv", test), **SCALE
    )
    assert found["leakage"].severity == "warning"
    assert f"{40 // share} whole pairs are in both sets" in found["leakage"].message


def test_a_model_without_the_prompt_of_its_training(look_at: Look, paper_model: Model) -> None:
    finding: Any = look_at(model=str(paper_model("multilingual-e5-small")))["missing-prompt"]
    assert finding.severity == "warning"
    assert finding.example.startswith("query: ")

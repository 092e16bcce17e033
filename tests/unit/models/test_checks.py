"""A model's folder is looked at and never loaded: modules, sizes, pooling, head, prompts, lengths, what it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from munjang.data.lint import Finding
from munjang.data.rows import ScoredPair
from munjang.models.checks import lint_model, lint_seen, lint_teacher
from munjang.models.record import record_of, write_record
from munjang.models.settings import maximum_length, pooling_modes, position_limit, vector_size
from munjang.models.tokens import lint_tokens, lint_vocabulary, statistics_of_rows, token_statistics

Model = Callable[..., Path]
DENSE = {"in_features": 32, "out_features": 16, "activation_function": "torch.nn.modules.activation.Tanh"}
ST = "sentence_transformers.models."
CROSS = {
    "config.json": {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}},
    "modules.json": None,
    "1_Pooling/config.json": None,
    "config_sentence_transformers.json": None,
}
NLI = {"id2label": {"0": "entailment", "1": "neutral", "2": "contradiction"}}


def modules(*entries: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(entries)]


WITH_DENSE = modules(("", ST + "Transformer"), ("1_Pooling", ST + "Pooling"), ("2_Dense", ST + "Dense"))


def cross(**config: Any) -> dict[str, Any]:
    return {**CROSS, "config.json": {**CROSS["config.json"], **config}}


def only(findings: list[Finding], code: str) -> Finding:
    assert [finding.code for finding in findings] == [code]
    return findings[0]


def test_nothing_is_found_in_good_models(paper_model: Model) -> None:
    assert lint_model("m", paper_model(), ["scored-pairs"]) == []
    dense = {"modules.json": WITH_DENSE, "2_Dense/config.json": DENSE}
    folder = paper_model("dense", files=dense, weights={"2_Dense/model.safetensors": {"linear.weight": [16, 32]}})
    assert lint_model("m", folder) == []
    assert vector_size(folder) == 16
    head = {"model.safetensors": {"classifier.weight": [1, 32]}}
    assert lint_model("m", paper_model("cross", files=CROSS, weights=head), ["scored-pairs"]) == []
    head = {"model.safetensors": {"classifier.out_proj.weight": [3, 32], "classifier.dense.weight": [32, 32]}}
    assert lint_model("m", paper_model("nli", files=cross(**NLI), weights=head), ["labelled-pairs"]) == []


def test_what_is_saved_today_is_good(tiny_bi: Path, tiny_cross: Path) -> None:
    assert lint_model("bi", tiny_bi, ["scored-pairs"]) == []
    assert lint_model("cross", tiny_cross, ["scored-pairs"]) == []
    assert only(lint_model("cross", tiny_cross, ["labelled-pairs"]), "head-labels").severity == "error"
    assert vector_size(tiny_bi) == 32


def test_bundled_models_are_good(bundled: dict[str, Path]) -> None:
    assert all(lint_model(f"bundled:{name}", folder) == [] for name, folder in bundled.items())


def test_a_dense_layer_that_modules_json_does_not_list(paper_model: Model) -> None:
    finding = only(lint_model("m", paper_model(files={"2_Dense/config.json": DENSE})), "unlisted-module")
    assert (finding.severity, finding.example.endswith("2_Dense")) == ("error", True)
    folder = paper_model("plain", files={"modules.json": WITH_DENSE[:2], "2_Normalize/config.json": {}})
    assert only(lint_model("m", folder), "unlisted-module").severity == "warning"


def test_modules_that_are_listed_and_not_there(paper_model: Model) -> None:
    finding = only(lint_model("m", paper_model(files={"modules.json": WITH_DENSE})), "missing-module")
    assert finding.message == "modules.json lists Dense at 2_Dense, where there is no config.json"
    outside = modules(("", ST + "Transformer"), ("../1_Pooling", ST + "Pooling"))
    folder = paper_model("outside", files={"modules.json": outside, "1_Pooling/config.json": None})
    assert only(lint_model("m", folder), "missing-module").severity == "error"


@pytest.mark.parametrize(
    ("files", "weights", "words"),
    [
        (
            {"1_Pooling/config.json": {"word_embedding_dimension": 768}},
            {},
            "Pooling (1_Pooling) expects 768 dimensions",
        ),
        ({"config.json": {"hidden_size": 24}}, {}, "and the transformer gives 24"),
        (
            {"modules.json": WITH_DENSE, "2_Dense/config.json": {**DENSE, "in_features": 768}},
            {},
            "Dense (2_Dense) expects 768 dimensions, and Pooling before it gives 32",
        ),
        (
            {"modules.json": WITH_DENSE, "2_Dense/config.json": DENSE},
            {"2_Dense/model.safetensors": {"linear.weight": [8, 32]}},
            "2_Dense says 32 to 16 dimensions, and its weights map 32 to 8",
        ),
    ],
)
def test_modules_whose_sizes_do_not_meet(
    files: dict[str, Any], weights: dict[str, Any], words: str, paper_model: Model
) -> None:
    finding = only(lint_model("m", paper_model(files=files, weights=weights)), "dimension-mismatch")
    assert finding.severity == "error"
    assert words in finding.message


def test_pooling_of_several_kinds_is_as_wide_as_all_of_them(paper_model: Model) -> None:
    both = {"1_Pooling/config.json": {"pooling_mode_cls_token": True}}
    assert vector_size(paper_model(files=both)) == 64
    assert pooling_modes({"pooling_mode": "lasttoken"}) == ("lasttoken",)
    assert pooling_modes({"pooling_mode": ["mean", "max"]}) == ("mean", "max")
    assert pooling_modes({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}) == ("cls",)


def test_pooling_that_is_not_named_or_not_the_family_s(paper_model: Model) -> None:
    none = paper_model(files={"1_Pooling/config.json": {"pooling_mode_mean_tokens": False}})
    assert only(lint_model("m", none), "pooling").severity == "error"
    first = {"1_Pooling/config.json": {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}}
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    files = {**first, "config_sentence_transformers.json": prompts}
    finding = only(lint_model("multilingual-e5-base", paper_model("a", files=files)), "pooling")
    assert finding.message == "the pooling is cls, but e5 models are trained with mean"
    assert lint_model("BAAI/bge-m3", paper_model("b", files=files)) == []
    assert only(lint_model("BAAI/bge-m3", paper_model("c")), "pooling").severity == "warning"


def test_a_bare_transformer_says_nothing_of_pooling(paper_model: Model) -> None:
    folder = paper_model(files={"modules.json": None, "1_Pooling/config.json": None})
    assert only(lint_model("m", folder), "default-pooling").severity == "note"


@pytest.mark.parametrize(
    ("name", "settings", "code"),
    [
        ("intfloat/multilingual-e5-small", {}, "missing-prompt"),
        ("m", {"prompts": {"query": "질문: ", "document": "글: "}}, "missing-prompt"),
        ("m", {"prompts": {"query": "질문: "}, "default_prompt_name": "document"}, "unknown-prompt"),
        ("intfloat/e5-base", {"prompts": {"query": "query: "}, "default_prompt_name": "query"}, None),
        ("m", {"prompts": {"query": "", "document": ""}}, None),
        ("some-e55-model", {}, None),
    ],
)
def test_prompts(name: str, settings: dict[str, Any], code: str | None, paper_model: Model) -> None:
    found = lint_model(name, paper_model(files={"config_sentence_transformers.json": settings}))
    assert [finding.code for finding in found] == ([code] if code else [])


def test_a_model_of_a_family_is_known_by_where_it_came_from(paper_model: Model) -> None:
    folder = paper_model(files={"config.json": {"_name_or_path": "intfloat/multilingual-e5-large"}})
    assert only(lint_model("my-model", folder), "missing-prompt").severity == "warning"


@pytest.mark.parametrize(
    ("config", "own", "tokenizer", "limit", "found"),
    [
        ({}, 64, 64, 64, False),
        ({}, 65, 64, 64, True),
        ({}, None, 64, 64, False),
        ({"model_type": "roberta"}, 62, 512, 62, False),
        ({"model_type": "roberta"}, 64, 512, 62, True),
        # Nothing but the number of positions says how long a text may be, and two of them are not for tokens.
        ({"model_type": "roberta"}, None, 512, 62, True),
        ({"model_type": "modernbert"}, 8192, 8192, None, False),
    ],
)
def test_lengths_against_positions(
    config: dict[str, Any], own: int | None, tokenizer: int, limit: int | None, found: bool, paper_model: Model
) -> None:
    files = {
        "config.json": config,
        "sentence_bert_config.json": {"max_seq_length": own},
        "tokenizer_config.json": {"model_max_length": tokenizer},
    }
    folder = paper_model(files=files)
    assert position_limit(folder) == limit
    assert [f.code for f in lint_model("m", folder)] == (["length-over-positions"] if found else [])
    assert maximum_length(folder) == min(n for n in (own, tokenizer, limit) if n is not None)


@pytest.mark.parametrize(
    ("config", "kinds", "severity"),
    [
        ({"munjang": {"task": "sts"}}, [], "error"),
        ({}, ["scored-pairs"], "warning"),
        ({"munjang": {"task": "ranking"}}, [], None),
        ({}, [], None),
    ],
)
def test_raw_logits_where_scores_are_meant(
    config: dict[str, Any], kinds: list[str], severity: str | None, paper_model: Model
) -> None:
    identity = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
    head = {"model.safetensors": {"classifier.weight": [1, 32]}}
    found = lint_model("m", paper_model(files=cross(**config, **identity), weights=head), kinds)
    assert [(f.code, f.severity) for f in found] == ([("head-activation", severity)] if severity else [])


def test_heads_that_do_not_fit_the_rows_or_their_weights(paper_model: Model) -> None:
    three = {"model.safetensors": {"classifier.weight": [3, 32]}}
    nli = paper_model("nli", files=cross(**NLI), weights=three)
    finding = only(lint_model("m", nli, ["scored-pairs"]), "head-labels")
    assert (finding.severity, finding.message) == ("error", "the head has 3 outputs, and the rows have one score")
    assert finding.example == "entailment, neutral, contradiction"
    plain = cross(id2label={str(i): f"LABEL_{i}" for i in range(3)})
    finding = only(lint_model("m", paper_model("plain", files=plain, weights=three), ["labelled-pairs"]), "head-labels")
    assert (finding.severity, "nobody knows" in finding.message) == ("warning", True)
    turned = paper_model("turned", files=CROSS, weights=three)
    assert only(lint_model("m", turned), "head-labels").message.endswith("the weights of the head have 3")


def test_a_head_without_weights_would_be_drawn_at_random(paper_model: Model) -> None:
    assert only(lint_model("m", paper_model(files=CROSS)), "new-head").severity == "warning"


def test_damaged_settings_are_a_finding(paper_model: Model) -> None:
    folder = paper_model()
    (folder / "modules.json").write_text("[{", encoding="utf-8")
    found = lint_model("m", folder)
    assert [(f.severity, f.code) for f in found] == [("error", "damaged-settings")]
    assert "modules.json" in found[0].example


def test_student_and_teacher_of_two_sizes(paper_model: Model) -> None:
    student = paper_model("student")
    files = {"config.json": {"hidden_size": 48}, "1_Pooling/config.json": {"word_embedding_dimension": 48}}
    teacher = paper_model("teacher", files=files)
    finding = only(lint_teacher("s", student, "t", teacher), "teacher-dimension")
    assert (finding.severity, finding.where) == ("warning", "t / s")
    assert "48 dimensions, the student's 32" in finding.message
    assert lint_teacher("s", student, "t", paper_model("same")) == []
    assert only(lint_teacher("s", student, "t", paper_model("c", files=CROSS)), "teacher-kind").severity == "note"
    truncated = paper_model("cut", files={**files, "config_sentence_transformers.json": {"truncate_dim": 32}})
    assert lint_teacher("s", student, "t", truncated) == []


def test_a_model_that_has_seen_the_test_set(paper_model: Model) -> None:
    folder = paper_model()
    rows = [ScoredPair(f"왼쪽 {n}", f"오른쪽 {n}", 0.5) for n in range(10)]
    assert lint_seen("m", folder, {"x:test": rows}) == []
    write_record(folder, record_of(rows[:3]))
    finding = only(lint_seen("m", folder, {"x:test": rows, "x:train": rows}), "seen-in-training")
    assert finding.where == "m / x:test"
    assert "trained on 6 of 20 texts of this set, and on 3 of its 10 rows whole" in finding.message


def test_tokens_of_rows_are_counted_as_the_model_reads_them(paper_model: Model) -> None:
    rows = [ScoredPair("환불", "배송지", 0.5)] * 20
    prompts = {"prompts": {"query": "질문: "}, "default_prompt_name": "query"}
    bi = statistics_of_rows(paper_model(files={"config_sentence_transformers.json": prompts}), rows)
    assert (bi.texts, bi.tokens, bi.characters, bi.around) == (40, 20 * (5 + 6), 100, 3)
    assert bi.per_character == 1.0
    pairs = statistics_of_rows(paper_model("cross", files=CROSS), rows)
    assert (pairs.texts, pairs.tokens, pairs.longest_example) == (20, 100, "환불 / 배송지")
    assert set(pairs.as_dict()) >= {"tokens_per_character", "unknown_share", "too_long", "limit"}


def test_a_vocabulary_that_has_no_words_of_the_language(paper_model: Model) -> None:
    folder = paper_model()
    path = folder / "tokenizer.json"
    bytes_only = json.loads(path.read_text(encoding="utf-8"))
    bytes_only["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    path.write_text(json.dumps(bytes_only), encoding="utf-8")
    statistics = token_statistics(folder, ["환불은 며칠 걸리나요?"] * 20)
    assert "unknown-tokens" in {f.code for f in lint_tokens("set", statistics)}
    pieces = token_statistics(paper_model("pieces"), ["가나다라마바사"] * 20)
    assert lint_tokens("set", pieces) == []
    fragments = type(pieces)(**{**vars(pieces), "tokens": 20 * 8})
    assert only(lint_tokens("set", fragments), "fragmented-tokens").severity == "warning"


def test_more_pieces_than_vectors(paper_model: Model) -> None:
    folder = paper_model(files={"config.json": {"vocab_size": 500}})
    finding = only(lint_vocabulary("m", folder, token_statistics(folder, ["가"])), "vocabulary-size")
    assert finding.severity == "error"
    assert lint_vocabulary("m", paper_model("good"), token_statistics(folder, ["가"])) == []

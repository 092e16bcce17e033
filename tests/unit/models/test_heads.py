"""A head moves between tasks with its outputs, labels and activation; what plain sentence-transformers loads is right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from munjang.engine.scorer import Scorer
from munjang.errors import ConfigError, DataError
from munjang.models import convert as conversion
from munjang.models.convert import convert
from munjang.models.heads import new_cross_encoder, with_head
from munjang.models.settings import cross_task, nli_order

PAIRS = [("환불은 언제 되나요?", "환불 시점이 궁금해요"), ("배송이 늦어요", "비밀번호를 잊었어요"), ("네", "아니요")]
NLI = ("entailment", "neutral", "contradiction")
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
FAMILIES: dict[str, tuple[type, type, dict[str, int]]] = {
    "bert": (BertConfig, BertForSequenceClassification, SIZES),
    "roberta": (RobertaConfig, RobertaForSequenceClassification, {**SIZES, "max_position_embeddings": 66}),
    "electra": (ElectraConfig, ElectraForSequenceClassification, {**SIZES, "embedding_size": 16}),
    "albert": (AlbertConfig, AlbertForSequenceClassification, {**SIZES, "embedding_size": 16}),
    "deberta": (DebertaV2Config, DebertaV2ForSequenceClassification, SIZES),
    "distilbert": (
        DistilBertConfig,
        DistilBertForSequenceClassification,
        {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 48},
    ),
}
Make = Callable[..., Path]


def logits(folder: Path) -> np.ndarray:
    model = CrossEncoder(str(folder), device="cpu")
    return model.predict(PAIRS, activation_fn=torch.nn.Identity())


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def tokenizer_into(tiny_bi: Path, folder: Path) -> None:
    for path in tiny_bi.glob("tokenizer*"):
        shutil.copy(path, folder)


@pytest.fixture
def make(tiny_bi: Path, tmp_path: Path) -> Make:
    """Writes a classifier of plain transformers, such as the hub has: no modules, labels of its own."""
    pieces = json.loads((tiny_bi / "tokenizer.json").read_text())["model"]["vocab"]

    def write(family: str = "bert", labels: tuple[str, ...] = NLI, **entries: object) -> Path:
        config_class, model_class, sizes = FAMILIES[family]
        torch.manual_seed(11)
        config = config_class(vocab_size=len(pieces), initializer_range=0.3, pad_token_id=0, **sizes)
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
        for name, value in entries.items():
            setattr(config, name, value)
        model: PreTrainedModel = model_class(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        folder = tmp_path / f"{family}-{len(labels)}"
        model.save_pretrained(folder)
        tokenizer_into(tiny_bi, folder)
        return folder

    return write


@pytest.mark.parametrize("family", FAMILIES)
def test_an_nli_head_becomes_a_score_on_0_to_1(family: str, make: Make, tmp_path: Path) -> None:
    source = make(family, ("CONTRADICTION", "Entailment", "neutral"))
    report = convert(source, "sts", tmp_path / "out")
    scores = CrossEncoder(str(tmp_path / "out"), device="cpu").predict(PAIRS)
    before = logits(source)
    assert scores.shape == (3,)
    np.testing.assert_allclose(scores, sigmoid(before[:, 1] - before[:, 0]), atol=1e-6)
    assert report.head == "the head is warm-started from the NLI head: entailment minus contradiction"
    assert (report.activation, report.labels, report.dropped) == ("Sigmoid", (), ())
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert (type(plain), plain.config.num_labels) == (FAMILIES[family][1], 1)
    assert cross_task(tmp_path / "out") == "sts"
    np.testing.assert_allclose(Scorer(tmp_path / "out", symmetric=False).score(PAIRS), scores, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_becomes_an_nli_head_and_comes_back_the_same(family: str, make: Make, tmp_path: Path) -> None:
    source = make(family, ("LABEL_0",))
    report = convert(source, "nli", tmp_path / "nli")
    before, after = logits(source), logits(tmp_path / "nli")
    np.testing.assert_allclose(after[:, 0] - after[:, 2], before, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(after[:, 1], 0)
    assert report.labels == NLI
    assert "neutral starts at 0" in report.head
    model = CrossEncoder(str(tmp_path / "nli"), device="cpu")
    assert model.config.id2label == dict(enumerate(NLI))
    assert model.config.label2id == {name: i for i, name in enumerate(NLI)}
    np.testing.assert_array_equal(model.predict(PAIRS), after)
    convert(tmp_path / "nli", "sts", tmp_path / "back")
    np.testing.assert_array_equal(logits(tmp_path / "back"), before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifiers_body_becomes_a_bi_encoder(family: str, make: Make, tmp_path: Path) -> None:
    source = make(family)
    report = convert(source, "bi", tmp_path / "bi", pooling="cls")
    model = SentenceTransformer(str(tmp_path / "bi"), device="cpu")
    assert [type(module) for module in model] == [Transformer, Pooling, Normalize]
    assert model[1].pooling_mode == "cls"
    assert any("classifier" in part for part in report.dropped)
    assert report.tensors > 10
    vectors = model.encode([a for a, _ in PAIRS])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    body = AutoModelForSequenceClassification.from_pretrained(source).base_model.eval()
    features = model.preprocess([a for a, _ in PAIRS])
    with torch.no_grad():
        known = {k: v for k, v in features.items() if k in ("input_ids", "attention_mask", "token_type_ids")}
        if family in ("distilbert",):
            known.pop("token_type_ids", None)
        first = body(**known).last_hidden_state[:, 0]
    expected = torch.nn.functional.normalize(first, dim=1).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    config = json.loads((tmp_path / "bi" / "config.json").read_text())
    assert "munjang" not in config
    assert "entailment" not in json.dumps(config)


def test_nli_rows_are_put_in_order(make: Make, tmp_path: Path) -> None:
    source = make("bert", ("contradiction", "entailment", "neutral"))
    report = convert(source, "nli", tmp_path / "out")
    np.testing.assert_array_equal(logits(tmp_path / "out"), logits(source)[:, [1, 2, 0]])
    assert "its rows put in the order entailment, neutral, contradiction" in report.head
    assert convert(tmp_path / "out", "nli", tmp_path / "again").head == "the head is kept"
    np.testing.assert_array_equal(logits(tmp_path / "again"), logits(tmp_path / "out"))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("LABEL_0", "LABEL_1", "LABEL_2"), "the labels LABEL_0, LABEL_1, LABEL_2 are not those of NLI"),
        (("entailment", "not_entailment"), "the old one has 2 outputs"),
        (("1", "2", "3", "4", "5"), "the old one has 5 outputs"),
    ],
)
@pytest.mark.parametrize("task", ["sts", "nli", "ranking"])
def test_a_head_that_says_nothing_is_replaced_and_said(
    task: str, labels: tuple[str, ...], words: str, make: Make, tmp_path: Path
) -> None:
    source = make("roberta", labels)
    assert cross_task(source) is None
    model, sentence, _ = with_head(source, task, seed=5)
    assert sentence == f"the head is new at random, since {words}"
    again, *_ = with_head(source, task, seed=5)
    other, *_ = with_head(source, task, seed=6)
    heads = [m.transformers_model.classifier.out_proj.weight for m in (model, again, other)]
    assert heads[0].shape[0] == model.num_labels == (3 if task == "nli" else 1)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    model.save_pretrained(str(tmp_path / "out"))
    assert cross_task(tmp_path / "out") == task


def test_ranking_and_similarity_change_their_declaration_only(make: Make, tmp_path: Path) -> None:
    identity = "torch.nn.modules.linear.Identity"
    source = make("bert", ("LABEL_0",), sentence_transformers={"activation_fn": identity, "version": "4.0.1"})
    assert cross_task(source) == "ranking"
    ranking = convert(source, "ranking", tmp_path / "ranking")
    assert (ranking.head, ranking.activation) == ("the head is kept", "Identity")
    np.testing.assert_array_equal(CrossEncoder(str(tmp_path / "ranking")).predict(PAIRS), logits(source))
    sts = convert(tmp_path / "ranking", "sts", tmp_path / "sts")
    assert (sts.head, sts.activation) == ("the head is kept", "Sigmoid")
    scores = CrossEncoder(str(tmp_path / "sts")).predict(PAIRS)
    np.testing.assert_allclose(scores, sigmoid(logits(source)), atol=1e-6)
    # What older releases read must not contradict it.
    config = json.loads((tmp_path / "sts" / "config.json").read_text())
    assert config["sentence_transformers"]["activation_fn"].endswith("Sigmoid")
    assert (cross_task(tmp_path / "ranking"), cross_task(tmp_path / "sts")) == ("ranking", "sts")
    assert convert(tmp_path / "sts", "ranking", tmp_path / "turned").activation == "Sigmoid"
    assert cross_task(tmp_path / "turned") == "ranking"


def test_the_declared_task_outlives_plain_loading_and_saving(tiny_cross: Path, tmp_path: Path) -> None:
    assert cross_task(tiny_cross) == "sts"
    for task in ("ranking", "nli"):
        convert(tiny_cross, task, tmp_path / task)
        CrossEncoder(str(tmp_path / task), device="cpu").save_pretrained(str(tmp_path / f"{task}-saved"))
        assert cross_task(tmp_path / f"{task}-saved") == task


def test_an_entry_that_contradicts_the_outputs_does_not_count(tiny_cross: Path, tmp_path: Path) -> None:
    convert(tiny_cross, "nli", tmp_path / "nli")
    config = tmp_path / "nli" / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "munjang": {"task": "sts"}}))
    assert cross_task(tmp_path / "nli") == "nli"


def test_models_that_are_no_cross_encoders_have_no_task(tiny_bi: Path) -> None:
    assert cross_task(tiny_bi) is None
    assert cross_task(tiny_bi.with_name("body")) is None


def test_a_cross_encoder_of_modules_goes_through_all_tasks(tiny_cross: Path, tmp_path: Path) -> None:
    start = logits(tiny_cross)
    convert(tiny_cross, "nli", tmp_path / "nli")
    nli = logits(tmp_path / "nli")
    np.testing.assert_allclose(nli[:, 0] - nli[:, 2], start, rtol=1e-5)
    report = convert(tmp_path / "nli", "sts", tmp_path / "sts")
    np.testing.assert_array_equal(logits(tmp_path / "sts"), start)
    scores = CrossEncoder(str(tmp_path / "sts"), device="cpu").predict(PAIRS)
    assert ((scores > 0) & (scores < 1)).all()
    assert report.activation == "Sigmoid"
    report = convert(tmp_path / "nli", "bi", tmp_path / "bi")
    assert report.dropped == ("Dense",)
    assert report.activation is None
    model = SentenceTransformer(str(tmp_path / "bi"), device="cpu")
    assert model[1].pooling_mode == "mean"
    assert model.prompts == {"query": "", "document": ""}


def test_a_cross_encoder_keeps_the_pooling_that_it_was_trained_with(tiny_bi: Path, tmp_path: Path) -> None:
    model = new_cross_encoder(tiny_bi, "cls", 96, "cpu", seed=1)
    model.save_pretrained(str(tmp_path / "cross"))
    convert(tmp_path / "cross", "bi", tmp_path / "bi")
    assert SentenceTransformer(str(tmp_path / "bi"), device="cpu")[1].pooling_mode == "cls"
    with pytest.raises(ConfigError, match="no effect") as caught:
        convert(tmp_path / "cross", "nli", tmp_path / "nli", pooling="max")
    assert caught.value.expected == "cls"


def test_the_body_of_a_bi_encoder_gets_a_head_and_what_is_dropped_is_said(tiny_bi: Path, tmp_path: Path) -> None:
    model = SentenceTransformer(str(tiny_bi), device="cpu")
    dense = Dense(32, 8)
    model = SentenceTransformer(
        modules=[model[0], model[1], dense, Normalize()],
        device="cpu",
        prompts=model.prompts,
        default_prompt_name="query",
    )
    model.save_pretrained(str(tmp_path / "bi"))
    report = convert(tmp_path / "bi", "nli", tmp_path / "nli", seed=4)
    assert report.dropped == ("Dense", "Normalize")
    assert "new at random and reads the mean of the tokens" in report.head
    assert "dropped of the bi-encoder: Dense, Normalize" in report.head
    assert "'질문: ' is left out, as cross-encoders use none" in report.head
    cross = CrossEncoder(str(tmp_path / "nli"), device="cpu")
    assert cross.predict(PAIRS).shape == (3, 3)
    assert not any(cross.prompts.values())
    convert(tmp_path / "bi", "bi", tmp_path / "same")
    texts = [a for a, _ in PAIRS]
    same = SentenceTransformer(str(tmp_path / "same"), device="cpu")
    assert same.prompts["query"] == "질문: "
    np.testing.assert_array_equal(same.encode(texts), model.encode(texts))


def test_a_bare_transformer_starts_every_task(tiny_bi: Path, tmp_path: Path) -> None:
    body = tiny_bi.with_name("body")
    for task, shape in (("sts", (3,)), ("nli", (3, 3)), ("ranking", (3,))):
        report = convert(body, task, tmp_path / task)
        assert report.dropped == ()
        assert CrossEncoder(str(tmp_path / task), device="cpu").predict(PAIRS).shape == shape
    assert convert(body, "bi", tmp_path / "bi").head.startswith("the head is not there")
    assert SentenceTransformer(str(tmp_path / "bi"), device="cpu").encode(["네"]).shape == (1, 32)


def test_a_head_for_similarity_is_that_of_earlier_trainings(tiny_bi: Path) -> None:
    """The draw of a new head, written out: results of the same seed must not change."""
    torch.manual_seed(3)
    transformer = Transformer(str(tiny_bi), max_seq_length=64, model_kwargs={"use_safetensors": True})
    expected = Dense(transformer.get_embedding_dimension(), 1, activation_function=None).linear
    found = new_cross_encoder(tiny_bi, "mean", 64, "cpu", seed=3)
    assert torch.equal(found[2].linear.weight, expected.weight)
    assert torch.equal(found[2].linear.bias, expected.bias)
    assert found.max_seq_length == 64


@pytest.mark.parametrize(
    ("family", "own", "given", "expected"),
    [("bert", 96, 128, 96), ("bert", 96, 40, 40), ("bert", 96, None, 96), ("roberta", 96, 128, 65)],
)
def test_the_shorter_length_holds(
    family: str, own: int, given: int | None, expected: int, make: Make, tmp_path: Path
) -> None:
    """A RoBERTa with 66 positions and padding id 0 holds 65 tokens."""
    source = make(family)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": own}))
    for task in ("sts", "bi"):
        assert convert(source, task, tmp_path / task, max_length=given).max_length == expected
    for kind, task in ((CrossEncoder, "sts"), (SentenceTransformer, "bi")):
        model = kind(str(tmp_path / task), device="cpu")
        assert model.max_seq_length == expected
    long = "가 " * 500
    assert CrossEncoder(str(tmp_path / "sts"), device="cpu").predict([(long, long)]).shape == (1,)


def test_lower_casing_stays_through_every_conversion(bundled: dict[str, Path], tmp_path: Path) -> None:
    """A cased tokenizer under `do_lower_case` of sentence-transformers, which it reads and does not write back."""
    source = tmp_path / "bi"
    config = BertConfig(vocab_size=30522, **SIZES)
    BertForSequenceClassification(config).bert.save_pretrained(source)
    for name in (
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "modules.json",
        "1_Pooling",
        "sentence_bert_config.json",
    ):
        place = bundled["minilm"] / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, source / name)
    for name, entry in (
        ("tokenizer_config.json", {"do_lower_case": False}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
    ):
        path = source / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **entry}))
    expected = ["hello", "world"]
    assert SentenceTransformer(str(source), device="cpu").tokenizer.tokenize("Hello WORLD") == expected
    place = source
    for i, task in enumerate(("bi", "sts", "nli", "bi", "ranking")):
        convert(place, task, tmp_path / f"{i}")
        place = tmp_path / f"{i}"
        kind = SentenceTransformer if task == "bi" else CrossEncoder
        assert kind(str(place), device="cpu").tokenizer.tokenize("Hello WORLD") == expected, task


def test_a_head_behind_an_activation_is_not_carried_over(tiny_cross: Path, tmp_path: Path) -> None:
    model = CrossEncoder(str(tiny_cross), device="cpu")
    model[2].activation_function = torch.nn.Tanh()
    model.save_pretrained(str(tmp_path / "odd"))
    turned, sentence, _ = with_head(tmp_path / "odd", "nli")
    assert "something follows the last layer" in sentence
    assert isinstance(turned[2].activation_function, torch.nn.Identity)


def test_a_changed_body_is_an_error(tiny_cross: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(self: CrossEncoder, path: str, **keywords: object) -> None:
        save(self, path, **keywords)
        tensors = load_file(f"{path}/model.safetensors")
        tensors["encoder.layer.1.output.dense.bias"][3] += 1e-7
        save_file(tensors, f"{path}/model.safetensors", metadata={"format": "pt"})

    save = CrossEncoder.save_pretrained
    monkeypatch.setattr(CrossEncoder, "save_pretrained", spoil)
    with pytest.raises(DataError, match=r"encoder\.layer\.1\.output\.dense\.bias") as caught:
        convert(tiny_cross, "nli", tmp_path / "out")
    assert caught.value.got == "other numbers"


def test_every_tensor_of_the_body_is_compared(tiny_cross: Path, tmp_path: Path) -> None:
    report = convert(tiny_cross, "sts", tmp_path / "out")
    assert report.tensors == len(load_file(tiny_cross / "model.safetensors"))
    assert report.as_dict()["tensors"] == report.tensors
    assert report.sentences() == [
        "the head is kept",
        f"{report.tensors} tensors of the body are the same bits; at most 96 tokens",
        "outputs: 1 score; activation Sigmoid",
    ]
    assert convert(tiny_cross, "bi", tmp_path / "bi").sentences()[1] == "dropped: Dense"


def test_wrong_values_name_what_is_known(tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    for call in (
        lambda: convert(tiny_bi, "bert", tmp_path / "o"),
        lambda: convert(tiny_bi, "sts", tmp_path / "o", pooling="median"),
        lambda: convert(tiny_bi, "bi", tmp_path / "o", pooling="cls"),
        lambda: convert(tiny_bi, "bi", tmp_path / "o", max_length=4),
        lambda: with_head(tiny_bi, "bi"),
        lambda: with_head(tiny_bi, "sts", max_length=0),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert caught.value.expected
        assert caught.value.got
    assert not (tmp_path / "o").exists()


def test_models_without_a_head_or_a_transformer_are_refused(tiny_bi: Path, tiny_cross: Path, tmp_path: Path) -> None:
    static = tmp_path / "static"
    shutil.copytree(tiny_bi, static)
    modules = json.loads((static / "modules.json").read_text())
    modules[0]["type"] = "sentence_transformers.models.StaticEmbedding"
    (static / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(DataError, match="no transformer"):
        with_head(static, "sts")
    headless = tmp_path / "headless"
    model = CrossEncoder(str(tiny_cross), device="cpu")
    CrossEncoder(modules=[model[0], model[1]], device="cpu").save_pretrained(str(headless))
    with pytest.raises(DataError, match="the head of this cross-encoder cannot be found"):
        with_head(headless, "sts")


def test_a_model_below_a_folder_of_its_own_is_found(tiny_bi: Path, tmp_path: Path) -> None:
    """The layout of the first releases of sentence-transformers."""
    old = tmp_path / "old"
    shutil.copytree(tiny_bi, old)
    (old / "0_Transformer").mkdir()
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
    ):
        (old / name).rename(old / "0_Transformer" / name)
    modules = json.loads((old / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (old / "modules.json").write_text(json.dumps(modules))
    convert(old, "sts", tmp_path / "a", seed=1)
    convert(tiny_bi, "sts", tmp_path / "b", seed=1)
    np.testing.assert_array_equal(logits(tmp_path / "a"), logits(tmp_path / "b"))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({0: "entailment", 1: "neutral", 2: "contradiction"}, (0, 1, 2)),
        ({"0": " CONTRADICTION ", "1": "Entailment", "2": "NEUTRAL"}, (1, 2, 0)),
        ({0: "entails", 1: "contradicts", 2: "neutral"}, (0, 2, 1)),
        ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, None),
        ({0: "entailment", 1: "entailment", 2: "neutral"}, None),
        ({0: "entailment", 1: "not_entailment"}, None),
        ({}, None),
    ],
)
def test_labels_are_read_in_any_case_and_order(labels: dict, expected: tuple | None) -> None:
    assert nli_order(labels) == expected


def test_the_comparison_sees_type_shape_and_sign_of_zero() -> None:
    one = torch.tensor([0.0, float("nan")])
    assert conversion.same_bits(one, one.clone())
    assert not conversion.same_bits(one, torch.tensor([-0.0, float("nan")]))
    assert not conversion.same_bits(one, one.double())
    assert not conversion.same_bits(one, one[None])

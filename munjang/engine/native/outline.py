"""What of a model's folder the native kernels can run: its body's tensors by their role, and the steps behind the body.

Only a folder of which every file says what is known here is taken: each tensor must have a role or be one that is known to be
no part of the outputs, each setting must have the value that the kernels compute. Whatever else it is, its name is the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from munjang.errors import DataError
from munjang.models.folder import model_kind, read_settings
from munjang.models.settings import SETTINGS, Module, modules_of, pooling_modes, transformer_folder
from munjang.models.shapes import StoredTensor, map_tensors

#: Parts of a layer in the order that the kernels take them: query, key and value as one; after attention; the wide one; the
#: narrow one.
_BERT = {
    "qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "out": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
    "norm1": ("attention.output.LayerNorm",),
    "norm2": ("output.LayerNorm",),
}
_DISTILBERT = {
    "qkv": ("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    "out": ("attention.out_lin",),
    "up": ("ffn.lin1",),
    "down": ("ffn.lin2",),
    "norm1": ("sa_layer_norm",),
    "norm2": ("output_layer_norm",),
}
LINEAR = ("qkv", "out", "up", "down")


class Family(NamedTuple):
    """How models of one type call their parts."""

    prefix: str
    """Of the body in a model with a head."""
    layer: str
    """Names of a layer's tensors start with it."""
    parts: dict[str, tuple[str, ...]]
    positions_after_padding: bool
    """True if the first token's position is the id of the padding token plus one."""
    settings: tuple[str, str, str, str]
    """Names of: heads, inner size, layers, activation."""


_NAMES = ("num_attention_heads", "intermediate_size", "num_hidden_layers", "hidden_act")
FAMILIES = {
    "bert": Family("bert.", "encoder.layer.{}.", _BERT, False, _NAMES),
    "roberta": Family("roberta.", "encoder.layer.{}.", _BERT, True, _NAMES),
    "xlm-roberta": Family("roberta.", "encoder.layer.{}.", _BERT, True, _NAMES),
    "camembert": Family("roberta.", "encoder.layer.{}.", _BERT, True, _NAMES),
    "electra": Family("electra.", "encoder.layer.{}.", _BERT, False, _NAMES),
    "distilbert": Family(
        "distilbert.", "transformer.layer.{}.", _DISTILBERT, False, ("n_heads", "hidden_dim", "n_layers", "activation")
    ),
}
#: Tensors that are no part of vectors: counters, the head of the pretraining, a pooler that sentence-transformers passes over.
_UNUSED = ("position_ids", "cls.", "lm_head.", "vocab_", "discriminator_predictions.", "generator_", "pooler.")
#: Settings of the transformer module that change what it reads or gives.
_READING = ("do_lower_case", "processing_kwargs", "method_output_name")
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 0.5 * (1 + np.tanh(x / 2)),
    "GELU": lambda x: _gelu(x),
}
Step = Callable[[np.ndarray], np.ndarray]


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf  # loaded only by models that need it

    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


class UnsupportedError(Exception):
    """The kernels do not run this model; the message says what of it."""


class Outline(NamedTuple):
    """A model as the kernels run it."""

    embeddings: dict[str, np.ndarray]
    """float32 `words` (v, d), `positions` (p, d), `types` (t, d) or (0, d), `gain` and `bias` (d,)."""
    layers: list[dict[str, tuple[np.ndarray, np.ndarray]]]
    """Weight and bias of each part of a layer; a norm's gain and bias."""
    heads: int
    inner: int
    epsilon: float
    position_offset: int
    pool: str
    """`mean`, or `first` for the first token."""
    steps: list[Step]
    """What follows, (texts, d) -> (texts, outputs) all in all."""


def outline_of(folder: Path) -> Outline:
    """Read a model's folder for the kernels.

    Raises:
        UnsupportedError: something of it is not what the kernels compute. DataError: a file is damaged.
    """
    try:
        place = transformer_folder(folder)
    except DataError as error:
        raise UnsupportedError("a model without a transformer") from error
    config = read_settings(place / "config.json")
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise UnsupportedError(f"models of the type {kind}")
    _require_known(config, read_settings(place / "sentence_bert_config.json"))
    family = FAMILIES[kind]
    tensors = _Tensors(map_tensors(place), family.prefix)
    embeddings = _embeddings(tensors, kind)
    names = [config.get(name) for name in family.settings]
    if names[3] != "gelu":
        raise UnsupportedError(f"the activation {names[3]}")
    layers = [_layer(tensors, family, number) for number in range(int(names[2]))]
    padding = config.get("pad_token_id")
    offset = int(1 if padding is None else padding) + 1 if family.positions_after_padding else 0
    pool, steps = _behind(folder, kind, tensors, modules_of(folder))
    tensors.require_all_used()
    size = embeddings["words"].shape[1]
    if size % int(names[0]) or any(layer["qkv"][0].shape != (3 * size, size) for layer in layers):
        raise UnsupportedError("heads of another size than the model's")
    epsilon = float(config.get("layer_norm_eps", 1e-12))
    return Outline(embeddings, layers, int(names[0]), int(names[1]), epsilon, offset, pool, steps)


def _require_known(config: dict[str, Any], reading: dict[str, Any]) -> None:
    if config.get("position_embedding_type", "absolute") not in (None, "absolute"):
        raise UnsupportedError(f"positions that are {config['position_embedding_type']}")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise UnsupportedError("decoders")
    if config.get("quantization_config"):
        raise UnsupportedError("weights that are quantised already")
    for name in _READING:
        if reading.get(name) not in (None, False, {}, "last_hidden_state"):
            raise UnsupportedError(f"the setting {name} = {reading[name]}")


class _Tensors:
    """The tensors of a transformer by their names in the body, of which each is to have a role."""

    def __init__(self, stored: dict[str, StoredTensor], prefix: str) -> None:
        # A few old files call a norm's numbers gamma and beta.
        known = {name.replace("LayerNorm.gamma", "LayerNorm.weight"): tensor for name, tensor in stored.items()}
        known = {name.replace("LayerNorm.beta", "LayerNorm.bias"): tensor for name, tensor in known.items()}
        self._stored = {name.removeprefix(prefix): tensor for name, tensor in known.items()}
        self._used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._stored

    def take(self, name: str) -> np.ndarray:
        """One tensor as float32."""
        if name not in self._stored:
            raise UnsupportedError(f"a model without {name}")
        self._used.add(name)
        return self._stored[name].floats()

    def pair(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of a part."""
        return self.take(f"{name}.weight"), self.take(f"{name}.bias")

    def require_all_used(self) -> None:
        """Refuse a model that holds what nothing here computes."""
        known = lambda name: any(part in f".{name}" for part in (f".{one}" for one in _UNUSED))  # noqa: E731
        left = sorted(name for name in self._stored if name not in self._used and not known(name))
        if left:
            raise UnsupportedError(f"a model with {left[0]}")


def _embeddings(tensors: _Tensors, kind: str) -> dict[str, np.ndarray]:
    words = tensors.take("embeddings.word_embeddings.weight")
    types = "embeddings.token_type_embeddings.weight"
    if "embeddings_project.weight" in tensors:
        raise UnsupportedError("embeddings of another size than the model's")
    gain, bias = tensors.pair("embeddings.LayerNorm")
    return {
        "words": words,
        "positions": tensors.take("embeddings.position_embeddings.weight"),
        "types": np.zeros((0, words.shape[1]), np.float32) if kind == "distilbert" else tensors.take(types),
        "gain": gain,
        "bias": bias,
    }


def _layer(tensors: _Tensors, family: Family, number: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    prefix = family.layer.format(number)
    parts = {name: [tensors.pair(prefix + one) for one in ones] for name, ones in family.parts.items()}
    return {
        name: (np.concatenate([w for w, _ in pairs]), np.concatenate([b for _, b in pairs]))
        if len(pairs) > 1
        else pairs[0]
        for name, pairs in parts.items()
    }


def _behind(folder: Path, kind: str, tensors: _Tensors, modules: list[Module]) -> tuple[str, list[Step]]:
    """How tokens become one vector, and what follows."""
    cross = model_kind(folder) == "cross-encoder"
    if len(modules) < 2:
        if not cross:
            raise UnsupportedError("a transformer without a pooling")
        return "first", _classifier(kind, tensors)
    pooling = modules[1]
    modes = pooling_modes(pooling.settings)
    if pooling.kind != "Pooling" or modes not in (("mean",), ("cls",)):
        raise UnsupportedError(f"the pooling {'+'.join(modes) or pooling.kind}")
    if pooling.settings.get("include_prompt") is False:
        raise UnsupportedError("a pooling without the prompt")
    steps = [_step(folder, module) for module in modules[2:]]
    cut = read_settings(folder / SETTINGS).get("truncate_dim")
    if isinstance(cut, int) and not cross:
        steps.append(lambda x: x[:, :cut])
    return "mean" if modes == ("mean",) else "first", steps


def _step(folder: Path, module: Module) -> Step:
    if module.kind == "Normalize":
        return lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    if module.kind != "Dense":
        raise UnsupportedError(f"the module {module.kind}")
    settings = module.settings
    reads = settings.get("module_input_name") or "sentence_embedding"
    gives = settings.get("module_output_name") or reads
    if reads != "sentence_embedding" or gives not in ("sentence_embedding", "scores"):
        raise UnsupportedError(f"a Dense from {reads} to {gives}")
    own = map_tensors(folder / module.path)
    if not {"linear.weight"} <= set(own) <= {"linear.weight", "linear.bias"}:
        raise UnsupportedError("a Dense of another form")
    named = settings.get("activation_function") or "Identity"
    return _dense(
        *(own[f"linear.{part}"].floats() if f"linear.{part}" in own else None for part in ("weight", "bias")), named
    )


def _dense(weight: Any, bias: Any, activation: str) -> Step:
    named = str(activation).rsplit(".", 1)[-1]
    if named not in _ACTIVATIONS:
        raise UnsupportedError(f"the activation {activation}")
    act = _ACTIVATIONS[named]
    weight = np.ascontiguousarray(weight.T)
    # Row by row: a product of another number of rows may add in another order, and a text's output must not depend on others.
    return lambda x: act(np.stack([row @ weight for row in x]) + (0 if bias is None else bias)).astype(np.float32)


def _classifier(kind: str, tensors: _Tensors) -> list[Step]:
    """The head of a model for classification, which reads the first token."""
    if kind == "bert":
        return [_dense(*tensors.pair("pooler.dense"), "Tanh"), _dense(*tensors.pair("classifier"), "Identity")]
    if kind == "distilbert":
        return [_dense(*tensors.pair("pre_classifier"), "ReLU"), _dense(*tensors.pair("classifier"), "Identity")]
    between = "GELU" if kind == "electra" else "Tanh"
    return [
        _dense(*tensors.pair("classifier.dense"), between),
        _dense(*tensors.pair("classifier.out_proj"), "Identity"),
    ]

"""torch runs the model: the reference that every other backend is measured against."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import LayerNorm, Normalize, Pooling
from torch import Tensor, nn

from munjang.engine.bags import Bags, is_bag, read_features
from munjang.engine.batches import CPU_BUDGET, GPU_BUDGET
from munjang.engine.features import Features
from munjang.engine.lean import LeanBody, NotLeanError, Packed, pack

#: Largest difference to the plain forward pass, as a share of its largest number, that rounding explains.
_TOLERANCE = 1e-5
#: Modules behind a body that look at nothing but the states of tokens, or at one vector a text.
_AFTER = (Pooling, Dense, LayerNorm, Normalize)
#: Batches of several lengths, so that a forward pass that mixes texts up cannot pass.
_PROBES = ("환불은 언제 되나요?", "배송", "How long does a refund take, and where can I see it?", "네, 맞아요.")


class TorchBackend:
    """A model of sentence-transformers in memory.

    On a CPU a body of BERT's family runs without padding (`munjang.engine.lean`) if that gives the same outputs on a few
    texts, which is tried; every other model runs as sentence-transformers runs it, in batches of similar length.

    Args:
        model: its weights may not change later; see `over`.
        device: where it is.
        budget: tokens a batch; by default 512 on a CPU, where a batch should stay in its caches, and 16,384 elsewhere and
            for models without a transformer.
        half: compute matrix products in bfloat16, which a GPU has units for; outputs are rounded accordingly.
    """

    def __init__(
        self,
        model: SentenceTransformer | CrossEncoder,
        device: str = "cpu",
        budget: int | None = None,
        half: bool = False,
    ) -> None:
        self.name = "torch-bfloat16" if half else "torch"
        self.note = ""
        self._half = half
        self.model = model.eval()
        self.device = device
        self.live = False
        self.pairs = isinstance(model, CrossEncoder)
        self.outputs = (
            model.num_labels if isinstance(model, CrossEncoder) else int(model.get_embedding_dimension() or 0)
        )
        on_cpu = device == "cpu"
        # A mean of rows is done before Python has put a small batch together.
        self.budget = budget or (CPU_BUDGET if on_cpu and not is_bag(model) else GPU_BUDGET)
        # Several threads in one model: only where each of them computes functions of weights.
        self.threads = 1
        self._lean = self._proven_lean() if on_cpu and not half else None
        if self._lean is not None:
            self.threads = max(min(torch.get_num_threads(), len(os.sched_getaffinity(0))), 1)

    @classmethod
    def over(
        cls, model: SentenceTransformer | CrossEncoder, device: str = "cpu", budget: int | None = None
    ) -> TorchBackend:
        """A backend over a model whose weights change between calls, such as one in training."""
        backend = cls(model, device, budget)
        backend.live = True
        return backend

    def ready(self) -> TorchBackend:
        """See `munjang.engine.backend.Backend`."""
        return TorchBackend(self.model, self.device, self.budget) if self.live else self

    @property
    def identity(self) -> str:
        """See `munjang.engine.backend.Backend`."""
        number = next((str(weight.dtype) for weight in self.model.parameters()), "torch.float32")
        number = "torch.bfloat16" if self._half else number
        kind = self.device.partition(":")[0]
        return number.replace(".", "-") + ("" if kind == "cpu" else f"-{kind}")

    @property
    def is_lean(self) -> bool:
        """True if nothing is computed for padding."""
        return self._lean is not None

    def read(self, inputs: Sequence, prompt: str = "") -> Features | Bags:
        """Tokenise texts or pairs."""
        return read_features(self.model, inputs, prompt)

    def run(self, read: Features | Bags, positions: Sequence[int]) -> np.ndarray:
        """Vectors or logits, float32 (len(positions), outputs)."""
        with torch.inference_mode():
            found = self._plainly(read, positions) if self._lean is None else self._lean(read, positions)
        # A model may say that its vectors are to be cut, and leaves that to whoever calls it.
        return found.float().reshape(len(positions), -1)[:, : self.outputs].cpu().numpy()

    def _plainly(self, read: Features | Bags, positions: Sequence[int]) -> Tensor:
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=self._half):
            features = self.model(read.batch(positions))
        return features["scores"] if self.pairs else features["sentence_embedding"]

    def _proven_lean(self) -> Any:
        """The forward pass without padding; None where there is none that gives the same outputs."""
        with contextlib.suppress(NotLeanError, AttributeError):
            modules = len(list(self.model.children())) > 1 or not self.pairs
            lean = _LeanModules(self.model) if modules else _LeanClassifier(self.model)
            probes: Any = list(zip(_PROBES, _PROBES[::-1], strict=True)) if self.pairs else list(_PROBES)
            read = self.read(probes)
            positions = np.argsort([-n for n in read.lengths], kind="stable")
            with torch.inference_mode():
                expected, found = self._plainly(read, positions).float(), lean(read, positions).float()
            expected = expected.reshape(found.shape)
            if bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max().clamp(min=1)):
                return lean
        return None


class _LeanModules:
    """A lean body, and the modules behind it as they are, over tokens without padding: vectors, or scores of pairs.

    Where all that is read of a text is its first token, the last layer computes nothing else.
    """

    def __init__(self, model: SentenceTransformer | CrossEncoder) -> None:
        modules = list(model.children())
        if len(modules) < 2 or any(type(module) not in _AFTER for module in modules[1:]):
            raise NotLeanError
        self._body = LeanBody(_body_of(model))
        self._after = modules[1:]
        self._output = "scores" if isinstance(model, CrossEncoder) else "sentence_embedding"
        first = modules[1]
        self._first_only = isinstance(first, Pooling) and first.pooling_mode == "cls" and first.include_prompt

    def __call__(self, read: Features, positions: Sequence[int]) -> Tensor:
        packed = _packed(read, positions)
        states = self._body.states(packed, self._first_only)
        starts = torch.arange(len(positions) + 1) if self._first_only else packed.starts
        # The names under which sentence-transformers passes on texts that stand one after the other.
        features = {**read.extra, "token_embeddings": states[None], "cu_seq_lens_q": starts}
        for module in self._after:
            features = module(features)
        return features[self._output]


class _LeanClassifier:
    """A lean body of which the last layer computes first tokens only, and the head of a model for classification."""

    def __init__(self, model: CrossEncoder) -> None:
        whole: Any = model.transformers_model
        body = _body_of(model)
        self._body = LeanBody(body)
        self._pooler = getattr(body, "pooler", None)
        self._head: nn.Module = whole.classifier

    def __call__(self, read: Features, positions: Sequence[int]) -> Tensor:
        first = self._body.states(_packed(read, positions), first_only=True)[:, None]
        return self._head(first if self._pooler is None else self._pooler(first))


def _body_of(model: Any) -> Any:
    body = getattr(getattr(model, "transformers_model", None), "base_model", None)
    if body is None:
        raise NotLeanError
    return body


def _packed(read: Features, positions: Sequence[int]) -> Packed:
    ids, types = read.columns["input_ids"], read.columns.get("token_type_ids")
    return pack([ids[i] for i in positions], None if types is None else [types[i] for i in positions])

"""Golden outputs: is what encodes here still the model that was exported?"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from munjang.engine.certificate import SAME
from munjang.errors import DataError, UnavailableError, UsageError

_SECONDS = 30


@dataclass(frozen=True)
class Verified:
    """How near outputs are to golden ones."""

    of: str
    inputs: int
    cosine_least: float | None
    """Of vectors; None for a cross-encoder."""
    difference_largest: float
    """Of any number."""
    worst: str
    """The input that is farthest off."""

    @property
    def same(self) -> bool:
        """True where only rounding is between them."""
        return self.difference_largest <= 1 - SAME if self.cosine_least is None else self.cosine_least >= SAME


def verify_folder(folder: Path, golden: dict[str, Any]) -> Verified:
    """Compare what plain sentence-transformers makes of the golden inputs with the golden outputs.

    Args:
        folder: of a model.
        golden: what `munjang.engine.exporting.read_golden` gave.

    Raises:
        DataError: the model is of the other kind, or its outputs have another shape.
    """
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from torch import nn

    from munjang.engine.loading import load_model

    inputs = golden["inputs"]
    if golden["kind"] == "bi-encoder":
        found = load_model(SentenceTransformer, folder, "cpu").encode(inputs, prompt=golden["prompt"])
    else:
        model = load_model(CrossEncoder, folder, "cpu")
        found = model.predict([tuple(pair) for pair in inputs], activation_fn=nn.Identity())
    return _compared(str(folder), np.asarray(found).reshape(len(inputs), -1), golden)


def verify_url(url: str, golden: dict[str, Any], model: str) -> Verified:
    """Compare what a server gives for the golden inputs, by the OpenAI embeddings API, with the golden outputs.

    Args:
        url: of the server, such as `http://127.0.0.1:8080`; `/v1/embeddings` is added where it is missing.
        golden: of a bi-encoder. The model's prompt stands before each text that is sent: such servers add none.
        model: the name that the request gives.

    Raises:
        UsageError: the golden outputs are of a cross-encoder. UnavailableError: the server cannot be reached or refuses.
        DataError: its answer is not of that API.
    """
    if golden["kind"] != "bi-encoder":
        raise UsageError("a server of embeddings is compared with a bi-encoder", got=golden["kind"])
    address = url.rstrip("/")
    address = address if address.endswith("/embeddings") else f"{address.removesuffix('/v1')}/v1/embeddings"
    texts = [golden["prompt"] + text for text in golden["inputs"]]
    body = json.dumps({"model": model, "input": texts}).encode()
    # Munjang's own server adds the prompt unless it is told not to; others do not know the header.
    headers = {"Content-Type": "application/json", "Munjang-Use": "none"}
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            content = json.loads(answer.read())
        rows = sorted(content["data"], key=lambda entry: entry["index"])
        found = np.array([entry["embedding"] for entry in rows], np.float64)
    except urllib.error.HTTPError as error:
        got = f"{error.code} {error.reason}"
        raise UnavailableError("the server refused", where=address, got=got) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise UnavailableError("the server cannot be reached", where=address, got=str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("this is no answer of the embeddings API", where=address, got=str(error)[:200]) from error
    return _compared(address, found, golden)


def _compared(of: str, found: np.ndarray, golden: dict[str, Any]) -> Verified:
    wanted = np.array(golden["outputs"], np.float64)
    if found.shape != wanted.shape:
        raise DataError("the outputs have another shape", where=of, expected=f"{wanted.shape}", got=f"{found.shape}")
    apart = np.abs(found - wanted).max(axis=1)
    least = None
    if golden["kind"] == "bi-encoder":
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
        cosines = (found * wanted).sum(axis=1) / np.maximum(norms, 1e-12)
        least, worst = float(cosines.min()), int(cosines.argmin())
    else:
        worst = int(apart.argmax())
    return Verified(of, len(found), least, float(apart.max()), str(golden["inputs"][worst]))

"""Exports give what torch gives, say how near they are, and are taken only where that is good enough."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer

from munjang import api
from munjang.data.catalog import SAMPLE_FOLDER
from munjang.engine.certificate import FILE, LOSS, Certificate, exports_of, read_certificate
from munjang.engine.encoder import Encoder
from munjang.engine.exporting import Dev, export_model
from munjang.engine.native import opening
from munjang.engine.scorer import Scorer
from munjang.errors import DataError, MissingInputError, UnavailableError, UsageError

TEXTS = [line for line in (SAMPLE_FOLDER / "raw.txt").read_text(encoding="utf-8").splitlines() if line][:40]
PAIRS = list(zip(TEXTS[::2], TEXTS[1::2], strict=True))


def correlation(predicted: np.ndarray, gold: np.ndarray) -> float:
    return float(spearmanr(predicted, gold)[0])


def made(folder: Path, backend: str, precision: str = "float32", dev: Dev | None = None, **more: bool) -> Certificate:
    return export_model(folder, backend, precision, TEXTS, dev, spearman=correlation, **more)


@pytest.fixture(scope="module")
def bi(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(tiny_bi, tmp_path_factory.mktemp("exported") / "bi")
    for backend in ("openvino", "onnx"):
        made(folder, backend)
    return folder


@pytest.fixture
def _without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "module", lambda: None)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_vectors_of_an_export_are_those_of_torch(backend: str, bi: Path) -> None:
    expected, found = Encoder(bi), Encoder(bi, backend=backend)
    assert found.backend.name == f"{backend}-float32"
    assert np.abs(found.encode(TEXTS) - expected.encode(TEXTS)).max() < 1e-5
    assert np.abs(found.encode(TEXTS, use="document") - expected.encode(TEXTS, use="document")).max() < 1e-5
    long = ["가 나 다 " * 60, "짧다"]
    assert np.abs(found.encode(long) - expected.encode(long)).max() < 1e-5
    assert found.counts.truncated == 1
    assert found.dimension == expected.dimension
    certificate = read_certificate(bi / ".munjang" / f"{backend}-float32")
    assert certificate.holds
    assert certificate.cosine_least > 0.99999


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_scores_of_an_export_are_those_of_torch(backend: str, tiny_cross: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_cross, tmp_path / "cross")
    certificate = made(folder, backend)
    assert certificate.difference_largest < 1e-4
    found, expected = Scorer(folder, backend=backend), Scorer(folder)
    assert np.abs(found.score(PAIRS) - expected.score(PAIRS)).max() < 1e-5


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_an_export_in_int8_is_near_and_says_what_it_costs(backend: str, tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "bi")
    gold = np.linspace(0, 1, len(PAIRS))
    certificate = made(folder, backend, "int8", Dev("by hand", PAIRS, gold))
    encoder = Encoder(folder, backend=f"{backend}-int8")
    cosines = (encoder.encode(TEXTS) * Encoder(folder).encode(TEXTS)).sum(axis=1)
    assert 0.8 < cosines.min() < 0.999999
    vectors = {text: vector for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True)}
    predicted = np.array([vectors[a] @ vectors[b] for a, b in PAIRS])
    assert certificate.dev_export == pytest.approx(100 * correlation(predicted, gold), abs=0.01)
    assert certificate.loss == pytest.approx(certificate.dev_torch - certificate.dev_export)
    assert certificate.holds == (certificate.loss <= LOSS)


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_the_first_calls_of_a_process_may_come_from_several_threads(backend: str, bi: Path) -> None:
    code = f"""
import sys
from munjang.engine.encoder import Encoder
texts = [f"글 {{i}} " * (i % 30 + 1) for i in range(400)]
encoder = Encoder({str(bi)!r}, backend={backend!r})
encoder.backend.threads = 8
encoder.encode(texts)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False"]


CERTIFICATE = Certificate(
    model="m",
    kind="bi-encoder",
    backend="onnx",
    precision="int8",
    outputs=4,
    limit=96,
    pad=0,
    types=True,
    sample=40,
    cosine_least=0.98,
    cosine_mean=0.99,
    difference_largest=None,
    dev=None,
    dev_rows=0,
    dev_torch=None,
    dev_export=None,
    speed_ratio=2.0,
    accepted=False,
)


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, False),
        ({"cosine_least": 0.99999}, False),
        ({"precision": "float32", "cosine_least": 0.99999}, True),
        ({"precision": "float32"}, False),
        ({"dev_torch": 80.0, "dev_export": 79.71}, True),
        ({"dev_torch": 80.0, "dev_export": 79.69}, False),
        ({"dev_torch": 80.0, "dev_export": 60.0, "accepted": True}, True),
        ({"precision": "float32", "cosine_least": None, "difference_largest": 1e-5}, True),
        ({"precision": "float32", "cosine_least": None, "difference_largest": 0.01}, False),
    ],
)
def test_when_a_certificate_holds(changes: dict, holds: bool) -> None:
    assert replace(CERTIFICATE, **changes).holds is holds


def rewrite(place: Path, **changes: object) -> None:
    """Commit an export anew with other figures in its certificate."""
    from munjang.files import MANIFEST, new_directory

    content = json.loads((place / FILE).read_text(encoding="utf-8")) | changes
    with new_directory(place.with_name("again")) as again:
        for path in place.iterdir():
            if path.name not in (FILE, MANIFEST):
                shutil.copyfile(path, again / path.name)
        (again / FILE).write_text(json.dumps(content), encoding="utf-8")
    shutil.rmtree(place)
    place.with_name("again").rename(place)


@pytest.mark.usefixtures("_without_kernels")
def test_auto_takes_the_fastest_that_holds_and_else_torch(bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bi, tmp_path / "bi")
    onnx, openvino = (folder / ".munjang" / f"{name}-float32" for name in ("onnx", "openvino"))
    rewrite(onnx, speed_ratio=1.5)
    rewrite(openvino, speed_ratio=3.0)
    assert Encoder(folder, backend="auto").backend.name == "openvino-float32"
    rewrite(openvino, cosine_least=0.9)
    assert Encoder(folder, backend="auto").backend.name == "onnx-float32"
    rewrite(onnx, speed_ratio=0.9)
    assert Encoder(folder, backend="auto").backend.name == "torch"
    assert Encoder(folder, backend="onnx").backend.name == "onnx-float32"


@pytest.mark.usefixtures("_without_kernels")
def test_an_export_of_other_weights_or_with_a_flipped_bit_is_not_taken(bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bi, tmp_path / "bi")
    assert len(list(exports_of(folder))) == 2
    graph = folder / ".munjang" / "onnx-float32" / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    assert [c.backend for _, c in exports_of(folder)] == ["openvino"]
    with pytest.raises(DataError):
        read_certificate(graph.parent)
    model = SentenceTransformer(str(folder), device="cpu")
    model.transformers_model.embeddings.word_embeddings.weight.data.mul_(1.1)
    model.save_pretrained(str(folder), create_model_card=False)
    assert list(exports_of(folder)) == []
    with pytest.raises(MissingInputError, match="no export"):
        Encoder(folder, backend="openvino")
    assert Encoder(folder, backend="auto").backend.name == "torch"


def test_a_failed_export_leaves_the_earlier_one(bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(bi, tmp_path / "bi")

    def fail(*arguments: object, **more: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr("torch.onnx.export", fail)
    with pytest.raises(DataError, match="cannot be exported"):
        made(folder, "onnx")
    assert {c.backend for _, c in exports_of(folder)} == {"onnx", "openvino"}
    assert not [path.name for path in (folder / ".munjang").iterdir() if path.name.startswith(".")]


def test_exports_do_not_change_what_the_model_is(bi: Path, tiny_bi: Path) -> None:
    from munjang.models.folder import fingerprint_model

    assert fingerprint_model(bi) == fingerprint_model(tiny_bi)
    assert np.allclose(SentenceTransformer(str(bi), device="cpu").encode(TEXTS), Encoder(bi).encode(TEXTS), atol=1e-5)


def test_a_library_that_is_missing_is_named_before_any_work(tiny_bi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="openvino"):
        made(tiny_bi, "openvino")


# -- golden outputs


class Embeddings(BaseHTTPRequestHandler):
    """A server of embeddings in a few lines."""

    encoder: SentenceTransformer
    scale = 1.0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/embeddings" or asked["model"] == "unknown":
            self.send_error(404)
            return
        vectors = self.encoder.encode(asked["input"], prompt="")
        vectors[:, 0] *= self.scale
        data = [{"index": i, "embedding": vector.tolist()} for i, vector in enumerate(vectors)][::-1]
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def server(bi: Path) -> Iterator[str]:
    Embeddings.encoder, Embeddings.scale = SentenceTransformer(str(bi), device="cpu"), 1.0
    running = HTTPServer(("127.0.0.1", 0), Embeddings)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()


def test_the_exported_model_is_verified_and_another_is_not(bi: Path, tmp_path: Path) -> None:
    found = api.verify(str(bi))
    assert (found.same, found.inputs) == (True, 8)
    other = tmp_path / "other"
    model = SentenceTransformer(str(bi), device="cpu")
    model.transformers_model.encoder.layer[0].output.dense.weight.data.mul_(-1)
    model.save_pretrained(str(other), create_model_card=False)
    changed = api.verify(str(other), golden=str(bi))
    assert not changed.same
    assert changed.cosine_least < 0.9999
    with pytest.raises(MissingInputError, match="no export"):
        api.verify(str(other))


def test_a_server_is_verified(bi: Path, server: str) -> None:
    assert api.verify(server, golden=str(bi)).same
    assert api.verify(f"{server}/v1/", golden=str(bi / ".munjang" / "onnx-float32" / "golden.json")).same
    Embeddings.scale = 3.0
    assert not api.verify(server, golden=str(bi)).same


def test_a_server_that_is_none_says_so(bi: Path, server: str) -> None:
    with pytest.raises(UnavailableError, match="refused"):
        api.verify(server, golden=str(bi), model="unknown")
    with pytest.raises(UnavailableError, match="reached"):
        api.verify("http://127.0.0.1:9", golden=str(bi))
    with pytest.raises(MissingInputError, match="golden"):
        api.verify(server)


def test_a_server_is_not_compared_with_a_cross_encoder(tiny_cross: Path, tmp_path: Path, server: str) -> None:
    folder = shutil.copytree(tiny_cross, tmp_path / "cross")
    made(folder, "onnx")
    assert api.verify(str(folder)).same
    with pytest.raises(UsageError):
        api.verify(server, golden=str(folder))

"""Encoders and scorers give what plain sentence-transformers gives, in the order of the input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang.engine.encoder import Encoder, cosine_of_rows, normalise
from munjang.engine.scorer import Scorer
from munjang.errors import DataError

TEXTS = [
    "환불은 언제 되나요?",
    "배송",
    "주문을 취소하고 싶은데 버튼이 보이지 않아요",
    "환불은 언제 되나요?",
    "카드 결제가 두 번 됐어요",
    "네",
]


@pytest.fixture(scope="module")
def encoder(tiny_bi: Path) -> Encoder:
    return Encoder(tiny_bi)


@pytest.mark.parametrize("budget", [1, 40, 4096])
def test_vectors_are_those_of_sentence_transformers_whatever_the_batch(tiny_bi: Path, budget: int) -> None:
    expected = SentenceTransformer(str(tiny_bi), device="cpu").encode(TEXTS)
    found = Encoder(tiny_bi, budget=budget).encode(TEXTS)
    assert found.shape == (len(TEXTS), 32)
    assert np.abs(found - expected).max() < 1e-5


def test_query_and_document_prompts_are_those_of_sentence_transformers(encoder: Encoder) -> None:
    assert np.abs(encoder.encode(TEXTS, use="query") - encoder.model.encode_query(TEXTS)).max() < 1e-5
    assert np.abs(encoder.encode(TEXTS, use="document") - encoder.model.encode_document(TEXTS)).max() < 1e-5
    assert np.abs(encoder.encode(TEXTS, use="document") - encoder.encode(TEXTS)).max() > 1e-3


def test_each_distinct_text_is_encoded_once(tiny_bi: Path) -> None:
    encoder = Encoder(tiny_bi)
    encoder.encode(TEXTS)
    assert (encoder.counts.inputs, encoder.counts.distinct) == (6, 5)


def test_truncated_texts_are_counted(tiny_bi: Path) -> None:
    encoder = Encoder(tiny_bi)
    encoder.encode(["가 " * 300, "짧은 글", "나 " * 200])
    assert encoder.counts.truncated == 2


@pytest.mark.parametrize("blank", ["", "  ", "\u3164", "\u200b"])
def test_a_blank_text_is_refused_with_its_place(encoder: Encoder, blank: str) -> None:
    with pytest.raises(DataError) as caught:
        encoder.encode(["글", blank])
    assert caught.value.where == "texts[1]"


def test_progress_reaches_the_end(encoder: Encoder) -> None:
    seen: list[tuple[int, int]] = []
    encoder.encode(TEXTS, progress=lambda done, total, note="": seen.append((done, total)))
    assert seen[-1] == (5, 5)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 32)


def test_scores_are_those_of_sentence_transformers(tiny_cross: Path) -> None:
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[4]), (TEXTS[5], TEXTS[5])]
    plain = CrossEncoder(str(tiny_cross), device="cpu")
    expected = plain.predict(pairs)
    assert np.abs(Scorer(tiny_cross, symmetric=False).score(pairs) - expected).max() < 1e-5
    turned = plain.predict([(b, a) for a, b in pairs])
    assert np.abs(Scorer(tiny_cross).score(pairs) - (expected + turned) / 2).max() < 1e-5


def test_symmetric_scores_do_not_depend_on_the_order(tiny_cross: Path) -> None:
    scorer = Scorer(tiny_cross)
    one, other = scorer.score([(TEXTS[0], TEXTS[2])]), scorer.score([(TEXTS[2], TEXTS[0])])
    assert one == pytest.approx(other, abs=1e-6)
    given = Scorer(tiny_cross, symmetric=False)
    assert abs(given.score([(TEXTS[0], TEXTS[2])]) - given.score([(TEXTS[2], TEXTS[0])]))[0] > 1e-6


def test_a_cross_encoder_with_classes_is_refused(tiny_bi: Path, tmp_path: Path) -> None:
    model = CrossEncoder(str(tiny_bi), num_labels=3, device="cpu")
    model.save_pretrained(str(tmp_path / "nli"), create_model_card=False)
    with pytest.raises(DataError) as caught:
        Scorer(tmp_path / "nli")
    assert caught.value.got == "3"


def test_cosine_and_normalise_agree() -> None:
    left, right = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    assert np.allclose(cosine_of_rows(left, right), (normalise(left) * normalise(right)).sum(axis=1), atol=1e-6)

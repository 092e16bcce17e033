"""TSDAE deletes tokens but no frame, shares the encoder's weights, and learns to restore sentences."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from munjang.data.rows import ScoredPair
from munjang.engine.encoder import Encoder
from munjang.errors import ConfigError
from munjang.train.bi import BiTask, train_bi
from munjang.train.examples import TrainRows
from munjang.train.objectives import BI_OBJECTIVES
from munjang.train.team import Team
from munjang.train.tsdae import DenoisingDecoder


def task_of(tiny_bi: Path, make_options, texts: list[str]) -> BiTask:
    encoder = Encoder(tiny_bi)
    sets = [TrainRows("t", "sentences", texts, BI_OBJECTIVES["tsdae"])]
    return BiTask(encoder.model, sets, make_options(), encoder.prompt())


@pytest.fixture
def texts(rows: list[ScoredPair]) -> list[str]:
    return [row.sentence1 for row in rows]


def test_deletion_keeps_the_frame_the_prompt_and_at_least_one_token(tiny_bi: Path, make_options, texts) -> None:
    task = task_of(tiny_bi, make_options, [*texts, "네"])
    decoder, tokenizer = task.losses[0], task.model.tokenizer
    torch.manual_seed(0)
    batch = task.features.batch(list(range(len(task.features))))
    damaged = decoder._damaged(batch)
    kept, whole = 0, 0
    for before, mask, after, left in zip(
        batch["input_ids"], batch["attention_mask"], damaged["input_ids"], damaged["attention_mask"], strict=True
    ):
        long, short = before[mask == 1].tolist(), after[left == 1].tolist()
        assert (short[0], short[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        rest = iter(long)
        assert all(piece in rest for piece in short)  # a subsequence
        free = [piece for piece in long if piece not in decoder._kept]
        assert sum(piece not in decoder._kept for piece in short) >= 1
        kept, whole = kept + sum(p not in decoder._kept for p in short), whole + len(free)
        assert (after[left == 0] == tokenizer.pad_token_id).all()
    assert 0.3 < kept / whole < 0.5


def test_the_decoder_shares_all_but_its_attention_to_the_vector(tiny_bi: Path, make_options, texts) -> None:
    task = task_of(tiny_bi, make_options, texts)
    own = {id(p) for p in task.model.parameters()}
    new = [name for name, p in task.losses[0].named_parameters() if id(p) not in own]
    assert new
    assert all("crossattention" in name for name in new)
    assert task.whole_gradients == set()


def test_what_comes_later_is_hidden_and_the_vector_is_seen(tiny_bi: Path, make_options, texts) -> None:
    task = task_of(tiny_bi, make_options, texts)
    task.trainable.eval()
    decoder = task.losses[0]
    batch = task.features.batch([0, 1])
    ids, mask = batch["input_ids"].clone(), batch["attention_mask"]
    vectors = task.model(dict(batch))["sentence_embedding"]
    first = decoder._decode(ids, mask, vectors)
    ids[:, 5:] = task.model.tokenizer.unk_token_id
    second = decoder._decode(ids, mask, vectors)
    assert torch.allclose(first[:, :5], second[:, :5], atol=1e-6)
    assert not torch.allclose(first[:, 5:], second[:, 5:], atol=1e-3)
    assert not torch.allclose(first, decoder._decode(batch["input_ids"], mask, -vectors), atol=1e-3)


def test_a_training_restores_more_and_saves_an_ordinary_model(
    tiny_bi: Path, make_options, texts, tmp_path: Path
) -> None:
    options = make_options(epochs=12, learning_rate=3e-3, evaluations=1, word_embeddings="used")
    sets = [TrainRows("t", "sentences", texts, BI_OBJECTIVES["tsdae"])]
    scores = iter([1.0, 2.0])
    report = train_bi(
        options, sets, lambda encoder: next(scores), start=tiny_bi, out=tmp_path / "bi", seed=1, device="cpu"
    )
    assert report.losses[-1]["loss"] < 0.8 * report.losses[0]["loss"]
    assert Encoder(tmp_path / "bi").encode(texts).shape == (len(texts), 32)


def test_a_family_without_a_decoder_is_named() -> None:
    body = SimpleNamespace(config=SimpleNamespace(model_type="distilbert"))
    with pytest.raises(ConfigError, match="tsdae") as caught:
        DenoisingDecoder(SimpleNamespace(transformers_model=body), None)
    assert caught.value.got == "distilbert"
    assert "simcse" in caught.value.hint


def test_shares_of_a_team_add_up(tiny_bi: Path, make_options, texts) -> None:
    task = task_of(tiny_bi, make_options, texts)
    task.trainable.eval()
    decoder = task.losses[0]
    decoder._damaged = lambda batch: batch  # what is deleted is drawn by each process
    whole = decoder.step(Team(), [0, 1, 2, 3])
    parts = [decoder.step(Team(rank, 2), [0, 1, 2, 3]) for rank in (0, 1)]
    assert sum(float(part.loss) for part in parts) == pytest.approx(float(whole.loss), rel=1e-5)
    assert all(part.partial for part in parts)
    assert {part.tokens for part in parts} == {whole.tokens}

"""Training on the used rows of a word embedding is the same computation for them, and leaves the others alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from munjang.errors import DataError
from munjang.train.options import TrainBiOptions
from munjang.train.trainable import prepare
from munjang.train.vocabulary import UsedRows, keep_used_rows, restore_all_rows, word_embedding


@pytest.fixture
def model(tiny_bi: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_bi), device="cpu")


def test_all_tokens_keep_their_vectors() -> None:
    whole = nn.Embedding(20, 4)
    rows = UsedRows(whole, [3, 5, 5, 19])
    tokens = torch.tensor([[3, 4, 19], [0, 5, 5]])
    assert rows.weight.shape == (3, 4)
    assert torch.equal(rows(tokens), whole(tokens))
    assert sum(p.numel() for p in rows.parameters()) == 12


def test_a_step_moves_the_used_rows_as_a_step_on_all_would() -> None:
    torch.manual_seed(0)
    whole, full = nn.Embedding(20, 4), nn.Embedding(20, 4)
    full.load_state_dict(whole.state_dict())
    before = whole.weight.detach().clone()
    rows = UsedRows(whole, [3, 5, 19])
    tokens = torch.tensor([3, 5, 5, 19, 3])
    for module in (rows, full):
        optimizer = torch.optim.AdamW([module.weight], lr=0.1, weight_decay=0.0)
        for _ in range(5):
            optimizer.zero_grad()
            (module(tokens) ** 2).sum().backward()
            optimizer.step()
    assert torch.equal(rows.put_back().weight, full.weight)
    others = [i for i in range(20) if i not in (3, 5, 19)]
    assert torch.equal(whole.weight[others], before[others])
    assert not torch.equal(whole.weight[[3, 5, 19]], before[[3, 5, 19]])


def test_a_model_gives_the_same_vectors_with_its_used_rows_and_after_them(model: SentenceTransformer) -> None:
    texts = ["환불은 언제 되나요?", "배송이 늦어요"]
    before = model.encode(texts)
    count = sum(p.numel() for p in model.parameters())
    ids = model.tokenizer(texts[0])["input_ids"]  # the second text holds tokens that are not used
    rows = keep_used_rows(model, ids)
    assert sum(p.numel() for p in model.parameters()) < count
    assert (model.encode(texts) == before).all()
    restore_all_rows(model, rows)
    assert (model.encode(texts) == before).all()
    assert isinstance(word_embedding(model)[2], nn.Embedding)
    assert sum(p.numel() for p in model.parameters()) == count


def test_a_tied_matrix_is_left_whole() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
            self.out.weight = self.words.weight

        def get_input_embeddings(self) -> nn.Embedding:
            return self.words

    tied = Tied()
    assert keep_used_rows(tied, [1, 2]) is None
    assert tied.words.weight.shape == (9, 4)


def test_a_model_without_words_is_an_error() -> None:
    with pytest.raises(DataError, match="no word embeddings"):
        word_embedding(nn.Linear(2, 2))


def test_an_embedding_that_is_held_in_two_places_is_replaced_in_both() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Embedding(9, 4)
            self.encoder = nn.ModuleDict({"words": self.shared})

        def get_input_embeddings(self) -> nn.Embedding:
            return self.shared

    twice = Twice()
    whole = twice.shared
    rows = keep_used_rows(twice, [1, 2])
    assert twice.shared is rows
    assert twice.encoder["words"] is rows
    assert [p.shape for p in twice.parameters()] == [(2, 4)]
    restore_all_rows(twice, rows)
    assert twice.shared is whole
    assert twice.encoder["words"] is whole


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("words", ["used", "frozen", "all"])
def test_word_embeddings_that_are_trained_whole_unasked_are_said(
    model: SentenceTransformer, words: str, tied: bool
) -> None:
    matrix = model.transformers_model.get_input_embeddings().weight
    if tied:
        model.transformers_model.out = nn.Linear(*reversed(matrix.shape), bias=False)
        model.transformers_model.out.weight = matrix
    options = TrainBiOptions(name="m", model="m", train=["t"], dev="d", word_embeddings=words)
    said = prepare(model, options, [1, 2], 0).said
    assert len(said) == (tied and words == "used")
    assert all(f"the {len(matrix):,} word embeddings are trained as a whole" in line for line in said)

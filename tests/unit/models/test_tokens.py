"""The doctor sees which texts a model's tokenizer cannot, and which it would cut."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from munjang.models.tokens import TokenStatistics, lint_tokens, token_statistics

#: `tiny_bi` knows the characters of the sample data; these it does not.
UNKNOWN = "Ω ж"
KNOWN = "환불"


@pytest.fixture(scope="module")
def limit(tiny_bi: Path) -> int:
    return SentenceTransformer(str(tiny_bi), device="cpu").max_seq_length


def test_counts_are_those_of_a_loop_over_the_texts(tiny_bi: Path) -> None:
    texts = [f"{KNOWN} {UNKNOWN}", KNOWN, "주문을 취소하고 싶어요. " * 3, "가" * 60] * 500
    tokenizer = SentenceTransformer(str(tiny_bi), device="cpu").tokenizer
    encoded = [tokenizer(text, truncation=False, verbose=False)["input_ids"] for text in texts[:4]]
    found = token_statistics(tiny_bi, texts)
    assert found.texts == 2000
    assert found.tokens == 500 * sum(map(len, encoded))
    assert found.characters == sum(map(len, texts))
    assert found.unknown == 500 * sum(ids.count(tokenizer.unk_token_id) for ids in encoded) == 1000
    assert found.unknown_example == texts[0]


def test_a_text_is_too_long_where_the_model_would_cut_it(tiny_bi: Path, limit: int) -> None:
    fits, exceeds = " ".join("가" * (limit - 2)), " ".join("가" * (limit - 1))
    found = token_statistics(tiny_bi, [fits, exceeds, exceeds, "짧은 글"])
    assert (found.limit, found.too_long) == (limit, 2)


def test_a_tokenizer_that_cuts_and_pads_by_itself_is_told_not_to(tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=40)
    tokenizer.save(str(folder / "tokenizer.json"))
    texts = ["가 나 다 라 마 바 사", "짧은 글", " ".join("가" * 200)]
    assert token_statistics(folder, texts) == token_statistics(tiny_bi, texts)


def test_the_tighter_of_two_limits_counts(tiny_bi: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bi, tmp_path / "model")
    settings = folder / "sentence_bert_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "max_seq_length": 8}))
    assert token_statistics(folder, ["가 나 다 라 마 바 사"]).limit == 8
    assert token_statistics(folder, ["가 나 다 라 마 바 사"]).too_long == 1
    assert SentenceTransformer(str(folder), device="cpu").max_seq_length == 8


def test_a_folder_without_a_tokenizer_file_says_nothing(tmp_path: Path) -> None:
    assert token_statistics(tmp_path, ["글"]) is None


def test_without_settings_the_unknown_token_is_that_of_the_tokenizer(tiny_bi: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_bi / "tokenizer.json", tmp_path)
    found = token_statistics(tmp_path, [UNKNOWN])
    assert (found.unknown, found.limit, found.unknown_example) == (2, None, UNKNOWN)


def test_no_texts_are_no_reason_to_complain(tiny_bi: Path) -> None:
    assert lint_tokens("set", token_statistics(tiny_bi, [])) == []


@pytest.mark.parametrize(
    ("unknown", "severity"), [(0, None), (10, None), (11, "warning"), (200, "warning"), (201, "error")]
)
def test_the_share_of_unknown_tokens_decides(unknown: int, severity: str | None) -> None:
    findings = lint_tokens("set", TokenStatistics(10, 1000, 5000, unknown, 0, 128, "뷁\x1b[31m"))
    assert [f.severity for f in findings] == ([severity] if severity else [])
    if severity:
        assert (findings[0].code, findings[0].where) == ("unknown-tokens", "set")
        assert f"{unknown / 1000:.1%}" in findings[0].message
        assert findings[0].example == "뷁\\x1b[31m"
        assert findings[0].remedy


def test_texts_that_will_be_cut_are_counted_in_words() -> None:
    findings = lint_tokens("set", TokenStatistics(2000, 9000, 9000, 0, 1234, 128))
    assert [(f.severity, f.code) for f in findings] == [("warning", "truncation")]
    assert findings[0].message == "1,234 of 2,000 texts exceed 128 tokens and will be cut"


def test_the_bundled_models_on_korean(bundled: dict[str, Path], real_data: Path) -> None:
    texts = (real_data / "raw-ko" / "klue-ner-dev.txt").read_text(encoding="utf-8").splitlines()[:500]
    e5 = token_statistics(bundled["e5-small"], texts)
    assert (e5.limit, e5.too_long, lint_tokens("ner", e5)) == (512, 0, [])
    assert e5.characters / e5.tokens > 1.5
    # The English model spells Korean in single jamo, so that it knows them and says nothing by them.
    english = token_statistics(bundled["minilm"], texts)
    assert english.limit == 256
    assert english.tokens > 2 * e5.tokens

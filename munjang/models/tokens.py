"""The model half of the doctor: how a model's tokenizer sees some texts. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from munjang.data.lint import Finding
from munjang.errors import DataError
from munjang.models.folder import read_settings
from munjang.text import printable

#: Share of unknown tokens above which a model cannot see the texts, and above which it is worth a look.
_BLIND, _DOUBTFUL = 0.20, 0.01


@dataclass(frozen=True)
class TokenStatistics:
    """Counts over some texts."""

    texts: int
    tokens: int
    characters: int
    unknown: int
    """Tokens that stand for text that the vocabulary does not cover."""
    too_long: int
    """Texts of more tokens than the model reads."""
    limit: int | None
    unknown_example: str = ""


def token_statistics(folder: Path, texts: list[str]) -> TokenStatistics | None:
    """Tokenize texts with a model's own tokenizer, or None where the folder has no `tokenizer.json`."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise DataError("this tokenizer cannot be loaded", where=path, got=str(error)[:200]) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown_id = _unknown_id(folder, tokenizer)
    limit = _maximum_length(folder)
    tokens = unknown = too_long = 0
    example = ""
    for start in range(0, len(texts), 1024):
        part = texts[start : start + 1024]
        for text, encoding in zip(part, tokenizer.encode_batch_fast(part), strict=True):
            misses = encoding.ids.count(unknown_id) if unknown_id is not None else 0
            example = example or (text if misses else "")
            tokens, unknown = tokens + len(encoding.ids), unknown + misses
            too_long += limit is not None and len(encoding.ids) > limit
    return TokenStatistics(len(texts), tokens, sum(map(len, texts)), unknown, too_long, limit, example)


def _unknown_id(folder: Path, tokenizer: object) -> int | None:
    settings = read_settings(folder / "tokenizer_config.json")
    token = settings.get("unk_token")
    token = token.get("content") if isinstance(token, dict) else token
    return tokenizer.token_to_id(token) if token else None


def _maximum_length(folder: Path) -> int | None:
    own = read_settings(folder / "sentence_bert_config.json").get("max_seq_length")
    declared = read_settings(folder / "tokenizer_config.json").get("model_max_length")
    lengths = [n for n in (own, declared) if isinstance(n, int) and n < 1_000_000]
    return min(lengths) if lengths else None


def lint_tokens(name: str, statistics: TokenStatistics) -> list[Finding]:
    """What the counts say about the model on these texts."""
    findings = []
    share = statistics.unknown / max(statistics.tokens, 1)
    if share > _DOUBTFUL:
        findings.append(
            Finding(
                "error" if share > _BLIND else "warning",
                "unknown-tokens",
                name,
                f"{share:.1%} of the tokens are unknown to the model",
                printable(statistics.unknown_example, 80),
                "choose a model whose vocabulary covers this language",
            )
        )
    if statistics.too_long:
        message = (
            f"{statistics.too_long:,} of {statistics.texts:,} texts exceed {statistics.limit} tokens and will be cut"
        )
        findings.append(Finding("warning", "truncation", name, message, remedy="split long texts into passages"))
    return findings

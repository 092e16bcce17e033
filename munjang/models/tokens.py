"""The model half of the doctor that looks at texts: how a model's tokenizer sees them. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from munjang.data.lint import Finding
from munjang.data.lint.findings import counted
from munjang.data.rows import LabelledPair, RankedList, ScoredPair, Triplet, pairs_of, sentences_of
from munjang.engine.tokens import load_tokenizer
from munjang.models.folder import model_kind, read_settings
from munjang.models.settings import default_prompt, maximum_length, transformer_settings
from munjang.text import printable

#: Share of unknown tokens above which a model cannot see the texts, and above which it is worth a look.
BLIND, _DOUBTFUL = 0.20, 0.01
#: Tokens a character from which on a text is cut into bytes or single strokes. Multilingual vocabularies need about 0.6 for
#: Korean and 0.25 for English.
FRAGMENTS = 1.0
_ENOUGH = 20


@dataclass(frozen=True)
class TokenStatistics:
    """Counts over some texts, or over some pairs that a model reads together."""

    texts: int
    tokens: int
    characters: int
    unknown: int
    """Tokens that stand for text that the vocabulary does not cover."""
    too_long: int
    """Texts of more tokens than the model reads."""
    limit: int | None
    unknown_example: str = ""
    longest: int = 0
    """Tokens of the longest text."""
    longest_example: str = ""
    vocabulary: int = 0
    """Pieces that the tokenizer knows."""
    around: int = 0
    """Tokens that come with every text: special ones, and those of the prompt."""

    @property
    def per_character(self) -> float:
        """Tokens a character, without those that come with every text."""
        return (self.tokens - self.around * self.texts) / max(self.characters, 1)

    def as_dict(self) -> dict[str, Any]:
        """The counts as JSON values, with the ratios that they are read by."""
        ratios = {
            "tokens_per_character": self.per_character,
            "unknown_share": self.unknown / max(self.tokens, 1),
        }
        return {**asdict(self), **{name: round(value, 4) for name, value in ratios.items()}}


def token_statistics(folder: Path, texts: Sequence[str | tuple[str, str]], prompt: str = "") -> TokenStatistics | None:
    """Tokenize texts with a model's own tokenizer, or None where the folder has no `tokenizer.json`.

    Args:
        folder: of the model.
        texts: texts, or pairs that the model reads as one input.
        prompt: what the model puts before every text; counted as tokens, not as characters.

    Raises:
        DataError: the tokenizer is damaged.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    tokenizer = _tokenizer(path, path.stat().st_mtime_ns)
    unknown_id = _unknown_id(folder, tokenizer)
    limit = maximum_length(folder)
    tokens = unknown = too_long = longest = 0
    unknown_example = longest_example = ""
    for start in range(0, len(texts), 1024):
        part = texts[start : start + 1024]
        prompted = [prompt + text if isinstance(text, str) else text for text in part]
        for text, encoding in zip(part, tokenizer.encode_batch_fast(prompted), strict=True):
            length = len(encoding.ids)
            misses = encoding.ids.count(unknown_id) if unknown_id is not None else 0
            unknown_example = unknown_example or (_as_text(text) if misses else "")
            tokens, unknown = tokens + length, unknown + misses
            too_long += limit is not None and length > limit
            if length > longest:
                longest, longest_example = length, _as_text(text)
    characters = sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts)
    paired = bool(texts) and not isinstance(texts[0], str)
    around = tokenizer.num_special_tokens_to_add(paired) + len(tokenizer.encode(prompt, add_special_tokens=False).ids)
    return TokenStatistics(
        len(texts),
        tokens,
        characters,
        unknown,
        too_long,
        limit,
        unknown_example,
        longest,
        longest_example,
        tokenizer.get_vocab_size(),
        around,
    )


@lru_cache(maxsize=2)
def _tokenizer(path: Path, changed: int) -> Any:
    """A tokenizer that neither cuts nor pads. One of 250,000 pieces takes a second to load, and is tried on many sets.

    Args:
        path: of `tokenizer.json`.
        changed: when the file did last, so that another one in its place is loaded.
    """
    tokenizer = load_tokenizer(path.parent)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def statistics_of_rows(folder: Path, rows: list[Any]) -> TokenStatistics | None:
    """Tokens of some rows as a model reads them: a cross-encoder pairs, a bi-encoder each text after its default prompt."""
    paired = rows and isinstance(rows[0], ScoredPair | LabelledPair | Triplet | RankedList)
    if paired and model_kind(folder) == "cross-encoder":
        return token_statistics(folder, [pair for row in rows for pair in pairs_of(row)])
    prompt = default_prompt(folder) if model_kind(folder) == "bi-encoder" else ""
    return token_statistics(folder, sentences_of(rows), prompt)


def _as_text(text: str | tuple[str, str]) -> str:
    return text if isinstance(text, str) else " / ".join(text)


def _unknown_id(folder: Path, tokenizer: Any) -> int | None:
    settings = read_settings(folder / "tokenizer_config.json")
    token = settings.get("unk_token") or getattr(tokenizer.model, "unk_token", None)
    token = token.get("content") if isinstance(token, dict) else token
    return tokenizer.token_to_id(token) if token else None


def lint_tokens(name: str, statistics: TokenStatistics) -> list[Finding]:
    """What the counts say about the model on these texts."""
    findings = []
    share = statistics.unknown / max(statistics.tokens, 1)
    if share > _DOUBTFUL:
        message = f"{share:.1%} of the tokens are unknown to the model"
        example = printable(statistics.unknown_example, 80)
        remedy = "choose a model whose vocabulary covers this language"
        blind = share > BLIND
        findings.append(Finding("error" if blind else "warning", "unknown-tokens", name, message, example, remedy))
    if statistics.per_character > FRAGMENTS and statistics.texts >= _ENOUGH:
        message = f"the model needs {statistics.per_character:.2f} tokens a character: it sees these texts in fragments"
        remedy = "choose a model whose vocabulary has words of this language"
        findings.append(Finding("warning", "fragmented-tokens", name, message, remedy=remedy))
    if statistics.too_long:
        cut = counted(statistics.too_long, "texts exceeds", "texts exceed", statistics.texts)
        message = f"{cut} {statistics.limit} tokens and will be cut"
        example = f"{printable(statistics.longest_example, 80)} ({statistics.longest:,} tokens)"
        findings.append(Finding("warning", "truncation", name, message, example, "split long texts into passages"))
    return findings


def lint_vocabulary(name: str, folder: Path, statistics: TokenStatistics) -> list[Finding]:
    """A tokenizer with more pieces than the model has vectors: such a text ends in an error, or worse, in none."""
    rows = transformer_settings(folder).get("vocab_size")
    if not isinstance(rows, int) or statistics.vocabulary <= rows:
        return []
    message = f"the tokenizer knows {statistics.vocabulary:,} pieces, and the model has vectors for {rows:,}"
    remedy = "the tokenizer belongs to another model, or pieces were added without resizing the embeddings"
    return [Finding("error", "vocabulary-size", name, message, remedy=remedy)]

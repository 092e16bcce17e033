"""Vocabulary trimming: a model without the pieces that some texts never use, and the same vectors for these texts.

A multilingual vocabulary of 250,000 pieces is four fifths of a small model; Korean and English texts use a tenth of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from tokenizers import Tokenizer, normalizers
from transformers import AutoTokenizer

from munjang.engine.loading import loading
from munjang.errors import ConfigError, DataError
from munjang.models.folder import read_settings, require_safe_folder
from munjang.models.pieces import Pieces, cut_tokenizer, ids_in_post_processor
from munjang.models.rows import VocabularyRows, copy_around, write_settings, write_weights
from munjang.models.settings import transformer_folder
from munjang.text import printable

_CHUNK = 1024


@dataclass(frozen=True)
class TrimReport:
    """What a trimming did, and what it is known to cover."""

    kind: str
    """`WordPiece`, `BPE` or `Unigram`."""
    pieces_before: int
    """Rows of the word embeddings."""
    pieces_after: int
    parameters_before: int
    parameters_after: int
    kept: dict[str, int]
    """Reason -> pieces that stay for it and for none of those before it."""
    texts: int
    """Texts that were tokenised before and after; all whose pieces stay have the same tokens."""
    texts_changed: int
    """Texts that hold a piece rarer than `min_count`, and have other tokens now."""
    held_out: int
    """Texts that were not used for the choice."""
    held_out_identical: float | None
    """Share of them with the same tokens; None where there are none, as are the next two."""
    unknown_before: float | None
    """Share of their tokens that are unknown or stand for single bytes."""
    unknown_after: float | None
    left_out: tuple[str, ...]
    """Files of the source that were not copied, since they hold the whole vocabulary."""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "left_out": list(self.left_out)}

    def sentences(self) -> list[str]:
        """What was kept and what is covered, for people."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.kept.items() if count)
        lines = [
            f"{self.pieces_before:,} -> {self.pieces_after:,} pieces ({reasons}), "
            f"{self.parameters_before / 1e6:,.1f} -> {self.parameters_after / 1e6:,.1f} million parameters",
            f"{self.texts - self.texts_changed:,} of {self.texts:,} texts have the same tokens as before",
        ]
        if self.held_out_identical is None:
            lines.append("other texts may be cut into other pieces: measure it on texts held out")
        else:
            lines.append(
                f"of {self.held_out:,} held-out texts {self.held_out_identical:.1%} have the same tokens; unknown or "
                f"single bytes are {self.unknown_before:.2%} of the tokens before and {self.unknown_after:.2%} after"
            )
        if self.left_out:
            lines.append(f"not copied, since they hold the whole vocabulary: {', '.join(self.left_out)}")
        return lines


def trim_vocabulary(
    folder: Path,
    out: Path,
    texts: Iterable[str],
    *,
    scripts: Sequence[str] = (),
    min_count: int = 1,
    held_out: Iterable[str] = (),
) -> TrimReport:
    """Write a model without the pieces of its vocabulary that some texts never use.

    What stays: special and added tokens and pieces for bytes; all pieces that the texts hold, alone and after each of
    the model's prompts; the pieces for single characters that occur in them; all pieces of the named scripts; and what
    texts of these pieces need to keep their tokens (see `munjang.models.pieces`). Ids keep their order. The word
    embeddings and a head for language modelling are cut to the rows that stay; all other tensors are the same bits.

    Args:
        folder: a transformer, a bi-encoder or a cross-encoder.
        out: folder to write into; it must be new or empty.
        texts: any number of them; gone through once, kept in a temporary file and never in memory as a whole.
        scripts: keys of `munjang.models.pieces.SCRIPTS`, such as `hangul`.
        min_count: how often a piece must occur; above 1 some texts get other tokens, which is counted.
        held_out: texts that were not used for the choice, to measure what it covers.

    Raises:
        ConfigError: an unknown script or a wrong count. DataError: there are no texts, the folder is unsafe or damaged,
            its model or tokenizer cannot be trimmed, or a text whose pieces stay has other tokens.
    """
    if min_count < 1:
        raise ConfigError("min_count is too small", expected="1 or more", got=str(min_count))
    require_safe_folder(folder)
    before = _Tokens.of(folder)
    pieces = before.pieces
    of_scripts = pieces.of_scripts(scripts)
    rows = VocabularyRows.of(folder, pieces.names)
    with TemporaryFile("w+", encoding="ascii") as spool:
        counts, stuck, total = _count(before, texts, spool)
        if total == 0:
            raise DataError("there are no texts to trim by", expected="at least one text")
        used = {*map(int, np.flatnonzero(counts >= min_count)), *before.of_prompts()}
        reasons = {
            "special": {*before.special, *rows.required, *pieces.added, *ids_in_post_processor(before.content)},
            "for bytes": pieces.alphabet(),
            "in the texts": used | stuck,
            "for single characters": pieces.characters_of(used | stuck),
            "of the scripts": of_scripts,
        }
        wanted = set().union(*reasons.values())
        reasons["needed by these"] = pieces.required_by(wanted)
        new_ids = {old: new for new, old in enumerate(sorted(wanted | reasons["needed by these"]))}
        out.mkdir(parents=True, exist_ok=True)
        left_out = copy_around(folder, out)
        write_settings(out, cut_tokenizer(before.content, pieces, new_ids), new_ids)
        parameters = write_weights(folder, out, rows, list(new_ids))
        comparison = _Comparison(before, _Tokens.of(out), new_ids)
        changed = sum(comparison.changed(chunk) for chunk in _chunks(map(json.loads, _rewound(spool))))
    held = comparison.measure(held_out)
    return TrimReport(
        pieces.kind, rows.rows, len(new_ids), *parameters, _counted_once(reasons), total, changed, *held, left_out
    )


class _Tokens:
    """A model's tokenizer as sentence-transformers sets it up, and the prompts that the model puts before texts."""

    def __init__(self, tokenizer: Any, prompts: Iterable[str], lowercase: bool, where: Path) -> None:
        self.backend: Tokenizer = tokenizer.backend_tokenizer
        self.content: dict[str, Any] = json.loads(self.backend.to_str())
        self.pieces = Pieces(self.content, where)
        self.special = {int(i) for i in tokenizer.all_special_ids}
        # No prompt is one of them: a program may ask for that.
        self.prompts = list(dict.fromkeys(["", *filter(None, prompts)]))
        if lowercase:
            own = self.backend.normalizer
            self.backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own else [])])
        self.backend.no_truncation()
        self.backend.no_padding()

    @classmethod
    def of(cls, folder: Path) -> _Tokens:
        place = transformer_folder(folder)
        prompts = read_settings(folder / "config_sentence_transformers.json").get("prompts") or {}
        lowercase = bool(read_settings(place / "sentence_bert_config.json").get("do_lower_case"))
        with loading(folder):
            # transformers builds some kinds anew around the vocabulary; what it builds is what the model will see.
            tokenizer = AutoTokenizer.from_pretrained(str(place), local_files_only=True)
            return cls(tokenizer, prompts.values(), lowercase, place / "tokenizer.json")

    def encode(self, texts: Sequence[str], prompt: str = "") -> list[list[int]]:
        """Ids of each text after a prompt, without special tokens around it."""
        try:
            shown = [prompt + text for text in texts]
            return [encoding.ids for encoding in self.backend.encode_batch_fast(shown, add_special_tokens=False)]
        except Exception as error:  # TypeError for what is no text or no UTF-8, and the library's bare Exception
            raise DataError(
                "these texts cannot be tokenised", expected="texts without lone surrogates", got=str(error)[:200]
            ) from error

    def of_prompts(self) -> set[int]:
        """Ids of the pieces in the prompts themselves."""
        return {i for ids in self.encode(self.prompts) for i in ids}

    def stuck(self, text: str) -> set[int]:
        """See `Pieces.stuck`; over the words of a text."""
        normalised = self.backend.normalizer.normalize_str(text) if self.backend.normalizer else text
        cutter = self.backend.pre_tokenizer
        words = [word for word, _ in cutter.pre_tokenize_str(normalised)] if cutter else [normalised]
        return set().union(*map(self.pieces.stuck, words))


def _count(tokens: _Tokens, texts: Iterable[str], spool: IO[str]) -> tuple[np.ndarray, set[int], int]:
    """How often each piece occurs, the pieces behind which unknown words got stuck, and the number of texts."""
    size = max(tokens.pieces.names) + 1
    counts = np.zeros((len(tokens.prompts), size), np.int64)
    unknown = tokens.pieces.unknown if tokens.pieces.kind == "WordPiece" else set()
    stuck: set[int] = set()
    total = 0
    for chunk in _chunks(texts):
        total += len(chunk)
        for prompt, row in zip(tokens.prompts, counts, strict=True):
            for text, ids in zip(chunk, tokens.encode(chunk, prompt), strict=True):
                np.add.at(row, ids, 1)
                if not unknown.isdisjoint(ids):
                    stuck |= tokens.stuck(prompt + text)
        spool.writelines(json.dumps(text) + "\n" for text in chunk)
    return counts.max(axis=0), stuck, total


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    source = iter(texts)
    while chunk := list(islice(source, _CHUNK)):
        yield chunk


def _rewound(file: IO[str]) -> IO[str]:
    file.seek(0)
    return file


def _counted_once(reasons: dict[str, set[int]]) -> dict[str, int]:
    """How many pieces each reason adds to those before it."""
    seen: set[int] = set()
    result = {}
    for reason, ids in reasons.items():
        result[reason] = len(ids - seen)
        seen |= ids
    return result


class _Comparison:
    """Tokenises texts with the whole vocabulary and with the trimmed one."""

    def __init__(self, before: _Tokens, after: _Tokens, new_ids: dict[int, int]) -> None:
        self.before, self.after, self.new_ids = before, after, new_ids
        # So that equal ids mean equal strings.
        moved = {new: before.pieces.names[old] for old, new in new_ids.items()}
        if after.pieces.names != moved:
            new = next(i for i in moved if after.pieces.names.get(i) != moved[i])
            raise DataError(
                "a piece of the trimmed tokenizer has another id",
                expected=f"{moved[new]!r} as {new}",
                got=repr(after.pieces.names.get(new)),
            )

    def changed(self, texts: Sequence[str]) -> int:
        """How many texts have other tokens than before, under any of the prompts.

        Raises:
            DataError: one of them consists of pieces that are all still there.
        """
        result: set[int] = set()
        for prompt in self.before.prompts:
            both = zip(self.before.encode(texts, prompt), self.after.encode(texts, prompt), strict=True)
            for i, (old, new) in enumerate(both):
                expected = [self.new_ids.get(piece) for piece in old]
                if expected == new:
                    continue
                if None not in expected:
                    raise DataError(
                        "a text has other tokens after trimming",
                        where=printable(prompt + texts[i], 80),
                        expected=" ".join(self.before.pieces.names[piece] for piece in old)[:200],
                        got=" ".join(self.after.pieces.names[piece] for piece in new)[:200],
                        hint="please report this kind of tokenizer",
                    )
                result.add(i)
        return len(result)

    def measure(self, texts: Iterable[str]) -> tuple[int, float | None, float | None, float | None]:
        """Number of texts, share with the same tokens, and share of unknown tokens before and after."""
        total = same = 0
        unknown, tokens = [0, 0], [0, 0]
        for chunk in _chunks(texts):
            total += len(chunk)
            encoded = [side.encode(chunk) for side in (self.before, self.after)]
            same += sum([self.new_ids.get(i) for i in old] == new for old, new in zip(*encoded, strict=True))
            for side, (tokenizer, lists) in enumerate(zip((self.before, self.after), encoded, strict=True)):
                tokens[side] += sum(map(len, lists))
                misses = tokenizer.pieces.unknown
                unknown[side] += sum(i in misses for ids in lists for i in ids)
        if total == 0:
            return 0, None, None, None
        return total, same / total, unknown[0] / max(tokens[0], 1), unknown[1] / max(tokens[1], 1)

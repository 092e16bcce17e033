"""Mistakes in the texts of a set, column by column: wrong encodings, and another script than the rest of the column."""

from __future__ import annotations

from collections import Counter
from typing import Any

from munjang.data.lint.damage import damage_of
from munjang.data.lint.findings import Finding, counted
from munjang.data.rows import Document, Qrel, RankedList
from munjang.models.pieces import script_of_letter
from munjang.text import printable

#: Share of damaged texts above which the file was decoded wrongly as a whole.
_DAMAGED = 0.20
#: Share of a column's texts in one script from which on the others are strangers in it, and below which it is a mixture.
_DOMINANT = 0.80
#: Letters of another script from which on a text is in that script; names such as KBS are not.
_LETTERS = 8
_ENOUGH = 20
#: Share of strangers from which on they are more than a stray row.
_STRANGERS = 0.005


def lint_texts(name: str, rows: list[Any]) -> list[Finding]:
    """Damaged texts, and texts whose script is not that of their column."""
    findings = []
    for column, texts in columns_of(rows).items():
        findings += _damaged(name, column, texts) + _scripts(name, column, texts)
    return findings


def columns_of(rows: list[Any]) -> dict[str, list[str]]:
    """The texts of some rows of one kind by column; all documents of ranked lists make one column."""
    if not rows or isinstance(rows[0], Qrel):
        return {}
    first = rows[0]
    if isinstance(first, str):
        return {"sentence": list(rows)}
    if isinstance(first, Document):
        return {"text": [row.text for row in rows]}
    if isinstance(first, RankedList):
        return {"query": [row.query for row in rows], "documents": [text for row in rows for text in row.documents]}
    fields = [field for field in first._fields if isinstance(getattr(first, field), str) and field != "label"]
    return {field: [getattr(row, field) for row in rows] for field in fields}


def _damaged(name: str, column: str, texts: list[str]) -> list[Finding]:
    found = [(text, damage) for text in texts if (damage := damage_of(text)) is not None]
    kinds = Counter(damage.kind for _, damage in found)
    findings = []
    for kind, count in kinds.most_common():
        text, damage = next(item for item in found if item[1].kind == kind)
        example = printable(text, 80)
        if damage.mended and damage.mended != text:
            example += f" (was: {printable(damage.mended, 80)})"
        message = f"{counted(count, f'texts in {column} holds', f'texts in {column} hold', len(texts))} {kind}"
        remedy = "export them again as UTF-8; where the file itself is read wrongly, name its encoding"
        whole = count > _DAMAGED * len(texts) and len(texts) >= _ENOUGH
        findings.append(Finding("error" if whole else "warning", "mojibake", name, message, example, remedy))
    return findings


def _scripts(name: str, column: str, texts: list[str]) -> list[Finding]:
    """Texts without one letter of the script that nearly all others of the column are written in."""
    written = [scripts_of(text) for text in texts]
    counts = Counter(script for scripts in written for script in scripts)
    if len(texts) < _ENOUGH or not counts:
        return []
    main = counts.most_common(1)[0][0]
    if counts[main] < _DOMINANT * len(texts):
        return _mixture(name, column, written)
    strangers = [
        (text, scripts) for text, scripts in zip(texts, written, strict=True) if scripts and not _belongs(main, scripts)
    ]
    foreign = [(text, scripts) for text, scripts in strangers if sum(scripts.values()) >= _LETTERS]
    if not foreign:
        return []
    others = Counter(scripts.most_common(1)[0][0] for _, scripts in foreign)
    what = ", ".join(f"{script} {count:,}" for script, count in others.most_common())
    strange = counted(len(foreign), f"texts in {column} has", f"texts in {column} have", len(texts))
    message = f"{strange} no letter of {main}, as the others have: {what}"
    remedy = "remove them, or keep languages in sets of their own, unless the mixture is meant"
    many = len(foreign) >= _STRANGERS * len(texts)
    example = printable(foreign[0][0], 80)
    return [Finding("warning" if many else "note", "mixed-scripts", name, message, example, remedy)]


def _belongs(main: str, scripts: Counter[str]) -> bool:
    """Whether a text is of the column's script; Japanese is written in two."""
    return main in scripts or (main in ("kana", "han") and not {"kana", "han"}.isdisjoint(scripts))


def _mixture(name: str, column: str, written: list[Counter[str]]) -> list[Finding]:
    mains = Counter(scripts.most_common(1)[0][0] for scripts in written if scripts)
    if {*mains} <= {"kana", "han"}:
        return []
    total = max(mains.total(), 1)
    shares = [f"{script} {count / total:.0%}" for script, count in mains.most_common() if count >= 0.05 * total]
    if len(shares) < 2:
        return []
    message = f"the texts in {column} are a mixture of scripts: {', '.join(shares)}"
    remedy = "if it is not meant, keep languages in sets of their own"
    return [Finding("note", "mixed-scripts", name, message, remedy=remedy)]


def scripts_of(text: str) -> Counter[str]:
    """Letters of a text by script."""
    if text.isascii():
        letters = sum(map(str.isalpha, text))
        return Counter({"latin": letters} if letters else {})
    found: Counter[str] = Counter()
    for letter, count in Counter(text).items():
        script = script_of_letter(letter) if letter.isalpha() else None
        if script is not None:
            found[script] += count
    return found

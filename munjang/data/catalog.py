"""The data sets that Munjang knows by name, and where it finds them.

A name is `SET:SPLIT`, such as `korsts:train` or `stsb_multi_mt:en:test`. Files are looked for in the folder
`MUNJANG_DATA`, then on the hub; the `support` sets come with the package.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from munjang.errors import MissingInputError
from munjang.hub import fetch_dataset_file

SAMPLE_FOLDER = Path(__file__).parent / "sample"
STSB_LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "zh")
SPLIT_ORDER = ("train", "dev", "test", "eval", "all")


@dataclass(frozen=True)
class Part:
    """One split: its file names below `MUNJANG_DATA` (the first that exists is read) and its place on the hub."""

    files: tuple[str, ...]
    hub: tuple[str, str, str] | None = None
    aligned: tuple[str, str] | None = None
    """For text aligned by line: the two suffixes that make the two files of a name."""


@dataclass(frozen=True)
class Entry:
    """A known data set."""

    rows: str
    parts: Mapping[str, Part]
    licence: str
    about: str
    scale: tuple[float, float] | None = None
    hub_scale: tuple[float, float] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Roles of the columns of the files below `MUNJANG_DATA`; the hub's files go by their names."""
    header: bool = True
    embedded: bool = False
    languages: tuple[str, ...] = ("ko",)
    """Two-letter codes."""


class Located(NamedTuple):
    """Where rows are: one path, or two aligned ones, and how to read them."""

    paths: tuple[Path, ...]
    rows: str | None
    scale: tuple[float, float] | None
    columns: Mapping[str, str]
    header: bool
    name: str
    sides: tuple[str, str] = ("source", "target")
    """Of two aligned files: what `columns` calls them."""


_STSB_COLUMNS = {"sentence1": "0", "sentence2": "1", "score": "2"}
_CC = "CC BY-SA 4.0"


def _stsb_multi(language: str) -> Entry:
    parts = {
        s: Part(
            (f"stsb-{language}/stsb-{language}-{s}.csv", f"stsb_multi_mt/stsb-{language}-{s}.csv"),
            ("PhilipMay/stsb_multi_mt", language, s),
        )
        for s in ("train", "dev", "test")
    }
    return Entry(
        "scored-pairs",
        parts,
        _CC,
        f"STS benchmark in {language}",
        (0, 5),
        (0, 5),
        _STSB_COLUMNS,
        header=False,
        languages=(language,),
    )


def _splits(template: str, hub: tuple[str, str], names: Mapping[str, str]) -> dict[str, Part]:
    return {split: Part((template.format(split),), (*hub, remote)) for split, remote in names.items()}


def _sample(
    rows: str,
    about: str,
    files: Mapping[str, str],
    scale: tuple[float, float] | None = None,
    languages: tuple[str, ...] = ("ko",),
) -> Entry:
    parts = {split: Part((name,)) for split, name in files.items()}
    return Entry(rows, parts, "CC0-1.0", about, scale, embedded=True, languages=languages)


def _text(about: str, licence: str, file: str) -> Entry:
    return Entry("sentences", {"all": Part((f"raw-ko/{file}",))}, licence, about)


def _aligned(name: str, about: str, splits: tuple[str, ...]) -> Entry:
    parts = {s: Part((f"parallel-ko-en/{name}{s}",), aligned=(".ko", ".en")) for s in splits}
    named = {s.strip(".-"): p for s, p in parts.items()}
    return Entry("parallel-pairs", named, "CC BY-SA 3.0", about, languages=("ko", "en"))


CATALOG: dict[str, Entry] = {
    "support": _sample(
        "scored-pairs",
        "Korean customer support: graded pairs written for Munjang",
        {s: f"pairs-{s}.tsv" for s in ("train", "dev", "test")},
        (0, 5),
    ),
    "support-raw": _sample("sentences", "Korean customer support: raw sentences", {"all": "raw.txt"}),
    "support-help": _sample("documents", "Korean customer support: help texts", {"all": "help.tsv"}),
    "support-queries": _sample("documents", "Korean customer support: queries", {"all": "queries.tsv"}),
    "support-qrels": _sample("qrels", "Korean customer support: relevance judgements", {"all": "qrels.tsv"}),
    "support-parallel": _sample(
        "parallel-pairs",
        "Korean customer support: Korean-English pairs",
        {"all": "parallel.tsv"},
        languages=("ko", "en"),
    ),
    "korsts": Entry(
        "scored-pairs",
        _splits(
            "korsts/sts-{}.tsv", ("dkoterwa/kor-sts", "default"), {"train": "train", "dev": "valid", "test": "test"}
        ),
        _CC,
        "Korean STS, translated from STS-B (kakaobrain/KorNLUDatasets)",
        (0, 5),
        (0, 5),
    ),
    "klue-sts": Entry(
        "scored-pairs",
        _splits("klue-sts/klue-sts-v1.1_{}.json", ("klue/klue", "sts"), {"train": "train", "dev": "validation"}),
        _CC,
        "KLUE-STS v1.1 (KLUE-benchmark/KLUE)",
        (0, 5),
        (0, 5),
        {"score": "labels.label"},
    ),
    "klue-sts-sample": Entry(
        "scored-pairs",
        {"dev": Part(("klue-sts-sample/klue-sts-v1.1_dev.head40.json",))},
        _CC,
        "the first 40 rows of KLUE-STS dev; not the set itself",
        (0, 5),
        columns={"score": "labels.label"},
    ),
    "kornli": Entry(
        "labelled-pairs",
        {
            "dev": Part(("kornli-xnli/xnli.dev.ko.tsv",), ("kakaobrain/kor_nli", "xnli", "validation")),
            "test": Part(("kornli-xnli/xnli.test.ko.tsv",), ("kakaobrain/kor_nli", "xnli", "test")),
            "train": Part(("kornli/multinli.train.ko.tsv",), ("kakaobrain/kor_nli", "multi_nli", "train")),
        },
        _CC,
        "Korean NLI: XNLI dev and test, MNLI train (kakaobrain/KorNLUDatasets)",
    ),
    "stsb": Entry(
        "scored-pairs",
        {
            s: Part((f"stsb-en/stsb-en-{s}.csv",), ("sentence-transformers/stsb", "default", r))
            for s, r in {"train": "train", "dev": "validation", "test": "test"}.items()
        },
        _CC,
        "STS benchmark, English; its dev split is GLUE's",
        (0, 5),
        (0, 1),
        _STSB_COLUMNS,
        header=False,
        languages=("en",),
    ),
    **{f"stsb_multi_mt:{language}": _stsb_multi(language) for language in STSB_LANGUAGES},
    "park": _aligned(
        "korean-english-park", "news in Korean and English (jungyeul/korean-parallel-corpora)", (".dev", ".test")
    ),
    "jhe": _aligned("jhe", "sentences in Korean and English (jungyeul/korean-parallel-corpora)", ("-dev", "-eval")),
    "chatbot": _text("everyday talk (songys/Chatbot_data)", "MIT", "chatbot.txt"),
    "klue-ner": _text("news (KLUE-NER dev)", _CC, "klue-ner-dev.txt"),
    "klue-dp": _text("news (KLUE-DP dev)", _CC, "klue-dp-dev.txt"),
}

#: Two files aligned by line, in one name.
_ALIGNED = re.compile(r"(.*)\{([^{},/]+),([^{},/]+)\}([^{}]*)")

#: Sets that are made of several, by name: which set is which part.
COMPOUNDS: Mapping[str, Mapping[str, str]] = {
    "support-search": {"documents": "support-help", "queries": "support-queries", "qrels": "support-qrels"},
}
#: Sets that are measured together, by name; `korean-sts` holds the four columns of the published tables.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "korean-sts": ("korsts:test", "klue-sts:dev", "stsb:dev", "stsb_multi_mt:en:test"),
}


def data_folder() -> Path | None:
    """The folder that `MUNJANG_DATA` names, or None."""
    value = os.environ.get("MUNJANG_DATA")
    return Path(value).expanduser() if value else None


def split_name(source: str) -> tuple[str, str] | None:
    """A catalogue name as (set, split), or None if `source` is not one. A set with one split needs none named."""
    if source in CATALOG:
        parts = CATALOG[source].parts
        return (source, next(iter(parts)) if len(parts) == 1 else "")
    name, separator, split = source.rpartition(":")
    return (name, split) if separator and name in CATALOG else None


def known_tests() -> dict[str, bool]:
    """The test sets of the catalogue, as `SET:SPLIT`, and whether their files are on this machine; the hub is not asked.

    Where a set has no split for tests, as KLUE-STS, models are compared on its dev split.
    """
    folder = data_folder()
    found = {}
    for name, entry in CATALOG.items():
        place = SAMPLE_FOLDER if entry.embedded else folder
        tests = {"test", "eval"} & entry.parts.keys() or {"dev"} & entry.parts.keys()
        for split in sorted(tests):
            suffixes = entry.parts[split].aligned or ("",)
            found[f"{name}:{split}"] = place is not None and any(
                all((place / (file + suffix)).is_file() for suffix in suffixes) for file in entry.parts[split].files
            )
    return found


def locate(source: str, base: Path) -> Located:
    """Find a data set by its catalogue name or its path.

    Args:
        source: a name or a path.
        base: the folder that relative paths start from.

    Raises:
        MissingInputError: no such name, split or file. UnavailableError: it is on the hub, which cannot be reached.
    """
    if not source.strip():
        raise MissingInputError("a data set's name is empty", hint="list the known names with: munjang data")
    known = split_name(source)
    if known is not None:
        return _locate_known(*known)
    try:
        path = base / Path(source).expanduser()
        if not path.exists() and (found := _ALIGNED.fullmatch(source)):
            return _locate_aligned(source, base, found)
        if path.exists():
            return Located((path,), None, None, {}, True, source)
    except (OSError, RuntimeError, ValueError):
        path = Path("unusable")  # a name that no file can have
    hint = "list the known names with: munjang data"
    near = difflib.get_close_matches(source.split(":")[0], list(CATALOG), n=1)
    if near and not path.suffix:
        hint = f"did you mean {near[0]}? " + hint
    raise MissingInputError("no such file and no data set of this name", where=source, hint=hint)


def _locate_aligned(source: str, base: Path, found: re.Match[str]) -> Located:
    """Two files aligned by line, written as one name: `corpus.{en,ko}`."""
    sides = (found[2], found[3])
    paths = tuple(base / Path(found[1] + side + found[4]).expanduser() for side in sides)
    gone = [path for path in paths if not path.is_file()]
    if gone:
        raise MissingInputError("one of two aligned files is not there", where=source, got=f"no {gone[0]}")
    return Located(paths, "parallel-pairs", None, {}, True, source, sides)


def _locate_known(name: str, split: str) -> Located:
    entry = CATALOG[name]
    splits = ", ".join(f"{name}:{s}" for s in sorted(entry.parts, key=_split_rank))
    if split not in entry.parts:
        got = f"{name}:{split}" if split else name
        raise MissingInputError("name a split of this data set", where=got, expected=splits)
    part = entry.parts[split]
    label = f"{name}:{split}" if len(entry.parts) > 1 else name
    folder = SAMPLE_FOLDER if entry.embedded else data_folder()
    for file in part.files if folder else ():
        paths = tuple(folder / (file + suffix) for suffix in part.aligned or ("",))
        if all(path.is_file() for path in paths):
            sides = tuple(suffix.strip(".-") for suffix in part.aligned) if part.aligned else ("source", "target")
            return Located(paths, entry.rows, entry.scale, entry.columns, entry.header, label, sides)
    where = f"not below MUNJANG_DATA={folder}" if folder else "MUNJANG_DATA is not set"
    hint = f"put it at $MUNJANG_DATA/{part.files[0]}{(part.aligned or ('',))[0]}, or run where the hub can be reached"
    if part.hub is None:
        raise MissingInputError(f"the data set {label} is not here", where=where, hint=hint)
    path = fetch_dataset_file(*part.hub, hint=f"{where}; {hint}")
    return Located((path,), entry.rows, entry.hub_scale, {}, True, label)


def _split_rank(split: str) -> int:
    return SPLIT_ORDER.index(split) if split in SPLIT_ORDER else len(SPLIT_ORDER)

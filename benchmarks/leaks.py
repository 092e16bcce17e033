"""Seconds and peak memory of a leakage check, exact and near, of a large set against a small one.

    MUNJANG_DATA=FOLDER python -m benchmarks.leaks [--large 1000000] [--small 10000] [--language ko|en] [--threshold 0.6]

The small side are distinct sentences of KorNLI and KorSTS, or of the English STS benchmark, which has 5,000 of them. The
large side is made while it is read: real sentences of other sets, words of which are exchanged for other real words, so that
nearly every one is new; one in a hundred is a sentence of the small side, as it is or with one to three letters changed. What
was planted is known, so the table says how much of it was found. Seconds leave out what making the sentences takes.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import machine
from munjang.config.recipe import DataSpec
from munjang.data.leaks import NEAR, Watch
from munjang.data.load import load_rows
from munjang.data.readers import ROLES
from munjang.data.rows import sentences_of
from munjang.pipeline.run import peak_memory_mb

#: Language -> sets of the small side, and sets that the large side is made from.
_SETS = {
    "ko": (
        ("kornli:test", "korsts:test", "korsts:dev"),
        ("korsts:train", "kornli:dev", "chatbot", "klue-ner", "klue-dp"),
    ),
    "en": (("stsb:test", "stsb:dev"), ("stsb:train",)),
}
_SEED = 42
#: One in so many sentences of the large side is planted.
_PLANTED = 100


def sentences(names: tuple[str, ...]) -> list[str]:
    """Distinct sentences of some sets of the catalogue."""
    rows = (load_rows(DataSpec(source=name, rejects="skip"), tuple(ROLES), Path()).rows for name in names)
    return list(dict.fromkeys(text for some in rows for text in sentences_of(some)))


def large_side(real: list[str], small: list[str], count: int) -> Iterator[tuple[str, int]]:
    """Sentences, each with how many letters of a small one were changed: 0 to 3, or -1 where it is of another set."""
    draw = random.Random(_SEED)
    words = [word for text in real for word in text.split()]
    for number in range(count):
        if number % _PLANTED == 0:
            letters, changes = list(draw.choice(small)), draw.randrange(4)
            for _ in range(changes):
                letters[draw.randrange(len(letters))] = draw.choice("가나다라마바사abcdefg")
            yield "".join(letters), changes
            continue
        parts = draw.choice(real).split()
        for _ in range(1 + len(parts) // 3):
            parts[draw.randrange(len(parts))] = draw.choice(words)
        yield " ".join(parts), -1


def main() -> None:
    """Time one check and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--language", choices=list(_SETS), default="ko")
    parser.add_argument("--threshold", type=float, default=NEAR)
    arguments = parser.parse_args()
    small, real = (sentences(names) for names in _SETS[arguments.language])
    small = small[: arguments.small]
    planted = [0] * 4
    began = time.perf_counter()
    for _, changes in large_side(real, small, arguments.large):
        if changes >= 0:
            planted[changes] += 1
    making = time.perf_counter() - began
    before = peak_memory_mb()
    began = time.perf_counter()
    watch = Watch(small, arguments.threshold)
    built = time.perf_counter() - began
    found = watch.compare(text for text, _ in large_side(real, small, arguments.large))
    seconds = time.perf_counter() - began - making
    print(f"{found.texts:,} sentences against {len(small):,} on {machine()}\n")
    print("| | |\n|---|---:|")
    print(f"| seconds, of which {built:.1f} for the index | {seconds:.1f} |")
    print(f"| peak MB, of which {before:,} before the check | {peak_memory_mb():,} |")
    print(f"| planted as they are | {planted[0]:,} |")
    print(f"| found exactly | {found.same:,} |")
    print(f"| planted with one to three letters changed | {sum(planted[1:]):,} |")
    print(f"| found nearly (from {arguments.threshold:g} on, in the short ones less is left) | {found.near:,} |")


if __name__ == "__main__":
    main()

"""KorSTS is STS-B in Korean, row by row: two more training sets come from holding the two files side by side.

    MUNJANG_DATA=FOLDER python recipes/mixed_sts.py OUT

Writes, from the train splits alone,

- OUT/translations.tsv: `ko` and `en`, each distinct sentence with its translation, for distillation;
- OUT/mixed.tsv: `sentence1`, `sentence2`, `score` (0 to 1), one sentence in Korean and the other in English, every second row the
  other way round: what makes a score mean the same between the languages as within them.

Stops where the two files are not row by row the same pairs, which their scores tell.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows


def main(out: Path) -> int:
    """Write the two sets into `out`; 1 where the files do not belong together."""
    korean, english = (
        load_rows(DataSpec(source=name), ("scored-pairs",), Path()).rows for name in ("korsts:train", "stsb:train")
    )
    if [round(row.score, 2) for row in korean] != [round(row.score, 2) for row in english]:
        print(
            "error: korsts:train and stsb:train are not the same pairs in the same order: nothing was written",
            file=sys.stderr,
        )
        return 1
    out.mkdir(parents=True, exist_ok=True)
    translations: dict[tuple[str, str], None] = {}
    mixed = []
    for number, (ko, en) in enumerate(zip(korean, english, strict=True)):
        translations[ko.sentence1, en.sentence1] = None
        translations[ko.sentence2, en.sentence2] = None
        first, second = (ko.sentence1, en.sentence2) if number % 2 else (en.sentence1, ko.sentence2)
        mixed.append((first, second, round(ko.score, 4)))
    write(out / "translations.tsv", ("ko", "en"), list(translations))
    write(out / "mixed.tsv", ("sentence1", "sentence2", "score"), mixed)
    print(f"{len(translations):,} translations and {len(mixed):,} mixed pairs in {out}")
    return 0


def write(path: Path, header: tuple[str, ...], rows: list[tuple]) -> None:
    """Tab-separated, quoted where a field needs it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: MUNJANG_DATA=FOLDER python recipes/mixed_sts.py OUT")
    sys.exit(main(Path(sys.argv[1])))

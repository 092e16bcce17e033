"""Korean raw text, and Korean-English pairs, from documentation and programs that Debian ships; nothing of it is kept here.

    python recipes/korean_docs.py OUT

Downloads packages with `apt-get download` (Debian or Ubuntu, no root needed), reads them in a temporary folder, and writes

- OUT/parallel.tsv: `ko` and `en`, paragraphs of LibreOffice's help aligned by their ids, and messages of programs aligned by
  gettext (translations of one original);
- OUT/raw.txt: Korean sentences, one a line, of these and of the help of GIMP and the FAQ of Debian;
- OUT/packages.tsv: which packages in which versions, and their licences as Debian states them.

Licences: LibreOffice's help MPL-2.0, GIMP's help GFDL-1.2+, the FAQ GPL-2+, messages as their programs (mostly GPL).
"""

from __future__ import annotations

import argparse
import gettext
import html
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HELP = ("libreoffice-help-ko", "libreoffice-help-en-us", "gimp-help-ko", "debian-faq-ko")
PROGRAMS = (
    "libreoffice-l10n-ko",
    "gimp-data",
    "nautilus-data",
    "evolution-common",
    "gnome-control-center-data",
    "gnome-software-common",
    "gnome-calendar",
    "gnome-contacts",
    "gnome-maps",
    "gnome-music",
    "gnome-user-docs",
    "inkscape",
    "aptitude-common",
    "synaptic",
    "epiphany-browser-data",
    "totem-common",
    "rhythmbox-data",
    "eog",
    "evince-common",
    "gedit-common",
    "file-roller",
    "gnucash-common",
    "pidgin-data",
    "vlc-l10n",
    "transmission-common",
    "calibre",
    "wesnoth-1.16-data",
    "okular-data",
    "dolphin",
    "kate5-data",
    "kmail",
    "korganizer",
    "digikam-data",
    "kdenlive-data",
    "gcompris-qt-data",
    "marble-data",
    "stellarium-data",
)
_PARAGRAPH = re.compile(r'<(p|h[1-6])\s+id="([^"]+)"[^>]*>(.*?)</\1>', re.DOTALL)
_BLOCK = re.compile(r"<(?:p|h[1-6]|li|dd|dt|td)\b[^>]*>(.*?)</(?:p|h[1-6]|li|dd|dt|td)>", re.DOTALL)
_TAG, _SPACE = re.compile(r"<[^>]+>"), re.compile(r"\s+")
_HANGUL, _LETTER = re.compile(r"[가-힣]"), re.compile(r"[^\W\d_]")
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[가-힣A-Z\"'(])")
#: What is not text in messages: accelerators and the names of values.
_ACCELERATOR = re.compile(r"\(_?&?[A-Z]\)|[_&~](?=\w)")


def main() -> int:
    """Download, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        packages = download(place)
        if not packages:
            print("no package could be downloaded: is this Debian or Ubuntu, with a mirror?", file=sys.stderr)
            return 3
        pairs = dict.fromkeys([*aligned_help(place), *messages(place)])
        raw = [ko for ko, _ in pairs] + list(help_of_gimp_and_debian(place))
    out.mkdir(parents=True, exist_ok=True)
    sentences = dict.fromkeys(part for text in raw for part in split(text) if is_korean(part))
    (out / "raw.txt").write_text("".join(f"{one}\n" for one in sentences), encoding="utf-8")
    rows = [f"{ko}\t{en}\n" for ko, en in pairs]
    (out / "parallel.tsv").write_text("ko\ten\n" + "".join(rows), encoding="utf-8")
    (out / "packages.tsv").write_text("".join(f"{name}\t{version}\n" for name, version in packages), encoding="utf-8")
    print(
        f"{len(packages)} packages: {len(rows):,} pairs in {out / 'parallel.tsv'}, {len(sentences):,} sentences in raw.txt"
    )
    return 0


def download(place: Path) -> list[tuple[str, str]]:
    """Fetch and unpack every package that the mirror has; (name, version) of each."""
    for package in (*HELP, *PROGRAMS):
        fetched = subprocess.run(["apt-get", "download", package], cwd=place, capture_output=True, check=False)
        if fetched.returncode:
            print(f"{package}: not to be had, left out", file=sys.stderr)
    found = []
    for file in sorted(place.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(file), str(place / "root")], check=True)
        package, version, _ = file.name.split("_", 2)
        found.append((package, version.replace("%3a", ":")))
        file.unlink()
    return found


def aligned_help(place: Path) -> Iterator[tuple[str, str]]:
    """(Korean, English) paragraphs of LibreOffice's help with the same id on the same page."""
    root = place / "root/usr/share/libreoffice/help"
    for page in sorted((root / "ko").rglob("*.html")):
        other = root / "en-US" / page.relative_to(root / "ko")
        if not other.is_file():
            continue
        sides = [{i: clean(text) for _, i, text in _PARAGRAPH.findall(p.read_text("utf-8"))} for p in (page, other)]
        for name, ko in sides[0].items():
            en = sides[1].get(name, "")
            if is_korean(ko) and is_english(en):
                yield ko, en


def messages(place: Path) -> Iterator[tuple[str, str]]:
    """(Korean, English) messages of programs, without those that are one word."""
    for file in sorted((place / "root").rglob("*.mo")):
        if not {"ko", "ko_KR"} & set(file.parts):
            continue
        with file.open("rb") as stream:
            try:
                catalogue = gettext.GNUTranslations(stream)._catalog
            except (OSError, UnicodeDecodeError, ValueError):
                continue
        for key, translated in catalogue.items():
            original = key[0] if isinstance(key, tuple) else key
            ko, en = (_ACCELERATOR.sub("", clean(t)) for t in (translated, str(original).rsplit("\x04", 1)[-1]))
            if is_korean(ko) and is_english(en) and len(en.split()) > 2:
                yield ko, en


def help_of_gimp_and_debian(place: Path) -> Iterator[str]:
    """Korean paragraphs without an original beside them."""
    for root in ("root/usr/share/gimp/2.0/help/ko", "root/usr/share/doc/debian/FAQ/ko", "root/usr/share/help/ko"):
        for page in sorted([*(place / root).rglob("*.html"), *(place / root).rglob("*.page")]):
            for text in _BLOCK.findall(page.read_text("utf-8", errors="replace")):
                yield clean(text)


def clean(text: str) -> str:
    """Text without markup, in one line."""
    return _SPACE.sub(" ", html.unescape(_TAG.sub("", text))).strip()


def split(text: str) -> list[str]:
    """The sentences of a paragraph."""
    return [part.strip() for part in _SENTENCE.split(text)]


def is_korean(text: str) -> bool:
    """Mostly Hangul, and neither a word nor a page."""
    letters = len(_LETTER.findall(text))
    return 8 <= len(text) <= 300 and len(_HANGUL.findall(text)) >= 0.5 * max(letters, 1) and " " in text


def is_english(text: str) -> bool:
    """Letters of the Latin alphabet, and neither a word nor a page."""
    return 8 <= len(text) <= 600 and not _HANGUL.search(text) and " " in text


if __name__ == "__main__":
    raise SystemExit(main())

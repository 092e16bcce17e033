"""From a finished run of recipes/munjang-ko-small.toml to the folders bundled/ko-small and bundled/ko-reranker, with their cards.

    python recipes/ship_ko.py runs/munjang-ko-small bundled

Copies the stages `ko-small` and `ko-reranker`, writes a model card into each with the figures of the stage `result`, and refuses
a folder that is larger than it may be, or that plain sentence-transformers cannot load. Prints the digests of the weights,
by which munjang/models/source.py knows them.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from munjang.files import digest_file


class Shipped(NamedTuple):
    """A model that is shipped."""

    kind: str
    most: float
    """Megabytes of its folder at most."""
    about: str
    example: str


SHIPPED = {
    "ko-small": Shipped(
        "bi-encoder",
        50,
        "A small sentence encoder for Korean and English: 384 dimensions, 6 layers, half of the layers of multilingual-e5-small "
        "with the pieces of its vocabulary that Korean and English need. Vectors have length 1; their cosine is the similarity. "
        "The prompt `query: ` is stored in the model and put before every text by itself.",
        """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("bundled/ko-small")
vectors = model.encode(["환불은 언제 되나요?", "돈은 언제 돌려받아요?", "When will I get my money back?"])
print(model.similarity(vectors, vectors))""",
    ),
    "ko-reranker": Shipped(
        "cross-encoder",
        60,
        "The cross-encoder to ko-small: it reads two texts together, in Korean or English, and gives their similarity on 0..1.",
        """from sentence_transformers import CrossEncoder

model = CrossEncoder("bundled/ko-reranker")
print(model.predict([("환불은 언제 되나요?", "돈은 언제 돌려받아요?")]))""",
    ),
}
#: Main metrics of the tasks, as the card calls them.
METRICS = {"spearman": "Spearman x 100", "accuracy": "translations found, both ways, %", "ndcg@10": "nDCG@10 x 100"}
DATA = """| data | licence | for |
|---|---|---|
| KorSTS train (Ham et al. 2020) | CC BY-SA 4.0 | similarity; its dev split chose |
| STS-B train (Cer et al. 2017) | CC BY-SA 4.0 | similarity, and the translations of KorSTS's sentences; its dev split chose |
| KorNLI: XNLI dev in Korean (Ham et al. 2020) | CC BY-SA 4.0 | the teacher's first training |
| KLUE NER and DP dev sentences (Park et al. 2021) | CC BY-SA 4.0 | distillation, without labels |
| Korean chatbot questions (Song 2018) | MIT | distillation, without labels |
| Korean-English Parallel News, dev (Park et al. 2016) | CC BY-SA 3.0 | distillation |
| LibreOffice help, GIMP help, messages of programs, as Debian ships them | MPL-2.0, GFDL-1.2+, GPL | distillation |
| Munjang's sentences of customer support | CC0-1.0 | distillation |"""


def main(run: Path, out: Path) -> int:
    """Ship both models."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    report = json.loads((_stage(run, "result") / "report.json").read_text(encoding="utf-8"))
    for name, shipped in SHIPPED.items():
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(_stage(run, name) / "model", folder, ignore=shutil.ignore_patterns(".munjang", "manifest.json"))
        _computed_in_float32(folder / "config.json")
        (folder / "README.md").write_text(_card(name, shipped, report), encoding="utf-8")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
        if size > shipped.most:
            print(f"error: {folder} has {size:.1f} MB; at most {shipped.most} are shipped", file=sys.stderr)
            return 1
        load = SentenceTransformer if shipped.kind == "bi-encoder" else CrossEncoder
        load(str(folder), device="cpu")
        print(f"{folder}: {size:.1f} MB, weights {digest_file(folder / 'model.safetensors')}")
    return 0


def _computed_in_float32(path: Path) -> None:
    """Half precision is how the weights are stored; what computes with it on a CPU is slow."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("torch_dtype", None)
    path.write_text(json.dumps({**settings, "dtype": "float32"}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _stage(run: Path, name: str) -> Path:
    found = [path for path in (run / "stages").glob(f"{name}-*") if path.name.rpartition("-")[0] == name]
    if len(found) != 1:
        sys.exit(
            f"error: {run} has {len(found)} results of the stage {name}; run recipes/munjang-ko-small.toml in a new folder"
        )
    return found[0]


def _card(name: str, shipped: Shipped, report: Mapping[str, Any]) -> str:
    tags = [
        "sentence-transformers",
        "sentence-similarity" if shipped.kind == "bi-encoder" else "cross-encoder",
        "munjang",
    ]
    front = "\n".join(
        [
            "---",
            "library_name: sentence-transformers",
            f"pipeline_tag: {'sentence-similarity' if shipped.kind == 'bi-encoder' else 'text-ranking'}",
            f"tags: [{', '.join(tags)}]",
            "language: [ko, en]",
            "base_model: intfloat/multilingual-e5-small",
            "license: cc-by-sa-4.0",
            "---",
        ]
    )
    return f"""{front}

# {name}

{shipped.about} Weights are float16 on disk.

```python
{shipped.example}
```

## Figures

Measured by the last stage of the recipe; in brackets 95% intervals over the rows. No test split was trained on or chosen by, and
sentences of the test sets were left out of every training.

{_table(name, report)}

## How it was made

`munjang run recipes/munjang-ko-small.toml`: from multilingual-e5-small a teacher (NLI, then similarity in both languages, two
seeds whose weights are averaged); a student of every other layer with a trimmed vocabulary, distilled over raw sentences and
translations; pairs of raw sentences labelled by the teachers; gold and labelled pairs together; float16. The reranker is the same
body under a head, trained on the labelled pairs and then on gold.

## Data and licences

The base model is MIT. Part of the training data is share-alike, so the weights are CC BY-SA 4.0.

{DATA}

## Limits

Similarity was learnt from captions, headlines and forum posts of STS-B and their translations; other fields are better after a
training on sentences of their own (`munjang augment`). For questions to texts multilingual-e5-small, which was trained on a
billion of such pairs, finds more: what is learnt of similarity costs some of that. Texts are cut after 128 tokens. Pieces of
scripts other than Hangul and Latin are mostly unknown to it.
"""


def _table(name: str, report: Mapping[str, Any]) -> str:
    rows = []
    for cell in report["cells"]:
        if cell["model"] == name:
            found = cell["metrics"][cell["main"]]
            value = f"{found['value']:.2f} [{found['low']:.1f}, {found['high']:.1f}]"
            called = METRICS.get(cell["main"], cell["main"])
            rows.append(f"| {cell['set']} | {cell['units']:,} | {called} | {value} |")
    return "\n".join(["| set | rows | metric | value |", "|---|---:|---|---:|", *rows])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python recipes/ship_ko.py RUN OUT")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

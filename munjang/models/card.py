"""The model card that lies beside trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from munjang.config.recipe import StageOptions

_USE = {
    "bi-encoder": """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
vectors = model.encode(["문장 하나", "문장 둘"])""",
    "cross-encoder": """from sentence_transformers import CrossEncoder

model = CrossEncoder("FOLDER")
scores = model.predict([("문장 하나", "문장 둘")])""",
}


def write_card(folder: Path, options: StageOptions, recipe: str, report: dict[str, Any]) -> None:
    """Write README.md: what the model is, from what it was made, and how it did on dev.

    Args:
        folder: the model's folder.
        options: of the stage that trained it.
        recipe: its recipe's name.
        report: of the training.
    """
    settings = "\n".join(f"| {key} | {value} |" for key, value in options.model_dump(mode="json").items())
    best = "undefined" if report["dev_best"] is None else f"{report['dev_best']:.2f}"
    text = f"""---
library_name: sentence-transformers
tags: [sentence-transformers, munjang]
---
# {options.kind} `{options.name}` of the recipe `{recipe}`

A {options.produces}, trained with Munjang on {report["rows"]:,} pairs; {report["excluded"]:,} more were left out
because they share a sentence with a set held out. Spearman x 100 on dev: {best}, at step {report["best_step"]} of
{report["steps"]}. The licences of the starting model and of the data apply.

```python
{_USE[options.produces]}
```

| option | value |
|---|---|
{settings}
"""
    (folder / "README.md").write_text(text, encoding="utf-8")

"""The study of Augmented SBERT: runs its recipe, and prints what the documentation shows of it.

    MUNJANG_DATA=FOLDER python -m benchmarks.study [RECIPE] [--out FOLDER] [--set KEY=VALUE ...]

For each evaluation of the recipe a table: a row a model, Spearman x 100 with its 95% interval and its deviation over seeds, and
the difference to the baseline, paired over the same rows. Then what the gate said of the labels of each stage.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.machine import machine
from munjang import api
from munjang.progress import Show


def main() -> None:
    """Run the recipe and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="recipes/study-augment.toml")
    parser.add_argument("--out")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    show = Show(say=lambda line: print(line, flush=True))
    result = api.run(arguments.recipe, overrides=arguments.set, out=arguments.out, show=show)
    print("\n" + machine())
    for stage, outcome in result.of_kind("evaluate"):
        print("\n" + _table(stage.name, outcome.report))
    print("\n| labels | pairs | teachers on dev | student on dev | difference | what the gate said |")
    print("|---|---:|---:|---:|---:|---|")
    for stage, outcome in result.of_kind("label"):
        if outcome.report.get("student"):
            print(_labels(stage.name, outcome.report))


def _table(name: str, found: dict[str, Any]) -> str:
    sets = list(found["sets"])
    cells = {(cell["model"], cell["set"]): cell for cell in found["cells"]}
    lines = [f"| {name} | {' | '.join(sets)} |", "|---|" + "---|" * len(sets)]
    for model in found["models"]:
        row = [_cell(cells.get((model, one))) for one in sets]
        lines.append(f"| {model} | {' | '.join(row)} |")
    return "\n".join(lines)


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    main = cell["main"]
    estimate, deviation = cell["metrics"][main], cell["deviations"][main]
    text = _interval(estimate, "") + (f" ±{deviation:.2f}" if deviation is not None else "")
    if cell["against"]:
        text += f"; {_interval(cell['against']['difference'], '+')} {cell['against']['verdict']}"
    return text


def _interval(estimate: dict[str, Any], sign: str) -> str:
    if estimate["value"] is None:
        return estimate["reason"] or "undefined"
    ends = f" [{estimate['low']:{sign}.1f}, {estimate['high']:{sign}.1f}]" if estimate["low"] is not None else ""
    return f"{estimate['value']:{sign}.2f}{ends}"


def _labels(name: str, report: dict[str, Any]) -> str:
    difference = report["gate"]["difference"]
    ends = "undefined" if difference is None else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*difference)
    failed = "; ".join(check["name"] for check in report["gate"]["checks"] if not check["passed"]) or "passed"
    together, student = report["together"], report["student"]["dev"]
    return f"| {name} | {report['pairs']:,} | {together:.2f} | {student:.2f} | {ends} | {failed} |"


if __name__ == "__main__":
    main()

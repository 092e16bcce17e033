"""Wall time and peak memory of each stage of the quickstart.

    python -m benchmarks.first_whole [RECIPE] [--out FOLDER]

Each stage runs in a process of its own, so that its peak memory is its own; the seconds are the stage's
work without the start of Python.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import machine
from munjang.config.load import load_recipe
from munjang.stages.registry import OPTIONS

# Runs the stages up to one of them; those before it are found finished.
_CODE = """
import sys, json
from dataclasses import replace
from pathlib import Path
from munjang.config.load import load_recipe
from munjang.engine.device import choose_device
from munjang.pipeline.run import run_recipe
from munjang.pipeline.stage import Context
from munjang.stages.inputs import RunInputs
from munjang.stages.registry import KINDS, OPTIONS
path, out, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
recipe = load_recipe(path, OPTIONS)
recipe = replace(recipe, stages=recipe.stages[:count])
context = Context(recipe, path.parent.resolve(), {}, choose_device("cpu"))
outcome = run_recipe(recipe, KINDS, RunInputs(recipe, path.parent.resolve()), context, out)[-1]
print(json.dumps({"seconds": outcome.report["seconds"], "peak_mb": outcome.report["peak_mb"]}))
"""


def main() -> None:
    """Run the recipe stage by stage and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="recipes/quickstart.toml", type=Path)
    parser.add_argument("--out", type=Path, help="keep the run in this new folder")
    arguments = parser.parse_args()
    recipe_path = arguments.recipe
    if arguments.out is not None and arguments.out.exists():
        parser.error(f"{arguments.out} exists already: what is found finished cannot be timed")
    recipe = load_recipe(recipe_path, OPTIONS)
    print(f"{recipe_path} on {machine()}\n")
    print(f"| {'stage':14} | {'kind':11} | seconds | peak MB |\n|{'-' * 16}|{'-' * 13}|--------:|--------:|")
    seconds, peak = 0.0, 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(arguments.out or temporary)
        for count, stage in enumerate(recipe.stages, 1):
            command = [sys.executable, "-c", _CODE, str(recipe_path), folder, str(count)]
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
            if finished.returncode:
                sys.exit(f"{stage.name} failed:\n{finished.stderr}")
            measured = json.loads(finished.stdout.splitlines()[-1])
            seconds, peak = seconds + measured["seconds"], max(peak, measured["peak_mb"])
            print(
                f"| {stage.name:14} | {stage.kind:11} | {measured['seconds']:7.1f} | {measured['peak_mb']:7,} |",
                flush=True,
            )
    print(f"| {'all':14} | {'':11} | {seconds:7.1f} | {peak:7,} |")


if __name__ == "__main__":
    main()

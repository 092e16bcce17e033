"""munjang augment"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from munjang import api
from munjang.augment.plan import AugmentPlan
from munjang.cli.output import Reading, Running, print_json, relative, showing, stdout
from munjang.cli.run import as_json, print_run, regressions

#: Lists are written --gold A B.
_FLAGS = Parameter(name="*", consume_multiple=(1, None), negative_iterable=(), negative_bool=())


def augment(
    *,
    plan: Annotated[AugmentPlan, _FLAGS],
    out: Path = Path("runs/augment"),
    seed: int = 42,
    allow_regression: Annotated[bool, Parameter(negative=())] = False,
    reading: Reading | None = None,
    common: Running | None = None,
) -> int:
    """Train a bi-encoder on few gold pairs and many silver ones, and show what silver gave.

    With --gold, pairs of the domain are there. With --existing and --raw none are: pairs of other domains teach a
    cross-encoder, which labels pairs of raw sentences. The recipe stands in OUT/recipe.toml; the same command goes on.

    Args:
        out: Directory of the run.
        seed: Of everything that is drawn.
        allow_regression: Exit with 0 also where a trained model is no better on dev than its start.
    """
    common = common or Running()
    values = {name: getattr(plan, name) for name in plan.model_fields_set}
    with showing(common.json) as show:
        result = api.augment(
            out, seed=seed, device=common.device, show=show, reading=(reading or Reading()).settings(), **values
        )
    if common.json:
        print_json(as_json(result))
        return regressions(result, allow_regression, quiet=True)
    print_run(result)
    for _, outcome in [*result.of_kind("label"), *result.of_kind("label.triplets")]:
        if outcome.report.get("student"):
            stdout().print(f"silver: {relative(outcome.directory / 'silver.html')}", soft_wrap=True)
    stdout().print(f"recipe: {relative(out / 'recipe.toml')}", soft_wrap=True)
    return regressions(result, allow_regression, quiet=False)

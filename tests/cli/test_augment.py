"""munjang augment: from gold and raw sentences to a table of gains, and on from where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


def test_a_plan_is_stopped_at_the_gate_forced_and_gone_on_with(run: Run, tiny_bi: Path) -> None:
    data = ["--gold", "support:train", "--raw", "support-raw", "--dev", "support:dev", "--test", "support:test"]
    asked = ["augment", *data, "--model", tiny_bi, "--max-pairs", "60", "--epochs", "1", "--out", "run"]
    # Models of random weights: their labels are good for nothing, one way or another.
    status, _, errors = run(*asked)
    assert status == 4
    assert "silver labels from these teachers would do no good" in errors
    assert "--force" in errors
    status, printed, _ = run(*asked, "--force", "--json", "--allow-regression")
    said = {stage["name"]: stage for stage in json.loads(printed)["stages"]}
    assert status == 0
    assert [said[name]["ran"] for name in ("gold", "cross", "silver", "augmented")] == [False, False, True, True]
    assert said["silver"]["report"]["gate"]["forced"]
    assert Path("run/recipe.toml").is_file()
    regressed = any(one["report"].get("regressed") for one in said.values())
    status, printed, _ = run(*asked, "--force")
    assert (status, "nothing to do" in printed) == (3 if regressed else 0, True)
    for name in ("gold + silver", "silver.html", "recipe.toml"):
        assert name in printed
    status, printed, _ = run("run", "run/recipe.toml", "--out", "run")
    assert (status, "nothing to do" in printed) == (3 if regressed else 0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dev", "support:dev"], "--gold of the domain, or --existing of others"),
        (["--dev", "support:dev", "--existing", "support:train"], "there must be --raw or --pairs"),
        (["--dev", "support:dev", "--gold", "support:train", "--strategies", "mix", "kde"], "mix stands alone"),
        (["--dev", "support:dev", "--gold", "nowhere.tsv", "--scale", "0", "5"], "nowhere.tsv"),
    ],
)
def test_a_plan_that_cannot_be_is_one_error(run: Run, arguments: list[str], said: str, tmp_path: Path) -> None:
    status, _, errors = run("augment", *arguments)
    assert status in (2, 66, 78)
    assert said in errors
    assert list(tmp_path.iterdir()) == []

"""Two processes train the model that one trains: equal weights on both, shares disjoint and complete."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import munjang
from munjang.train.team import Team

SCRIPT = """
import json, sys
from pathlib import Path

import torch

torch.set_num_threads(1)
from munjang.config.recipe import DataSpec
from munjang.data.load import load_rows
from munjang.evaluate.dev import dev_of_encoder, dev_of_scorer
from munjang.files import digest_folder
from munjang.train.bi import train_bi
from munjang.train.cross import train_cross
from munjang.train.examples import TrainRows
from munjang.train.objectives import BI_OBJECTIVES, CROSS_OBJECTIVES
from munjang.train.options import TrainBiOptions, TrainCrossOptions
from munjang.train.team import join_team, leave_team

start, out = Path(sys.argv[1]), Path(sys.argv[2])
team = join_team("cpu")
rows = load_rows(DataSpec(source="support:train"), ("scored-pairs",), Path()).rows[:40]
dev = load_rows(DataSpec(source="support:dev"), ("scored-pairs",), Path()).rows[:30]
words = [row.sentence1 for row in rows]
common = dict(name="m", model="m", train=["t"], dev="d", batch_size=8, learning_rate=1e-3, evaluations=2)
seen = {}
plain = [TrainRows("t", "scored-pairs", rows, BI_OBJECTIVES["cosent"])]
mixed = [*plain, TrainRows("s", "sentences", words, BI_OBJECTIVES["simcse"])]
alone = [TrainRows("s", "sentences", words, BI_OBJECTIVES["tsdae"])]
for name, sets in (("pairs", plain), ("mixed", mixed), ("tsdae", alone)):
    kept = {}
    def score(encoder):
        kept.update({k: v.clone() for k, v in encoder.model.state_dict().items()})
        return dev_of_encoder(encoder, "scored-pairs", dev)
    report = train_bi(TrainBiOptions(**common), sets, score, start=start, out=out / name, seed=3, device="cpu", team=team)
    seen[name] = [report.dev_best, report.losses, report.tokens]
cross = [TrainRows("t", "scored-pairs", rows, CROSS_OBJECTIVES["bce"])]
report = train_cross(
    TrainCrossOptions(**common), cross, lambda scorer: dev_of_scorer(scorer, "scored-pairs", dev),
    start=start, out=out / "cross", seed=3, device="cpu", team=team,
)
seen["cross"] = [report.dev_best, report.losses, report.tokens]
(out / f"rank-{team.rank}.json").write_text(json.dumps(seen))
leave_team()
"""


@given(st.lists(st.integers(), max_size=30), st.integers(1, 8))
def test_shares_are_disjoint_and_complete(items: list[int], size: int) -> None:
    shares = [Team(rank, size).share(items) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_team_of_one_changes_nothing() -> None:
    team, own = Team(), torch.ones(3, 2)
    assert team.gather(own, 3) is own
    assert team.leads
    assert team.agree({"a": 1}) == {"a": 1}
    assert team.total(torch.tensor(2.0)) == 2
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    team.add_gradients([parameter], set())
    assert team.any(True)
    assert not team.any(False)
    assert parameter.grad.tolist() == [1, 1]


def torchrun(size: int, *command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(munjang.__file__).parents[1])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    return subprocess.run(
        [*launcher, *map(str, command)],
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def without_dropout(tiny_bi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each process draws its own dropout; without it two processes and one must agree up to rounding."""
    folder = shutil.copytree(tiny_bi, tmp_path_factory.mktemp("start") / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def both(without_dropout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The trainings of the script by one process and by two."""
    script = tmp_path_factory.mktemp("script") / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    folders = {}
    for size in (1, 2):
        folders[size] = tmp_path_factory.mktemp(f"size-{size}")
        done = torchrun(size, script, without_dropout, folders[size])
        assert done.returncode == 0, done.stderr[-4000:]
    return folders


def test_both_processes_see_the_same_losses_and_scores(both: dict[int, Path]) -> None:
    first, second = (json.loads((both[2] / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    for name in ("pairs", "mixed", "tsdae", "cross"):
        assert first[name][:2] == second[name][:2]
        # The batches are those of one process, and no text is read twice.
        assert first[name][2] == second[name][2] == json.loads((both[1] / "rank-0.json").read_text())[name][2]


@pytest.mark.parametrize("name", ["pairs", "cross"])
def test_two_processes_end_with_the_weights_of_one(both: dict[int, Path], without_dropout: Path, name: str) -> None:
    one, two = (
        {str(f.relative_to(both[n] / name)): load_file(f) for f in (both[n] / name).rglob("*.safetensors")}
        for n in (1, 2)
    )
    assert one.keys() == two.keys() != set()
    start = load_file(without_dropout / "model.safetensors")
    apart, moved = 0.0, 0.0
    for file, tensors in one.items():
        for key, value in tensors.items():
            if key in start and not key.endswith("key.bias"):  # its gradient is rounding, which Adam makes a step of
                apart += float((value - two[file][key]).square().sum())
                moved += float((value - start[key]).square().sum())
    # Adam takes full steps along gradients that are rounding alone, so single weights may differ; the paths may not.
    assert moved > 0
    assert (apart / moved) ** 0.5 < 0.1


def test_a_command_of_two_processes_writes_one_result(tiny_bi: Path, tmp_path: Path) -> None:
    command = ["-m", "munjang", "train", "bi", "--model", tiny_bi, "--train", "support:train", "--dev", "support:dev"]
    done = torchrun(2, *command, "--out", tmp_path / "out", "--epochs", "0.2", "--json", "--allow-regression")
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)  # one of them speaks
    assert report["steps"] >= 1
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

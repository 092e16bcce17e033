"""Training stages end to end on tiny models: chains of heads, several sets, seeds, regressions, what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from sentence_transformers import CrossEncoder, SentenceTransformer

from munjang import api
from munjang.data.catalog import SAMPLE_FOLDER
from munjang.errors import ConfigError
from munjang.progress import Show
from munjang.stages import training
from munjang.train.checkpoint import Checkpoints

COMMON = "epochs = 1\nbatch_size = 16\nevaluations = 2\nlearning_rate = 2e-3\nmax_length = 64\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NLI, triplets, lists and pairs made of the sample's sentences."""
    out = tmp_path_factory.mktemp("data")
    texts = (SAMPLE_FOLDER / "raw.txt").read_text(encoding="utf-8").splitlines()[:180]
    labels = ("entailment", "neutral", "contradiction")
    nli = [
        f"{texts[3 * i]}\t{texts[3 * i + 1 + j % 2]} {labels[j][:2]}\t{labels[j]}" for i in range(50) for j in range(3)
    ]
    (out / "nli.tsv").write_text("\n".join(["sentence1\tsentence2\tgold_label", *nli]), encoding="utf-8")
    triplets = [f"{texts[i]}\t{texts[i + 1]}\t{texts[i + 2]}" for i in range(0, 120, 3)]
    (out / "triplets.tsv").write_text("\n".join(["anchor\tpositive\tnegative", *triplets]), encoding="utf-8")
    lists = [
        {"query": texts[i], "documents": texts[i + 1 : i + 3 + i % 2], "scores": [3.0, -2.0, 0.5][: 2 + i % 2]}
        for i in range(0, 120, 4)
    ]
    (out / "lists.jsonl").write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in lists), encoding="utf-8")
    pairs = [f"{texts[i]}\t{texts[i + 1]}" for i in range(0, 120, 2)]
    (out / "pairs.tsv").write_text("\n".join(["anchor\tpositive", *pairs]), encoding="utf-8")
    (out / "raw.txt").write_text("\n".join(texts[:60]), encoding="utf-8")
    return out


def run(folder: Path, text: str, out: Path, said: list[str] | None = None) -> api.RunResult:
    recipe = folder / f"{out.name}.toml"
    recipe.write_text(f'name = "r"\nseed = 3\n{text}', encoding="utf-8")
    show = Show() if said is None else Show(say=said.append)
    return api.run(recipe, out=out, device="cpu", show=show)


DATA = """
[data]
nli = { source = "nli.tsv", part = [0.0, 0.8] }
nli-dev = { source = "nli.tsv", part = [0.8, 1.0] }
"""


def stage(name: str, kind: str, model: object, train: str, dev: str, more: str = "") -> str:
    head = f'\n[[stage]]\nname = "{name}"\nkind = "{kind}"\nmodel = "{model}"\ntrain = {train}\ndev = "{dev}"\n'
    return head + COMMON + more + "\n"


def test_a_cross_encoder_goes_from_nli_to_sts_and_back_and_on_without_a_hand(
    folder: Path, tiny_bi: Path, tmp_path: Path
) -> None:
    nli, sts = ('["data:nli"]', "data:nli-dev"), ('["support:train"]', "support:dev")
    text = DATA + "".join(
        [
            stage("a", "train.cross", tiny_bi, *nli),
            stage("b", "train.cross", "stage:a", *sts),
            stage("c", "train.cross", "stage:b", *nli),
            stage("d", "train.cross", "stage:c", *sts),
        ]
    )
    said: list[str] = []
    result = run(folder, text, tmp_path / "run", said)
    reports = {o.name: o.report for o in result.outcomes}
    models = {o.name: CrossEncoder(str(o.directory / "model"), device="cpu") for o in result.outcomes}
    pairs = [("배송이 늦어요", "언제 도착하나요"), ("환불", "교환")]
    for name, outputs in {"a": 3, "b": 1, "c": 3, "d": 1}.items():
        assert models[name].num_labels == outputs
        scores = models[name].predict(pairs)
        assert scores.shape == ((2, 3) if outputs == 3 else (2,))
        assert reports[name]["dev_metric"] == ("accuracy x 100" if outputs == 3 else "Spearman x 100")
        if outputs == 1:
            assert ((scores > 0) & (scores < 1)).all()
        else:
            labels = models[name].transformers_model.config.id2label
            assert list(labels.values()) == ["entailment", "neutral", "contradiction"]
    assert reports["b"]["head"] != reports["a"]["head"]
    assert any("entailment" in line for line in said)


def test_a_chain_starts_where_the_stage_before_ended(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = (
        DATA
        + stage("nli", "train.bi", tiny_bi, '["data:nli"]', "support:dev")
        + stage("sts", "train.bi", "stage:nli", '["support:train"]', "support:dev")
    )
    result = run(folder, text, tmp_path / "run")
    first, second = (outcome.report for outcome in result.outcomes)
    assert first["objectives"] == {"data:nli": "mnrl"}
    assert second["dev_before"] == pytest.approx(first["dev_best"], abs=1e-3)


@pytest.mark.parametrize(
    ("train", "objectives"),
    [
        ('["support:train", "raw.txt"]', ["cosent", "simcse"]),
        (
            '[{ data = "data:nli", objective = "softmax" }, { data = "support:train", repeat = 2 }]',
            ["softmax", "cosent"],
        ),
        ('["triplets.tsv", "lists.jsonl", "pairs.tsv", "support-parallel"]', ["mnrl"] * 4),
        (
            '[{ data = "lists.jsonl", objective = "margin-mse" }, { data = "triplets.tsv", objective = "triplet" }]',
            ["margin-mse", "triplet"],
        ),
        (
            '[{ data = "lists.jsonl", objective = "kl" }, { data = "support:train", objective = "contrastive" }]',
            ["kl", "contrastive"],
        ),
        (
            '[{ data = "support:train", objective = "online-contrastive" }, { data = "raw.txt", objective = "tsdae" }]',
            ["online-contrastive", "tsdae"],
        ),
    ],
)
def test_several_sets_train_together_each_under_its_own_objective(
    folder: Path, tiny_bi: Path, tmp_path: Path, train: str, objectives: list[str]
) -> None:
    text = DATA + stage("bi", "train.bi", tiny_bi, train, "support:dev", "matryoshka = [16]\n")
    (outcome,) = run(folder, text, tmp_path / "run").outcomes
    assert list(outcome.report["objectives"].values()) == objectives
    assert all(np.isfinite(point["loss"]) for point in outcome.report["losses"])
    assert SentenceTransformer(str(outcome.directory / "model"), device="cpu").encode(["가"]).shape == (1, 32)


@pytest.mark.parametrize(
    ("train", "dev"),
    [
        ('["lists.jsonl", "triplets.tsv", "pairs.tsv"]', "triplets.tsv"),
        ('[{ data = "lists.jsonl", objective = "binary" }]', "lists.jsonl"),
        ('[{ data = "lists.jsonl", objective = "margin-mse" }]', "support:dev"),
        ('[{ data = "support:train", objective = "mse" }]', "support:dev"),
    ],
)
def test_cross_encoders_learn_rankings(folder: Path, tiny_bi: Path, tmp_path: Path, train: str, dev: str) -> None:
    # Rows for dev come from other rows of the same file.
    data = f'\n[data]\nt = {{ source = "{dev}", part = [0.5, 1.0] }}\n' if "." in dev else ""
    text = data + stage("cross", "train.cross", tiny_bi, train, "data:t" if data else dev)
    (outcome,) = run(folder, text, tmp_path / "run").outcomes
    assert outcome.report["losses"][-1]["loss"] == pytest.approx(outcome.report["losses"][-1]["loss"])
    assert CrossEncoder(str(outcome.directory / "model"), device="cpu").num_labels == 1


def test_heads_that_do_not_fit_together_are_refused(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = DATA + stage("cross", "train.cross", tiny_bi, '["data:nli", "support:train"]', "support:dev")
    with pytest.raises(ConfigError, match="one head") as caught:
        run(folder, text, tmp_path / "run")
    assert "data:nli: nli" in caught.value.got
    assert "support:train: sts" in caught.value.got
    assert not (tmp_path / "run").exists()


def test_an_objective_of_other_rows_is_named_with_its_place(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = DATA + stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev", 'objective = "softmax"\n')
    with pytest.raises(ConfigError, match="softmax") as caught:
        run(folder, text, tmp_path / "run")
    assert caught.value.where == 'stage.bi.train[0] = "support:train"'


def test_a_dev_set_of_sentences_is_refused(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "raw.txt")
    with pytest.raises(ConfigError, match="cannot choose the weights of a bi-encoder") as caught:
        run(folder, text, tmp_path / "run")
    assert caught.value.where == 'stage.bi.dev = "raw.txt"'
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("train", "dev"), [("data:nli", "support:dev"), ("support:train", "data:nli-dev")])
def test_dev_must_fit_the_head(folder: Path, tiny_bi: Path, tmp_path: Path, train: str, dev: str) -> None:
    """An NLI model has no similarity to rank by, and a score has no classes: both would give a number all the same."""
    text = DATA + stage("cross", "train.cross", tiny_bi, f'["{train}"]', dev)
    with pytest.raises(ConfigError, match="cannot choose the weights of a cross-encoder"):
        run(folder, text, tmp_path / "run")


def test_a_misspelt_objective_is_found_before_any_work(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '[{ data = "support:train", objective = "cosnt" }]', "support:dev")
    with pytest.raises(ConfigError, match="no such objective") as caught:
        run(folder, text, tmp_path / "run")
    assert caught.value.where == 'stage.bi.train[0] = "support:train"'
    assert caught.value.hint == "did you mean 'cosent'?"
    assert not (tmp_path / "run").exists()


def test_a_bi_encoder_may_start_from_a_cross_encoder(folder: Path, tiny_cross: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_cross, '["support:train"]', "support:dev")
    (outcome,) = run(folder, text, tmp_path / "run").outcomes
    assert "head" in outcome.report["head"]
    assert SentenceTransformer(str(outcome.directory / "model"), device="cpu").encode(["가"]).shape == (1, 32)


def test_several_seeds_give_mean_and_deviation_and_the_best_model(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev", "seeds = [1, 2, 3]\n")
    said: list[str] = []
    (outcome,) = run(folder, text, tmp_path / "run", said).outcomes
    found = {one["seed"]: one["dev_best"] for one in outcome.report["seeds"]}
    assert sorted(found) == [1, 2, 3]
    assert outcome.report["dev_mean"] == pytest.approx(np.mean(list(found.values())))
    assert outcome.report["dev_deviation"] == pytest.approx(np.std(list(found.values()), ddof=1))
    best = max(found, key=found.get)
    assert (outcome.report["seed"], outcome.report["dev_best"]) == (best, found[best])
    files = [outcome.directory / part / "model.safetensors" for part in ("model", f"seed-{best}/model")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len({(outcome.directory / f"seed-{n}/model/model.safetensors").read_bytes() for n in (1, 2, 3)}) == 3
    assert any("3 seeds" in line for line in said)


def test_a_seed_that_is_finished_is_not_trained_again(
    folder: Path, tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev", "seeds = [1, 2]\n")
    (whole,) = run(folder, text, tmp_path / "whole").outcomes
    train, seen = training.train_bi, []

    def killed(*arguments: object, **more: object) -> object:
        seen.append(more["seed"])
        if seen == [1, 2]:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    monkeypatch.setattr(training, "train_bi", killed)
    with pytest.raises(KeyboardInterrupt):
        run(folder, text, tmp_path / "run")
    said: list[str] = []
    (outcome,) = run(folder, text, tmp_path / "run", said).outcomes
    assert seen == [1, 2, 2]
    assert any("seed 1: finished before" in line for line in said)
    assert outcome.report["seeds"] == whole.report["seeds"]
    names = {path.name for path in outcome.directory.iterdir()}
    assert names == {"model", "seed-1", "seed-2", "report.json", "training.html", "manifest.json"}
    assert not (tmp_path / "run" / "work").exists() or not any((tmp_path / "run" / "work").iterdir())


def test_what_is_written_beside_a_model(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev")
    (outcome,) = run(folder, text, tmp_path / "run").outcomes
    page = (outcome.directory / "training.html").read_text(encoding="utf-8")
    assert f"{outcome.report['dev_best']:.2f}" in page
    with (outcome.directory / "metrics.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows][-1] == outcome.report["steps"]
    assert float(rows[-1]["dev"]) == pytest.approx(outcome.report["curve"][-1]["dev"])
    assert any(float(row["tokens_per_second"]) > 0 for row in rows if row["tokens_per_second"])
    assert list(outcome.directory.glob("events.out.tfevents.*"))
    card = (outcome.directory / "model" / "README.md").read_text(encoding="utf-8")
    assert "CC0-1.0" in card
    assert f"{outcome.report['dev_best']:.2f}" in card


def test_a_start_that_nothing_beats_is_said_and_kept(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev", "").replace("2e-3", "1e-12")
    said: list[str] = []
    (outcome,) = run(folder, text, tmp_path / "run", said).outcomes
    assert outcome.report["regressed"] is True
    assert any("nothing beat the starting weights" in line for line in said)
    words = "embeddings.word_embeddings.weight"
    start, end = (load_file(path / "model.safetensors") for path in (tiny_bi, outcome.directory / "model"))
    assert (start[words] == end[words]).all()


@pytest.mark.parametrize("more", ["freeze_layers = 1\n", "gradient_checkpointing = true\n", "lora = { rank = 4 }\n"])
def test_a_part_of_the_weights_may_be_trained(folder: Path, tiny_bi: Path, tmp_path: Path, more: str) -> None:
    # Random weights need a while before they beat their start on dev.
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev", more).replace(
        "epochs = 1", "epochs = 6"
    )
    (outcome,) = run(folder, text, tmp_path / "run").outcomes
    start, end = (load_file(path / "model.safetensors") for path in (tiny_bi, outcome.directory / "model"))
    assert start.keys() == end.keys()  # adapters are folded in: an ordinary model
    moved = {name for name in start if not np.array_equal(start[name], end[name]) and "pooler" not in name}
    assert any("layer.1" in name for name in moved)
    lower = {name for name in moved if "layer.0" in name or "embeddings" in name}
    if "freeze" in more:
        assert not lower
    elif "lora" in more:
        assert all(name.endswith("weight") and "LayerNorm" not in name for name in moved)
        assert not any("embeddings" in name for name in lower)
    else:
        assert any("embeddings.word" in name for name in lower)


def test_more_frozen_layers_than_there_are(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev", "freeze_layers = 9\n")
    with pytest.raises(ConfigError, match="fewer layers") as caught:
        run(folder, text, tmp_path / "run")
    assert caught.value.expected == "at most 2"


def test_recomputed_activations_give_the_same_weights(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev")
    plain = run(folder, text, tmp_path / "plain").outcomes[0].directory
    again = run(folder, text + "gradient_checkpointing = true\n", tmp_path / "again").outcomes[0].directory
    one, two = (load_file(folder / "model" / "model.safetensors") for folder in (plain, again))
    assert all((one[name] - two[name]).abs().max() < 1e-5 for name in one)


def test_a_training_that_was_stopped_and_changed_leaves_no_checkpoints(
    folder: Path, tiny_bi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "support:dev", "checkpoint_seconds = 0\n")
    killed = Checkpoints.save

    def save(self: Checkpoints, step: int, *arguments: object) -> Path:
        killed(self, step, *arguments)
        raise SystemExit("killed")

    monkeypatch.setattr(Checkpoints, "save", save)
    with pytest.raises(SystemExit):
        run(folder, text, tmp_path / "run")
    monkeypatch.setattr(Checkpoints, "save", killed)
    (begun,) = (tmp_path / "run" / "work").iterdir()
    assert [path.name for path in begun.glob("step-*")] == ["step-00000001"]
    said: list[str] = []
    run(folder, text + "weight_decay = 0.1\n", tmp_path / "run", said)
    assert f"  removed work/{begun.name}: begun under other options or inputs" in said
    assert not any("going on" in line for line in said)
    assert not (tmp_path / "run" / "work").exists()


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("train.bi", "freeze_layers = 9\n", "fewer layers"),
        ("train.cross", 'pooling = "mean"\n', "pooling has no effect"),
        ("train.bi", "negatives = 2\n", None),
    ],
)
def test_what_an_earlier_stage_will_make_is_known_before_any_work(
    folder: Path, tiny_bi: Path, tiny_cross: Path, tmp_path: Path, first: str, second: str, words: str | None
) -> None:
    text = (
        stage("one", first, tiny_bi, '["support:train"]', "support:dev")
        + f'\n[[stage]]\nname = "mine"\nkind = "mine"\nmodel = "{tiny_bi}"\nsentences = ["raw.txt"]\n'
        + f'\n[[stage]]\nname = "label"\nkind = "label"\nmodel = "{tiny_cross}"\npairs = "stage:mine"\n'
        + stage("two", "train.cross", "stage:one", '["stage:label"]', "support:dev", second)
    )
    recipe = folder / "early.toml"
    recipe.write_text(f'name = "r"\n{text}', encoding="utf-8")
    if words is None:
        assert [step["stage"] for step in api.explain(recipe, out=tmp_path / "run")] == ["one", "mine", "label", "two"]
        return
    with pytest.raises(ConfigError, match=words):
        api.run(recipe, out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_each_of_several_dev_sets_must_choose_and_is_named(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "X").replace('"X"', '["support:dev", "raw.txt"]')
    with pytest.raises(ConfigError, match="cannot choose the weights of a bi-encoder") as caught:
        run(folder, text, tmp_path / "run")
    assert caught.value.where == "stage.bi.dev[1]"
    text = stage("bi", "train.bi", tiny_bi, '["support:train"]', "X").replace('"X"', '["support:dev", "support:dev"]')
    with pytest.raises(ConfigError, match="several different ones"):
        run(folder, text, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_mean_over_dev_sets_chooses_for_cross_encoders_too(folder: Path, tiny_bi: Path, tmp_path: Path) -> None:
    text = stage("cross", "train.cross", tiny_bi, '["support:train"]', "X")
    said: list[str] = []
    (outcome,) = run(folder, text.replace('"X"', '["support:dev", "triplets.tsv"]'), tmp_path / "run", said).outcomes
    parts = outcome.report["dev_parts"]
    assert list(parts) == ["support:dev: Spearman x 100", "triplets.tsv: triplet accuracy x 100"]
    assert outcome.report["dev_best"] == pytest.approx(sum(parts.values()) / 2)
    assert outcome.report["dev_metric"] == "mean over 2 dev sets"
    assert sum("triplets.tsv: triplet accuracy" in line for line in said) == 1
    page = (outcome.directory / "training.html").read_text(encoding="utf-8")
    assert "triplets.tsv: triplet accuracy x 100" in page

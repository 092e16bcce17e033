"""The objectives of training by name: the rows that each takes, what it asks for, and where it comes from.

No torch here: recipes are checked, and help is printed, before any heavy library is loaded. A new objective is a line
here, its name in `options.py`, and one function: in `losses.py` for bi-encoders, in `cross_losses.py` for cross-encoders.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from munjang.errors import ConfigError, Option

PAIRED = ("positive-pairs", "parallel-pairs")
#: Objectives that learn a teacher's vectors.
DISTILLING = ("distil", "distil-cosine", "distil-similarity")
#: Objectives that live on dropout or on a decoder; a table of token vectors has neither.
NEED_TRANSFORMER = ("simcse", "tsdae")
#: Rows whose texts a teacher has vectors for; of translations the teacher reads the source only.
_WITH_TEXTS = ("parallel-pairs", "sentences", "scored-pairs", "labelled-pairs", "triplets", "positive-pairs")


@dataclass(frozen=True)
class Objective:
    """A way to learn from rows."""

    name: str
    rows: tuple[str, ...]
    """Kinds of rows that it takes, as keys of `munjang.data.readers.ROLES`."""
    about: str
    source: str
    """The paper or page that describes it."""
    task: str = ""
    """The head that a cross-encoder needs for it: `sts`, `nli` or `ranking`."""


def _table(*objectives: Objective) -> Mapping[str, Objective]:
    return {objective.name: objective for objective in objectives}


#: The first that takes a kind of rows is that kind's default.
BI_OBJECTIVES = _table(
    Objective("cosent", ("scored-pairs",), "rank pairs by their cosine", "Su 2022, kexue.fm/archives/8847"),
    Objective(
        "cosine", ("scored-pairs",), "regress the cosine on the score", "Reimers and Gurevych 2019, arXiv 1908.10084"
    ),
    Objective("angle", ("scored-pairs",), "rank pairs by angle in complex space", "Li and Li 2023, arXiv 2309.12871"),
    Objective(
        "contrastive",
        ("scored-pairs",),
        "pull pairs from half of the scale on together, push others a margin apart",
        "Hadsell, Chopra and LeCun 2006",
    ),
    Objective(
        "online-contrastive",
        ("scored-pairs",),
        "the same over the hardest pairs of a batch",
        "sentence-transformers, OnlineContrastiveLoss",
    ),
    Objective(
        "mnrl",
        ("labelled-pairs", "triplets", *PAIRED, "ranked-lists"),
        "find the positive among all texts of the batch, hard negatives included; of NLI, premise, entailment and "
        "contradiction make a triplet; of a list, the best text is the positive",
        "Henderson et al. 2017, arXiv 1705.00652; Gao, Yao and Chen 2021, arXiv 2104.08821 (NLI triplets)",
    ),
    Objective(
        "softmax",
        ("labelled-pairs",),
        "classify (u, v, |u - v|) by a head that is thrown away",
        "Reimers and Gurevych 2019, arXiv 1908.10084",
    ),
    Objective(
        "triplet",
        ("triplets",),
        "the positive is nearer than the negative by a margin",
        "Schroff, Kalenichenko and Philbin 2015, arXiv 1503.03832",
    ),
    Objective(
        "kl",
        ("ranked-lists",),
        "the distribution over a list's texts is the teacher's",
        "Hinton, Vinyals and Dean 2015, arXiv 1503.02531; over lists, Lin et al. 2021, arXiv 2104.06967",
    ),
    Objective(
        "margin-mse",
        ("ranked-lists",),
        "differences between a list's texts are the teacher's; its scores must be raw logits",
        "Hofstätter et al. 2020, arXiv 2010.02666",
    ),
    Objective(
        "simcse",
        ("sentences",),
        "a sentence finds itself under another dropout among the batch",
        "Gao, Yao and Chen 2021, arXiv 2104.08821",
    ),
    Objective(
        "tsdae",
        ("sentences",),
        "a decoder restores a sentence of which most tokens were deleted from its vector",
        "Wang, Reimers and Gurevych 2021, arXiv 2104.06979",
    ),
    Objective(
        "distil",
        _WITH_TEXTS,
        "the vector of each text is the teacher's; of translations, both are the teacher's vector of the source",
        "Reimers and Gurevych 2020, arXiv 2004.09813",
    ),
    Objective(
        "distil-cosine",
        _WITH_TEXTS,
        "the direction of each vector is the teacher's, whatever its length",
        "Reimers and Gurevych 2020, arXiv 2004.09813",
    ),
    Objective(
        "distil-similarity",
        _WITH_TEXTS,
        "the cosines between the texts of a batch are the teacher's, in any number of dimensions",
        "Tung and Mori 2019, arXiv 1907.09682",
    ),
)

CROSS_OBJECTIVES = _table(
    Objective(
        "bce",
        ("scored-pairs",),
        "binary cross-entropy between score and sigmoid",
        "sentence-transformers, BinaryCrossEntropyLoss",
        task="sts",
    ),
    Objective(
        "mse", ("scored-pairs",), "squared error of the sigmoid", "Thakur et al. 2021, arXiv 2010.08240", task="sts"
    ),
    Objective(
        "classes",
        ("labelled-pairs",),
        "cross-entropy over entailment, neutral, contradiction",
        "Bowman et al. 2015, arXiv 1508.05326",
        task="nli",
    ),
    Objective(
        "listnet",
        ("ranked-lists", "triplets", *PAIRED),
        "cross-entropy between the distributions over a list",
        "Cao et al. 2007",
        task="ranking",
    ),
    Objective(
        "binary",
        ("ranked-lists", "triplets", *PAIRED),
        "each text by itself: relevant or not",
        "Nogueira and Cho 2019, arXiv 1901.04085",
        task="ranking",
    ),
    Objective(
        "margin-mse",
        ("ranked-lists",),
        "differences between a list's texts are the teacher's raw logits",
        "Hofstätter et al. 2020, arXiv 2010.02666",
        task="ranking",
    ),
)


#: Options that only some objectives read, and those objectives.
OPTIONS_OF_OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "margin": ("contrastive", "online-contrastive", "triplet"),
    "similarity_scale": ("cosent", "angle", "mnrl", "kl", "margin-mse", "simcse"),
    "matryoshka": tuple(name for name in BI_OBJECTIVES if name not in ("tsdae", *DISTILLING)),
    "teacher": DISTILLING,
    "projection": ("distil", "distil-cosine"),
}
#: Options of cross-encoders that only some kinds of rows are read with, and those kinds.
OPTIONS_OF_ROWS: Mapping[str, tuple[str, ...]] = {
    "orders": ("scored-pairs",),
    "negatives": ("scored-pairs", *PAIRED),
}

#: Kinds of rows that can choose the weights of a bi-encoder, or of a cross-encoder with the head of a task.
DEV_KINDS: Mapping[str, tuple[str, ...]] = {
    "bi": ("scored-pairs", "labelled-pairs", "triplets", *PAIRED, "ranked-lists"),
    "sts": ("scored-pairs", "triplets", "ranked-lists"),
    "nli": ("labelled-pairs",),
    "ranking": ("ranked-lists", "triplets", "scored-pairs"),
}


def common_task(objectives: Mapping[str, Objective], where: Option | str) -> str:
    """The head that all objectives of a training need: `sts`, `nli` or `ranking`, or `bi` for a bi-encoder.

    Args:
        objectives: by data set.
        where: the option, for the error.

    Raises:
        ConfigError: they need different ones.
    """
    tasks: dict[str, str] = {}
    for name, objective in objectives.items():
        tasks.setdefault(objective.task or "bi", name)
    if len(tasks) > 1:
        raise ConfigError(
            "one cross-encoder has one head, and these sets need different ones",
            where=where,
            got=", ".join(f"{name}: {task}" for task, name in tasks.items()),
            hint="train one after the other, in stages of their own: each starts from the one before",
        )
    return next(iter(tasks))


def require_dev(task: str, kind: str, where: Option | str) -> None:
    """Refuse a dev set that cannot choose the weights of a model.

    Args:
        task: `bi`, or the head of a cross-encoder.
        kind: of the dev set's rows.
        where: the option, for the error.

    Raises:
        ConfigError: names the kinds that can.
    """
    if kind not in DEV_KINDS[task]:
        model = "a bi-encoder" if task == "bi" else f"a cross-encoder for {task}"
        raise ConfigError(
            f"such rows cannot choose the weights of {model}",
            where=where,
            expected=" or ".join(DEV_KINDS[task]),
            got=kind,
        )


def choose_objective(known: Mapping[str, Objective], kind: str, named: str | None, where: Option | str) -> Objective:
    """The objective for a kind of rows: the named one, or the kind's default.

    Args:
        known: `BI_OBJECTIVES` or `CROSS_OBJECTIVES`.
        kind: of the rows.
        named: what the options ask for, if anything.
        where: the data set, for the error.

    Raises:
        ConfigError: no objective takes such rows, or the named one does not.
    """
    fitting = [objective.name for objective in known.values() if kind in objective.rows]
    if not fitting:
        taken = sorted({rows for objective in known.values() for rows in objective.rows})
        raise ConfigError(
            "this kind of model does not train on such rows", where=where, expected=" or ".join(taken), got=kind
        )
    if named is not None and named not in known:
        near = difflib.get_close_matches(named, known, n=1)
        raise ConfigError(
            "no such objective",
            where=where,
            expected=", ".join(fitting),
            got=named,
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    if named is not None and named not in fitting:
        raise ConfigError(
            f"the objective {named!r} does not take these rows",
            where=where,
            expected=f"{' or '.join(known[named].rows)}, or another objective: {', '.join(fitting)}",
            got=kind,
        )
    return known[named or fitting[0]]

"""How models and sets are named in one word, on the command line and in recipes; no torch.

A set is `SET` or `TASK@SET`. `SET` is a name of the catalogue, a group such as `korean-sts`, a compound such as
`support-search`, `mteb:TASK`, a file, the parts of a compound with commas between them (`retrieval@DOCUMENTS,QUERIES,QRELS`,
`classification@TRAIN,TEST`), or, on the command line, a folder in the layout of BEIR.

A model is `MODEL`, `NAME=MODEL`, `BI+CROSS`, or `NAME=A,B,C` for the runs of one recipe under several seeds. What is the
path of something that exists is never taken apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from munjang.config.recipe import DATA_PREFIX, STAGE_PREFIX
from munjang.data.beir import beir_parts
from munjang.data.catalog import COMPOUNDS, GROUPS, locate, split_name
from munjang.errors import MissingInputError, UnavailableError, UsageError

MTEB_PREFIX = "mteb:"
#: The tasks whose sets are made of several parts, in the order in which they are written; as in `evaluate.tasks`.
PARTS = {"retrieval": ("documents", "queries", "qrels"), "classification": ("train", "test")}
#: What of a set names a source of rows.
SET_PARTS = ("data", *PARTS["retrieval"], *PARTS["classification"])
#: Tasks that a set of single rows can be measured as.
ROW_TASKS = ("sts", "pair-classification", "nli", "triplets", "reranking", "translation", "clustering")


def read_model(text: str) -> tuple[str, dict[str, list[str]]]:
    """A model as a table names it, and its fields as of `munjang.evaluate.options.MeasuredModel`.

    Raises:
        UsageError: a name is missing, or only some of several runs have a cross-encoder.
    """
    label, separator, named = text.partition("=")
    if not (separator and label) or _exists(text):
        label, named = text, text
    runs = [named] if _exists(named) else named.split(",")
    pairs = [[run] if _exists(run) else run.split("+") for run in runs]
    names = [name for pair in pairs for name in pair]
    if (len(names) > 1 and not all(names)) or any(len(pair) > 2 for pair in pairs):
        raise UsageError("cannot read this model", got=text, expected="MODEL, BI+CROSS or several of them after NAME=")
    if len({len(pair) for pair in pairs}) > 1:
        raise UsageError("either all runs of a model have a cross-encoder or none", got=text)
    found = {"model": [pair[0] for pair in pairs]}
    return label, {**found, "reranker": [pair[1] for pair in pairs]} if len(pairs[0]) == 2 else found


def read_set(text: str) -> list[dict[str, Any]]:
    """The sets that a word names, each as fields of `munjang.evaluate.options.MeasuredSet`.

    Raises:
        UsageError: the task is unknown, or the parts are not those of its sets.
    """
    task, source = _task_and_source(text)
    if source in GROUPS:
        return [_one(task, member, f"{task}@{member}" if task else member) for member in GROUPS[source]]
    return [_one(task, source, text)]


def _task_and_source(text: str) -> tuple[str | None, str]:
    task, separator, source = text.partition("@")
    if not separator or "/" in task or _exists(text):
        return None, text
    known = [*ROW_TASKS, *PARTS]
    if task not in known:
        near = difflib.get_close_matches(task, known, n=1)
        raise UsageError(
            "no such task",
            got=text,
            expected=", ".join(f"{name}@..." for name in known),
            hint=f"did you mean {near[0]}@{source}?" if near else None,
        )
    return task, source


def _one(task: str | None, source: str, label: str) -> dict[str, Any]:
    if source in COMPOUNDS:
        return _of_task(task, "retrieval", {"name": source, **COMPOUNDS[source]})
    if source.startswith(MTEB_PREFIX):
        return {"mteb": source.removeprefix(MTEB_PREFIX), **({"task": task} if task else {})}
    if task not in PARTS:
        return {"data": source, **({"task": task} if task else {})}
    sources = source.split(",")
    if len(sources) != len(PARTS[task]) or not all(sources):
        expected = f"{task}@{','.join(part.upper() for part in PARTS[task])}"
        raise UsageError(f"a set of the task {task} is made of {len(PARTS[task])} parts", got=label, expected=expected)
    return {"name": label, **dict(zip(PARTS[task], sources, strict=True))}


def _of_task(task: str | None, wanted: str, table: dict[str, Any]) -> dict[str, Any]:
    if task not in (None, wanted):
        raise UsageError(f"this set is made for the task {wanted}", got=f"{task}@{table['name']}")
    return table


def read_sets(
    texts: list[str], skip_missing: bool = False, say: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """The sets that some words name, folders in the layout of BEIR among them, with those of the catalogue looked for.

    The parts of such a folder stand as tables with how to read them, `{"source": ..., "columns": ...}`.

    Args:
        texts: see `read_set`.
        skip_missing: leave out sets of the catalogue that are not here.
        say: told what is left out.

    Raises:
        MissingInputError: sets are not here; all of them are named, and what is here of the others.
    """
    sets = []
    for text in texts:
        task, source = _task_and_source(text)
        parts = beir_parts(source)
        sets += read_set(text) if parts is None else [_of_task(task, "retrieval", {"name": source, **parts})]
    missing = {number: error for number, one in enumerate(sets) if (error := _missing(one)) is not None}
    if not missing:
        return sets
    names = [_name(one) for one in sets]
    absent, here = ([names[n] for n in range(len(sets)) if (n in missing) is wanted] for wanted in (True, False))
    if not (skip_missing and here):
        first = missing[min(missing)]
        if len(sets) == 1:
            raise first
        hint = "leave out what is missing with --skip-missing; " if here else ""
        raise MissingInputError(
            f"{len(absent)} of {len(sets)} sets are not here",
            where=", ".join(absent),
            got=f"here: {', '.join(here) or 'none'}",
            hint=hint + (first.hint or ""),
        )
    say(f"  left out, for they are not here: {', '.join(absent)}")
    return [one for number, one in enumerate(sets) if number not in missing]


def _missing(one: dict[str, Any]) -> MissingInputError | UnavailableError | None:
    """Why a set of the catalogue cannot be read; a file that is missing is found where files are read."""
    for value in one.values():
        if isinstance(value, str) and not value.startswith((DATA_PREFIX, STAGE_PREFIX)) and split_name(value):
            try:
                locate(value, Path())
            except (MissingInputError, UnavailableError) as error:
                return error
    return None


def _name(one: dict[str, Any]) -> str:
    return str(one.get("name") or one.get("data") or one.get("mteb"))


def _exists(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False

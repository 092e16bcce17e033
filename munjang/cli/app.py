"""The command `munjang`: its verbs, and what becomes of errors and signals."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError

from munjang import __version__
from munjang.cli.output import print_error, stderr
from munjang.cli.wording import Verb
from munjang.errors import EXIT_STATUSES, MunjangError, from_os_error

_STATUSES = "\n".join(f"- {status}: {meaning}" for status, meaning in EXIT_STATUSES.items())

app = App(
    name="munjang",
    help="From raw sentences to a proven sentence-embedding model with a search on it. Korean first, any language.",
    help_format="markdown",
    help_epilogue=f"Exit status:\n\n{_STATUSES}",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
# Verbs load when they run, so their help lines stand here.
train = App(name="train", help="Train one bi-encoder or cross-encoder.", help_epilogue="")
distill = App(name="distill", help="Make small students of a bi-encoder.", help_epilogue="")
index = App(name="index", help="Make an index of texts to search in.", help_epilogue="")
for _app, _place, _help in (
    (app, "run:run", "Walk a recipe from data to search; skip what is done, redo what was killed."),
    (app, "doctor:doctor", "Look for mistakes in data sets before anything is trained."),
    (train, "train:bi", "Train a bi-encoder and keep the weights that are best on dev."),
    (train, "train:cross", "Train a cross-encoder and keep the weights that are best on dev."),
    (app, "convert:convert", "Turn a model into one for another task, or make it smaller."),
    (app, "merge:merge", "Average the weights of models that were trained from one start."),
    (app, "export:export", "Export a model for OpenVINO or ONNX Runtime, with a certificate."),
    (app, "export:verify", "Compare a model or a server with the golden outputs of an export."),
    (app, "encode:encode", "Turn texts, or files of any size, into vectors; go on where it was killed."),
    (app, "similarity:similarity", "Say how similar two texts are, or the texts of files."),
    (app, "explore:paraphrases", "List the most similar pairs of sentences, or translations of each other."),
    (app, "explore:dedup", "Find sentences that say the same, and keep one of each group."),
    (app, "cluster:cluster", "Put sentences into clusters, with words, labels and typical sentences."),
    (app, "augment:augment", "Label raw pairs with a cross-encoder and train on gold and silver."),
    (distill, "distill:plan", "Try several students briefly, and write the recipe of the best trade."),
    (app, "evaluate:evaluate", "Measure models on any sets, with 95% intervals and verdicts."),
    (app, "evaluate:report", "Make one page of the results of several evaluations or runs."),
    (index, "index:build", "Encode texts into an index."),
    (app, "search:search", "Find the texts nearest to a query, before and after reranking."),
    (app, "serve:serve", "Serve models over HTTP: embeddings, reranking, similarity and search."),
    (app, "lists:data", "List the data sets that are known by name."),
    (app, "lists:models", "List the models that come from the package index."),
):
    _app.command(f"munjang.cli.{_place}", name=_place.split(":")[1], help=_help, help_epilogue="")
app.command(train)
app.command(distill)
app.command(index)


class _TerminatedError(BaseException):
    """SIGTERM arrived; not an `Exception`, so that only `main` catches it."""


def _terminate(number: int, frame: object) -> NoReturn:
    raise _TerminatedError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with a documented status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Hangul still gets every answer
    if os.environ.get("WORLD_SIZE", "1") != "1" and os.environ.get("RANK", "0") != "0":
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - of a team, the first process speaks
    # Under the C locale Python reads arguments as escaped bytes; they are UTF-8 nearly always.
    given = [os.fsencode(a).decode("utf-8", "surrogateescape") for a in sys.argv[1:]]
    sys.exit(run_command(given if arguments is None else list(arguments)))


def run_command(arguments: list[str]) -> int:
    """Run one command; returns its exit status (see `munjang.errors.EXIT_STATUSES`)."""
    _quiet_libraries()
    signal.signal(signal.SIGTERM, _terminate)
    as_json = any(a == "--json" or a.startswith("--json=") for a in arguments)
    try:
        status = app(arguments, exit_on_error=False, print_error=False) or 0
        sys.stdout.flush()
        return status
    except CycloptsError as error:
        usage = Verb(app, arguments).misread(error)
        print_error(usage, as_json)
        return usage.exit_status
    except MunjangError as error:
        print_error(Verb(app, arguments).spoken(error), as_json)
        return error.exit_status
    except KeyboardInterrupt:
        stderr().print("stopped; what was finished is kept, and the same command goes on from there", soft_wrap=True)
        return 130
    except _TerminatedError:
        stderr().print(
            "stopped by SIGTERM; what was finished is kept, and the same command goes on from there", soft_wrap=True
        )
        return 143
    except BrokenPipeError:
        _abandon_stdout()
        return 0
    except OSError as error:
        refused = from_os_error(error, error.filename or "standard output", doing="write")
        _abandon_stdout()
        print_error(refused, as_json=False)
        return refused.exit_status
    except Exception as error:
        return _bug(error, as_json)


def _abandon_stdout() -> None:
    """Point stdout at nothing, so that Python's own flush at exit finds no closed pipe or full disk."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _bug(error: Exception, as_json: bool) -> int:
    bug = MunjangError(
        "a bug in Munjang: please report it",
        where=traceback.extract_tb(error.__traceback__)[-1].name,
        got=f"{type(error).__name__}: {error}",
        hint="run again with MUNJANG_DEBUG=1 to see the traceback",
    )
    print_error(bug, as_json)
    if os.environ.get("MUNJANG_DEBUG"):
        traceback.print_exception(error)
    return bug.exit_status


def _quiet_libraries() -> None:
    """Keep the libraries' own bars and advice out of the output; what matters is said by Munjang."""
    for name, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "TQDM_DISABLE": "1",
    }.items():
        os.environ.setdefault(name, value)
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()

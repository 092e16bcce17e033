"""The verbs as functions: what the command line calls, and what a program may call in its place.

Heavy libraries are imported when a verb runs, not when this package is.
"""

from munjang.api.converting import convert
from munjang.api.evaluating import evaluate, report
from munjang.api.examining import doctor, examine
from munjang.api.naming import checked_options, name_data, name_sets
from munjang.api.runs import RunResult, explain, run, run_stage
from munjang.api.searching import find_index, search

__all__ = [
    "RunResult",
    "checked_options",
    "convert",
    "doctor",
    "evaluate",
    "examine",
    "explain",
    "find_index",
    "name_data",
    "name_sets",
    "report",
    "run",
    "run_stage",
    "search",
]

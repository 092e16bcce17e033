"""Batches spread over the cores of a machine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

_Batch = TypeVar("_Batch")
_Output = TypeVar("_Output")


def run_batches(
    batches: Sequence[_Batch], work: Callable[[_Batch], _Output], threads: int
) -> Iterator[tuple[_Batch, _Output]]:
    """Each batch with what `work` makes of it, in the order in which they are finished.

    A thread owns whole batches and computes them by itself, so there is no barrier inside an operation, and another
    busy process slows one thread down and not both. torch lets go of Python's lock in every operation.

    Args:
        batches: the longest first, so that no thread is left alone with a long one.
        work: called from several threads at a time.
        threads: at least 1; with one batch or one thread everything runs in the caller, with all of torch's threads.
    """
    if threads <= 1 or len(batches) <= 1:
        for batch in batches:
            yield batch, work(batch)
        return
    # Only where torch is loaded: other backends do without it.
    torch = sys.modules.get("torch")
    inside = torch.get_num_threads() if torch else 1
    stop = threading.Event()

    def one(batch: _Batch) -> Any:
        return None if stop.is_set() else work(batch)

    pool = ThreadPoolExecutor(threads, "munjang-engine", initializer=_alone, initargs=(torch,))
    waiting: dict[Future[Any], _Batch] = {}
    try:
        ahead = iter(batches)
        for batch in ahead:
            waiting[pool.submit(one, batch)] = batch
            if len(waiting) < 2 * threads:
                continue
            yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        if torch:  # gives the latest number to threads that are still to come
            torch.set_num_threads(inside)


def _finished(waiting: dict[Future[Any], _Batch]) -> Iterator[tuple[_Batch, Any]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()


def _alone(torch: Any) -> None:
    if torch:
        torch.set_num_threads(1)

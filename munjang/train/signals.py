"""A stopped training finishes its step and saves; a second signal stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def patience() -> Iterator[Callable[[], bool]]:
    """Takes SIGINT and SIGTERM for as long as the block runs.

    Yields:
        A function that tells whether to stop. On leaving, the signal goes to whoever handled it before.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def take(number: int, frame: object) -> None:
        received.append(number)
        for each in numbers:
            signal.signal(each, before[each])

    for number in numbers:
        signal.signal(number, take)
    try:
        yield lambda: bool(received)
    finally:
        for number in numbers:
            signal.signal(number, before[number])
        if received:
            os.kill(os.getpid(), received[0])

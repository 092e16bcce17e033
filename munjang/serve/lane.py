"""One worker thread a model: it takes what waits, whoever sent it, and computes it together.

The queue is bounded in tokens, not in requests, because a request of one word and one of a thousand are not the same
work. A text counts as its characters, at most the tokens that the model reads; a tokenizer makes fewer tokens of nearly
every text, and to know exactly would take the time that a refusal is to save.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from munjang.serve.refusals import DeadlineError, DrainingError, OverloadedError

#: Computes the inputs of several jobs of one key together: a result for each job.
Compute = Callable[[str, list[Sequence]], list[Any]]


@dataclass
class Job:
    """Inputs of one request."""

    key: str
    """Jobs of the same key can be computed together: of a bi-encoder, those with the same prompt."""
    inputs: Sequence
    tokens: int
    """At most, by their characters."""
    deadline: float
    """On the clock of `time.monotonic`."""
    future: Future = field(default_factory=Future)


class Lane:
    """The queue and the worker of one model.

    Args:
        name: of the thread, and in metrics.
        compute: runs the model; called by the worker alone.
        batch: tokens that are taken at a time.
        bound: tokens that may wait. A single larger job is taken where nothing waits, so that no request within the other
            limits is refused for ever.
    """

    def __init__(self, name: str, compute: Compute, batch: int, bound: int) -> None:
        self.name, self._compute, self._batch, self._bound = name, compute, batch, bound
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.tokens = 0
        """That wait."""
        self.running = 0
        """Jobs that are computed now."""
        self.batches = 0
        self.dropped = 0
        """Jobs whose client had left, or whose time had passed, before they were computed."""
        self._thread = threading.Thread(target=self._work, name=f"munjang-{name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False once the worker has died, which it does only by a bug."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    def submit(self, key: str, inputs: Sequence, tokens: int, deadline: float) -> Future:
        """Put inputs into the queue; returns at once. Cancel the future where nobody waits for it any more.

        Raises:
            OverloadedError: the queue is full. DrainingError: the worker is gone.
        """
        job = Job(key, inputs, tokens, deadline)
        with self._changed:
            if self._closed or not self.alive:
                raise DrainingError("the worker of this model has stopped", where=self.name)
            if self.tokens + tokens > self._bound:
                self._forget()
            if self._waiting and self.tokens + tokens > self._bound:
                raise OverloadedError(
                    "too much waits for this model",
                    where=self.name,
                    expected=f"at most {self._bound:,} tokens that wait",
                    got=f"{self.tokens:,} and {tokens:,} more",
                    hint="send the request again after the seconds that Retry-After says",
                )
            self._waiting.append(job)
            self.tokens += tokens
            self._changed.notify()
        return job.future

    def close(self, seconds: float = 5.0) -> None:
        """Compute what waits, then end the worker."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)

    def _work(self) -> None:
        while (jobs := self._next()) is not None:
            try:
                self._run(jobs)
            except BaseException as error:
                # Nobody may wait for ever for a worker that is gone.
                self._fail(jobs, error)
                raise
            finally:
                self.running = 0

    def _next(self) -> list[Job] | None:
        """The oldest job and those of its key behind it, up to the budget; None at the end."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            self._forget()
            taken, left, tokens = [], deque(), 0
            for job in self._waiting:
                fits = not taken or (job.key == taken[0].key and tokens + job.tokens <= self._batch)
                if fits and self._is_wanted(job):
                    taken.append(job)
                    tokens += job.tokens
                elif not job.future.done():
                    left.append(job)  # it waits its turn; one that ended here, too late, does not
            self._waiting = left
            self.tokens = sum(job.tokens for job in left)
            self.running = len(taken)
            return taken

    def _forget(self) -> None:
        """Take jobs whose client has left out of the queue, so that nobody is refused for them."""
        wanted = deque(job for job in self._waiting if not job.future.cancelled())
        self.dropped += len(self._waiting) - len(wanted)
        self._waiting, self.tokens = wanted, sum(job.tokens for job in wanted)

    def _is_wanted(self, job: Job) -> bool:
        """Whether somebody waits for a job; from here on it cannot be cancelled."""
        if not job.future.set_running_or_notify_cancel():
            self.dropped += 1
            return False
        if time.monotonic() > job.deadline:
            self.dropped += 1
            job.future.set_exception(DeadlineError("the request waited for longer than its deadline"))
            return False
        return True

    def _run(self, jobs: list[Job]) -> None:
        if not jobs:
            return
        self.batches += 1
        try:
            results = self._compute(jobs[0].key, [job.inputs for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            # One request must not fail for what another one sent.
            for job in jobs:
                self._run([job])
            return
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)

    def _fail(self, jobs: list[Job], error: BaseException) -> None:
        with self._changed:
            self._closed = True
            lost, self._waiting, self.tokens = [*jobs, *self._waiting], deque(), 0
        for job in lost:
            if not job.future.done():
                job.future.set_exception(DrainingError("the worker of this model has died", got=type(error).__name__))

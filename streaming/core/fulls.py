"""The full passes that wait and run: which must begin, and which never can.

Knows deadlines and what passes take; no window, and no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from math import inf

from streaming.core.batching import Passes
from streaming.events import Job, Pass

__all__ = ["Fulls"]


class Fulls:
    """Make one per schedule.

    Args:
        passes: what they take.
        at_once: how many passes over them may run.

    Attributes:
        allowed: whether any may be begun.
        samples: audio that waits.
    """

    def __init__(self, passes: Passes, at_once: int) -> None:
        self.allowed = True
        self.samples = 0
        self._passes = passes
        self._at_once = at_once
        self._waiting: dict[Job, None] = {}  # a set that keeps its order
        self._by_deadline: list[tuple[float, int, Job]] = []  # gone ones too
        self._order = count()
        self._running: set[Job] = set()
        self._running_passes = 0
        self._give_up_at = -inf  # before this nothing is to be given up

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, job: Job) -> None:
        """Let one wait."""
        self._waiting[job] = None
        self.samples += job.window.hop
        heappush(self._by_deadline, (job.deadline, next(self._order), job))
        self._give_up_at = min(self._give_up_at, self._passes.latest_start(job))

    def look_again(self) -> None:
        """What passes take has changed."""
        self._give_up_at = -inf

    def first(self, now: float) -> Job | None:
        """The most urgent one that may be begun."""
        if self._running_passes >= self._at_once:
            return None
        first = self._by_deadline
        while first and first[0][2] not in self._waiting:
            heappop(first)
        if not first or self._may_begin(first[0][2], now):
            return first[0][2] if first else None
        may = (job for job in self._waiting if self._may_begin(job, now))
        return min(may, key=lambda job: job.deadline, default=None)

    def latest_start(self, first: Job) -> float:
        """When a pass over `first` and those that wait with it must begin."""
        passes, samples = self._passes, len(first.window.samples)
        samples = max(samples, self.samples // len(self._waiting))
        size = min(len(self._waiting), passes.most(Pass.FULL, samples))
        return first.deadline - passes.costs.of(Pass.FULL).surely(samples, size)

    def take(self, first: Job, now: float, room_s: float) -> tuple[Job, ...]:
        """Begin a pass over `first`, and others that share it.

        Args:
            first: what `first` gave.
            now: seconds.
            room_s: most that the pass may surely take.
        """
        lengths: list[int] = []

        def peers(samples: int) -> int:
            if not lengths:
                lengths.extend(sorted(len(job.window.samples) for job in self._waiting))
            return bisect_right(lengths, samples)

        others = (
            job
            for job in sorted(self._waiting, key=lambda job: job.deadline)
            if job is not first and self._may_begin(job, now)
        )
        room_s = min(room_s, first.deadline - now)
        jobs = self._remove(list(self._passes.fill(first, others, peers, room_s)))
        self._running.update(jobs)
        self._running_passes += 1
        return jobs

    def done(self, jobs: Iterable[Job]) -> None:
        """A pass over some of them has ended."""
        self._running.difference_update(jobs)
        self._running_passes -= 1

    def runs(self, job: Job) -> bool:
        """Whether a pass over it runs."""
        return job in self._running

    def give_up(self, now: float) -> tuple[Job, ...]:
        """Remove those that may not be begun any more, and return them."""
        if self.allowed and now < self._give_up_at:
            return ()
        given_up = self.remove(lambda job: not self._may_begin(job, now))
        latest_start = self._passes.latest_start
        self._give_up_at = min(map(latest_start, self._waiting), default=inf)
        return given_up

    def remove(self, unwanted: Callable[[Job], bool]) -> tuple[Job, ...]:
        """Remove what is unwanted of those that wait, and return it."""
        return self._remove([job for job in self._waiting if unwanted(job)])

    def wake_at(self) -> float | None:
        """When `give_up` has something to return, if nothing happens before."""
        return min(map(self._passes.latest_start, self._waiting), default=None)

    def _may_begin(self, job: Job, now: float) -> bool:
        in_time = now < self._passes.latest_start(job)
        fits = self._passes.seconds(job) <= self._passes.longest_s
        return self.allowed and in_time and fits

    def _remove(self, jobs: Iterable[Job]) -> tuple[Job, ...]:
        removed = tuple(jobs)
        for job in removed:
            del self._waiting[job]
            self.samples -= job.window.hop
        return removed

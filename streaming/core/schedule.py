"""Which jobs run next: the earliest deadline first, full passes from slack.

Holds what waits and what runs; decides, never waits. Does not know what a model
is, only what its passes cost and which may share one. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import assert_never

from streaming.core.costs import CostModel
from streaming.core.lines import Lines
from streaming.errors import Overloaded
from streaming.events import Cancel, Job, Pass
from streaming.numeric.geometry import Geometry

__all__ = ["Batching", "Schedule"]


@dataclass(frozen=True, slots=True)
class Batching:
    """Which passes may share a batch.

    Attributes:
        geometry: what a window is padded to.
        max_batch: most windows in one pass; 1 where batches gain nothing.
        pads: windows of unequal length may share a batch.
    """

    geometry: Geometry
    max_batch: int = 1
    pads: bool = False

    def bucket(self, samples: int) -> int:
        """The bucket of a window of `samples`; equal buckets may share a batch.

        Where windows of unequal length may, there are four buckets to each
        doubling, so that padding adds a quarter at most; otherwise there is one
        for each number of rows.
        """
        if self.max_batch == 1:
            return 0
        steps = self.geometry.steps(samples)
        if self.pads and steps > 4:
            grain = 1 << (steps.bit_length() - 3)
            return -(-steps // grain) * grain
        return steps


class Schedule:
    """The jobs that wait and run, of all streams.

    The rules:

    - Windows of a stream are taken in the order they were added, one at a time;
      among streams the earliest deadline goes first, then the one that waited
      longest. `take` never holds back a window that may run.
    - A full pass gives way to windows as long as it can still be done in time
      after the next one; from then on it goes by its deadline, but never so that
      the most urgent window would be late for it. One that cannot be done in time
      any more, or would take longer than `longest_s`, is never begun: `give_up`
      hands it back, and whoever asked for it makes do with the stitched windows.
      So each full pass has an answer by its deadline.
    - With more than one worker, one is kept free of full passes.
    - A batch is filled from the bucket of its first job, by deadline, up to
      `longest_s` and as long as each window in it takes less time than in a smaller
      one; windows and full passes do not mix.
    - Past `queue_s` seconds of late windows `admit` refuses new streams, and past
      as many of waiting full passes, for each that one pass may hold, `add` refuses
      one more. Windows are
      always taken: finals are never dropped, and what one stream may have waiting
      is bounded where its socket is read. A file that was pushed ahead of its time
      is not late and keeps nobody out.

    Args:
        batching: which passes may share a batch.
        costs: seconds a pass takes.
        workers: passes that may run at once.
        spare: how many of them are kept free of full passes, where there are more.
        queue_s: seconds of audio, see the last rule.

    `costs` may be replaced at any time, and so may `longest_s`: half the smallest
    active budget, since inference cannot be interrupted.

    Attributes:
        full_passes: whether any may be begun; False has `give_up` return them all.
    """

    def __init__(
        self,
        batching: Batching,
        costs: CostModel,
        *,
        workers: int = 1,
        spare: int = 1,
        queue_s: float = inf,
    ) -> None:
        self.full_passes = True
        self._costs = costs
        self._longest_s = inf
        self._batching = batching
        self._workers = workers
        self._most_full = max(1, workers - spare)
        self._queue_s = queue_s
        self._windows = Lines(batching.bucket)
        self._full: dict[Job, None] = {}  # a set that keeps its order
        self._full_samples = 0
        self._running_full: set[Job] = set()
        self._full_passes = 0
        self._by_deadline: list[tuple[float, int, Job]] = []  # full ones, gone ones too
        self._order = count()
        self._look_again()

    # --- what may change -----------------------------------------------------

    @property
    def costs(self) -> CostModel:
        """Seconds that a pass takes."""
        return self._costs

    @costs.setter
    def costs(self, costs: CostModel) -> None:
        self._costs = costs
        self._look_again()

    @property
    def longest_s(self) -> float:
        """Most seconds that one pass may take."""
        return self._longest_s

    @longest_s.setter
    def longest_s(self, seconds: float) -> None:
        self._longest_s = seconds
        self._look_again()

    def _look_again(self) -> None:
        """What was computed from costs holds no more."""
        self._seconds_of: dict[tuple[Pass, int], float] = {}
        self._most_of: dict[tuple[Pass, int], int] = {}
        self._give_up_at = -inf  # before this nothing is to be given up

    # --- in and out --------------------------------------------------------

    def add(self, job: Job) -> None:
        """Let a job wait.

        Raises:
            Overloaded: it is a full pass, and takes longer than any pass may now, or
                too much audio waits for those.
        """
        match job.kind:
            case Pass.STITCHED:
                self._windows.add(job)
            case Pass.FULL:
                if self._cost(job) > self.longest_s:
                    raise Overloaded(
                        f"a full pass over {self._seconds(job.window.hop):.1f} s would "
                        f"take {self._cost(job):.2f} s, a pass may {self.longest_s:.2f}"
                    )
                waiting = self._seconds(self._full_samples + job.window.hop)
                most = self._queue_s * self._batching.max_batch
                if self._full and waiting > most:
                    raise Overloaded(
                        f"{waiting:.1f} s of audio would wait for full passes, "
                        f"at most {most:g} s may",
                        retry_after_s=waiting,
                    )
                self._full[job] = None
                self._full_samples += job.window.hop
                heappush(self._by_deadline, (job.deadline, next(self._order), job))
                self._give_up_at = min(self._give_up_at, self._latest_start(job))
            case _:
                assert_never(job.kind)

    def take(self, now: float) -> tuple[Job, ...]:
        """Return the jobs of the next pass, which run from now on; () for none."""
        window, full = self._windows.first(), self._next_full(now)
        if full is not None and (window is None or self._precedes(full, window, now)):
            return self._take_full(full, now)
        return () if window is None else self._take_windows(window)

    def done(self, jobs: Iterable[Job]) -> None:
        """A pass that `take` began has ended, well or badly; its jobs are gone.

        Raises:
            ValueError: a job does not run.
        """
        was_full = False
        for job in jobs:
            if job in self._running_full:
                self._running_full.remove(job)
                was_full = True
            else:
                self._windows.done(job)
        self._full_passes -= was_full

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Remove the waiting jobs that are wanted no more, and return them."""
        removed: list[Job] = []
        if cancel.kind is not Pass.FULL:
            removed += self._windows.cancel(cancel.stream, cancel.utterance)
        if cancel.kind is not Pass.STITCHED:
            removed += self._remove(
                job
                for job in self._full
                if job.stream == cancel.stream
                and cancel.utterance in (None, job.utterance)
            )
        return tuple(removed)

    def give_up(self, now: float) -> tuple[Job, ...]:
        """Remove the full passes that may not be begun any more, and return them."""
        if self.full_passes and now < self._give_up_at:
            return ()
        given_up = self._remove(j for j in self._full if not self._may_begin(j, now))
        self._give_up_at = min(map(self._latest_start, self._full), default=inf)
        return given_up

    def clear(self) -> tuple[Job, ...]:
        """Remove everything that waits, and return it."""
        return (*self._windows.clear(), *self._remove(self._full))

    # --- how it stands -----------------------------------------------------

    def admit(self, now: float) -> None:
        """Is there room for one more stream?

        Raises:
            Overloaded: more than `queue_s` seconds of audio are late.
        """
        late = self.late_s(now)
        if late > self._queue_s:
            raise Overloaded(
                f"{late:.1f} s of audio wait past their deadline, "
                f"at most {self._queue_s:g} s may",
                retry_after_s=max(1.0, late / self._workers),
            )

    def wake_at(self) -> float | None:
        """When `give_up` has something to return, if nothing happens before."""
        return min(map(self._latest_start, self._full), default=None)

    def late_s(self, now: float) -> float:
        """Seconds of audio in waiting windows whose deadline has passed."""
        return self._seconds(self._windows.late(now))

    def slack_s(self, now: float) -> float:
        """Seconds that the most urgent waiting window could still wait.

        Negative where it can no longer be in time, infinite where none waits.
        """
        first = self._windows.first()
        return inf if first is None else self._latest_start(first) - now

    @property
    def most_urgent(self) -> Job | None:
        """The window that runs next, among those that wait."""
        return self._windows.first()

    def filled(self, jobs: Sequence[Job]) -> float:
        """Return the part of a pass' time that its jobs would take in a full batch.

        1 where batches gain nothing; a device that gains from them does not wait
        for full ones while it is idle, and so is busier than it needs to be.
        """
        if self._batching.max_batch == 1:
            return 1.0
        costs = self.costs.of(jobs[0].kind)
        samples = max(len(job.window.samples) for job in jobs)
        worth = costs.batch(samples, self._batching.max_batch)
        alone_s = costs.seconds(samples, len(jobs))
        if worth <= len(jobs) or alone_s <= 0:
            return 1.0
        return len(jobs) * costs.seconds(samples, worth) / worth / alone_s

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return self._windows.jobs + len(self._full)

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that wait: the hops of windows, full passes whole."""
        return self._seconds(self._windows.samples + self._full_samples)

    # --- windows and full passes -------------------------------------------

    def _take_windows(self, first: Job) -> tuple[Job, ...]:
        if self._batching.max_batch == 1:
            self._windows.start(first)
            return (first,)
        jobs: list[Job] = []
        for job in self._fill(self._windows.like(first)):
            self._windows.start(job)
            jobs.append(job)
        return tuple(jobs)

    def _take_full(self, first: Job, now: float) -> tuple[Job, ...]:
        bucket = self._batching.bucket
        alike = (
            job
            for job in sorted(self._full, key=lambda job: job.deadline)
            if bucket(len(job.window.samples)) == bucket(len(first.window.samples))
            and self._may_begin(job, now)
        )
        jobs = self._remove(list(self._fill(alike)))
        self._running_full.update(jobs)
        self._full_passes += 1
        return jobs

    def _next_full(self, now: float) -> Job | None:
        if self._full_passes >= self._most_full:
            return None
        first = self._by_deadline
        while first and first[0][2] not in self._full:
            heappop(first)
        if not first or self._may_begin(first[0][2], now):
            return first[0][2] if first else None
        may = (job for job in self._full if self._may_begin(job, now))
        return min(may, key=lambda job: job.deadline, default=None)

    def _may_begin(self, full: Job, now: float) -> bool:
        in_time = now < self._latest_start(full)
        return self.full_passes and in_time and self._cost(full) <= self.longest_s

    def _precedes(self, full: Job, window: Job, now: float) -> bool:
        """Does a full pass go before the most urgent window?"""
        can_wait = now + self._cost(window) < self._latest_start(full)
        if can_wait or full.deadline >= window.deadline:
            return False
        # The next window of every stream waits behind it, not the first one only.
        most = self._most(window.kind, len(window.window.samples))
        each = self._cost(window) / (self._workers * most)
        begin = now + self._cost(full) + self._cost(window) - each
        return all(
            begin + number * each <= deadline
            for number, deadline in enumerate(self._windows.deadlines(), start=1)
        )

    def _remove(self, full: Iterable[Job]) -> tuple[Job, ...]:
        removed = tuple(full)
        for job in removed:
            del self._full[job]
            self._full_samples -= job.window.hop
        return removed

    # --- lengths -----------------------------------------------------------

    def _fill(self, jobs: Iterator[Job]) -> Iterator[Job]:
        """The first of `jobs`, and as many of the next as one pass may hold."""
        longest = 0
        for size, job in enumerate(jobs, start=1):
            longest = max(longest, len(job.window.samples))
            if size > 1 and size > self._most(job.kind, longest):
                return
            yield job

    def _most(self, kind: Pass, samples: int) -> int:
        """How many jobs of `samples` one pass may hold, and is worth holding."""
        most = self._most_of.get((kind, samples))
        if most is None:
            costs = self._costs.of(kind)
            most = costs.batch(samples, self._batching.max_batch)
            while most > 1 and costs.seconds(samples, most) > self._longest_s:
                most -= 1
            self._most_of[kind, samples] = most
        return most

    def _latest_start(self, job: Job) -> float:
        return job.deadline - self._cost(job)

    def _cost(self, job: Job) -> float:
        of = job.kind, len(job.window.samples)
        seconds = self._seconds_of.get(of)
        if seconds is None:
            seconds = self._seconds_of[of] = self._costs.of(of[0]).seconds(of[1])
        return seconds

    def _seconds(self, samples: int) -> float:
        return samples / self._batching.geometry.sample_rate

"""Which jobs run next: the earliest deadline first, full passes from slack.

Holds what waits and what runs; decides, never waits. Does not know what a model
is, only what its passes cost and which may share one. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import assert_never

from streaming.core.batching import Batching, Passes
from streaming.core.costs import CostModel
from streaming.core.fulls import Fulls
from streaming.core.lines import Lines
from streaming.errors import Overloaded
from streaming.events import Cancel, Job, Pass

__all__ = ["Batching", "Schedule"]


class Schedule:
    """The jobs that wait and run, of all streams.

    The rules:

    - Windows of a stream are taken in the order they were added, one at a time;
      among streams the earliest deadline goes first, then the one that waited
      longest. `take` never holds back a window that may run.
    - A full pass gives way to windows as long as it, and those that wait to share
      its pass, can still be done in time after the next one; from then on it goes by
      its deadline, but never so that any stream's next window would be late for it.
      One that cannot be done in time any more, or would take longer than
      `longest_s`, is never begun: `give_up` hands it back, and whoever asked for it
      makes do with the stitched windows. "In time" is by what passes surely take, as
      their times are spread, so each full pass has an answer by its deadline.
    - With more than one worker, one is kept free of full passes.
    - A batch is filled by deadline, up to `longest_s`, with those that pay to share
      one (core/batching.py); windows and full passes do not mix.
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
        self._passes = Passes(batching, costs)
        self._workers = workers
        self._queue_s = queue_s
        self._windows = Lines(batching.bucket)
        self._fulls = Fulls(self._passes, max(1, workers - spare))

    # --- what may change -----------------------------------------------------

    @property
    def costs(self) -> CostModel:
        """Seconds that a pass takes."""
        return self._passes.costs

    @costs.setter
    def costs(self, costs: CostModel) -> None:
        self._passes.costs = costs
        self._fulls.look_again()

    @property
    def longest_s(self) -> float:
        """Most seconds that one pass may take."""
        return self._passes.longest_s

    @longest_s.setter
    def longest_s(self, seconds: float) -> None:
        self._passes.longest_s = seconds
        self._fulls.look_again()

    @property
    def full_passes(self) -> bool:
        """Whether any may be begun; False has `give_up` return them all."""
        return self._fulls.allowed

    @full_passes.setter
    def full_passes(self, allowed: bool) -> None:
        self._fulls.allowed = allowed

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
                self._insist_room(job)
                self._fulls.add(job)
            case _:
                assert_never(job.kind)

    def _insist_room(self, full: Job) -> None:
        pass_s, longest_s = self._passes.seconds(full), self._passes.longest_s
        if pass_s > longest_s:
            raise Overloaded(
                f"a full pass over {self._seconds(full.window.hop):.1f} s would take "
                f"{pass_s:.2f} s, a pass may {longest_s:.2f}"
            )
        waiting = self._seconds(self._fulls.samples + full.window.hop)
        most = self._queue_s * self._passes.batching.max_batch
        if len(self._fulls) and waiting > most:
            raise Overloaded(
                f"{waiting:.1f} s of audio would wait for full passes, "
                f"at most {most:g} s may",
                retry_after_s=waiting,
            )

    def take(self, now: float) -> tuple[Job, ...]:
        """Return the jobs of the next pass, which run from now on; () for none."""
        window, full = self._windows.first(), self._fulls.first(now)
        if full is not None:
            room_s = inf if window is None else self._room_s(full, window, now)
            if self._passes.surely(full) <= room_s:
                return self._fulls.take(full, now, room_s)
        return () if window is None else self._take_windows(window)

    def done(self, jobs: Iterable[Job]) -> None:
        """A pass that `take` began has ended, well or badly; its jobs are gone.

        Raises:
            ValueError: a job does not run.
        """
        jobs = tuple(jobs)
        if jobs and self._fulls.runs(jobs[0]):
            self._fulls.done(jobs)
            return
        for job in jobs:
            self._windows.done(job)

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Remove the waiting jobs that are wanted no more, and return them."""
        removed: list[Job] = []
        if cancel.kind is not Pass.FULL:
            removed += self._windows.cancel(cancel.stream, cancel.utterance)
        if cancel.kind is not Pass.STITCHED:
            removed += self._fulls.remove(
                lambda job: (
                    job.stream == cancel.stream
                    and cancel.utterance in (None, job.utterance)
                )
            )
        return tuple(removed)

    def give_up(self, now: float) -> tuple[Job, ...]:
        """Remove the full passes that may not be begun any more, and return them."""
        return self._fulls.give_up(now)

    def clear(self) -> tuple[Job, ...]:
        """Remove everything that waits, and return it."""
        return (*self._windows.clear(), *self._fulls.remove(lambda _: True))

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
        return self._fulls.wake_at()

    def late_s(self, now: float) -> float:
        """Seconds of audio in waiting windows whose deadline has passed."""
        return self._seconds(self._windows.late(now))

    def slack_s(self, now: float) -> float:
        """Seconds that the most urgent waiting window could still wait.

        Negative where it can no longer be in time, infinite where none waits.
        """
        first = self._windows.first()
        return inf if first is None else self._passes.latest_start(first) - now

    @property
    def most_urgent(self) -> Job | None:
        """The window that runs next, among those that wait."""
        return self._windows.first()

    def filled(self, jobs: Sequence[Job]) -> float:
        """Return the part of a pass' time that its jobs would take in a full batch.

        1 where batches gain nothing; a device that gains from them does not wait
        for full ones while it is idle, and so is busier than it needs to be.
        """
        samples = max(len(job.window.samples) for job in jobs)
        return self._passes.filled(jobs[0].kind, samples, len(jobs))

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return self._windows.jobs + len(self._fulls)

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that wait: the hops of windows, full passes whole."""
        return self._seconds(self._windows.samples + self._fulls.samples)

    # --- windows beside full passes ------------------------------------------

    def _take_windows(self, first: Job) -> tuple[Job, ...]:
        windows = self._windows
        jobs: list[Job] = []
        for job in self._passes.fill(first, windows.beside(first), windows.no_longer):
            windows.start(job)
            jobs.append(job)
        return tuple(jobs)

    def _room_s(self, full: Job, window: Job, now: float) -> float:
        """How long a full pass may take before the windows; less where it can wait."""
        passes, samples = self._passes, len(window.window.samples)
        costs = passes.costs.of(window.kind)
        most = passes.most(window.kind, samples)
        next_s = costs.surely(samples, min(most, self._windows.ready))
        can_wait = now + next_s < self._fulls.latest_start(full)
        if can_wait or full.deadline >= window.deadline:
            return -inf
        # The next window of every stream waits behind it, not the first one only.
        each = passes.seconds(window) / (self._workers * most)
        begin = now + passes.seconds(window) - each
        return min(
            deadline - number * each - begin
            for number, deadline in enumerate(self._windows.deadlines(), start=1)
        )

    def _seconds(self, samples: int) -> float:
        return samples / self._passes.batching.geometry.sample_rate

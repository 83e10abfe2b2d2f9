"""How hard an engine is pressed: what its workers did in the last moments.

Passes go in as they begin and end, a `Strain` comes out. Knows no clock and not
what is done about it (core/ladder.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil, exp, inf

from streaming.core.ladder import Strain
from streaming.events import Job, Pass

__all__ = ["StrainGauge"]

# Time constants of running means. Of `busy` short, as the ladder goes down by it; of
# `needed` long, as it goes up by it, and speech comes in spurts.
_BUSY_S = 1.0
_NEEDED_S = 2.0
_USED_S = 0.5  # how long windows took is that of the last such while
_WINDOWS = 256  # of them at most: enough for a percentile
_QUANTILE = 0.95
# A window this far ahead of the pace of speech is of audio that was pushed: messages
# of a live caller are shorter, and so is the jitter of a network.
_AHEAD_S = 1.0


class StrainGauge:
    """Make one per engine.

    Args:
        workers: passes that may run at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._at = -inf
        self._busy = self._needed = 0.0  # means, as of then
        self._running: dict[Job, float] = {}  # first job of each pass: as it is filled
        # When each was done, the share it used, and of what.
        self._windows: deque[tuple[float, float, float]] = deque(maxlen=_WINDOWS)

    def began(self, jobs: Sequence[Job], filled: float, now: float) -> None:
        """A pass begins.

        Args:
            jobs: one or more, what it runs.
            filled: the part of its time that its jobs would take in a full batch.
            now: seconds.
        """
        if now >= earliest(jobs) - _AHEAD_S:
            self._move_to(now)
            self._running[jobs[0]] = filled

    def ended(self, jobs: Sequence[Job], now: float) -> None:
        """A pass that began has ended, well or badly."""
        self._move_to(now)
        self._running.pop(jobs[0], None)
        # The last will do of a batch of thousands; they were begun together.
        for job in jobs[-_WINDOWS:]:
            if job.kind is Pass.STITCHED:
                self._windows.append((now, job.used(now), job.budget_s))

    def strain(self, first: Job | None, now: float) -> Strain:
        """Return what holds `now`.

        Args:
            first: the most urgent window that waits.
            now: seconds.
        """
        self._move_to(now)
        used = self._used(first, now)
        budgets = [budget_s for _, _, budget_s in self._windows]
        budgets += [] if first is None else [first.budget_s]
        longest_s = max(budgets, default=0.0)
        return Strain(used, self._busy, self._needed, longest_s)

    def _move_to(self, now: float) -> None:
        """Until now as many workers were busy as are now."""
        busy = len(self._running) / self._workers
        needed = sum(self._running.values()) / self._workers
        past = max(0.0, now - self._at)
        self._busy = busy + (self._busy - busy) * exp(-past / _BUSY_S)
        self._needed = needed + (self._needed - needed) * exp(-past / _NEEDED_S)
        self._at = max(self._at, now)

    def _used(self, first: Job | None, now: float) -> float:
        windows = self._windows
        while windows and windows[0][0] <= now - _USED_S:
            windows.popleft()
        waits = 0.0 if first is None else first.used(now)
        return max(waits, _percentile([used for _, used, _ in windows]))


def earliest(jobs: Iterable[Job]) -> float:
    """When the first audio of these would have come at the pace of speech."""
    return min(job.deadline - job.budget_s for job in jobs)


def _percentile(values: list[float]) -> float:
    if not values:
        return 0.0
    values.sort()
    return values[ceil(_QUANTILE * len(values)) - 1]

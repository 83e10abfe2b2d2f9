"""How hard an engine is pressed: what its workers did in the last moments.

Passes go in as they begin and end, a `Strain` comes out. Knows no clock and not
what is done about it (core/ladder.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from math import ceil

from streaming.core.ladder import Strain
from streaming.events import Job, Pass

__all__ = ["StrainGauge"]

_BUSY_S = 2.0  # what workers did is averaged over this
_USED_S = 0.5  # how long windows took is that of the last such while
_WINDOWS = 256  # of them at most: enough for a percentile
_QUANTILE = 0.95
# A window this far ahead of the pace of speech is of audio that was pushed: messages
# of a live caller are shorter, and so is the jitter of a network.
_AHEAD_S = 1.0

_Pass = tuple[float, float, float]  # began, share of it that counts, of a full batch


class StrainGauge:
    """Make one per engine.

    Args:
        workers: passes that may run at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._running: dict[Job, _Pass] = {}  # by the first job of each pass
        self._passes: deque[tuple[float, _Pass]] = deque()  # (ended, pass)
        self._windows: deque[tuple[float, float]] = deque(maxlen=_WINDOWS)

    def began(self, jobs: Sequence[Job], filled: float, now: float) -> None:
        """A pass begins.

        Args:
            jobs: one or more, what it runs.
            filled: the part of its time that its jobs would take in a full batch.
            now: seconds.
        """
        counts = 0.0 if now < earliest(jobs) - _AHEAD_S else 1.0
        self._running[jobs[0]] = (now, counts, counts * filled)

    def ended(self, jobs: Sequence[Job], now: float) -> None:
        """A pass that began has ended, well or badly."""
        begun = self._running.pop(jobs[0])
        self._passes.append((now, begun))
        # The last will do of a batch of thousands; they were begun together.
        for job in islice(reversed(jobs), _WINDOWS):
            if job.kind is Pass.STITCHED:
                self._windows.append((now, job.used(now)))

    def strain(self, first: Job | None, now: float) -> Strain:
        """Return what holds `now`.

        Args:
            first: the most urgent window that waits.
            now: seconds.
        """
        busy, needed = self._worked(now)
        return Strain(self._used(first, now), busy, needed)

    def _worked(self, now: float) -> tuple[float, float]:
        passes, start = self._passes, now - _BUSY_S
        while passes and passes[0][0] <= start:
            passes.popleft()
        busy = needed = 0.0
        for ended, (began, counts, filled) in passes:
            seconds = ended - max(began, start)
            busy += counts * seconds
            needed += filled * seconds
        for began, counts, filled in self._running.values():
            seconds = now - max(began, start)
            busy += counts * seconds
            needed += filled * seconds
        time_s = self._workers * _BUSY_S
        return busy / time_s, needed / time_s

    def _used(self, first: Job | None, now: float) -> float:
        windows = self._windows
        while windows and windows[0][0] <= now - _USED_S:
            windows.popleft()
        waits = 0.0 if first is None else first.used(now)
        return max(waits, _percentile([used for _, used in windows]))


def earliest(jobs: Iterable[Job]) -> float:
    """When the first audio of these would have come at the pace of speech."""
    return min(job.deadline - job.budget_s for job in jobs)


def _percentile(values: list[float]) -> float:
    if not values:
        return 0.0
    values.sort()
    return values[ceil(_QUANTILE * len(values)) - 1]

"""Which passes take absurdly long: an engine that hangs without dying.

A pass counts only the time in which somebody looked, each look for a moment at most.
So neither a suspended machine nor one that is so busy that nobody gets to look makes
a pass hang. Knows no clock, and not what is done about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streaming.events import Job

__all__ = ["HangWatch"]

# Passes of a machine whose neighbours were busy took 27 times the shortest of them.
_FAR = 30.0
_LOOK_S = 1.0  # what a look counts at most; they come several times a second


@dataclass(slots=True)
class _Run:
    """A pass that runs.

    Attributes:
        size: its jobs.
        usual_s: what passes like it take at most.
        most_s: what it may.
        seen_s: how long it was seen to run.
        hung: it was counted.
    """

    size: int
    usual_s: float
    most_s: float
    seen_s: float = 0.0
    hung: bool = False


class HangWatch:
    """Make one per engine.

    Args:
        hang_s: no pass hangs that was seen to run for less.

    Attributes:
        hangs: how often something hung.
    """

    def __init__(self, hang_s: float) -> None:
        self.hangs = 0
        self._hang_s = hang_s
        self._looked_at: float | None = None
        self._runs: dict[Job, _Run] = {}  # by their first job
        self._idle = _Run(0, 0.0, hang_s)  # while jobs wait

    @property
    def hung(self) -> int:
        """Passes that hang now."""
        return sum(run.hung for run in self._runs.values())

    def began(self, jobs: Sequence[Job], surely_s: float) -> None:
        """A pass begins.

        Args:
            jobs: one or more, what it runs.
            surely_s: what such a pass takes at most.
        """
        most_s = max(self._hang_s, _FAR * surely_s)
        self._runs[jobs[0]] = _Run(len(jobs), surely_s, most_s)
        self._idle = _Run(0, 0.0, self._hang_s)

    def ended(self, jobs: Sequence[Job]) -> None:
        """A pass that began has ended, well or badly."""
        self._runs.pop(jobs[0], None)

    def look(self, now: float, *, waiting: bool) -> str | None:
        """Look once; say what hangs, None where nothing does.

        Args:
            now: seconds; to be called several times a second.
            waiting: there are jobs that nobody has begun.
        """
        before = now if self._looked_at is None else self._looked_at
        past_s = min(max(0.0, now - before), _LOOK_S)
        self._looked_at = now
        for run in self._runs.values():
            self._see(run, past_s)
        if waiting and not self._runs:
            self._see(self._idle, past_s)
        else:
            self._idle = _Run(0, 0.0, self._hang_s)
        if self._idle.hung:
            return f"jobs wait, and no pass has begun for {self._idle.seen_s:.0f} s"
        hung = [run for run in self._runs.values() if run.hung]
        if not hung:
            return None
        worst = max(hung, key=lambda run: run.seen_s)
        return (
            f"a pass over {worst.size} windows has run for {worst.seen_s:.0f} s, "
            f"such passes take {worst.usual_s:.2f} s at most"
        )

    def _see(self, run: _Run, seconds: float) -> None:
        run.seen_s += seconds
        if run.seen_s > run.most_s and not run.hung:
            run.hung = True
            self.hangs += 1

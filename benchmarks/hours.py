"""What a simulation is given and what it tells: a machine, callers, and an hour's sums.

Knows neither the schedule nor how time moves (virtual.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from streaming.core.costs import CostModel
from streaming.core.windows import WindowShape

__all__ = ["Found", "Machine", "Spread", "Talk"]

_SHAPE = WindowShape(1_280 * 16, 320 * 16, 320 * 16)


@dataclass(frozen=True, slots=True)
class Machine:
    """What runs the passes.

    Attributes:
        costs: seconds of a pass.
        workers: passes at once.
        max_batch: most windows in one.
        jitter: standard deviation of a pass's time, as a share of it.
    """

    costs: CostModel
    workers: int = 2
    max_batch: int = 1
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class Talk:
    """Who calls, and how they talk.

    Attributes:
        calls: how many come, one after the other at random, within `seconds`.
        seconds: how long calls come in.
        call_s: mean length of a call.
        duty: share of its time in which somebody speaks.
        utterance_s: mean length of an utterance, its hangover included.
        longest_s: where an utterance is cut.
        budget_s: latency budget.
        shape: of the windows.
        hangover_s: silence at the end of an utterance.
        speculate_s: of that, silence after which a full pass is begun.
        max_streams: more are refused; 0 for no limit.
        seed: of the dice.
    """

    calls: int = 10_000
    seconds: float = 3_600.0
    call_s: float = 180.0
    duty: float = 0.4
    utterance_s: float = 4.0
    longest_s: float = 30.0
    budget_s: float = 0.5
    shape: WindowShape = _SHAPE
    hangover_s: float = 0.5
    speculate_s: float = 0.2
    max_streams: int = 0
    seed: int = 7

    @property
    def offered(self) -> float:
        """Mean number of calls at a time, were nobody refused."""
        return self.calls * self.call_s / self.seconds


class Spread:
    """Percentiles of many times, to the millisecond up to a minute."""

    def __init__(self) -> None:
        self.count = 0
        self.late = 0
        self._most = 60_000
        self._bins = [0] * (self._most + 1)

    def add(self, seconds: float, *, late: bool) -> None:
        """Count one."""
        place = int(seconds * 1_000 + 0.5)
        self._bins[0 if place < 0 else min(place, self._most)] += 1
        self.count += 1
        self.late += late

    def quantile(self, share: float) -> float:
        """Seconds that this share of them stay within; 0 where there are none."""
        wanted, seen = share * self.count, 0
        for place, count in enumerate(self._bins):
            seen += count
            if count and seen >= wanted:
                return place / 1_000
        return 0.0


@dataclass(slots=True)
class Found:
    """What came of it.

    Attributes:
        admitted: calls let in, and `refused`, calls turned away.
        most_open: most calls at a time.
        windows: windows done.
        passes: passes done.
        utilisation: share of worker time in passes while calls came in.
        partials: from the arrival of the last sample a partial covers, where partials
            were sent; those past the budget are late.
        finals: from the end of an utterance to its final; late past its bound.
        full: finals made by a full pass.
        rungs: share of the time on each rung while calls came in, by level.
        transitions: `(at, level)`.
        level_after: where the ladder stands a minute after the last final.
        owed: utterances that never became final. Must be 0.
    """

    admitted: int = 0
    refused: int = 0
    most_open: int = 0
    windows: int = 0
    passes: int = 0
    utilisation: float = 0.0
    partials: Spread = field(default_factory=Spread)
    finals: Spread = field(default_factory=Spread)
    full: int = 0
    rungs: dict[str, float] = field(default_factory=dict)
    transitions: list[tuple[float, str]] = field(default_factory=list)
    level_after: str = ""
    owed: int = 0

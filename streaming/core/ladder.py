"""What is saved when the machine has more to do than it can: one rung at a time.

The ladder is a table. `Ladder` says which rung holds, from how much of their
latency budget the windows use up: down fast, up slowly, and more slowly each time
it was too early. Knows no clock, no engine and no session.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

__all__ = ["LADDER", "NORMAL", "Ladder", "Patience", "Rung", "Strain"]


@dataclass(frozen=True, slots=True)
class Strain:
    """How hard the engine is pressed, over the last moments.

    Attributes:
        used: share of their latency budget that windows took until they were done,
            the 95th percentile; 1 is just in time, more is late.
        busy: share of the workers' time in passes, those left out that were ahead
            of the pace of speech: a file pushed at once presses nobody.
        needed: what `busy` would be had every pass been a full batch. A device that
            gains from batches is never idle, as it never waits for a fuller one.
        budget_s: latency budget of those windows, the largest.
    """

    used: float = 0.0
    busy: float = 0.0
    needed: float = 0.0
    budget_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rung:
    """One row of the table: what holds on it, and what leads to it and away.

    Attributes:
        level: what clients, metrics and the log call it.
        full_passes: full passes are run; else finals are stitched.
        hops: windows keep this many configured hops instead of one.
        partial_every_s: least audio between two partials of an utterance;
            infinite: none are sent.
        admits: new streams are let in.
        enter_used: `Strain.used` from which the rung above is not enough.
        enter_needed: `Strain.needed` from which it is not.
        leave_used: `Strain.used` down to which the rung above may do again.
        leave_needed: `Strain.needed` down to which it may. What this rung saves
            comes back on top: so a longer hop is left at half, since two windows
            with one hop each cost up to 1.7 times one with two.
    """

    level: str
    full_passes: bool = True
    hops: int = 1
    partial_every_s: float = 0.0
    admits: bool = True
    enter_used: float = inf
    enter_needed: float = inf
    leave_used: float = 0.5
    leave_needed: float = 0.6


NORMAL = Rung("normal")

# Windows of 1.2 s left, 0.48 s hop and 0.32 s right context cost 4.2 times their
# audio, with two hops 2.6, three 2.1, four 1.8; steps of a stateful model 1.67, 1.33,
# 1.22 and 1.17. Partials of three hops are over a second apart: no window is in vain.
# Little more is saved on the last two, so that they are entered while there is room:
# who has just been let in has yet to talk.
LADDER: tuple[Rung, ...] = (
    NORMAL,
    Rung("stitched", full_passes=False, enter_used=0.7),
    Rung("longer_hop", full_passes=False, hops=2, enter_used=0.9, leave_needed=0.5),
    Rung(
        "coalesced",
        full_passes=False,
        hops=3,
        partial_every_s=0.96,
        enter_used=1.0,
        leave_needed=0.65,
    ),
    Rung(
        "finals_only",
        full_passes=False,
        hops=4,
        partial_every_s=inf,
        enter_used=1.0,
        enter_needed=0.85,
        leave_needed=0.6,
    ),
    Rung(
        "refuse",
        full_passes=False,
        hops=4,
        partial_every_s=inf,
        admits=False,
        enter_used=1.0,
        enter_needed=0.8,
        leave_needed=0.65,
    ),
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something must hold before a rung is taken or left.

    Attributes:
        enter_s: strain, before the next rung down. Once full passes were given up
            it counts from a budget later: windows that are done until then waited
            behind those, and nothing is known of what giving them up saves.
        leave_s: calm, before the next one up.
        longest_s: the same, after it was too early again and again: each time it
            doubles up to this.
        probation: going down to a rung again within this many times the calm
            that it was left after shows that leaving it was too early.
        hiccup: `Strain.busy` below which late windows are the fault of something
            else than load: a budget as short as a pass, or a machine that slept.
    """

    enter_s: float = 0.5
    leave_s: float = 5.0
    longest_s: float = 300.0
    probation: float = 12.0
    hiccup: float = 0.8


class Ladder:
    """Where on the ladder a server stands; make one per engine.

    Args:
        rungs: the table, `normal` first.
        patience: how fast it is gone down and up.
    """

    def __init__(
        self, rungs: tuple[Rung, ...] = LADDER, patience: Patience | None = None
    ) -> None:
        if not rungs:
            raise ValueError("a ladder needs at least one rung")
        self._rungs = rungs
        self._patience = patience or Patience()
        self._at = 0
        self._pressed_since: float | None = None
        self._calm_since: float | None = None
        self._shows_at = -inf  # what the rung saves
        self._left_at = [-inf] * len(rungs)
        self._calms = [self._patience.leave_s] * len(rungs)

    @property
    def rung(self) -> Rung:
        """The rung that holds."""
        return self._rungs[self._at]

    @property
    def number(self) -> int:
        """Its number; 0 is normal."""
        return self._at

    def step(self, strain: Strain, now: float) -> Rung:
        """Take what was measured `now`; return the rung that holds from here on.

        To be called several times within `Patience.enter_s`.
        """
        pressed_now = now >= self._shows_at and self._pressed(strain)
        self._pressed_since = _since(self._pressed_since, pressed_now, now)
        self._calm_since = _since(self._calm_since, self._calm(strain), now)
        pressed, calm = self._pressed_since, self._calm_since
        if pressed is not None and now - pressed >= self._patience.enter_s:
            gave_full_passes = self.rung.full_passes
            self._down(now)
            if gave_full_passes:  # what ran and waited goes on for as long
                self._shows_at = now + strain.budget_s
        elif calm is not None and now - calm >= self._calm_needed(strain):
            self._up(now)
        return self.rung

    def retry_after_s(self, now: float) -> float:
        """When a refused client may try again: not before the rung can be left."""
        calm_s = 0.0 if self._calm_since is None else now - self._calm_since
        return max(1.0, self._calms[self._at] - calm_s)

    def _pressed(self, strain: Strain) -> bool:
        if self._at + 1 == len(self._rungs):
            return False
        below = self._rungs[self._at + 1]
        late = strain.used >= below.enter_used and strain.busy >= self._patience.hiccup
        return late or strain.needed >= below.enter_needed

    def _calm(self, strain: Strain) -> bool:
        rung = self.rung
        few = strain.needed <= rung.leave_needed and strain.used <= rung.leave_used
        return self._at > 0 and few

    def _calm_needed(self, strain: Strain) -> float:
        # With half as much to do as would be calm, an earlier mistake is no reason.
        if strain.needed <= self.rung.leave_needed / 2:
            return self._patience.leave_s
        return self._calms[self._at]

    def _down(self, now: float) -> None:
        self._at += 1
        calm_s = self._calms[self._at]
        early = now - self._left_at[self._at] < self._patience.probation * calm_s
        self._calms[self._at] = (
            min(2 * calm_s, self._patience.longest_s)
            if early
            else self._patience.leave_s
        )
        self._pressed_since = self._calm_since = None

    def _up(self, now: float) -> None:
        self._left_at[self._at] = now
        self._at -= 1
        self._pressed_since = self._calm_since = None


def _since(since: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since

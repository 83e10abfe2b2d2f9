"""Who lives: children say so every second, and one that does not hangs.

Silence counts only as long as somebody looked, each look for a moment: a machine
that was suspended, or on which the parent itself gets no time, kills nobody. Knows
no clock and no process.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["BEAT_S", "Vigil"]

BEAT_S = 1.0
"""How often a child says that it lives, and the parent looks."""

_LOOK_S = 2 * BEAT_S  # what a look counts at most

Child = TypeVar("Child", bound=Hashable)


@dataclass(slots=True)
class _Pulse:
    """Of one child: how long it is silent, and what it said of itself."""

    silent_s: float = 0.0
    hung: str | None = None


class Vigil(Generic[Child]):
    """Make one per parent.

    Args:
        hang_s: a child that is silent for so long hangs.
    """

    def __init__(self, hang_s: float) -> None:
        self._hang_s = hang_s
        self._looked_at: float | None = None
        self._pulses: dict[Child, _Pulse] = {}

    def heard(self, child: Child, hung: str | None = None) -> None:
        """A child lives; from its first word on it is watched.

        Args:
            child: which.
            hung: why it cannot go on, where it says so itself.
        """
        self._pulses[child] = _Pulse(hung=hung)

    def over(self, child: Child) -> None:
        """It has ended, or is to end."""
        self._pulses.pop(child, None)

    def look(self, now: float) -> list[tuple[Child, str]]:
        """Who hangs, each told once, and why.

        Args:
            now: seconds; to be called every `BEAT_S`.
        """
        before = now if self._looked_at is None else self._looked_at
        past_s = min(max(0.0, now - before), _LOOK_S)
        self._looked_at = now
        for pulse in self._pulses.values():
            pulse.silent_s += past_s
        hung = [
            (child, pulse.hung or f"it has said nothing for {pulse.silent_s:.0f} s")
            for child, pulse in self._pulses.items()
            if pulse.hung is not None or pulse.silent_s > self._hang_s
        ]
        for child, _ in hung:
            self.over(child)
        return hung

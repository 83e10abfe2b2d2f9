"""Answers in the order of their commands.

A refusal is known at once, but the commands before it may still wait for finals.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from streaming.events import Configured, Flushed, Refused

__all__ = ["Answers"]

_Answer: TypeAlias = type[Flushed | Configured]


class Answers:
    """Holds refusals back until what was asked before them is answered."""

    def __init__(self) -> None:
        self._owed: deque[_Answer | Refused] = deque()

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, answer: _Answer) -> None:
        """A command came that will be answered so."""
        self._owed.append(answer)

    def refuse(self, refused: Refused) -> list[Refused]:
        """A command is refused; return what can be said now."""
        self._owed.append(refused)
        return self._ripe()

    def refuse_owed(self, answer: _Answer, refused: Refused) -> list[Refused]:
        """A command that was taken is refused after all."""
        self._owed[self._owed.index(answer)] = refused
        return self._ripe()

    def give(self, answer: _Answer) -> list[Refused]:
        """An answer is given; return the refusals that waited for it."""
        if self._owed and self._owed[0] is answer:
            self._owed.popleft()
        return self._ripe()

    def _ripe(self) -> list[Refused]:
        ripe = []
        while self._owed and isinstance(refused := self._owed[0], Refused):
            ripe.append(refused)
            self._owed.popleft()
        return ripe

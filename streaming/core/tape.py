"""What came into a channel and is not settled yet, so that it can be cut anew.

When the decoder ends an utterance at an earlier sample, everything after it is
read again from here: audio, and the commands at their places. Knows nothing of
speech.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from streaming.events import Samples

__all__ = ["Mark", "Tape"]

Command = TypeVar("Command")


@dataclass(frozen=True, slots=True)
class Mark(Generic[Command]):
    """A command, and the sample before which it stands."""

    at: int
    command: Command


class Tape(Generic[Command]):
    """Samples and commands in order, from `start` to `end`.

    Attributes:
        start: position of the oldest sample kept.
        end: position after the newest.
    """

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self._pieces: deque[Samples] = deque()
        self._marks: deque[Mark[Command]] = deque()

    def add(self, samples: Samples) -> None:
        """Keep samples, `(n,)`; they are not copied."""
        if len(samples):
            self._pieces.append(samples)
            self.end += len(samples)

    def mark(self, command: Command) -> None:
        """Keep a command that stands after all samples so far."""
        self._marks.append(Mark(self.end, command))

    def forget(self, before: int) -> None:
        """Drop what lies wholly before this position."""
        while self._pieces and self.start + len(self._pieces[0]) <= before:
            self.start += len(self._pieces.popleft())
        while self._marks and self._marks[0].at <= before:
            self._marks.popleft()

    def between(self, start: int, end: int) -> Samples:
        """The samples of `[start, end)`, which must be kept still."""
        if start < self.start or end > self.end:
            raise ValueError(
                f"samples {start} to {end} asked, {self.start} to {self.end} kept"
            )
        position = self.start
        parts = []
        for piece in self._pieces:
            low, high = max(0, start - position), min(len(piece), end - position)
            if low < high:
                parts.append(piece[low:high])
            position += len(piece)
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def replay(self, start: int) -> Iterator[Samples | Mark[Command]]:
        """Everything from `start` on, in order.

        A command at `start` itself has acted already on what ended there, unless
        samples came before it: it is given too, as acting twice changes nothing.
        """
        position = start
        for mark in list(self._marks):
            if mark.at < start:
                continue
            if mark.at > position:
                yield self.between(position, mark.at)
                position = mark.at
            yield mark
        if self.end > position:
            yield self.between(position, self.end)

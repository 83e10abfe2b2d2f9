"""A session's answers, each at its place: after the finals that come before it.

A flush or a finish ends an epoch; its answer waits until every utterance of the
epoch is final, and lets those of the next be seen. Knows no audio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streaming.core.stream import Stream
from streaming.events import Configured, Effect, Finished, Flushed

__all__ = ["Replies"]


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer that waits.

    Attributes:
        epoch: the epoch that must be settled first; None waits for nothing more.
        event: makes the answer when it is sent.
    """

    epoch: int | None
    event: Callable[[], Configured | Flushed | Finished]


class Replies:
    """The answers that a session owes, in the order of its commands.

    Args:
        streams: of the session.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams
        self._waiting: deque[_Reply] = deque()
        self._epoch = 0

    def owe(self, event: Configured) -> None:
        """Answer once the answers before it are sent."""
        self._waiting.append(_Reply(None, lambda: event))

    def end_epoch(self, event: Callable[[], Flushed | Finished]) -> None:
        """Answer once all before it is final.

        Args:
            event: makes the answer then.
        """
        self._waiting.append(_Reply(self._epoch, event))
        self._epoch += 1

    def ripe(self) -> list[Effect]:
        """The answers whose turn has come, and what they let be seen."""
        effects: list[Effect] = []
        while self._waiting:
            epoch = self._waiting[0].epoch
            if epoch is not None and not all(s.settled(epoch) for s in self._streams):
                break
            event = self._waiting.popleft().event()
            effects.append(event)
            if epoch is not None and not isinstance(event, Finished):
                for stream in self._streams:
                    effects += stream.release(epoch + 1)
        return effects

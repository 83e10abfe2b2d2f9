"""What was sent to a client, until it has surely arrived.

Numbered from 0 in the order of sending, as the native protocol's `seq` is. Bounded:
the oldest go first, and who comes back for them is told so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from streaming.errors import BadRequest, SessionLost

__all__ = ["Sent"]


class Sent:
    """The messages of one session.

    Args:
        most: messages that are kept; 0 where nobody can come back for them.
    """

    def __init__(self, most: int) -> None:
        self._kept: deque[str | bytes] = deque(maxlen=most)
        self._next = 0

    @property
    def next(self) -> int:
        """Number of the next message."""
        return self._next

    @property
    def kept(self) -> tuple[str | bytes, ...]:
        """The messages that may not have arrived, oldest first."""
        return tuple(self._kept)

    def add(self, messages: Iterable[str | bytes]) -> None:
        """Messages are about to be sent."""
        for message in messages:
            self._kept.append(message)
            self._next += 1

    def confirm(self, before: int) -> None:
        """Those numbered below `before` have arrived."""
        while self._kept and self._next - len(self._kept) < before:
            self._kept.popleft()

    def after(self, seq: int) -> list[str | bytes]:
        """The messages after `seq`; -1 for all.

        Raises:
            BadRequest: there is no such message yet.
            SessionLost: some of them are not kept any more.
        """
        if seq >= self._next:
            raise BadRequest(
                f"after must be the seq of a message that was sent, at most "
                f"{self._next - 1}, got {seq}"
            )
        missed, kept = self._next - 1 - seq, len(self._kept)
        if missed > kept:
            raise SessionLost(
                f"of the {missed} messages after {seq} the last {kept} are kept: "
                "the session cannot go on without a gap"
            )
        return list(self._kept)[kept - missed :]

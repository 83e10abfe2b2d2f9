"""Whether a connection holds a session, and how long one is waited for.

The newest connection wins: an older one is told to leave. Knows no sockets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from prometheus_client import Gauge

__all__ = ["Place", "Presence"]


class Place(Enum):
    """Where the client is."""

    HERE = "here"
    AWAY = "away"  # cut off: it may go on where it was
    LATE = "late"  # it may only hear what it missed
    GONE = "gone"  # it will not come back


class Presence:
    """One session's client.

    Args:
        window_s: how long it may be away; 0 is not at all.
        away: counts those that are.
        on_late: called when it has been away for longer.

    Attributes:
        place: where it is.
    """

    def __init__(
        self, window_s: float, away: Gauge, on_late: Callable[[], None]
    ) -> None:
        self.place = Place.HERE
        self._window_s = window_s
        self._away = away
        self._on_late = on_late
        self._leave: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def attach(self, leave: Callable[[], None]) -> None:
        """A connection is there.

        Args:
            leave: called when another one has come.
        """
        self._stay(Place.HERE)
        older, self._leave = self._leave, leave
        if older is not None:
            older()

    def detach(self, leave: Callable[[], None], *, goodbye: bool) -> bool:
        """A connection is gone.

        Args:
            leave: what it attached with.
            goodbye: its client will not come back.

        Returns:
            Whether it was the one that held the session.
        """
        if leave != self._leave:
            return False
        self._leave = None
        if goodbye or not self._window_s:
            self._stay(Place.GONE)
            return True
        self._stay(Place.AWAY)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._window_s, self._waited)
        return True

    def end(self) -> None:
        """The session has ended: who is away can only hear the rest."""
        if self.place is Place.AWAY:
            self._stay(Place.LATE)

    def _waited(self) -> None:
        self._stay(Place.LATE)
        self._on_late()

    def _stay(self, place: Place) -> None:
        self._away.inc((place is Place.AWAY) - (self.place is Place.AWAY))
        self.place = place
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

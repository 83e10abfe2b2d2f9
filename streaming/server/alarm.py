"""One timer whose time moves on: it rings early and is set again, not cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Alarm"]

# Who asks for the past twice in a row must not spin the loop.
_SHORTEST_S = 0.005


class Alarm:
    """Calls `ring` on the event loop, at the time set or before.

    Args:
        ring: looks at the clock itself, and sets the alarm anew.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, delay_s: float) -> None:
        """Ring in `delay_s` seconds, or where it is set to before that."""
        when = self._loop.time() + max(delay_s, _SHORTEST_S)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._rung)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _rung(self) -> None:
        self._timer = None
        self._ring()

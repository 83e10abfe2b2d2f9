"""Keeps one process running: starts it, waits for its end, starts another."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from streaming.cluster.child import Child
from streaming.errors import ModelError

__all__ = ["AnyChild", "Keeper"]

_log = logging.getLogger("wavestitch")

AnyChild: TypeAlias = Child[Any]

# The first one is started again at once; who dies again and again waits, up to so
# long. Who lived for a while is forgiven.
_LONGEST_WAIT_S = 30.0
_PATIENCE_S = 30.0


class Keeper:
    """Make one for each process that there shall be.

    Args:
        start: starts it.
        gone: called when one has ended, and nothing of it is left.

    Attributes:
        child: the one that runs now.
    """

    def __init__(
        self, start: Callable[[], AnyChild], gone: Callable[[AnyChild], None]
    ) -> None:
        self.child: AnyChild | None = None
        self._unwanted = asyncio.Event()
        self._start = start
        self._gone = gone

    def let_go(self) -> None:
        """Start none when this one ends."""
        self._unwanted.set()

    async def keep(self, started: Callable[[], bool]) -> None:
        """Keep one running until none is wanted; cancel to end it at once.

        Args:
            started: what fails after this is started again, before it is an error.

        Raises:
            WavestitchError: it could not start.
        """
        wait_s = 0.0
        while not self._unwanted.is_set():
            began = time.monotonic()
            try:
                error = await self._run()
            except OSError as no_room:  # of the system, for one more process
                error = no_room
            if self._unwanted.is_set():
                return
            if not started():
                raise error
            _log.error("%s: it is started again", error)
            if time.monotonic() - began > _PATIENCE_S:
                wait_s = 0.0
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._unwanted.wait()
            wait_s = min(2 * wait_s or 1.0, _LONGEST_WAIT_S)

    async def _run(self) -> Exception:
        """Run one to its end, and say why that came."""
        child = self.child = self._start()
        try:
            status = await child.wait()
        except asyncio.CancelledError:
            child.kill()
            await child.wait()
            raise
        finally:
            self.child = None
            self._gone(child)
        return child.error or ModelError(f"{child.name} ended, {_how(status)}")


def _how(status: int) -> str:
    if status < 0:
        return f"by {signal.Signals(-status).name}"
    return f"with status {status}"

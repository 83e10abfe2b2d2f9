"""SIGTERM and SIGINT on an event loop: the first one stops, a second one hurries."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["stop_signals"]


@contextmanager
def stop_signals(stop: asyncio.Event, hurry: Callable[[], None]) -> Iterator[None]:
    """Set `stop` at the first signal, call `hurry` at each one after it."""
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if stop.is_set():
            hurry()
        stop.set()

    taken = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # Not on Windows, and not off the main thread.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, heard)
            taken.append(number)
    try:
        yield
    finally:
        for number in taken:
            loop.remove_signal_handler(number)

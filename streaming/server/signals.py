"""Signals on an event loop: SIGTERM and SIGINT stop, SIGHUP has files read again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["reload_signal", "stop_signals"]


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


@contextmanager
def reload_signal(reload: Callable[[], None], *, wanted: bool) -> Iterator[None]:
    """Call `reload` at each SIGHUP.

    Args:
        reload: reads again what can have changed.
        wanted: there is something; else SIGHUP does what it always did, so that a
            server does not outlive its terminal.
    """
    loop = asyncio.get_running_loop()
    taken = False
    with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
        if wanted:
            loop.add_signal_handler(signal.SIGHUP, reload)
            taken = True
    try:
        yield
    finally:
        if taken:
            loop.remove_signal_handler(signal.SIGHUP)

"""One process of ours: started, spoken with, and waited for to its end.

A child follows its wire, not signals: whoever stops a service may signal all of its
processes at once, and only the parent knows in which order they end. When the wire
closes the parent is gone, and the child ends at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Generic, TypeVar

from streaming.cluster.wire import Source, Wire, socketpair
from streaming.cluster.words import Message, hear, say
from streaming.engine import Crossing

__all__ = ["Child", "Parent", "crossing_to", "obey"]

_ORPHANED = 3  # exit status

Setup = TypeVar("Setup")


class Child(Generic[Setup]):
    """A running process, as its parent sees it.

    Args:
        name: of the process.
        work: what it runs, given `setup` and its end of the wire.
        setup: pickled.
        sockets: it gets too; closed here.
        take: called on the event loop with each message.

    Attributes:
        error: why it cannot go on, where it said so.

    Raises:
        OSError: the system has no room for it.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Setup, Sequence[socket.socket]], None],
        setup: Setup,
        sockets: Sequence[socket.socket],
        take: Callable[[Child[Setup], Message], None],
    ) -> None:
        cross = crossing_to(asyncio.get_running_loop())
        ours, theirs = socketpair()
        ends = (theirs, *sockets)
        # A fresh interpreter: threads and a forked CUDA do not go together.
        self._process = get_context("spawn").Process(
            target=work, args=(setup, ends), name=name, daemon=True
        )
        self.error: Exception | None = None
        self._wire = Wire(
            ours,
            name,
            lambda source: _cross(cross, partial(take, self), hear(source)),
            lambda: None,
        )
        try:
            with _signals_held_back():
                self._process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            for end in ends:
                end.close()
        self._wire.start()

    @property
    def name(self) -> str:
        """Name of the process."""
        return self._process.name

    @property
    def pid(self) -> int:
        """Its number to the system."""
        return self._process.pid or 0

    def send(self, message: Message, *sockets: socket.socket) -> None:
        """Tell it something; sockets that go along are closed here."""
        self._wire.send(*say(message), sockets=sockets)

    def kill(self) -> None:
        """End it at once."""
        with suppress(ValueError):  # it was waited for already
            self._process.kill()

    async def wait(self) -> int:
        """Wait until it has ended, and leave nothing of it; its exit status."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(self._process.sentinel, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        status = self._process.exitcode or 0
        # What it said last is read before anybody goes by its end.
        await asyncio.to_thread(self._wire.join, 5.0)
        self._process.close()
        return status


def _cross(cross: Crossing, take: Callable[[Message], None], message: Message) -> None:
    cross(partial(take, message))


def crossing_to(loop: asyncio.AbstractEventLoop) -> Crossing:
    """To an event loop; once it is closed nobody is there to be told."""

    def cross(call: Callable[[], None]) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(call)

    return cross


class _signals_held_back:  # noqa: N801  a context, as contextlib's are
    """A child inherits the mask, and so is deaf before it can say that it is."""

    def __enter__(self) -> None:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)

    def __exit__(self, *_: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Parent:
    """The other side: the parent as a child sees it."""

    wire: Wire

    def send(self, message: Message) -> None:
        """Tell it something."""
        self.wire.send(*say(message))


def obey(
    end: socket.socket,
    take: Callable[[Message, Source], None],
    log_level: int,
) -> Parent:
    """Begin a child's life: hear the parent, and nobody else.

    Args:
        end: of the wire.
        take: called with each message, on a thread of the wire; sockets that come
            along are in the source.
        log_level: of our own log.
    """
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s (%(processName)s): %(message)s",
    )
    logging.getLogger("wavestitch").setLevel(log_level)
    wire = Wire(
        end,
        "parent",
        lambda source: take(hear(source), source),
        lambda: os._exit(_ORPHANED),
    )
    wire.start()
    return Parent(wire)

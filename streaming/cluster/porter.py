"""Accepts connections and hands each to an ingest process.

To the one that holds the session that it asks for, else to the one with the fewest
of those that let streams in.
Reads nothing: it looks at the first line and leaves it to be read. Of TLS it sees
nothing, so that who comes back to a session is handed to the idlest like all others.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Sequence
from contextlib import suppress

from streaming.cluster.inlet import hand_over

__all__ = ["Porter", "holder", "mark_of"]

_log = logging.getLogger("wavestitch")

# Who says nothing in this time has no session to come back to.
_LOOK_S = 1.0
_LOOK_AGAIN_S = 0.02
_LONGEST_LINE = 4_096
_TLS = b"\x16"  # first byte of a handshake
_PAUSE_S = 1.0  # where no more sockets can be opened

_SESSION = re.compile(
    rb"GET [^ \r\n]*(?:[?&]session=|/v1/sessions/)([0-9a-f]{2})[0-9a-f]{16}\b"
)


def mark_of(ingest: int) -> str:
    """What the ids of its sessions begin with."""
    return f"{ingest:02x}"


def holder(head: bytes) -> int | None:
    """The ingest process that holds the session which a request asks for."""
    found = _SESSION.match(head)
    return int(found[1], 16) if found else None


class Porter:
    """The only one that accepts.

    Args:
        listening: bound sockets that never block; closed by `close`.
    """

    def __init__(self, listening: Sequence[socket.socket]) -> None:
        self._listening = listening
        self._inlets: dict[int, socket.socket] = {}
        self._guests: dict[int, int] = {}  # connections of each ingest
        self._open: set[int] = set()  # ingests that let streams in
        self._somebody = asyncio.Event()
        self._ushers: set[asyncio.Task[None]] = set()

    @property
    def guests(self) -> dict[int, int]:
        """Open connections by ingest process."""
        return dict(self._guests)

    def add(self, ingest: int, inlet: socket.socket) -> None:
        """An ingest process takes connections."""
        self._inlets[ingest] = inlet
        self._guests[ingest] = 0
        self._somebody.set()

    def open(self, ingest: int) -> None:
        """It lets streams in: its engine is there."""
        self._open.add(ingest)

    def remove(self, ingest: int) -> None:
        """It takes none any more."""
        self._open.discard(ingest)
        self._inlets.pop(ingest, None)
        self._guests.pop(ingest, None)
        if not self._inlets:
            self._somebody.clear()

    def left(self, ingest: int) -> None:
        """One of its connections is closed."""
        if ingest in self._guests:
            self._guests[ingest] -= 1

    async def run(self) -> None:
        """Accept until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for listening in self._listening:
                tasks.create_task(self._accept(listening))

    async def close(self) -> None:
        """Close the port, and what was not handed over."""
        for usher in self._ushers:
            usher.cancel()
        await asyncio.gather(*self._ushers, return_exceptions=True)
        for each in self._listening:
            each.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                _log.error("no connection can be accepted: %s", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            usher = asyncio.create_task(self._usher(connection))
            self._ushers.add(usher)
            usher.add_done_callback(self._ushers.discard)

    async def _usher(self, connection: socket.socket) -> None:
        with connection:
            wanted = holder(await _first_line(connection))
            while True:
                await self._somebody.wait()
                ingest = self._choose(wanted)
                try:
                    hand_over(self._inlets[ingest], connection)
                except OSError:  # it is dying, or does not get on
                    await asyncio.sleep(_LOOK_AGAIN_S)
                    continue
                self._guests[ingest] += 1
                return

    def _choose(self, wanted: int | None) -> int:
        if wanted in self._inlets:
            return wanted

        def rank(ingest: int) -> tuple[bool, int, int]:
            return ingest not in self._open, self._guests[ingest], ingest

        return min(self._guests, key=rank)


async def _first_line(connection: socket.socket) -> bytes:
    """What there is of the first line, once there is all of it or time is up."""
    head = b""
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(_LOOK_S):
            await _readable(connection)
            while b"\n" not in head and len(head) < _LONGEST_LINE:
                before = len(head)
                head = connection.recv(_LONGEST_LINE, socket.MSG_PEEK)
                if not head or head.startswith(_TLS):
                    return head
                if b"\n" not in head and len(head) == before:
                    await asyncio.sleep(_LOOK_AGAIN_S)
    return head


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    number = connection.fileno()
    loop.add_reader(number, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(number)

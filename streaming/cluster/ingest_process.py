"""What an ingest process does: a server whose engine is in other processes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from streaming.cluster.child import Parent, crossing_to, obey
from streaming.cluster.inlet import Inlet
from streaming.cluster.porter import mark_of
from streaming.cluster.remote import RemoteEngine
from streaming.cluster.vigil import BEAT_S
from streaming.cluster.wire import Source
from streaming.cluster.words import (
    Ask,
    Beat,
    Drain,
    Hurry,
    Left,
    Linked,
    Message,
    Open,
    Reload,
    Report,
    Up,
    Want,
    WholeSeen,
)
from streaming.config import Config
from streaming.server.backend import Backend, session_maker
from streaming.server.pages import Seen
from streaming.server.server import Server

__all__ = ["IngestSetup", "run_ingest"]

_log = logging.getLogger("wavestitch")


@dataclass(frozen=True, slots=True)
class IngestSetup:
    """What an ingest process is made of.

    Attributes:
        number: which of them it is.
        config: of its server: its share of the limits.
        secret: what tokens are signed with, the same in all.
        log_level: of its log.
    """

    number: int
    config: Config
    secret: bytes = field(repr=False)
    log_level: int = logging.WARNING


def run_ingest(setup: IngestSetup, ends: Sequence[socket.socket]) -> None:
    """Serve until the parent says to drain, or is gone."""
    asyncio.run(Ingest(setup).run(*ends))
    os._exit(0)  # threads of wires may still read


class Ingest:
    """One ingest process; make it on its event loop's thread."""

    def __init__(self, setup: IngestSetup) -> None:
        self._setup = setup
        self._engine: RemoteEngine | None = None
        self._wanted = count()
        self._wants: dict[int, asyncio.Future[Seen]] = {}

    async def run(self, end: socket.socket, inlet: socket.socket) -> None:
        """Serve until drained."""
        self._cross = crossing_to(asyncio.get_running_loop())
        self._drained = asyncio.Event()
        setup = self._setup
        self._server = Server(
            setup.config,
            mark=mark_of(setup.number),
            whole=self._whole,
            secret=setup.secret,
        )
        self._parent: Parent = obey(end, self._hear, setup.log_level)
        await self._server.listen(Inlet(inlet, lambda: self._parent.send(Left())))
        self._parent.send(Up())
        beating = asyncio.create_task(self._beat())
        await self._drained.wait()
        await self._server.drain()
        await self._server.close()
        beating.cancel()
        if self._engine is not None:
            self._engine.close()

    async def _beat(self) -> None:
        """From the event loop: one that is blocked says nothing."""
        while True:
            self._parent.send(Beat())
            await asyncio.sleep(BEAT_S)

    def _hear(self, message: Message, source: Source) -> None:
        """On the thread of the wire."""
        end = source.socket() if isinstance(message, Linked) else None
        self._cross(partial(self._take, message, end))

    def _take(self, message: Message, end: socket.socket | None) -> None:
        match message:
            case Linked() if end is not None:
                self._link(message, end)
            case Ask(number):
                server = self._server
                seen = Seen(server.status, server.metrics.text())
                self._parent.send(Report(number, seen=seen))
            case WholeSeen(number, seen):
                waiting = self._wants.pop(number, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(seen)
            case Drain():
                self._drained.set()
            case Hurry():
                self._server.hurry()
            case Reload():
                self._server.reload()
            case _:
                _log.error("an ingest process was told %s", message)

    def _link(self, linked: Linked, end: socket.socket) -> None:
        facts = linked.warm.facts
        if self._engine is not None:
            self._engine.connect(linked.engine, end, linked.warm)
            return
        self._engine = RemoteEngine(self._setup.number, facts, self._cross)
        self._engine.connect(linked.engine, end, linked.warm)
        self._server.open(Backend(facts, self._engine, session_maker(facts)))
        self._parent.send(Open())

    async def _whole(self) -> Seen:
        """Ask the parent how all processes stand together."""
        number = next(self._wanted)
        self._wants[number] = asyncio.get_running_loop().create_future()
        self._parent.send(Want(number))
        try:
            return await self._wants[number]
        finally:
            self._wants.pop(number, None)

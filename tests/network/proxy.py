"""A network that fails: a TCP proxy which cuts, stalls, truncates and delays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["Break", "Fault", "Proxy", "proxied"]

_LONGEST = 4_096
_DELAY_S = 0.02


class Break(Enum):
    """What happens to a connection at a place in its bytes."""

    CUT = "cut"  # both sides are reset
    CLOSE = "close"  # both sides see an end of the stream
    TRUNCATE = "truncate"  # the rest of this direction is lost, then a reset
    DELAY = "delay"  # everything is late for a while, then a reset
    STALL = "stall"  # nothing passes any more, and nobody is told


@dataclass(frozen=True)
class Fault:
    """Where and how a connection breaks.

    Attributes:
        down: towards the client; else up, towards the server.
        at: bytes of that direction that still pass.
    """

    kind: Break
    down: bool
    at: int


@dataclass
class Proxy:
    """A port that leads to another.

    Attributes:
        url: `ws://HOST:PORT`.
        faults: those of the connections to come, one each; then they hold.
        broken: how many have broken.
        refuse: new connections are reset.
    """

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    broken: int = 0
    refuse: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Reset every open connection now."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _passed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: int
    ) -> None:
        host_reader, host_writer = await asyncio.open_connection("127.0.0.1", to)
        fault = self.faults.pop(0) if self.faults else None
        pair = (writer, host_writer)
        self._writers.update(pair)
        stalled = asyncio.Event()
        up = self._pump(reader, host_writer, pair, fault, stalled, down=False)
        down = self._pump(host_reader, writer, pair, fault, stalled, down=True)
        try:
            await asyncio.gather(up, down)
        finally:
            self._writers.difference_update(pair)
            for each in pair:
                each.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, ...],
        fault: Fault | None,
        stalled: asyncio.Event,
        *,
        down: bool,
    ) -> None:
        fault = fault if fault is not None and fault.down == down else None
        passed = 0
        try:
            while data := await reader.read(_LONGEST):
                if stalled.is_set():
                    continue
                if fault is not None and passed + len(data) >= fault.at:
                    writer.write(data[: fault.at - passed])
                    await writer.drain()
                    self.broken += 1
                    await self._break(fault.kind, reader, pair, stalled)
                    fault = None
                    continue
                passed += len(data)
                writer.write(data)
                await writer.drain()
            if not stalled.is_set():
                writer.write_eof()
        except OSError:
            for each in pair:
                each.transport.abort()

    async def _break(
        self,
        kind: Break,
        reader: asyncio.StreamReader,
        pair: tuple[asyncio.StreamWriter, ...],
        stalled: asyncio.Event,
    ) -> None:
        match kind:
            case Break.CUT:
                pass
            case Break.CLOSE:
                for each in pair:
                    each.close()
                return
            case Break.TRUNCATE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DELAY_S):
                        await reader.read(_LONGEST)
            case Break.DELAY:
                await asyncio.sleep(_DELAY_S)
            case Break.STALL:
                stalled.set()
                return
        for each in pair:
            each.transport.abort()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """A proxy to a port of this machine."""
    proxy = Proxy()
    passing: set[asyncio.Task[None]] = set()

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if proxy.refuse:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        passing.add(task)
        try:
            await proxy._passed(reader, writer, port)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            passing.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    proxy.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(passing):
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        await server.wait_closed()

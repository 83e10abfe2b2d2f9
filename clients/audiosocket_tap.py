"""Calls that Asterisk sends over AudioSocket: a TCP connection is one leg.

Connections with the same UUID are the legs of one call, the first the caller's; a
call ends with its last leg. Frames are read by `streaming.protocols.audiosocket`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from clients.call import SPEAKERS, Call
from clients.call import Leg as Spoken
from streaming.errors import ProtocolError
from streaming.protocols.audiosocket import (
    AudioSocket,
    Failed,
    Hangup,
    Heard,
    Identified,
    Pressed,
)
from streaming.protocols.datagram import Address

__all__ = ["listen_audiosocket"]

TICK_S = 0.25
# Asterisk says who it is at once, and sends audio every 20 ms while the call lasts.
IDENTITY_S, IDLE_S = 5.0, 60.0
MOST_LEGS = 500
_RATES = range(8_000, 48_001)

NewCall = Callable[[float, str], Call]


@dataclass(slots=True)
class _Open:
    call: Call
    legs: int = 0


class _Connection:
    """One leg, from its first frame to its last."""

    def __init__(self, tap: _Tap, peer: str) -> None:
        self.opened: _Open | None = None
        self.spoken: Spoken | None = None
        self.over = False
        self._socket = AudioSocket()
        self._tap = tap
        self._peer = peer

    def take(self, data: bytes) -> None:
        for event in self._socket.push(data):
            match event:
                case Identified(uuid):
                    self.opened = self._tap.enter(uuid)
                case Heard(pcm, rate) if self.opened is not None:
                    self.spoken = self.spoken or self._join(self.opened, rate)
                    self.spoken.side.sound(pcm)
                case Pressed(digit) if self.opened and self.spoken:
                    at = self.spoken.side.taken
                    self.opened.call.digit(self.spoken, digit, at)
                case Failed(code) if self.opened is not None:
                    self.opened.call.warn(f"Asterisk tells of error {code}")
                case Hangup():
                    self.over = True
                case _:
                    pass

    async def close(self) -> None:
        if self.spoken is not None:
            self.spoken.side.end()
        if self.opened is not None and self._socket.uuid is not None:
            await self._tap.leave(self._socket.uuid, self.opened)

    def _join(self, opened: _Open, rate: int) -> Spoken:
        if rate not in _RATES:
            raise ProtocolError(f"{rate} Hz is more than the 48000 that can be heard")
        now = asyncio.get_running_loop().time()
        speaker = SPEAKERS[min(len(opened.call.legs), 1)]
        return opened.call.join(speaker, rate, now, source=self._peer)


class _Tap:
    def __init__(self, new_call: NewCall, warn: Callable[[str], None]) -> None:
        self.calls: dict[UUID, _Open] = {}
        self.legs: set[asyncio.Task[None]] = set()
        self.closing = False
        self._new_call = new_call
        self._warn = warn

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if task is None or len(self.legs) >= MOST_LEGS:
            writer.close()
            return
        self.legs.add(task)
        host, port, *_ = writer.get_extra_info("peername")
        connection = _Connection(self, f"{host}:{port}")
        try:
            await self._listen(reader, connection)
        except asyncio.CancelledError:
            if not self.closing:  # else our own, and the leg ends in good order
                raise
        except TimeoutError:
            self._warn(f"{host}:{port} sent nothing for too long")
        except (OSError, ProtocolError) as error:
            self._warn(f"{host}:{port}: {error}")
        finally:
            await connection.close()
            self.legs.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _listen(
        self, reader: asyncio.StreamReader, connection: _Connection
    ) -> None:
        while not connection.over:
            limit_s = IDENTITY_S if connection.opened is None else IDLE_S
            async with asyncio.timeout(limit_s):
                data = await reader.read(65_536)
            if not data:
                return
            connection.take(data)

    def enter(self, uuid: UUID) -> _Open:
        """A leg of this call begins."""
        if uuid not in self.calls:
            now = asyncio.get_running_loop().time()
            self.calls[uuid] = _Open(self._new_call(now, str(uuid)))
        self.calls[uuid].legs += 1
        return self.calls[uuid]

    async def leave(self, uuid: UUID, opened: _Open) -> None:
        """A leg has ended; the call does with its last."""
        opened.legs -= 1
        if not opened.legs:
            self.calls.pop(uuid, None)
            await opened.call.finish()


async def listen_audiosocket(
    address: Address,
    new_call: NewCall,
    ended: asyncio.Event,
    warn: Callable[[str], None],
    listening: Callable[[Sequence[Address]], None] = lambda _: None,
) -> None:
    """Take calls from Asterisk until told to end; open ones are finished then.

    Args:
        address: to bind; port 0 takes a free one.
        new_call: makes a call that begins at a time of the loop, of this name.
        ended: set from elsewhere.
        warn: told what is wrong with a connection that is no call's.
        listening: told the address that was bound.

    Raises:
        OSError: it cannot be bound.
    """
    loop = asyncio.get_running_loop()
    tap = _Tap(new_call, warn)
    server = await asyncio.start_server(tap.serve, *address)
    try:
        listening([server.sockets[0].getsockname()[:2]])
        while not ended.is_set():
            for opened in tap.calls.values():
                opened.call.tick(loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await ended.wait()
    finally:
        server.close()
        tap.closing = True
        legs = list(tap.legs)
        for leg in legs:
            leg.cancel()
        await asyncio.gather(*legs, return_exceptions=True)

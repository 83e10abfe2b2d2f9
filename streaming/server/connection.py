"""The two tasks of a connection: one always reads, one writes.

Reads feed the stream, which feeds the engine; the writer takes from the bounded
outbox, pings, and gives up on a reader that takes nothing. Knows no audio.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from websockets.asyncio.server import broadcast
from websockets.exceptions import ConnectionClosed

from streaming.config import AudioFormat, LimitConfig
from streaming.errors import BadRequest, Unresponsive, WavestitchError
from streaming.events import Audio, Final, Partial, Refused
from streaming.protocols.adapter import Adapter, Dialect, Heard, Note, Say, Start
from streaming.server.door import Door
from streaming.server.metrics import Metrics
from streaming.server.outbox import Closing, Outgoing
from streaming.server.stream import Stream

__all__ = ["Connection"]

# One long message must not hold the loop for longer than this much audio takes
# to be gated, nor jump past the backlog bound.
_SLICE_S = 0.5

# A reader that took nothing for send_timeout_s may still wake up and read why.
_GRACE_S = 5.0

_NEVER = float("inf")

_POLICY = 1008

# Close codes of clients that mean to end: normal, and none, as browsers send it.
# Others (1001: a page or a proxy goes away) may come back.
_GOODBYES = (1000, 1005)

_log = logging.getLogger("wavestitch")


class Connection:
    """A websocket and the stream it carries.

    Args:
        door: the websocket.
        dialect: what its clients expect of a server.
        adapter: speaks it.
        stream: where the audio goes.
        limits: what a client may ask.
        metrics: where latencies are counted.
    """

    def __init__(
        self,
        door: Door,
        dialect: Dialect,
        adapter: Adapter,
        stream: Stream,
        limits: LimitConfig,
        metrics: Metrics,
    ) -> None:
        self._door = door
        self._dialect = dialect
        self._adapter = adapter
        self._stream = stream
        self._limits = limits
        self._metrics = metrics
        self._slice = _slice_bytes(stream.config.audio)
        self._loop = asyncio.get_running_loop()
        self._pong: asyncio.Future[float] | None = None
        self._ping_at = _NEVER
        if dialect.pings:
            self._ping_at = self._loop.time() + limits.ping_interval_s
        self._pong_due = _NEVER
        self._resumed_at = float("-inf")
        self._sent_before_ping = 0
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._taken_over = False

    async def run(
        self,
        heard: Sequence[Heard] = (),
        again: Callable[[], Sequence[str | bytes]] | None = None,
    ) -> None:
        """Serve until the connection is closed; the stream may live on.

        Args:
            heard: what the message that started the stream meant besides.
            again: what a client that comes back is sent first; asked for when
                nothing is received any more from where it was before.
        """
        stream = self._stream
        stream.attach(self._leave)
        broken = False
        try:
            messages = again() if again is not None else ()
            self._door.last_words = lambda e: stream.telling.written(Refused(e))
            broken = True  # a bug in what follows may have lost a message
            async with asyncio.TaskGroup() as tasks:
                self._tasks = (
                    tasks.create_task(self._listen(heard)),
                    tasks.create_task(self._speak(messages)),
                )
            broken = False
        finally:
            goodbye = broken or _said_goodbye(self._door)
            stream.detach(self._leave, goodbye=goodbye)
        if self._taken_over:
            await self._door.close(_POLICY, "session_taken")

    def _leave(self) -> None:
        """A newer connection has the session: nothing more is read or written."""
        self._taken_over = True
        self._door.last_words = None  # they would be the session's
        for task in self._tasks:
            task.cancel()

    # --- read --------------------------------------------------------------

    async def _listen(self, heard: Sequence[Heard]) -> None:
        with suppress(ConnectionClosed):
            if self._stream.paused:
                await self._room()
            await self._take(heard)
            while True:
                await self._hear(await self._door.recv())
        self._stream.detach(self._leave, goodbye=_said_goodbye(self._door))
        for task in self._tasks[1:]:  # nothing is to be taken from the outbox any more
            task.cancel()

    async def _hear(self, message: str | bytes) -> None:
        stream = self._stream
        if stream.outbox.closed:
            return  # an error is on its way out; what comes after it is not read
        try:
            heard = self._adapter.receive(message)
        except BadRequest as error:
            stream.answer(Refused(error, fatal=False))
        except WavestitchError as error:
            stream.refuse(error)
        else:
            await self._take(heard)

    async def _take(self, heard: Sequence[Heard]) -> None:
        """Do what a message meant, in its order."""
        stream = self._stream
        for item in heard:
            # First and by itself: it comes 50 times a second in each stream.
            if isinstance(item, Audio) and len(item.data) <= self._slice:
                stream.receive(item)
                if stream.paused:
                    await self._room()
                continue
            match item:
                case Audio(data):
                    await self._take_long(data)
                case Say():
                    stream.say(item)
                case Note(text, routine):
                    level = logging.INFO if routine else logging.WARNING
                    _log.log(level, "%s: %s", self._dialect.path, text)
                case Start():
                    raise RuntimeError("a stream is started once")
                case _:
                    stream.receive(item)

    async def _take_long(self, data: bytes) -> None:
        for start in range(0, len(data), self._slice):
            if start:
                await asyncio.sleep(0)
            self._stream.receive(Audio(data[start : start + self._slice]))
            if self._stream.paused:
                await self._room()

    async def _room(self) -> None:
        await self._stream.room()
        self._resumed_at = self._loop.time()

    # --- write -------------------------------------------------------------

    async def _speak(self, messages: Sequence[str | bytes]) -> None:
        try:
            await self._write(messages)
            while True:
                try:
                    async with asyncio.timeout_at(min(self._ping_at, self._pong_due)):
                        item = await self._stream.outbox.take()
                except TimeoutError:
                    await self._pulse()
                    continue
                if isinstance(item, Closing):
                    await self._door.close(item.code, item.reason)
                    return
                await self._send(item)
        except TimeoutError:
            await self._give_up()
        except ConnectionClosed:
            pass

    async def _send(self, item: Outgoing) -> None:
        """Write an event.

        Raises:
            TimeoutError: the client takes nothing.
        """
        await self._write(self._stream.telling.written(item.event))
        if item.since is None:
            return
        latency = self._stream.now() - item.since
        match item.event:
            case Partial():
                self._metrics.partial_latency.observe(latency)
            case Final():
                self._metrics.finalization_latency.observe(latency)
            case _:
                pass

    async def _write(self, messages: Sequence[str | bytes]) -> None:
        for message in messages:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._door.send(message)

    async def _pulse(self) -> None:
        """Ping, or see whether the last ping was answered."""
        now = self._loop.time()
        if self._pong is None or self._pong.done():
            self._pong_due = _NEVER
            if self._pong is not None and _came(self._pong):
                self._stream.telling.sent.confirm(self._sent_before_ping)
            if now >= self._ping_at:
                self._sent_before_ping = self._stream.telling.sent.next
                async with asyncio.timeout(self._limits.send_timeout_s):
                    self._pong = asyncio.ensure_future(await self._door.ping())
                self._ping_at = now + self._limits.ping_interval_s
                self._pong_due = now + self._limits.ping_timeout_s
            return
        self._ping_at = max(self._ping_at, now + self._limits.ping_interval_s)
        if now < self._pong_due:
            return
        # While the socket waits for the backlog its pongs wait too.
        resumed_at = now if self._stream.paused else self._resumed_at
        self._pong_due = resumed_at + self._limits.ping_timeout_s
        if now >= self._pong_due:
            self._pong_due = _NEVER
            if self._limits.resume_window_s:  # it may be the network: as if cut
                self._door.transport.abort()
                return
            self._stream.refuse(
                Unresponsive(f"no pong came in {self._limits.ping_timeout_s:g} s")
            )

    async def _give_up(self) -> None:
        """Write why without waiting, and leave a moment to read it."""
        if self._limits.resume_window_s:  # it may be the network: as if cut
            self._door.transport.abort()
            return
        self._stream.refuse(
            Unresponsive(
                f"nothing that was sent was taken for {self._limits.send_timeout_s:g} s"
            )
        )
        with suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(_GRACE_S):
                item = await self._stream.outbox.take()
                while isinstance(item, Outgoing):
                    for message in self._stream.telling.written(item.event):
                        broadcast([self._door], message)
                    item = await self._stream.outbox.take()
                await self._door.close(item.code, item.reason)
        self._door.transport.abort()


def _said_goodbye(door: Door) -> bool:
    """Did the client close, or hear that we do? Then it has read all before."""
    sent, received = door.protocol.close_sent, door.protocol.close_rcvd
    if received is None:
        return door.broken  # who breaks the rules has nothing to go on with
    first = sent is None or door.protocol.close_rcvd_then_sent
    return not first or received.code in _GOODBYES


def _came(pong: asyncio.Future[float]) -> bool:
    return pong.done() and not pong.cancelled() and pong.exception() is None


def _slice_bytes(audio: AudioFormat) -> int:
    return int(_SLICE_S * audio.sample_rate) * audio.channels * audio.encoding.width

"""An open stream: audio out, events in.

A task of its own reads the socket, so that `flush` and `finish` can be awaited
anywhere and pings are answered while nobody iterates. Knows the native protocol's
messages, version 1; knows nothing of how a connection is made or where audio
comes from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import websockets
from websockets.asyncio.client import ClientConnection

from clients import errors
from clients.events import (
    Ack,
    Configured,
    Event,
    Finished,
    Flushed,
    Ready,
    Refused,
    parse,
)

__all__ = ["Stream", "exchange"]

# Some 13 MB, or hours of a stream that nobody iterates over.
MOST_UNREAD = 65_536
Answer = TypeVar("Answer", Flushed, Configured, Finished)


class Stream:
    """An open stream; made by `connect`.

    Attributes:
        ready: what holds for it.
        acknowledged: samples that the server has told it took over.
        last_seq: number of the last message read. With `ready.session` and
            `ready.token` this is what a resume will need.
    """

    def __init__(self, socket: ClientConnection, ready: Ready) -> None:
        self.ready = ready
        self.acknowledged = ready.received
        self.last_seq = 0
        self._socket = socket
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        self._finishing = False
        self._failure: errors.ClientError | None = None
        self._ended = asyncio.Event()
        # Commands are answered in order: the oldest of its kind is answered.
        self._flushes: deque[asyncio.Future[Flushed]] = deque()
        self._configures: deque[asyncio.Future[Configured]] = deque()
        self._finishes: deque[asyncio.Future[Finished]] = deque()

    async def send(self, audio: bytes | bytearray | memoryview) -> None:
        """Send audio of any length; it need not end on a sample.

        Waits while the server takes no more.

        Raises:
            ClientError: the stream has ended; the class says how.
            RuntimeError: `finish` was called before.
        """
        if self._finishing:
            raise RuntimeError("audio after finish")
        await self._send(bytes(audio))

    async def flush(self) -> Flushed:
        """Make all speech so far final; its finals are events by then."""
        return await self._ask(self._flushes, {"type": "flush"})

    async def configure(
        self,
        *,
        partials: bool | None = None,
        budget_ms: int | None = None,
        hangover_ms: int | None = None,
        max_utterance_s: float | None = None,
    ) -> Configured:
        """Change options from this place in the audio on.

        Raises:
            ConfigureRefused: a value is out of range; the stream goes on.
        """
        wanted = {
            "partials": partials,
            "budget_ms": budget_ms,
            "hangover_ms": hangover_ms,
            "max_utterance_s": max_utterance_s,
        }
        changes = {name: value for name, value in wanted.items() if value is not None}
        return await self._ask(self._configures, {"type": "configure", **changes})

    async def keepalive(self) -> None:
        """Hold the stream open while there is no audio to send."""
        await self._send(json.dumps({"type": "keepalive"}))

    async def finish(self) -> Finished:
        """End the audio; when this returns, everything is final."""
        self._finishing = True
        return await self._ask(self._finishes, {"type": "finish"})

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        """The next event; stops after `Finished`.

        Raises:
            ClientError: the stream ended otherwise.
        """
        while not self._events:
            if self._ended.is_set():
                if self._failure is not None:
                    raise self._failure
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def _ask(
        self, waiting: deque[asyncio.Future[Answer]], command: dict[str, Any]
    ) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting.append(answer)
        try:
            await self._send(json.dumps(command))
        except errors.ClientError:
            with contextlib.suppress(ValueError):
                waiting.remove(answer)
            answer.cancel()
            raise
        return await answer

    async def _send(self, message: str | bytes) -> None:
        if not self._ended.is_set():
            try:
                await self._socket.send(message)
            except websockets.ConnectionClosed:
                # The reader knows why, once it has read what came before the end.
                await self._ended.wait()
            else:
                return
        raise self._failure or self._lost("the stream is finished")

    async def read(self) -> None:
        """Take every message to where it is waited for; a task of `connect`'s."""
        last: Event | None = None
        self._failure = self._lost("the stream was closed on this side")
        try:
            async for message in self._socket:
                seq, event = parse(message)
                if seq != self.last_seq + 1:
                    raise errors.ProtocolBroken(
                        f"message {seq} came after {self.last_seq}"
                    )
                self.last_seq, last = seq, event
                self._take(event)
            self._failure = self._why(last)
        except websockets.ConnectionClosed:
            self._failure = self._why(last)
        except errors.ClientError as error:
            self._failure = error
        finally:
            self._end()

    def _take(self, event: Event) -> None:
        match event:
            case Ack(received):
                self.acknowledged = received
            case Flushed():
                _answer(self._flushes, event)
            case Configured():
                _answer(self._configures, event)
            case Finished():
                _answer(self._finishes, event)
            case Refused(code, message) if self._configures:
                refusal = errors.ConfigureRefused(message, code=code)
                waiting = self._configures.popleft()
                if not waiting.done():
                    waiting.set_exception(refusal)
            case _:
                pass
        if len(self._events) >= MOST_UNREAD:
            raise errors.EventsUnread(
                f"{MOST_UNREAD} events wait unread; iterate over the stream"
            )
        self._events.append(event)
        self._news.set()

    def _why(self, last: Event | None) -> errors.ClientError | None:
        """How the connection ended, from its last message and its close code."""
        code = self._socket.close_code or 1006
        match last:
            case Finished():
                return None
            case Refused(word, message):
                return errors.StreamFailed(message, code=word, close_code=code)
            case _:
                reason = self._socket.close_reason
                said = f"{code} {reason}" if reason else str(code)
                return self._lost(
                    f"the connection ended before the stream did (close {said})"
                )

    def _lost(self, message: str) -> errors.ConnectionLost:
        return errors.ConnectionLost(message, acknowledged=self.acknowledged)

    def _end(self) -> None:
        unanswered: list[asyncio.Future[Any]] = [
            *self._flushes,
            *self._configures,
            *self._finishes,
        ]
        for waiting in unanswered:
            if waiting.done():
                continue
            if self._failure is None:
                waiting.cancel()
            else:
                waiting.set_exception(self._failure)
        self._ended.set()
        self._news.set()


def _answer(waiting: deque[asyncio.Future[Answer]], answer: Answer) -> None:
    if waiting:
        future = waiting.popleft()
        if not future.done():
            future.set_result(answer)


async def exchange(
    stream: Stream,
    sending: Coroutine[Any, Any, None],
    heard: Callable[[Event], None],
) -> None:
    """Send and listen at once until the stream is finished.

    Args:
        stream: an open stream.
        sending: sends the audio, and `finish` at its end.
        heard: told every event.

    Raises:
        Exception: the first error of either side; the other is ended.
    """
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(sending)
            async for event in stream:
                heard(event)
    except ExceptionGroup as several:
        raise several.exceptions[0] from None

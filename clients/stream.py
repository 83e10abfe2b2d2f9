"""An open stream: audio out, events in.

A task of its own reads the socket, so that `flush` and `finish` can be awaited
anywhere and pings are answered while nobody iterates. Knows who waits for which
answer; knows nothing of how a connection is made or made again, or where audio
comes from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import websockets

from clients import errors
from clients.events import (
    Configured,
    Event,
    Finished,
    Flushed,
    Ready,
    Refused,
)
from clients.kept import LONGEST_PIECE
from clients.line import Line

__all__ = ["Stream", "exchange"]

# Some 13 MB, or hours of a stream that nobody iterates over.
MOST_UNREAD = 65_536
Answer = TypeVar("Answer", Flushed, Configured, Finished)


class Stream:
    """An open stream; made by `connect`."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        self._finishing = False
        self._failure: errors.ClientError | None = None
        self._ended = asyncio.Event()
        # Commands are answered in order: the oldest of its kind is answered.
        self._flushes: deque[asyncio.Future[Flushed]] = deque()
        self._configures: deque[asyncio.Future[Configured]] = deque()
        self._finishes: deque[asyncio.Future[Finished]] = deque()

    @property
    def ready(self) -> Ready:
        """What holds for it, as the server said it last."""
        return self._line.ready

    @property
    def acknowledged(self) -> int:
        """Samples that the server has told it took over."""
        return self._line.acknowledged

    @property
    def last_seq(self) -> int:
        """Number of the last message of the server that was read."""
        return self._line.last_seq

    @property
    def unacknowledged(self) -> int:
        """Samples that were sent, or wait to be, and that no server has confirmed."""
        return self._line.kept.samples

    async def send(self, audio: bytes | bytearray | memoryview) -> None:
        """Send audio of any length; it need not end on a sample.

        Waits while the server takes no more, and while more than `Reconnect.keep_s`
        of it is not acknowledged; a cut alone does not hold it up.

        Raises:
            ClientError: the stream has ended; the class says how.
            RuntimeError: `finish` was called before.
        """
        if self._finishing:
            raise RuntimeError("audio after finish")
        audio = bytes(audio)
        for start in range(0, len(audio), LONGEST_PIECE):
            await self._line.room()
            self._insist_open()
            self._line.kept.audio(audio[start : start + LONGEST_PIECE])
            await self._pump()

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
        self._insist_open()
        try:
            await self._line.say(json.dumps({"type": "keepalive"}))
        except websockets.ConnectionClosed:
            await self._raise_why()

    async def finish(self, concealed: Sequence[int] = ()) -> Finished:
        """End the audio; when this returns, everything is final.

        Args:
            concealed: how many of each channel's samples you made up for lost ones;
                the totals count them apart.
        """
        self._finishing = True
        told = {"concealed": list(concealed)} if any(concealed) else {}
        return await self._ask(self._finishes, {"type": "finish", **told})

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
        self._insist_open()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting.append(answer)
        self._line.kept.command(json.dumps(command))
        try:
            await self._pump()
        except errors.ClientError:
            with contextlib.suppress(ValueError):
                waiting.remove(answer)
            answer.cancel()
            raise
        return await answer

    async def _pump(self) -> None:
        try:
            await self._line.pump()
        except websockets.ConnectionClosed:
            await self._raise_why()

    async def _raise_why(self) -> None:
        # The reader knows why, once it has read what came before the end.
        await self._ended.wait()
        self._insist_open()

    def _insist_open(self) -> None:
        if self._ended.is_set():
            raise self._failure or errors.ConnectionLost(
                "the stream is finished", acknowledged=self.acknowledged
            )

    async def read(self) -> None:
        """Take every message to where it is waited for; a task of `connect`'s."""
        self._failure = errors.ConnectionLost(
            "the stream was closed on this side", acknowledged=self.acknowledged
        )
        try:
            async with contextlib.aclosing(self._line.events()) as events:
                async for event in events:
                    self._take(event)
            self._failure = None
        except errors.ClientError as error:
            self._failure = error
        finally:
            self._end()

    def _take(self, event: Event) -> None:
        match event:
            case Flushed():
                _answer(self._flushes, event)
            case Configured():
                _answer(self._configures, event)
            case Finished() if not self._line.late:
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

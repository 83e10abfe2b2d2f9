"""One side of a call: its audio to a stream of its own, its events to the call.

Taking audio never waits: it is queued for a task that sends it, and while the side
is silent what was said is made final. Knows streams; does not know where audio comes
from, nor the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from clients.connection import connect
from clients.errors import ClientError
from clients.events import Event
from clients.stream import Stream, exchange

__all__ = ["Asked", "Side"]

# Audio that may wait while the server takes none: more than any cut that the
# client library bridges.
MOST_WAITING_S = 180.0
PIECE_S = 1.0
KEEPALIVE_S = 15.0
_GLANCE_S = 0.05  # to see whether audio came while this program paused


@dataclass(frozen=True, slots=True)
class Asked:
    """What every stream is asked for; `connect` finds the key by itself.

    Attributes:
        url: the server.
        language: BCP 47 tag; None leaves it to the server.
        live: audio comes at the pace of speech; else what pauses is the reader.
        pause_s: nothing came for so long: the utterance is over, and no packet will say
            so. Longer than any missing packet is waited for.
    """

    url: str = "ws://127.0.0.1:8770"
    language: str | None = None
    live: bool = True
    pause_s: float = 0.8


class Side:
    """Make one for each leg; times are those of its own audio.

    Args:
        asked: of the server.
        rate: samples a second.
        heard: told every event of the server.

    Attributes:
        sent: samples that went out.
        unsent: samples that could not be sent.
        concealed: of the samples sent, made up for lost packets.
        quiet: nothing waits, and all that was said is final.
        failure: why the stream ended before the side did.
    """

    def __init__(self, asked: Asked, rate: int, heard: Callable[[Event], None]) -> None:
        self.rate = rate
        self.sent = self.unsent = self.concealed = 0
        self.quiet = True
        self.failure: ClientError | None = None
        self._asked = asked
        self._heard = heard
        self._queue: deque[bytes | int] = deque()  # an int: so many samples of silence
        self._waiting = 0
        self._ended = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def sound(self, pcm: bytes) -> None:
        """Take 16-bit samples."""
        self._take(pcm, len(pcm) // 2)

    def silence(self, samples: int, *, concealed: bool) -> None:
        """Take samples of silence."""
        self._take(samples, samples)
        self.concealed += samples if concealed else 0

    def end(self) -> None:
        """No more audio comes."""
        self._ended = True
        self._news.set()

    @property
    def taken(self) -> int:
        """Samples that were taken so far: the position of what comes next."""
        return self.sent + self._waiting + self.unsent

    async def room(self) -> None:
        """Wait until little audio waits; for those who can."""
        await self._room.wait()

    async def run(self) -> None:
        """Send until the end; what goes wrong is in `failure`."""
        try:
            async with connect(
                self._asked.url,
                sample_rate=self.rate,
                language=self._asked.language,
            ) as stream:
                self._heard(stream.ready)
                await exchange(stream, self._send(stream), self._heard)
        except ClientError as error:
            self.failure = error
        finally:
            self.unsent += self._waiting
            self._waiting, self._ended = 0, True
            self._queue.clear()
            self._room.set()
            self.quiet = True

    def _take(self, item: bytes | int, samples: int) -> None:
        if self._ended or self._waiting > MOST_WAITING_S * self.rate:
            self.unsent += samples
            return
        self._queue.append(item)
        self._waiting += samples
        self.quiet = False
        self._news.set()
        if self._waiting > PIECE_S * self.rate:
            self._room.clear()

    async def _send(self, stream: Stream) -> None:
        flushes: set[asyncio.Task[None]] = set()
        idle_s, flushed = 0.0, True
        while self._queue or not self._ended:
            if self._queue:
                for piece in self._pieces(self._queue.popleft()):
                    await stream.send(piece)
                    self.sent += len(piece) // 2
                    self._waiting -= len(piece) // 2
                idle_s, flushed = 0.0, False
                if self._waiting <= PIECE_S * self.rate / 2:
                    self._room.set()
                continue
            if await self._anything():
                continue
            idle_s += self._asked.pause_s
            if not flushed and self._asked.live:
                flushed = True
                flushes.add(asyncio.create_task(self._flush(stream)))
            elif idle_s > KEEPALIVE_S:
                idle_s = 0.0
                await stream.keepalive()
        await stream.finish([self.concealed])
        await asyncio.gather(*flushes)

    async def _anything(self) -> bool:
        """Wait for audio or the end; false after a pause without either."""
        self._news.clear()
        for limit_s in (self._asked.pause_s, _GLANCE_S):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._news.wait()
                return True
        return False

    async def _flush(self, stream: Stream) -> None:
        with contextlib.suppress(ClientError):  # `run` is told of it, too
            await stream.flush()
            self.quiet = not self._waiting

    def _pieces(self, item: bytes | int) -> list[bytes]:
        if isinstance(item, bytes):
            return [item]
        whole, rest = divmod(item, int(PIECE_S * self.rate))
        pieces = [bytes(2 * int(PIECE_S * self.rate))] * whole
        return [*pieces, bytes(2 * rest)] if rest else pieces

"""Plain HTTP beside the websockets: recordings that are sent whole, and the pages.

Keeps the connections and the seats; how a recording is taken in, heard and written
is in files of their own. A dialect of recordings is one row in `RESTS`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import ceil
from uuid import uuid4

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from streaming.config import Config
from streaming.errors import Draining, Overloaded
from streaming.protocols.adapter import Opening
from streaming.protocols.deepgram_rest import PRERECORDED
from streaming.protocols.openai_rest import TRANSCRIPTIONS
from streaming.protocols.rest import Rest
from streaming.server.access import Access
from streaming.server.exchange import Exchange
from streaming.server.http import HttpConnection
from streaming.server.issuing import TOKENS, issue
from streaming.server.metrics import Metrics
from streaming.server.pages import refuse
from streaming.server.passing import PassLine
from streaming.server.standing import RETRY_S, Standing
from streaming.server.transcribing import Room, Transcribing

__all__ = ["POSTS", "RESTS", "Reception"]

_log = logging.getLogger("wavestitch")

RESTS: tuple[Rest, ...] = (TRANSCRIPTIONS, PRERECORDED)

# What is asked for with a body.
POSTS = (*(rest.path for rest in RESTS), TOKENS)


class Reception:
    """Answers what is asked without a websocket.

    Args:
        config: the limits, and what a recording is heard with.
        access: who may send one.
        standing: how the server stands.
        metrics: where it counts.
        clock: seconds, the engine's too.
        look: what a GET sees, or why a request sees nothing.
    """

    def __init__(
        self,
        config: Config,
        access: Access,
        standing: Standing,
        metrics: Metrics,
        clock: Callable[[], float],
        look: Callable[[Request], Response | Awaitable[Response]],
    ) -> None:
        self._limits = config.limits
        self._access = access
        self._standing = standing
        self._metrics = metrics
        self._look = look
        # Half of what the engine lets wait: live streams have full passes too.
        line = PassLine(config.engine.queue_s / 2)
        self._room = Room(config, standing, metrics, clock, line)
        self._connections: set[HttpConnection] = set()
        self._seated: set[Transcribing] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    # --- connections -----------------------------------------------------------

    @property
    def closing(self) -> bool:
        """No connection is kept for a further request."""
        return self._standing.draining

    def enter(self) -> HttpConnection:
        """The protocol of a connection that speaks plain HTTP."""
        connection = HttpConnection(self, self._limits)
        self._connections.add(connection)
        self._empty.clear()
        return connection

    def left(self, connection: HttpConnection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Let every connection finish the request that it is at, and wait for that."""
        for connection in list(self._connections):
            if connection.idle:
                connection.stop()
        await self._empty.wait()

    def finish(self) -> None:
        """Refuse what is not done, and close the rest."""
        for transcribing in list(self._seated):
            transcribing.stop(Draining("the server is shutting down: send it again"))

    def close(self) -> None:
        """Cut off what is left."""
        for connection in list(self._connections):
            connection.stop()

    # --- requests --------------------------------------------------------------

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        if len(self._connections) > (most := self._limits.max_connections):
            full = Overloaded(f"all {most} connections are taken", RETRY_S)
            response = refuse(503, "overloaded", str(full))
            response.headers["Retry-After"] = str(ceil(RETRY_S))
            await _write(exchange, response)
            return
        for rest in RESTS:
            if exchange.path == rest.path and exchange.method == "POST":
                await self._transcribe(rest, exchange)
                return
        if (exchange.method, exchange.path) == ("POST", TOKENS):
            told = await issue(self._access, exchange, _opening(exchange))
            await _write(exchange, told)
            return
        request = Request(
            f"{exchange.path}?{exchange.query}" if exchange.query else exchange.path,
            Headers(exchange.headers),
            method=exchange.method,
        )
        seen = self._look(request)
        await _write(exchange, seen if isinstance(seen, Response) else await seen)

    async def _transcribe(self, rest: Rest, exchange: Exchange) -> None:
        opening = _opening(exchange)
        status = 200
        try:
            self._access.check_origin(opening)
            account = self._access.admit(opening)
            work = Transcribing(rest, opening.public(), self._room)
            with account.taken(1), self._seat(work):
                await work.run(exchange, account.spend)
        except (ConnectionError, TimeoutError):  # it is gone, or takes nothing
            status = 499
            raise
        except Exception as error:
            status = await self._refuse(rest, exchange, opening, error)
        finally:
            self._metrics.recordings.labels(rest.path, str(status)).inc()

    @contextmanager
    def _seat(self, transcribing: Transcribing) -> Iterator[None]:
        most = self._limits.max_uploads
        if len(self._seated) >= most:
            raise Overloaded(f"{most} recordings are heard, more would wait", RETRY_S)
        self._seated.add(transcribing)
        try:
            yield
        finally:
            self._seated.discard(transcribing)

    async def _refuse(
        self, rest: Rest, exchange: Exchange, opening: Opening, error: Exception
    ) -> int:
        refusal = rest.refusal(error, opening.id)
        if refusal.status == 500:
            _log.error("a recording could not be heard", exc_info=error)
        if exchange.begun:
            raise ConnectionError("an answer broke off") from error
        headers = {"Content-Type": "application/json", **refusal.headers}
        if isinstance(error, Overloaded):
            headers["Retry-After"] = str(ceil(error.retry_after_s))
        if refusal.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        await exchange.answer(refusal.status, refusal.body.encode(), headers)
        return refusal.status


def _opening(exchange: Exchange) -> Opening:
    return Opening(
        path=exchange.path,
        query=exchange.query,
        headers=exchange.headers,
        id=str(uuid4()),
        at=time.time(),
    )


async def _write(exchange: Exchange, response: Response) -> None:
    headers = {
        name: value
        for name, value in response.headers.raw_items()
        if name.lower() != "content-length"
    }
    await exchange.answer(response.status_code, bytes(response.body), headers)

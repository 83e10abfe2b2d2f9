"""What is said on an open websocket: by a new stream, one that goes on, a reader.

Opens the stream once a dialect has told what is sent, and tells an error in the
dialect's words where no stream does. Knows neither ports nor opening requests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from streaming.config import LimitConfig
from streaming.core.costs import UNBOUNDED
from streaming.errors import WavestitchError
from streaming.events import GoAway
from streaming.protocols.adapter import Adapter, Dialect
from streaming.server.backend import Backend
from streaming.server.connection import Connection
from streaming.server.dialects import greeting_s, limits_of
from streaming.server.door import Door
from streaming.server.greeting import Greeted, greet
from streaming.server.load import LoadWatch
from streaming.server.metrics import Metrics
from streaming.server.overhearing import Overheard
from streaming.server.sessions import Held, Sessions
from streaming.server.standing import Standing
from streaming.server.stream import Stream
from streaming.server.subscription import read_along
from streaming.server.surroundings import Surroundings
from streaming.server.welcome import missed, ready

__all__ = ["Conversations"]

_log = logging.getLogger("wavestitch")


class Conversations:
    """Everybody who was let in.

    Args:
        limits: what each may ask.
        standing: whether the model is warm, and the server drains.
        sessions: where they are kept.
        load: weighs new ones.
        metrics: where they count.
        clock: seconds, the engine's too.
    """

    def __init__(
        self,
        limits: LimitConfig,
        standing: Standing,
        sessions: Sessions,
        load: LoadWatch,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._standing = standing
        self._sessions = sessions
        self._load = load
        self._metrics = metrics
        self._clock = clock

    async def serve(self, connection: ServerConnection) -> None:
        """Converse with who was let in, or tell why not; until it is closed."""
        match connection:
            case Door(dialect=Dialect() as dialect):
                pass
            case _:
                return
        try:
            if connection.refused is not None:
                await _tell(connection, dialect, connection.refused)
            elif connection.reads is not None:
                facts = self._standing.expect_warm().facts
                limits = self._limits
                await read_along(connection, connection.reads, facts, limits)
            elif connection.held is not None:
                await self._go_on(connection, dialect, connection.held)
            elif connection.adapter is not None:
                await self._converse(connection, dialect, connection.adapter)
        except Exception as error:  # a bug: only this client may notice
            _log.exception("a connection failed")
            await _tell(connection, dialect, error)

    async def _converse(self, door: Door, dialect: Dialect, adapter: Adapter) -> None:
        backend = self._standing.backend
        if backend is None or door.account is None:
            raise RuntimeError("a stream was let in before the model was warm")
        limits = limits_of(dialect, self._limits)
        told = adapter.config is not None
        try:
            greeted = await greet(door, adapter, greeting_s(dialect, limits))
            if not told:  # of how many channels it has
                door.account.expect_room(greeted.config.audio.channels)
                self._standing.load.admit(greeted.config.audio.channels)
        except ConnectionClosed:
            return
        except WavestitchError as error:
            await self._dismiss(door, dialect, error)
            return
        held = self._open_stream(backend, door, greeted, limits)
        held.stream.outbox.put(ready(held, backend.facts, limits))
        if self._standing.draining:
            held.stream.outbox.put(GoAway("shutdown", limits.drain_s))
        self._load.welcome(held.stream, backend.engine)
        await self._connect(door, dialect, held).run(greeted.rest)

    async def _go_on(self, door: Door, dialect: Dialect, held: Held) -> None:
        """Serve a client that has come back to its session."""
        backend = self._standing.expect_warm()
        if door.adapter is None or (resume := door.adapter.resume) is None:
            raise RuntimeError("nobody asked to go on with this session")
        limits = limits_of(dialect, self._limits)
        try:
            await self._connect(door, dialect, held).run(
                again=lambda: missed(held, backend.facts, limits, resume.after)
            )
        except WavestitchError as error:  # it was there when the door was opened
            await self._dismiss(door, dialect, error)

    def _connect(self, door: Door, dialect: Dialect, held: Held) -> Connection:
        limits = limits_of(dialect, self._limits)
        return Connection(
            door, dialect, held.adapter, held.stream, limits, self._metrics
        )

    async def _dismiss(
        self, door: Door, dialect: Dialect, error: WavestitchError
    ) -> None:
        code = dialect.refusal(error, door.opening.id).code
        self._metrics.refused.labels(code).inc()
        if dialect.silent:  # nobody else is told why
            _log.warning("%s: %s", dialect.path, error)
        await _tell(door, dialect, error)

    def _open_stream(
        self, backend: Backend, door: Door, greeted: Greeted, limits: LimitConfig
    ) -> Held:
        config = greeted.config
        engine, sessions, dialect = backend.engine, self._sessions, door.dialect
        adapter = door.adapter
        if dialect is None or door.account is None or adapter is None:
            raise RuntimeError("a stream was let in before its dialect was known")

        def limit_passes() -> None:
            # No pass may hold the model for longer than half the smallest budget.
            engine.limit_passes(sessions.smallest_budget_ms() / 1_000)

        overheard = None
        if dialect.silent:
            overheard = Overheard(dialect.path, greeted.label, words=config.words)
        around = Surroundings(
            engine,
            limits,
            self._metrics,
            self._clock,
            lambda error: dialect.refusal(error, door.opening.id),
            limit_passes,
            door.account,
            overheard,
        )

        def make(first: int, on_end: Callable[[], None]) -> Stream:
            # The engine knows what it affords at any time, and refuses the rest.
            session = backend.open_session(config, first, UNBOUNDED)
            return Stream(session, config, around, adapter.send, on_end)

        opened = sessions.open(config.audio.channels, adapter, make)
        if overheard is not None:
            overheard.session = opened.identity.session
        limit_passes()
        return opened


async def _tell(door: Door, dialect: Dialect, error: Exception) -> None:
    """Say an error where no stream says it any more, or yet, and close."""
    refusal = dialect.refusal(error, door.opening.id)
    words = [] if refusal.message is None else [refusal.message]
    said = door.last_words(error) if door.last_words else words
    with suppress(ConnectionClosed):
        for message in said:
            await door.send(message)
        await door.close(refusal.close, refusal.code)

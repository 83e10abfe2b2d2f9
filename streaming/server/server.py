"""One port: websockets for the dialects, plain HTTP for health and metrics.

Listens before the model is warm, so that health checks are answered, and while
it drains, so that refusals are typed. Decides who is let in; what happens then
is `connection.py`'s and `stream.py`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from math import ceil

from websockets.asyncio.server import Server as Websockets
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from streaming.config import Config
from streaming.errors import Draining, Overloaded
from streaming.events import GoAway, Ready
from streaming.protocols.adapter import Adapter, Dialect
from streaming.protocols.native import NATIVE
from streaming.server.backend import Backend
from streaming.server.connection import Connection
from streaming.server.door import Door, answer, answer_json
from streaming.server.metrics import CONTENT_TYPE_LATEST, Metrics
from streaming.server.sessions import Identity, Sessions
from streaming.server.stream import GOING_AWAY, Stream, Surroundings

__all__ = ["DIALECTS", "Server"]

_log = logging.getLogger("wavestitch")

DIALECTS: tuple[Dialect, ...] = (NATIVE,)

_CLOSE_TIMEOUT_S = 5.0
_RETRY_S = 5.0

# Frames that the library queues before it stops reading the socket. Control frames
# are answered before they get there, so that this bounds memory, not pongs.
_MAX_QUEUE = 16

# Browsers that are accepted only to be told why not; more are refused by HTTP.
_MOST_REFUSED_OPEN = 64

# A stream that is finished by the server at the end of a drain gets this long.
_LAST_S = 10.0


class Server:
    """The door to one engine.

    Args:
        config: where to listen, and the limits.
        clock: seconds, the engine's too.
    """

    def __init__(
        self, config: Config, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.metrics = Metrics()
        self.sessions = Sessions()
        self._config = config
        self._clock = clock
        self._backend: Backend | None = None
        self._draining = False
        self._hurry = asyncio.Event()
        self._doors: set[Door] = set()
        self._refused_open = 0
        self._dialects = {dialect.path: dialect for dialect in DIALECTS}
        self._websockets: Websockets | None = None
        self._pages: dict[str, Callable[[], Response]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics_page,
        }

    # --- life --------------------------------------------------------------

    async def listen(self) -> None:
        """Bind the port; until `open` all streams are refused.

        Raises:
            OSError: the address cannot be bound.
        """
        limits, where = self._config.limits, self._config.server
        self._websockets = await serve_websockets(
            self._serve,
            where.host,
            where.port,
            process_request=self._process_request,
            create_connection=Door,
            compression=None,
            select_subprotocol=lambda _, offered: offered[0] if offered else None,
            server_header="wavestitch",
            open_timeout=limits.handshake_timeout_s,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=None,  # connection.py pings, and knows when not to
            max_size=limits.max_message_bytes,
            max_queue=_MAX_QUEUE,
            logger=_quiet_logger(),
        )

    def open(self, backend: Backend) -> None:
        """The model is warm: let streams in."""
        self._backend = backend
        self.metrics.watch(lambda: backend.engine.stats)

    @property
    def port(self) -> int:
        """The TCP port that was bound."""
        assert self._websockets is not None, "listen() comes first"
        port: int = self._websockets.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients connect to: `ws://HOST:PORT`."""
        host = self._config.server.host
        return f"ws://{f'[{host}]' if ':' in host else host}:{self.port}"

    def hurry(self) -> None:
        """Let the deadline of the drain be now."""
        self._hurry.set()

    async def drain(self) -> None:
        """Refuse new streams and let the open ones finish; at last finish them."""
        self._draining = True
        deadline_s = self._config.limits.drain_s
        _log.info("draining %d sessions, %g s at most", len(self.sessions), deadline_s)
        for stream in self.sessions:
            stream.outbox.put(GoAway("shutdown", deadline_s))
        if await self._emptied(deadline_s):
            return
        for stream in self.sessions:
            stream.finish(GOING_AWAY, "shutdown")
        self._hurry.clear()
        if not await self._emptied(_LAST_S):
            _log.warning("%d sessions could not be finished", len(self.sessions))

    async def close(self) -> None:
        """Close the port and what is left of the connections."""
        self._draining = True
        if self._websockets is not None:
            self._websockets.close()
            await self._websockets.wait_closed()

    async def _emptied(self, seconds: float) -> bool:
        """Wait for the last session, for the deadline or for somebody's hurry."""
        empty = asyncio.ensure_future(self.sessions.wait_empty())
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait(
                (empty, hurry), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            return empty.done()
        finally:
            empty.cancel()
            hurry.cancel()

    # --- letting in --------------------------------------------------------

    def _process_request(
        self, connection: ServerConnection, request: Request
    ) -> Response | None:
        """Answer plain HTTP, or refuse a websocket; None lets it in."""
        path, _, query = request.path.partition("?")
        dialect = self._dialects.get(path)
        page = self._pages.get(path)
        if dialect is None and page is None:
            return _not_found(path, [*self._dialects, *self._pages])
        if request.method != "GET":
            refusal = _error(
                405, "method_not_allowed", f"method must be GET, got {request.method}"
            )
            refusal.headers["Allow"] = "GET"
            return refusal
        if page is not None:
            return page()
        assert dialect is not None
        assert isinstance(connection, Door)
        return self._admit(connection, request, dialect, query)

    def _admit(
        self, door: Door, request: Request, dialect: Dialect, query: str
    ) -> Response | None:
        if not any(
            "websocket" in v.lower() for v in request.headers.get_all("Upgrade")
        ):
            refusal = _error(426, "upgrade_required", f"{dialect.path} is a websocket")
            refusal.headers["Upgrade"] = "websocket"
            return refusal
        door.dialect = dialect
        try:
            door.adapter = self._open_adapter(dialect, query)
        except Exception as error:
            return self._refuse(door, request, dialect, error)
        self._doors.add(door)
        self.metrics.connections.set(len(self._doors))
        door.lost.append(lambda: self._forget(door))
        return None

    def _open_adapter(self, dialect: Dialect, query: str) -> Adapter:
        """Is there room, and can what is asked for be had?"""
        limit = self._config.limits.max_connections
        if self._draining:
            raise Draining("the server is shutting down: open the stream elsewhere")
        if self._backend is None:
            raise Overloaded("the model is not warm yet", _RETRY_S)
        if max(len(self._doors), len(self.sessions)) >= limit:
            raise Overloaded(f"all {limit} connections are taken", _RETRY_S)
        adapter = dialect.open(query, self._backend.offer(self._config.stream))
        if adapter.resume is not None:
            self.sessions.resume(adapter.resume)
        self._backend.engine.admit()
        return adapter

    def _refuse(
        self, door: Door, request: Request, dialect: Dialect, error: Exception
    ) -> Response | None:
        refusal = dialect.refusal(error)
        self.metrics.refused.labels(refusal.code).inc()
        if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("a connection could not be opened", exc_info=error)
        # A browser is shown no HTTP answer: it is let in to be told on the websocket.
        if "Origin" in request.headers and self._refused_open < _MOST_REFUSED_OPEN:
            door.refused = error
            self._refused_open += 1
            door.lost.append(self._forget_refused)
            return None
        status = HTTPStatus(refusal.status)
        response = answer_json(status.value, status.phrase, refusal.body)
        if isinstance(error, Overloaded):
            response.headers["Retry-After"] = str(ceil(error.retry_after_s))
        return response

    def _forget(self, door: Door) -> None:
        self._doors.discard(door)
        self.metrics.connections.set(len(self._doors))

    def _forget_refused(self) -> None:
        self._refused_open -= 1

    # --- serving -----------------------------------------------------------

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, Door)
        try:
            if connection.refused is not None:
                await _tell(connection, connection.refused)
            elif connection.adapter is not None:
                await self._converse(connection, connection.adapter)
        except ConnectionClosed:
            pass
        except Exception as error:  # a bug: only this client may notice
            _log.exception("a connection failed")
            await _tell(connection, error)

    async def _converse(self, door: Door, adapter: Adapter) -> None:
        identity, stream = self._open_stream(door, adapter)
        stream.outbox.put(self._ready(identity, adapter))
        if self._draining:
            stream.outbox.put(GoAway("shutdown", self._config.limits.drain_s))
        await Connection(door, adapter, stream, self._config.limits, self.metrics).run()

    def _open_stream(self, door: Door, adapter: Adapter) -> tuple[Identity, Stream]:
        backend, config = self._backend, adapter.config
        assert backend is not None
        assert door.dialect is not None
        around = Surroundings(
            backend.engine,
            self._config.limits,
            self.metrics,
            self._clock,
            door.dialect.refusal,
            lambda: self._limit_passes(backend),
        )
        budget_ms = self.sessions.smallest_budget_ms(config.budget_ms)
        limit = backend.engine.full_pass_limit(budget_ms / 1_000)

        def make(first: int, on_end: Callable[[], None]) -> Stream:
            session = backend.open_session(config, first, limit)
            return Stream(session, config, first, around, on_end)

        opened = self.sessions.open(config.audio.channels, make)
        self._limit_passes(backend)
        return opened

    def _limit_passes(self, backend: Backend) -> None:
        """No pass may hold the model for longer than half the smallest budget."""
        backend.engine.limit_passes(self.sessions.smallest_budget_ms() / 1_000)

    def _ready(self, identity: Identity, adapter: Adapter) -> Ready:
        assert self._backend is not None
        facts, config = self._backend.facts, adapter.config

        def whole_strides_ms(ms: int) -> int:
            geometry = facts.geometry
            samples = geometry.samples_of_ms(ms)
            return round(1_000 * samples / geometry.sample_rate)

        return Ready(
            session=identity.session,
            token=identity.token,
            model=facts.name,
            language=config.language or facts.language,
            encoding=config.audio.encoding.value,
            sample_rate=config.audio.sample_rate,
            channels=config.audio.channels,
            budget_ms=config.budget_ms,
            hop_ms=whole_strides_ms(config.window.hop_ms),
            right_ms=whole_strides_ms(config.window.right_ms),
            idle_timeout_s=self._config.limits.idle_timeout_s,
        )

    # --- pages -------------------------------------------------------------

    def _healthz(self) -> Response:
        return answer_json(200, "OK", '{"status":"alive"}\n')

    def _readyz(self) -> Response:
        """Warm, within its budget and not going away?"""
        status = self._status()
        if status == "ready":
            return answer_json(200, "OK", '{"status":"ready"}\n')
        body = json.dumps({"status": status}) + "\n"
        response = answer_json(503, "Service Unavailable", body)
        response.headers["Retry-After"] = str(ceil(_RETRY_S))
        return response

    def _status(self) -> str:
        if self._draining:
            return "draining"
        if self._backend is None or not self._backend.engine.warm:
            return "warming up"
        stream = self._config.stream
        smallest = self._backend.smallest_budget_ms(stream)
        if smallest > stream.budget_ms:
            return f"slow: {smallest} ms is the smallest budget it can keep"
        try:
            self._backend.engine.admit()
        except Overloaded as error:
            return f"overloaded: {error}"
        return "ready"

    def _metrics_page(self) -> Response:
        return answer(200, "OK", CONTENT_TYPE_LATEST, self.metrics.text())


async def _tell(door: Door, error: Exception) -> None:
    """Say an error on a websocket that carries no stream, and close it."""
    assert door.dialect is not None
    refusal = door.dialect.refusal(error)
    await door.send(refusal.message)
    await door.close(refusal.close, refusal.code)


def _error(status: int, code: str, message: str) -> Response:
    body = json.dumps({"type": "error", "code": code, "message": message}) + "\n"
    return answer_json(status, HTTPStatus(status).phrase, body)


def _not_found(path: str, paths: list[str]) -> Response:
    body = {
        "type": "error",
        "code": "not_found",
        "message": f"there is nothing at {path[:80]}: see paths",
        "paths": paths,
    }
    return answer_json(404, "Not Found", json.dumps(body) + "\n")


def _quiet_logger() -> logging.Logger:
    """The library's own log: what peers do wrong is theirs, and worth a debug."""
    logger = logging.getLogger("wavestitch.websockets")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    return logger

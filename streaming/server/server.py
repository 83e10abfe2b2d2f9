"""One port: websockets for the dialects, plain HTTP for health and metrics.

Listens before the model is warm, so that health checks are answered, and while
it drains, so that refusals are typed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from socket import socket
from typing import Any

from websockets.asyncio.server import Server as Websockets
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.http11 import Request, Response

from streaming.config import Config
from streaming.errors import ConfigError
from streaming.events import GoAway
from streaming.server.access import Access, KeyCollector
from streaming.server.admission import Admission
from streaming.server.backend import Backend
from streaming.server.binding import cannot_listen, url_of
from streaming.server.conversations import Conversations
from streaming.server.dialects import (
    DIALECTS,
    add_headers,
    choose_subprotocol,
    dialect_at,
)
from streaming.server.door import Door
from streaming.server.load import LoadWatch
from streaming.server.metrics import Metrics
from streaming.server.pages import (
    Pages,
    Whole,
    not_found,
    upgrade_required,
    wrong_method,
)
from streaming.server.reception import POSTS, Reception
from streaming.server.results import Results
from streaming.server.sessions import Sessions
from streaming.server.standing import Standing
from streaming.server.subscription import SUBSCRIPTIONS, session_at
from streaming.server.tls import Certificate

__all__ = ["Server"]

_log = logging.getLogger("wavestitch")

_GOING_AWAY = 1001

_CLOSE_TIMEOUT_S = 5.0

# Frames that the library queues before it stops reading the socket. Control frames
# are answered before they get there, so that this bounds memory, not pongs.
_MAX_QUEUE = 16

# A stream that is finished by the server at the end of a drain gets this long.
_LAST_S = 10.0


class Server:
    """The door to one engine.

    Args:
        config: where to listen, and the limits.
        clock: seconds, the engine's too.
        mark: what the ids of its sessions begin with.
        whole: what `/readyz` and `/metrics` show where it is one of several.
        secret: what tokens are signed with, where several processes share it.

    Raises:
        ConfigError: keys or a certificate that cannot be read, or neither keys nor
            leave to do without where other machines reach the port.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        mark: str = "",
        whole: Whole | None = None,
        secret: bytes | None = None,
    ) -> None:
        self.metrics = Metrics()
        self._access = Access(config, secret)
        self.metrics.registry.register(KeyCollector(self._access))
        where = config.server
        self._certificate = Certificate(where.tls_certificate, where.tls_key)
        limits = config.limits
        self.sessions = Sessions(mark, limits.result_window_s, limits.max_connections)
        self._results = Results(self.sessions)
        self._config = config
        self._clock = clock
        self.load = LoadWatch(config.limits, self.sessions, self.metrics, clock)
        self._watching: asyncio.Task[None] | None = None
        self._standing = Standing(self.load)
        self._pages = Pages(self._standing, self.metrics, config.stream, whole)
        self._reception = Reception(
            config, self._access, self._standing, self.metrics, clock, self._look
        )
        self._admission = Admission(
            config, self._access, self._standing, self.sessions, self.metrics
        )
        self._conversations = Conversations(
            limits, self._standing, self.sessions, self.load, self.metrics, clock
        )
        self._hurry = asyncio.Event()
        self._websockets: Websockets | None = None

    # --- life --------------------------------------------------------------

    async def listen(self, inlet: socket | None = None) -> None:
        """Bind the port; until `open` all streams are refused.

        Args:
            inlet: a socket that listens already, instead of host and port.

        Raises:
            OSError: the address cannot be bound; the message names it.
        """
        if inlet is not None:
            await self._accept(sock=inlet)
            return
        where = self._config.server
        try:
            await self._accept(host=where.host, port=where.port)
        except OSError as error:
            raise cannot_listen(where, error) from error

    async def _accept(self, **where: Any) -> None:
        limits = self._config.limits
        self._websockets = await serve_websockets(
            self._conversations.serve,
            **where,
            process_request=self._process_request,
            process_response=add_headers,
            create_connection=partial(Door, plain=self._reception.enter),  # type: ignore[arg-type]
            compression=None,  # 16 KiB a connection, not 56, and audio gains nothing
            select_subprotocol=choose_subprotocol,
            server_header="wavestitch",
            open_timeout=limits.handshake_timeout_s,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=None,  # connection.py pings, and knows when not to
            max_size=limits.max_message_bytes,
            max_queue=_MAX_QUEUE,
            **self._certificate.options(limits.handshake_timeout_s),
            logger=_quiet_logger(),
        )

    def open(self, backend: Backend) -> None:
        """The model is warm: let streams in. To be called on the event loop."""
        self._standing.backend = backend
        self.metrics.watch(lambda: backend.engine.stats)
        watching = self.load.run(backend.engine)
        self._watching = asyncio.create_task(watching, name="load")

    @property
    def status(self) -> str:
        """`ready`, or why not."""
        return self._standing.status(self._config.stream)

    @property
    def port(self) -> int:
        """The TCP port that was bound."""
        if self._websockets is None:
            raise RuntimeError("the server does not listen yet")
        port: int = self._websockets.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients connect to: `ws://HOST:PORT`, or `wss`."""
        return url_of(self._config.server, self.port)

    def reload(self) -> None:
        """Read keys and certificate again; open streams go on with what they had."""
        again = {"keys": self._access.reload, "certificate": self._certificate.reload}
        for what, read in again.items():
            try:
                read()
            except ConfigError as error:
                _log.error("%s not read again, what held holds: %s", what, error)
            else:
                _log.info("%s read again", what)

    def hurry(self) -> None:
        """Let the deadline of the drain be now."""
        self._hurry.set()

    async def drain(self) -> None:
        """Refuse new streams and let the open ones finish; at last finish them."""
        self._standing.draining = True
        deadline_s = self._config.limits.drain_s
        _log.info("draining %d sessions, %g s at most", len(self.sessions), deadline_s)
        for stream in self.sessions:
            stream.outbox.put(GoAway("shutdown", deadline_s))
        if await self._emptied(deadline_s):
            return
        for stream in self.sessions:
            stream.finish(_GOING_AWAY, "shutdown")
        self._reception.finish()
        self._hurry.clear()
        if not await self._emptied(_LAST_S):
            _log.warning("%d sessions could not be finished", len(self.sessions))

    async def close(self) -> None:
        """Close the port and what is left of the connections."""
        self._standing.draining = True
        self._reception.close()
        if self._websockets is not None:
            self._websockets.close()
            await self._websockets.wait_closed()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _emptied(self, seconds: float) -> bool:
        """Wait for the last session and connection, the deadline or a hurry."""

        async def both() -> None:
            await self.sessions.wait_empty()
            await self._admission.wait_empty()
            await self._reception.wait_empty()

        empty = asyncio.ensure_future(both())
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait(
                (empty, hurry), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            return empty.done()
        finally:
            empty.cancel()
            hurry.cancel()

    # --- requests ----------------------------------------------------------

    def _process_request(
        self, connection: ServerConnection, request: Request
    ) -> Response | Awaitable[Response] | None:
        """Answer plain HTTP, or refuse a websocket; None lets it in."""
        path = request.path.partition("?")[0]
        dialect, session = dialect_at(path), session_at(path)
        match connection:
            case Door() if session is not None and request.method == "GET":
                return self._admission.admit_reader(connection, request, session)
            case Door() if dialect is not None and request.method == "GET":
                return self._admission.admit(connection, request, dialect)
            case _:
                return self._look(request)

    def _look(self, request: Request) -> Response | Awaitable[Response]:
        """What is seen without a websocket."""
        path, _, _ = request.path.partition("?")
        if request.method == "GET" and (said := self._results.look(request.path)):
            return said
        dialect, page = dialect_at(path), self._pages.find(path)
        gets = ["GET"] if dialect is not None or page is not None else []
        methods = gets + (["POST"] if path in POSTS else [])
        if not methods:
            ways = [*(each.path for each in DIALECTS), *POSTS, *self._pages.paths]
            ways.append(SUBSCRIPTIONS)
            return not_found(path, [*dict.fromkeys(ways)])
        if request.method not in gets:
            return wrong_method(request.method, methods)
        if page is not None:
            return self._admission.show(page, path, request)
        return upgrade_required(path)


def _quiet_logger() -> logging.Logger:
    """The library's own log: what peers do wrong is theirs, and worth a debug."""
    logger = logging.getLogger("wavestitch.websockets")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)
    return logger

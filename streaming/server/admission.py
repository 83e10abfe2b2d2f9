"""Who is let in, and how the others are told why not.

A refusal is an HTTP answer, which a browser hides from its page: a request with
an `Origin` is let in to be told on the websocket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from hmac import compare_digest
from http import HTTPStatus
from math import ceil
from uuid import uuid4

from websockets.http11 import Request, Response

from streaming.config import Config
from streaming.errors import Forbidden, Overloaded, Unauthorized, reason_of
from streaming.protocols.adapter import Adapter, Dialect, Opening
from streaming.protocols.credentials import session_token
from streaming.protocols.native import NATIVE
from streaming.server.access import Access
from streaming.server.door import Door
from streaming.server.metrics import Metrics
from streaming.server.pages import Page, json_answer, refuse, upgrade_required
from streaming.server.sessions import Held, Sessions
from streaming.server.standing import RETRY_S, Standing
from streaming.server.subscription import SUBSCRIPTIONS

__all__ = ["Admission", "opening_of"]

_log = logging.getLogger("wavestitch")

# Browsers that are let in only to be told why not; more are refused by HTTP.
_MOST_REFUSED_OPEN = 64

# Pages that take a key where there are keys: this one names them.
_KEYED = frozenset({"/metrics"})


class Admission:
    """Counts the seats and decides over each opening request."""

    def __init__(
        self,
        config: Config,
        access: Access,
        standing: Standing,
        sessions: Sessions,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._access = access
        self._standing = standing
        self._sessions = sessions
        self._metrics = metrics
        self._doors: set[Door] = set()
        self._refused: set[Door] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def wait_empty(self) -> None:
        """Wait until nobody sits: all that was to be sent has been sent."""
        await self._empty.wait()

    def admit(self, door: Door, request: Request, dialect: Dialect) -> Response | None:
        """Let a websocket in with None, or answer it."""
        upgrade = ",".join(request.headers.get_all("Upgrade"))
        if "websocket" not in upgrade.lower():
            return upgrade_required(dialect.path)
        opening = opening_of(request)
        door.dialect, door.opening = dialect, opening.public()
        try:
            self._access.check_origin(opening)
            door.adapter = self._adapter(door, dialect, opening)
        except Exception as error:
            return self._refuse(door, request, dialect, error)
        self._seat(door)
        return None

    def admit_reader(
        self, door: Door, request: Request, session: str
    ) -> Response | None:
        """Let one in who reads along with a session, or answer."""
        if "websocket" not in ",".join(request.headers.get_all("Upgrade")).lower():
            return upgrade_required(SUBSCRIPTIONS)
        opening = opening_of(request)
        door.dialect, door.opening = NATIVE, opening.public()
        try:
            self._access.check_origin(opening)
            door.reads = self._readable(opening, session)
        except Exception as error:
            return self._refuse(door, request, NATIVE, error)
        self._seat(door)
        return None

    def _readable(self, opening: Opening, session: str) -> Held:
        """The session, for who shows its token, or a key or token of its owner."""
        token = session_token(opening.query)
        held = self._sessions.look(session)
        own = compare_digest(held.identity.token.encode(), token.encode())
        if token and not own and not self._access.keyed:
            raise Unauthorized("the token is not that of the session")
        if not own:
            self._access.expect_reader(opening, session, held.stream.account)
        return held

    def show(
        self, page: Page, path: str, request: Request
    ) -> Response | Awaitable[Response]:
        """A page, or why it is not for everyone."""
        if path in _KEYED:
            try:
                self._access.expect_key(opening_of(request))
            except Unauthorized as error:
                status = 403 if isinstance(error, Forbidden) else 401
                return _challenged(refuse(status, reason_of(error), str(error)))
        return page()

    def _adapter(self, door: Door, dialect: Dialect, opening: Opening) -> Adapter:
        """Is there room, can what is asked for be had, and by whom?"""
        backend = self._standing.expect_warm()
        adapter = dialect.open(door.opening, backend.offer(self._config.stream))
        if adapter.resume is not None:
            # Who comes back is never refused for load, and shows the session's own
            # secret; the token that opened it may have expired.
            door.held = held = self._sessions.resume(adapter.resume)
            self._metrics.resumed.labels(held.stream.state).inc()
            return adapter
        self._standing.expect_backend()
        limit = self._config.limits.max_connections
        # Sessions that lost their connection hold work until they are decoded.
        if max(len(self._doors), len(self._sessions)) >= limit:
            raise Overloaded(f"all {limit} connections are taken", RETRY_S)
        channels = adapter.config.audio.channels if adapter.config else 1
        door.account = self._access.admit(opening)
        door.account.expect_room(channels)
        self._standing.load.admit(channels)
        return adapter

    def _refuse(
        self, door: Door, request: Request, dialect: Dialect, error: Exception
    ) -> Response | None:
        refusal = dialect.refusal(error, door.opening.id)
        self._metrics.refused.labels(refusal.code).inc()
        if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("a connection could not be opened", exc_info=error)
        if "Origin" in request.headers and len(self._refused) < _MOST_REFUSED_OPEN:
            door.refused = error
            self._refused.add(door)
            door.lost.append(lambda: self._refused.discard(door))
            return None
        answer = json_answer(refusal.status, refusal.body)
        answer.headers.update(refusal.headers)
        if isinstance(error, Overloaded):
            answer.headers["Retry-After"] = str(ceil(error.retry_after_s))
        return _challenged(answer)

    def _seat(self, door: Door) -> None:
        def leave() -> None:
            self._doors.discard(door)
            if not self._doors:
                self._empty.set()
            self._metrics.connections.set(len(self._doors))

        self._doors.add(door)
        self._empty.clear()
        self._metrics.connections.set(len(self._doors))
        door.lost.append(leave)


def _challenged(answer: Response) -> Response:
    """As RFC 9110 wants it: who lacks a key is told how to show one."""
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def opening_of(request: Request) -> Opening:
    """A request as dialects and keys see it."""
    path, _, query = request.path.partition("?")
    offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
    return Opening(
        path=path,
        query=query,
        headers={name.lower(): value for name, value in request.headers.raw_items()},
        subprotocols=tuple(name.strip() for name in offered.split(",") if name.strip()),
        id=str(uuid4()),
        at=time.time(),
    )

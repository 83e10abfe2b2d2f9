"""HTTP/1.1 with bodies: one connection, its requests one after the other.

The rules of the protocol are h11's; waiting, time limits and sizes are here. Runs
the same on TCP and TLS. Does not know what is asked for: whoever answers does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from math import inf
from typing import Any, Protocol, TypeAlias

import h11

from streaming.config import LimitConfig
from streaming.errors import IdleTimeout, ProtocolError, TooBig
from streaming.server.exchange import Exchange, Headers
from streaming.server.pages import refuse

__all__ = ["Answering", "HttpConnection"]

_log = logging.getLogger("wavestitch")

_PIECE = 65_536

# Between two requests; longer than clients keep a connection for another.
_IDLE_S = 30.0

# A body may pause, and must come at this pace on average: no live stream is slower.
_SLOWEST_BYTES_PER_S = 1_024

# The end of a client's side that comes so soon after its request belongs to it.
_TOGETHER_S = 1.0

# Who is refused while still sending gets this long to stop and read why: what is
# closed with bytes unread is reset, and takes the answer with it (RFC 9112, 9.6).
_LINGER_S = 10.0
_LINGER_IDLE_S = 2.0

_SERVER = "wavestitch"

_Sent: TypeAlias = (
    h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage
)


class Answering(Protocol):
    """What answers requests."""

    @property
    def closing(self) -> bool:
        """No connection is kept for a further request."""
        ...

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request, refusals included."""
        ...

    def left(self, connection: HttpConnection) -> None:
        """A connection is gone."""
        ...


class HttpConnection(asyncio.StreamReaderProtocol):
    """A client that speaks HTTP, and its requests.

    Who closes its sending side with the request is answered; who does so later on,
    while the answer is being made, is taken to have left, and the work ends.

    Args:
        answering: what answers.
        limits: how long and how much a client may send.
    """

    def __init__(self, answering: Answering, limits: LimitConfig) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(_PIECE, self._loop)
        super().__init__(self._reader, loop=self._loop)
        self._answering = answering
        self._limits = limits
        self._http = h11.Connection(h11.SERVER)
        self._task: asyncio.Task[None] | None = None
        self._heard_all_at = inf  # of the request that is being answered
        self._requests = 0

    # --- from the transport --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)
        writer = asyncio.StreamWriter(transport, self, self._reader, self._loop)
        self._task = self._loop.create_task(self._serve(writer))

    def eof_received(self) -> bool | None:
        """No more comes; see the class."""
        if self._loop.time() > self._heard_all_at + _TOGETHER_S:
            self.stop()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self.stop()
        self._answering.left(self)

    def stop(self) -> None:
        """End whatever is going on, and close."""
        if self._task is not None:
            self._task.cancel()

    @property
    def idle(self) -> bool:
        """Between two requests, of which the next has not come."""
        return self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE

    # --- requests ------------------------------------------------------------

    async def _serve(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            while await self._turn():
                self._http.start_next_cycle()
                self._heard_all_at = inf
            await self._linger()
            writer.close()
            # What a client does not take may not be kept for ever.
            self._loop.call_later(self._limits.send_timeout_s, writer.transport.abort)
            return
        except (ConnectionError, TimeoutError, h11.LocalProtocolError):
            pass  # it is gone, or takes nothing, or its answer broke off
        except Exception:  # a bug: only this client may notice
            _log.exception("an HTTP connection failed")
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    async def _turn(self) -> bool:
        """Serve a request; return whether another may follow."""
        try:
            request = await self._head()
        except TimeoutError:
            why = "no whole request came in time"
            await self._refuse(408, "handshake_timeout", why)
            return False
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, "bad_request", str(error))
            return False
        if request is None:
            return False
        self._requests += 1
        await self._answering.answer(Exchange(self, request))
        http = self._http
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    async def _head(self) -> h11.Request | None:
        """The next request; None where none comes any more.

        Raises:
            TimeoutError: it did not come in time.
            h11.RemoteProtocolError: what came is no request.
        """
        event: Any = self._http.next_event()
        first_s = self._limits.handshake_timeout_s
        if event is h11.NEED_DATA and self._requests:
            try:
                async with asyncio.timeout(_IDLE_S):
                    self._http.receive_data(await self._reader.read(_PIECE))
            except TimeoutError:
                return None
        if event is h11.NEED_DATA:
            async with asyncio.timeout(first_s):
                event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        names = {name for name, value in event.headers if value != b"0"}
        if not names & {b"content-length", b"transfer-encoding"}:
            self._http.next_event()  # it ends here
            self._heard_all_at = self._loop.time()
        return event

    async def body(self, length: str | None) -> AsyncGenerator[bytes, None]:
        """See `Exchange.body`."""
        most = self._limits.max_body_bytes
        if length is not None and int(length) > most:
            raise TooBig(f"a body may have {most} bytes, this has {length}")
        if self._http.their_state is h11.DONE:
            return  # the request ended with its head
        if self._http.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))
        pause_s = self._limits.body_timeout_s
        began = self._loop.time()
        received = 0
        while True:
            overdue = began + pause_s + received / _SLOWEST_BYTES_PER_S
            try:
                async with asyncio.timeout_at(
                    min(overdue, self._loop.time() + pause_s)
                ):
                    event = await self._event()
            except TimeoutError:
                raise IdleTimeout(
                    f"the body came too slowly: {received} bytes, then nothing for "
                    f"{pause_s:g} s or fewer than {_SLOWEST_BYTES_PER_S} a second"
                ) from None
            except h11.RemoteProtocolError as error:
                raise ProtocolError(f"the body is broken: {error}") from None
            if not isinstance(event, h11.Data):
                break
            received += len(event.data)
            if received > most:
                raise TooBig(f"a body may have {most} bytes, this has more")
            yield bytes(event.data)
        self._heard_all_at = self._loop.time()

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_PIECE))
        return event

    # --- answers -------------------------------------------------------------

    async def begin(self, status: int, headers: Headers) -> None:
        """See `Exchange.begin`."""
        common = [("Date", formatdate(time.time(), usegmt=True)), ("Server", _SERVER)]
        unread = self._http.their_state in (h11.SEND_BODY, h11.ERROR)
        if unread or self._answering.closing:
            common.append(("Connection", "close"))
        await self.send(
            h11.Response(
                status_code=status,
                reason=HTTPStatus(status).phrase,
                headers=[*common, *headers],
            )
        )

    async def send(self, event: _Sent) -> None:
        """Write, and wait until the client has taken most of it.

        Raises:
            TimeoutError: it takes nothing.
            ConnectionError: it is gone.
        """
        data = self._http.send(event)
        if data:
            self._writer.write(data)
        async with asyncio.timeout(self._limits.send_timeout_s):
            await self._writer.drain()

    async def _refuse(self, status: int, code: str, why: str) -> None:
        """Answer what is no request."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        answer = refuse(status, code, why)
        await self.begin(status, list(answer.headers.raw_items()))
        await self.send(h11.Data(data=bytes(answer.body)))
        await self.send(h11.EndOfMessage())

    async def _linger(self) -> None:
        """Say that nothing more comes, and read on until the client stops."""
        if not self._writer.can_write_eof() and self._http.their_state is h11.DONE:
            return
        if self._writer.can_write_eof():
            self._writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while await asyncio.wait_for(self._reader.read(_PIECE), _LINGER_IDLE_S):
                    pass

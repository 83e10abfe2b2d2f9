"""Dial a server: the address, and every way in which it may say no.

Knows the opening of the native protocol, version 1; keeps nothing.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

import websockets
from websockets.asyncio.client import ClientConnection

from clients import errors
from clients.events import Ready, Refused
from clients.messages import parse

__all__ = ["Address", "endpoint"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# By HTTP status, and by code where the refusal comes as a message.
REJECTIONS: dict[int | str, type[errors.Rejected]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Unauthorized,
    429: errors.Overloaded,
    503: errors.Overloaded,
    "bad_request": errors.BadRequest,
    "unauthorized": errors.Unauthorized,
    "forbidden": errors.Unauthorized,
    "limit_reached": errors.Overloaded,
    "overloaded": errors.Overloaded,
}


def endpoint(url: str, parameters: Mapping[str, object]) -> str:
    """The address of a stream with these parameters; those that are None are left out.

    Raises:
        CannotConnect: not a websocket's address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise errors.CannotConnect(
            f"not a websocket address: {url!r} (like ws://127.0.0.1:8770)"
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/v1/stream"):
        path += "/v1/stream"
    query = urlencode(
        {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in parameters.items()
            if value is not None
        }
    )
    query = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


@dataclass(frozen=True, slots=True)
class Address:
    """Where to dial, and how.

    Attributes:
        url: of the server.
        headers: more HTTP headers.
        timeout_s: seconds to wait for `ready`.
        trust: of a `wss` server; None: the authorities that the system trusts.
    """

    url: str
    headers: Mapping[str, str] | None
    timeout_s: float
    trust: ssl.SSLContext | None = None

    async def dial(
        self, parameters: Mapping[str, object]
    ) -> tuple[ClientConnection, Ready]:
        """Open a connection, and hear what it begins with.

        Raises:
            CannotConnect: nobody answers there.
            Rejected: the server said no.
        """
        socket = await self._connect(endpoint(self.url, parameters))
        try:
            return socket, await self._first(socket)
        except BaseException:
            await socket.close()
            raise

    async def _connect(self, uri: str) -> ClientConnection:
        where = urlsplit(uri)
        try:
            return await websockets.connect(
                uri,
                additional_headers=self.headers,
                ssl=(self.trust or True) if where.scheme == "wss" else None,
                compression=None,
                open_timeout=self.timeout_s,
                # A server past a stream's backlog stops reading its socket, pings
                # included, and goes on when it has caught up: not a dead one.
                ping_timeout=None,
                close_timeout=5,
                max_size=16 * 1024 * 1024,
                # A proxy for the outside world is none for this machine.
                proxy=None if where.hostname in LOOPBACK else True,
            )
        except websockets.InvalidStatus as error:
            raise _rejected(error.response) from None
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            why = str(error) or type(error).__name__
            if isinstance(error, ConnectionRefusedError):
                why = "nothing listens there (start it with `wavestitch serve`)"
            raise errors.CannotConnect(
                f"cannot reach {where.scheme}://{where.netloc}: {why}"
            ) from error

    async def _first(self, socket: ClientConnection) -> Ready:
        try:
            async with asyncio.timeout(self.timeout_s):
                _, event = parse(await socket.recv())
        except TimeoutError:
            raise errors.CannotConnect(
                f"no `ready` within {self.timeout_s:g} s"
            ) from None
        except websockets.ConnectionClosed as error:
            raise errors.CannotConnect(f"closed before `ready`: {error}") from None
        match event:
            case Ready():
                return event
            case Refused(code, message):
                raise REJECTIONS.get(code, errors.Rejected)(message, code=code)
            case _:
                raise errors.ProtocolBroken(f"{type(event).__name__} came before ready")


def _rejected(response: websockets.Response) -> errors.Rejected:
    """The typed error for an HTTP answer to the opening request."""
    status = response.status_code
    try:
        said = json.loads(response.body or b"")
        code, message = str(said["code"]), str(said["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "http", f"HTTP {status} {response.reason_phrase}".rstrip()
    after = response.headers.get("Retry-After", "")
    return REJECTIONS.get(status, errors.Rejected)(
        message,
        code=code,
        status=status,
        retry_after_s=float(after) if after.isdecimal() else None,
    )

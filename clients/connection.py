"""Open a stream to a wavestitch server.

    async with connect("ws://127.0.0.1:8770", sample_rate=16_000) as stream:
        async for event in stream: ...          # one task
        await stream.send(pcm)                  # another
        await stream.finish()                   # all of it is final when this returns

Knows the opening of the native protocol, version 1: parameters and refusals.
Opening another connection for the same session (resume) will live here too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from ssl import SSLContext, create_default_context
from urllib.parse import urlencode, urlsplit, urlunsplit

import websockets
from websockets.asyncio.client import ClientConnection

from clients import errors
from clients.events import Ready, Refused, parse
from clients.stream import Stream

__all__ = ["connect", "endpoint"]

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


@contextlib.asynccontextmanager
async def connect(
    url: str,
    *,
    encoding: str = "pcm_s16le",
    sample_rate: int = 16_000,
    channels: int = 1,
    language: str | None = None,
    partials: bool | None = None,
    words: bool | None = None,
    finals: str | None = None,
    budget_ms: int | None = None,
    vad_mode: int | None = None,
    hangover_ms: int | None = None,
    max_utterance_s: float | None = None,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    ssl: SSLContext | None = None,
    open_timeout_s: float = 10.0,
) -> AsyncIterator[Stream]:
    """Open a stream; leaving the block closes it, whether finished or not.

    Args:
        url: `ws://host:port`, or `wss://`; `/v1/stream` is added where missing.
        encoding: `pcm_s16le`, `pcm_s24le`, `pcm_f32le`, `mulaw` or `alaw`.
        sample_rate: 8000 to 48000.
        channels: 1 or 2, interleaved; each is heard on its own.
        language: BCP 47 tag; like all below, None leaves it to the server.
        partials: whether to be told hypotheses before they are final.
        words: whether finals carry word times and confidences.
        finals: `auto`, `full`, or `stitched` (never changes what was stable).
        budget_ms: latency budget of a partial.
        vad_mode: 0 (takes most for speech) to 3.
        hangover_ms: silence that ends an utterance.
        max_utterance_s: longest utterance.
        headers: more HTTP headers.
        key: of the server, or a token; None: what `WAVESTITCH_KEY` holds, if anything.
        ca_file: PEM file of the authority that signed a `wss` server's certificate,
            where the system does not know it.
        ssl: all that is to be said about TLS, instead of `ca_file`.
        open_timeout_s: seconds to wait for `ready`.

    Raises:
        CannotConnect: nobody answers there.
        Rejected: the server said no: `BadRequest`, `Unauthorized`, `Overloaded`.
    """
    asked = {
        "encoding": encoding,
        "sample_rate": sample_rate,
        "channels": channels,
        "language": language,
        "partials": partials,
        "words": words,
        "finals": finals,
        "budget_ms": budget_ms,
        "vad_mode": vad_mode,
        "hangover_ms": hangover_ms,
        "max_utterance_s": max_utterance_s,
    }
    key = key or os.environ.get("WAVESTITCH_KEY")
    if key:
        headers = {"Authorization": f"Bearer {key}", **(headers or {})}
    if ssl is None and ca_file is not None:
        ssl = create_default_context(cafile=ca_file)
    socket = await _dial(endpoint(url, asked), headers, ssl, open_timeout_s)
    try:
        stream = Stream(socket, await _first(socket, open_timeout_s))
        reading = asyncio.create_task(stream.read(), name="wavestitch stream reader")
        try:
            yield stream
        finally:
            reading.cancel()
            await asyncio.wait([reading])
    finally:
        await socket.close()


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


async def _dial(
    uri: str,
    headers: Mapping[str, str] | None,
    trust: SSLContext | None,
    timeout_s: float,
) -> ClientConnection:
    try:
        return await websockets.connect(
            uri,
            additional_headers=headers,
            ssl=(trust or True) if urlsplit(uri).scheme == "wss" else None,
            compression=None,
            open_timeout=timeout_s,
            # A server past a stream's backlog stops reading its socket, pings
            # included, and goes on when it has caught up: not a dead one.
            ping_timeout=None,
            close_timeout=5,
            max_size=16 * 1024 * 1024,
            # A proxy for the outside world is none for this machine.
            proxy=None if urlsplit(uri).hostname in LOOPBACK else True,
        )
    except websockets.InvalidStatus as error:
        raise _rejected(error.response) from None
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        where = urlsplit(uri)
        why = str(error) or type(error).__name__
        if isinstance(error, ConnectionRefusedError):
            why = "nothing listens there (start it with `wavestitch serve`)"
        raise errors.CannotConnect(
            f"cannot reach {where.scheme}://{where.netloc}: {why}"
        ) from error


async def _first(socket: ClientConnection, timeout_s: float) -> Ready:
    try:
        async with asyncio.timeout(timeout_s):
            _, event = parse(await socket.recv())
    except TimeoutError:
        raise errors.CannotConnect(f"no `ready` within {timeout_s:g} s") from None
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

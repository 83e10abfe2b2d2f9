"""Open a stream to a wavestitch server.

    async with connect("ws://127.0.0.1:8770", sample_rate=16_000) as stream:
        async for event in stream: ...          # one task
        await stream.send(pcm)                  # another
        await stream.finish()                   # all of it is final when this returns

What may be asked of a server, one parameter each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from ssl import SSLContext, create_default_context

from clients.dialing import Address
from clients.line import Line
from clients.reconnect import STEADFAST, Reconnect
from clients.stream import Stream

__all__ = ["connect"]


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
    reconnect: Reconnect | None = STEADFAST,
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
        reconnect: how to come back after a cut, where the server keeps sessions;
            None is not at all.

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
    address = Address(url, headers, open_timeout_s, ssl)
    socket, ready = await address.dial(asked)
    line = Line(address, socket, ready, reconnect)
    stream = Stream(line)
    reading = asyncio.create_task(stream.read(), name="wavestitch stream reader")
    try:
        yield stream
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        await line.close()

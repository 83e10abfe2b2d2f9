"""Before a session: what is said until the client has told what it sends.

Most dialects tell it in their opening request; others in their first messages.
Knows no audio: the messages' meaning is the adapter's, the session the server's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from websockets.asyncio.server import ServerConnection

from streaming.config import StreamConfig
from streaming.errors import IdleTimeout
from streaming.protocols.adapter import Adapter, Heard, Note, Say, Start

__all__ = ["Greeted", "greet"]

_log = logging.getLogger("wavestitch")


@dataclass(frozen=True, slots=True)
class Greeted:
    """A client that has said what it sends.

    Attributes:
        config: what that is.
        label: what it calls the stream.
        rest: what else its last message meant.
    """

    config: StreamConfig
    label: str = ""
    rest: Sequence[Heard] = ()


async def greet(door: ServerConnection, adapter: Adapter, timeout_s: float) -> Greeted:
    """Say what the server says first and read until the format is known.

    Args:
        door: the connection, open.
        adapter: speaks its dialect.
        timeout_s: how long a client may take to say it.

    Raises:
        IdleTimeout: it took longer.
        WavestitchError: what it said breaks its protocol.
        ConnectionClosed: it has gone.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _converse(door, adapter)
    except TimeoutError:
        raise IdleTimeout(
            f"nothing said what the stream carries within {timeout_s:g} s"
        ) from None


async def _converse(door: ServerConnection, adapter: Adapter) -> Greeted:
    for said in adapter.opened():
        await door.send(said)
    if adapter.config is not None:
        return Greeted(adapter.config)
    while True:
        heard = adapter.receive(await door.recv())
        for number, item in enumerate(heard, start=1):
            match item:
                case Start(config, label):
                    return Greeted(config, label, heard[number:])
                case Say():
                    for said in item.written():
                        await door.send(said)
                case Note(text, routine):
                    level = logging.INFO if routine else logging.WARNING
                    _log.log(level, "%s: %s", type(adapter).__name__, text)
                case _:
                    raise RuntimeError(f"{item} came before the stream was started")

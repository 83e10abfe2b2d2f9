"""Read along with a session from another connection: its events, nothing in return.

`GET /v1/sessions/{session}/events` (websocket): `ready`, then every event from there on
as a message of the native protocol, numbered from 0, whatever dialect the session
speaks; closed 1000 when the session ends. A reader that takes nothing is let go and
never holds up the session.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import replace

from websockets.exceptions import ConnectionClosed

from streaming.config import LimitConfig
from streaming.core.facts import ModelFacts
from streaming.protocols.adapter import Say
from streaming.protocols.native_lines import NativeLines
from streaming.server.door import Door
from streaming.server.outbox import Closing, Outbox
from streaming.server.sessions import Held
from streaming.server.welcome import ready

__all__ = ["SUBSCRIPTIONS", "read_along", "session_at"]

SUBSCRIPTIONS = "/v1/sessions/{session}/events"
_PATH = re.compile(r"/v1/sessions/([^/]+)/events")
_UNRESPONSIVE = 1008


def session_at(path: str) -> str | None:
    """The session whose events are asked for at a path, if they are."""
    found = _PATH.fullmatch(path)
    return found and found[1]


async def read_along(
    door: Door, held: Held, facts: ModelFacts, limits: LimitConfig
) -> None:
    """Tell one reader what a session tells, until either ends.

    Args:
        door: the reader's connection.
        held: the session.
        facts: of its model.
        limits: how long a reader may take nothing, and how much may wait for it.
    """
    lines = NativeLines(words=held.stream.config.words)
    # The secret is the client's: who has it takes the session over.
    first = replace(ready(held, facts, limits), token="")
    with held.stream.telling.read() as outbox, suppress(ConnectionClosed):
        await door.send(lines.line(first))
        leaving = asyncio.create_task(_until_gone(door))
        try:
            await _tell(door, outbox, lines, limits, leaving)
        finally:
            leaving.cancel()


async def _until_gone(door: Door) -> None:
    """What a reader says does not matter; that it leaves does."""
    with suppress(ConnectionClosed):
        while True:
            await door.recv()


async def _tell(
    door: Door,
    outbox: Outbox,
    lines: NativeLines,
    limits: LimitConfig,
    leaving: asyncio.Task[None],
) -> None:
    while True:
        taking = asyncio.ensure_future(outbox.take())
        try:
            await asyncio.wait(
                (taking, leaving),
                timeout=limits.ping_interval_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            if not taking.done():
                taking.cancel()
        if leaving.done():
            return
        try:
            if not taking.done():
                async with asyncio.timeout(limits.ping_timeout_s):
                    await (await door.ping())
                continue
            item = taking.result()
            if isinstance(item, Closing):
                await door.close(item.code, item.reason)
                return
            async with asyncio.timeout(limits.send_timeout_s):
                if not isinstance(item.event, Say):  # of a dialect, to its client
                    await door.send(lines.line(item.event))
        except TimeoutError:
            await door.close(_UNRESPONSIVE, "unresponsive")
            return

"""The table of dialects, and what each makes of a websocket's handshake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from streaming.config import LimitConfig
from streaming.protocols.adapter import Dialect
from streaming.protocols.asterisk import ASTERISK
from streaming.protocols.credentials import public_subprotocols
from streaming.protocols.deepgram import DEEPGRAM
from streaming.protocols.freeswitch import AUDIO_FORK, AUDIO_STREAM, JAMBONZ
from streaming.protocols.native import NATIVE
from streaming.protocols.openai_realtime import REALTIME
from streaming.protocols.twilio import PLIVO, TELNYX, TWILIO
from streaming.protocols.vosk import VOSK
from streaming.server.door import Door

__all__ = [
    "DIALECTS",
    "add_headers",
    "choose_subprotocol",
    "dialect_at",
    "greeting_s",
    "limits_of",
]

DIALECTS: tuple[Dialect, ...] = (
    NATIVE,
    VOSK,
    DEEPGRAM,
    REALTIME,
    TWILIO,
    TELNYX,
    PLIVO,
    AUDIO_FORK,
    AUDIO_STREAM,
    JAMBONZ,
    ASTERISK,
)


def dialect_at(path: str) -> Dialect | None:
    """The dialect that is served at a path."""
    return next((each for each in DIALECTS if each.serves(path)), None)


def limits_of(dialect: Dialect, limits: LimitConfig) -> LimitConfig:
    """The server's limits, as the clients of a dialect expect them."""
    idle_s, backlog_s = dialect.idle_timeout_s, dialect.backlog_s
    window_s = limits.resume_window_s if dialect.resumes else 0.0
    return replace(
        limits,
        idle_timeout_s=limits.idle_timeout_s if idle_s is None else idle_s,
        backlog_s=limits.backlog_s if backlog_s is None else backlog_s,
        resume_window_s=window_s,
    )


def greeting_s(dialect: Dialect, limits: LimitConfig) -> float:
    """How long its clients may take to say what they send."""
    if dialect.idle_timeout_s is None:
        return limits.handshake_timeout_s
    return dialect.idle_timeout_s


def choose_subprotocol(
    connection: ServerConnection, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """The subprotocol that is agreed on; the library's `select_subprotocol`."""
    match connection:
        case Door(dialect=Dialect(subprotocol=choose)):
            chosen = choose(public_subprotocols(offered))
            return None if chosen is None else Subprotocol(chosen)
        case _:
            return None


def add_headers(
    connection: ServerConnection,
    request: Request,  # noqa: ARG001
    response: Response,
) -> None:
    """What a client that is let in is told; the library's `process_response`."""
    match connection:
        case Door(dialect=Dialect(headers=headers), opening=opening) if (
            response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        ):
            response.headers.update(headers(opening))
        case _:
            pass

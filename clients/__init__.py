"""Clients of a wavestitch server: a library, a microphone and a file player.

    from clients import Final, connect

    async with connect("ws://127.0.0.1:8770") as stream:
        ...

The library needs websockets alone. `clients.microphone` and `clients.file` are
programs (`python -m clients.file recording.wav`) and modules to read and copy.
"""

from __future__ import annotations

from clients.connection import connect
from clients.errors import (
    AudioUnavailable,
    BadRequest,
    CannotConnect,
    ClientError,
    ConfigureRefused,
    ConnectionLost,
    EventsUnread,
    Overloaded,
    ProtocolBroken,
    Rejected,
    SessionLost,
    StreamFailed,
    Unauthorized,
)
from clients.events import (
    Ack,
    Configured,
    Event,
    Final,
    Finished,
    Flushed,
    GoAway,
    Load,
    Notice,
    Partial,
    Ready,
    Reconnecting,
    Refused,
    Resumed,
    SpeechEnded,
    SpeechStarted,
    Totals,
    Unknown,
    Word,
)
from clients.reconnect import Reconnect
from clients.stream import Stream, exchange

__all__ = [
    "Ack",
    "AudioUnavailable",
    "BadRequest",
    "CannotConnect",
    "ClientError",
    "ConfigureRefused",
    "Configured",
    "ConnectionLost",
    "Event",
    "EventsUnread",
    "Final",
    "Finished",
    "Flushed",
    "GoAway",
    "Load",
    "Notice",
    "Overloaded",
    "Partial",
    "ProtocolBroken",
    "Ready",
    "Reconnect",
    "Reconnecting",
    "Refused",
    "Rejected",
    "Resumed",
    "SessionLost",
    "SpeechEnded",
    "SpeechStarted",
    "Stream",
    "StreamFailed",
    "Totals",
    "Unauthorized",
    "Unknown",
    "Word",
    "connect",
    "exchange",
]

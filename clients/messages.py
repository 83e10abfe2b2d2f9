"""The server's messages, read: JSON text to events.

Fields and types that a later server adds are let through: fields are left out,
types come as `Unknown`. Knows version 1 of the native protocol.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

from clients.errors import ProtocolBroken
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
    Refused,
    SpeechEnded,
    SpeechStarted,
    Totals,
    Unknown,
    Word,
)

__all__ = ["parse"]

_TYPES: dict[str, type[Event]] = {
    "ready": Ready,
    "speech_started": SpeechStarted,
    "speech_ended": SpeechEnded,
    "partial": Partial,
    "final": Final,
    "ack": Ack,
    "flushed": Flushed,
    "configured": Configured,
    "finished": Finished,
    "load": Load,
    "warning": Notice,
    "goaway": GoAway,
    "error": Refused,
}
_COUNTS = [field.name for field in fields(Totals)]


def parse(message: str | bytes) -> tuple[int, Event]:
    """Read one message of the server.

    Returns:
        Its `seq` and what it says.

    Raises:
        ProtocolBroken: not JSON, or without a field that version 1 has.
    """
    try:
        said = json.loads(message)
        seq, kind = int(said["seq"]), str(said["type"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolBroken(f"not a message: {message[:80]!r}") from error
    try:
        return seq, _read(kind, said)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolBroken(f"{kind} without what it needs: {error}") from error


def _read(kind: str, said: dict[str, Any]) -> Event:
    shape = _TYPES.get(kind)
    if shape is None:
        return Unknown(kind)
    if shape is Finished:
        return Finished(_totals(said), int(said.get("odd_bytes", 0)))
    if shape is Final:
        said = said | {
            "made_by": said["pass"],
            "words": tuple(
                Word(**_known(Word, word)) for word in said.get("words", ())
            ),
        }
    return shape(**_known(shape, said))


def _known(shape: type, said: dict[str, Any]) -> dict[str, Any]:
    return {
        field.name: said[field.name]
        for field in fields(shape)
        if field.name in said or field.default is MISSING
    }


def _totals(said: dict[str, Any]) -> tuple[Totals, ...]:
    """One channel's counts are numbers, two channels' are lists of two."""
    columns = [
        count if isinstance(count, list) else [count]
        for count in (said[name] for name in _COUNTS)
    ]
    return tuple(Totals(*row) for row in zip(*columns, strict=True))

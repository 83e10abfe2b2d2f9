"""The native protocol's messages to the client, and its errors in one table."""

from __future__ import annotations

import json
from typing import Any, TypeAlias, assert_never

from streaming.errors import (
    BadRequest,
    Draining,
    Forbidden,
    IdleTimeout,
    LimitReached,
    Overloaded,
    ProtocolError,
    SessionLost,
    TooBig,
    Unauthorized,
    Unresponsive,
    UnsupportedAudio,
    WavestitchError,
)
from streaming.events import (
    Ack,
    Configured,
    Final,
    Finished,
    Flushed,
    GoAway,
    Load,
    Notice,
    Partial,
    Ready,
    Refused,
    ServerEvent,
    SpeechEnded,
    SpeechStarted,
    Totals,
    Word,
)
from streaming.protocols.adapter import Refusal

__all__ = ["ERRORS", "VERSION", "Fields", "fields_of", "refusal"]

VERSION = 1

# error class -> code, close code, HTTP status; the first that fits is taken.
ERRORS: tuple[tuple[type[Exception], str, int, int], ...] = (
    (BadRequest, "bad_request", 1008, 400),
    (ProtocolError, "bad_message", 1003, 400),
    (UnsupportedAudio, "unsupported_audio", 1003, 415),
    (TooBig, "too_big", 1009, 413),
    (IdleTimeout, "idle_timeout", 1008, 408),
    (Unresponsive, "unresponsive", 1008, 408),
    (Forbidden, "forbidden", 1008, 403),
    (Unauthorized, "unauthorized", 1008, 401),
    (SessionLost, "session_lost", 1008, 410),
    (Draining, "draining", 1013, 503),
    (LimitReached, "limit_reached", 1008, 429),
    (Overloaded, "overloaded", 1013, 503),
    (Exception, "internal", 1011, 500),
)

Fields: TypeAlias = dict[str, Any]


def fields_of(event: ServerEvent, *, words: bool) -> Fields:  # noqa: PLR0911, PLR0912
    """An event as the fields of its message, `type` among them."""
    match event:
        case Ready():
            return _ready(event)
        case SpeechStarted():
            return _at("speech_started", event)
        case SpeechEnded():
            return {**_at("speech_ended", event), "reason": event.reason.value}
        case Partial():
            return _partial(event)
        case Final():
            return _final(event, words=words)
        case Ack():
            return {"type": "ack", "received": event.received}
        case Flushed():
            return {"type": "flushed", "received": event.received}
        case Configured():
            return _configured(event)
        case Finished():
            return _finished(event)
        case Load():
            return {"type": "load", "level": event.level}
        case Notice():
            return {
                "type": "warning",
                "code": event.code,
                "message": event.message,
            }
        case GoAway():
            return {
                "type": "goaway",
                "reason": event.reason,
                "deadline_s": _number(event.deadline_s),
            }
        case Refused():
            return {**_error(event.error), "fatal": event.fatal}
        case _:
            assert_never(event)


def refusal(error: Exception) -> Refusal:
    """Say an error in this protocol's codes."""
    _, code, close, status = _entry(error)
    fields = _error(error)
    message = {"type": fields["type"], "seq": 0, **fields}
    return Refusal(code, status, close, json.dumps(fields) + "\n", json.dumps(message))


def _entry(error: Exception) -> tuple[type[Exception], str, int, int]:
    return next(entry for entry in ERRORS if isinstance(error, entry[0]))


def _error(error: Exception) -> Fields:
    """The fields of an error message; the words of a bug are not for clients."""
    code = _entry(error)[1]
    known = isinstance(error, WavestitchError) and code != "internal"
    message = str(error) if known else "the server failed; its log says why"
    fields: Fields = {"type": "error", "code": code, "message": message}
    if isinstance(error, Overloaded):
        fields["retry_after_s"] = _number(error.retry_after_s)
    return fields


# --- events ----------------------------------------------------------------


def _number(value: float) -> int | float:
    """Three decimals, and no point where the value is whole."""
    rounded = round(float(value), 3)
    return int(rounded) if rounded.is_integer() else rounded


def _seconds(value: float) -> float:
    return round(float(value), 3)


def _ready(event: Ready) -> Fields:
    return {
        "type": "ready",
        "session": event.session,
        "token": event.token,
        "protocol": VERSION,
        "model": event.model,
        "language": event.language,
        "encoding": event.encoding,
        "sample_rate": event.sample_rate,
        "channels": event.channels,
        "budget_ms": event.budget_ms,
        "hop_ms": event.hop_ms,
        "right_ms": event.right_ms,
        "idle_timeout_s": _number(event.idle_timeout_s),
        "received": event.received,
        "state": event.state,
        "resume_window_s": _number(event.resume_window_s),
    }


def _at(kind: str, event: SpeechStarted | SpeechEnded) -> Fields:
    return {
        "type": kind,
        "channel": event.channel,
        "utterance": event.utterance,
        "at": _seconds(event.at),
    }


def _partial(event: Partial) -> Fields:
    return {
        "type": "partial",
        "channel": event.channel,
        "utterance": event.utterance,
        "text": event.text,
        "stable": event.stable,
        "start": _seconds(event.start),
        "end": _seconds(event.end),
    }


def _final(event: Final, *, words: bool) -> Fields:
    fields: Fields = {
        "type": "final",
        "channel": event.channel,
        "utterance": event.utterance,
        "text": event.text,
        "start": _seconds(event.start),
        "end": _seconds(event.end),
        "confidence": _seconds(event.confidence),
        "pass": event.made_by.value,
    }
    if words:
        fields["words"] = [_word(word) for word in event.words]
    return fields


def _word(word: Word) -> Fields:
    return {
        "word": word.word,
        "start": _seconds(word.start),
        "end": _seconds(word.end),
        "confidence": _seconds(word.confidence),
    }


def _configured(event: Configured) -> Fields:
    return {
        "type": "configured",
        "partials": event.partials,
        "budget_ms": event.budget_ms,
        "hangover_ms": event.hangover_ms,
        "max_utterance_s": _number(event.max_utterance_s),
    }


def _finished(event: Finished) -> Fields:
    fields: Fields = {"type": "finished"}
    for name in Totals.__dataclass_fields__:
        counts = [getattr(totals, name) for totals in event.totals]
        fields[name] = counts[0] if len(counts) == 1 else counts
    if event.odd_bytes:
        fields["odd_bytes"] = event.odd_bytes
    return fields

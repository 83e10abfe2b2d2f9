"""Deepgram's messages to the client of a live stream, and its errors in one table.

Always of full shape: there are clients that index every field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from streaming.errors import (
    BadRequest,
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
)
from streaming.events import Final, Partial, Word
from streaming.protocols.adapter import Refusal

__all__ = [
    "ERRORS",
    "configured",
    "metadata",
    "not_configured",
    "refusal",
    "results",
    "schema_error",
    "speech_started",
    "utterance_end",
    "written",
]

# error class -> code in an HTTP body, reason and code of the close, HTTP status; the
# first that fits is taken.
ERRORS: tuple[tuple[type[Exception], str, str, int, int], ...] = (
    (BadRequest, "Bad Request", "DATA-0000", 1008, 400),
    (ProtocolError, "Bad Request", "DATA-0000", 1008, 400),
    (UnsupportedAudio, "Bad Request", "DATA-0000", 1008, 400),
    (TooBig, "PAYLOAD_TOO_LARGE", "DATA-0000", 1009, 413),
    (IdleTimeout, "SLOW_UPLOAD", "NET-0001", 1011, 408),
    (Unresponsive, "SLOW_UPLOAD", "NET-0001", 1011, 408),
    (Forbidden, "INSUFFICIENT_PERMISSIONS", "INSUFFICIENT_PERMISSIONS", 1008, 403),
    (Unauthorized, "INVALID_AUTH", "INVALID_AUTH", 1008, 401),
    (SessionLost, "Bad Request", "NET-0000", 1011, 400),
    (LimitReached, "TOO_MANY_REQUESTS", "TOO_MANY_REQUESTS", 1008, 429),
    (Overloaded, "SERVICE_UNAVAILABLE", "NET-0000", 1013, 503),
    (Exception, "INTERNAL_SERVER_ERROR", "NET-0000", 1011, 500),
)

_ARCH = "ctc"


def written(fields: Mapping[str, Any]) -> str:
    """A message as JSON."""
    return json.dumps(
        fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def refusal(error: Exception, request: str = "") -> Refusal:
    """Say an error in this protocol's codes."""
    kind, code, reason, close, status = next(
        entry for entry in ERRORS if isinstance(error, entry[0])
    )
    why = "the server failed; its log says why" if kind is Exception else str(error)
    body = {"err_code": code, "err_msg": why, "request_id": request}
    headers = {"dg-error": ascii(why)[1:-1], "dg-request-id": request}
    return Refusal(reason, status, close, written(body) + "\n", None, headers)


def results(
    event: Partial | Final, channels: int, model: str, request: str, **how: bool
) -> dict[str, Any]:
    """A hypothesis of one utterance.

    Args:
        event: the hypothesis.
        channels: that are transcribed.
        model: its name.
        request: id of the connection.
        how: of `is_final`, `speech_final` and `from_finalize`, those that hold.
    """
    confidence = 0.0
    words: tuple[Word, ...] = ()
    if isinstance(event, Final):
        confidence, words = event.confidence, event.words
    alternative = {
        "transcript": event.text,
        "confidence": _rounded(confidence),
        "words": [_word(word) for word in words],
    }
    return {
        "type": "Results",
        "channel_index": [event.channel, channels],
        "duration": _rounded(event.end - event.start),
        "start": _rounded(event.start),
        "is_final": how.get("is_final", False),
        "speech_final": how.get("speech_final", False),
        "channel": {"alternatives": [alternative]},
        "metadata": {
            "request_id": request,
            "model_info": _model_info(model),
            "model_uuid": _model_uuid(model),
        },
        "from_finalize": how.get("from_finalize", False),
    }


def speech_started(channel: int, channels: int, at: float) -> dict[str, Any]:
    """Somebody began to speak `at` seconds."""
    return {
        "type": "SpeechStarted",
        "channel": [channel, channels],
        "timestamp": _rounded(at),
    }


def utterance_end(channel: int, channels: int, last_word_end: float) -> dict[str, Any]:
    """Nobody has spoken for a while."""
    return {
        "type": "UtteranceEnd",
        "channel": [channel, channels],
        "last_word_end": _rounded(last_word_end),
    }


def metadata(
    request: str, sha256: str, at: float, duration: float, channels: int, model: str
) -> dict[str, Any]:
    """The last message: what the stream was.

    Args:
        request: id of the connection.
        sha256: of its audio, in hexadecimal.
        at: seconds since 1970 when it began.
        duration: of its audio, seconds.
        channels: that were transcribed.
        model: its name.
    """
    created = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": request,
        "sha256": sha256,
        "created": created.replace("+00:00", "Z"),
        "duration": _rounded(duration),
        "channels": channels,
        "models": [_model_uuid(model)],
        "model_info": {_model_uuid(model): _model_info(model)},
    }


def schema_error(description: str, message: str) -> dict[str, Any]:
    """A text that is no command; the stream goes on."""
    return {
        "type": "Error",
        "variant": "SchemaError",
        "description": description,
        "message": message,
    }


def configured(request: str) -> dict[str, Any]:
    """A change that asked for nothing was made."""
    return {"type": "ConfigureSuccess", "request_id": request, "keyterms": []}


def not_configured(request: str, asked: Sequence[str]) -> dict[str, Any]:
    """A change cannot be made; what held goes on to hold."""
    return {
        "type": "ConfigureFailure",
        "request_id": request,
        "code": "UNSUPPORTED",
        "description": f"not supported here: {', '.join(asked)}",
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.word,
        "start": _rounded(word.start),
        "end": _rounded(word.end),
        "confidence": _rounded(word.confidence),
        "punctuated_word": word.word,
    }


def _model_info(model: str) -> dict[str, str]:
    return {"name": model, "version": "1", "arch": _ARCH}


def _model_uuid(model: str) -> str:
    return str(uuid5(NAMESPACE_URL, model))


def _rounded(value: float) -> float:
    return round(float(value), 6)

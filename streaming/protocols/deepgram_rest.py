"""Deepgram's prerecorded `POST /v1/listen`: a body of audio, an answer in JSON.

Source: Deepgram's API reference and `deepgram-sdk`, which reads these answers;
`deepgram.md` beside this file says it for users. The live websocket at the same
path is elsewhere. Knows no sockets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import (
    BadRequest,
    ConfigError,
    Forbidden,
    IdleTimeout,
    LimitReached,
    Overloaded,
    ProtocolError,
    TooBig,
    Unauthorized,
    UnsupportedAudio,
)
from streaming.protocols.adapter import Offer, Refusal
from streaming.protocols.deepgram_answers import Asked, page
from streaming.protocols.form import Fields
from streaming.protocols.opening import Opening
from streaming.protocols.rest import Page, Rest, Spoken, heard_by

__all__ = ["PRERECORDED", "Prerecorded", "open_prerecorded", "refusal"]

# error class -> status, err_code; the first that fits is taken.
ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (BadRequest, 400, "Bad Request"),
    (ProtocolError, 400, "Bad Request"),
    (UnsupportedAudio, 400, "Bad Request"),
    (TooBig, 413, "PAYLOAD_TOO_LARGE"),
    (IdleTimeout, 408, "SLOW_UPLOAD"),
    (Forbidden, 403, "FORBIDDEN"),
    (Unauthorized, 401, "INVALID_AUTH"),
    (LimitReached, 429, "TOO_MANY_REQUESTS"),
    (Overloaded, 503, "SERVICE_UNAVAILABLE"),
    (Exception, 500, "INTERNAL_SERVER_ERROR"),
)

_BY_UPLOAD = "this server opens no addresses: audio goes in and out by upload only"


def refusal(error: Exception, request: str = "") -> Refusal:
    """Say an error as Deepgram does.

    Args:
        error: what it is.
        request: the request's id.
    """
    _, status, code = next(row for row in ERRORS if isinstance(error, row[0]))
    message = "the server failed: see its log" if status == 500 else str(error)
    if _BY_UPLOAD in message:
        code = "REMOTE_CONTENT_ERROR"
    fields = {"err_code": code, "err_msg": message, "request_id": request}
    body = json.dumps(fields, ensure_ascii=False) + "\n"
    return Refusal(code, status, 1008, body, body, {"dg-request-id": request})


# --- what is asked for -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prerecorded:
    """One request; see `streaming.protocols.rest.Order`.

    Attributes:
        asked: what of it shows in the answer.
    """

    config: StreamConfig
    raw: AudioFormat | None
    mixed: bool
    asked: Asked
    telling: None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's id, for logs."""
        return {"dg-request-id": self.asked.request}

    def page(self, spoken: Spoken) -> Page:
        """The answer."""
        return page(self.asked, spoken)


def open_prerecorded(
    opening: Opening,
    offer: Offer,
    fields: Fields = (),  # noqa: ARG001
) -> Prerecorded:
    """What the query asks for.

    Raises:
        BadRequest: a parameter that changes the answer is wrong or cannot be had.
    """
    kind = opening.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        raise BadRequest(f"url must not be sent: {_BY_UPLOAD}")
    if kind == "multipart/form-data":
        raise BadRequest(
            "content-type must be that of audio: the body is the recording"
        )
    asked = _parameters(opening.query)
    for name, why in _REFUSED.items():
        if asked.get(name, "false").lower() != "false":
            raise BadRequest(f"{name} cannot be had: {why}")
    split_s = _seconds("utt_split", asked, 0.8)
    warnings = tuple(
        name
        for name, value in asked.items()
        if name in _WARNED and value.lower() not in ("false", "0")
    )
    return Prerecorded(
        config=heard_by(offer, asked.get("language")),
        raw=_raw(asked),
        mixed=not _truth("multichannel", asked),
        asked=Asked(
            opening.id,
            opening.at,
            split_s if _truth("utterances", asked) else None,
            _truth("paragraphs", asked),
            warnings,
        ),
    )


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=500)
    except ValueError as error:
        raise BadRequest(f"the query cannot be read: {error}") from None
    return {name: value for name, value in pairs if value}


def _truth(name: str, asked: Mapping[str, str]) -> bool:
    text = asked.get(name, "false").lower()
    if text not in ("true", "false"):
        raise BadRequest(f"{name} must be true or false, got {text[:40]!r}")
    return text == "true"


def _seconds(name: str, asked: Mapping[str, str], default: float) -> float:
    text = asked.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 60:
        raise BadRequest(f"{name} must be seconds, 0 to 60, got {text[:40]!r}")
    return value


def _raw(asked: Mapping[str, str]) -> AudioFormat | None:
    """The format of a body without a container; None where one says it."""
    encoding = asked.get("encoding", "").lower()
    if encoding in _CONTAINED:
        return None
    if encoding not in _ENCODINGS:
        known = ", ".join([*_ENCODINGS, *filter(None, _CONTAINED)])
        raise BadRequest(f"encoding must be one of {known}, got {encoding[:40]!r}")
    rate, channels = asked.get("sample_rate"), asked.get("channels", "1")
    if rate is None:
        raise BadRequest("sample_rate must be sent with encoding")
    if not (rate.isdecimal() and channels.isdecimal()):
        raise BadRequest(
            "sample_rate and channels must be whole numbers, "
            f"got {rate[:20]!r} and {channels[:20]!r}"
        )
    try:
        return AudioFormat(_ENCODINGS[encoding], int(rate[:9]), int(channels[:9]))
    except ConfigError as error:
        raise BadRequest(str(error)) from None


_ENCODINGS = {
    "linear16": Encoding.PCM_S16LE,
    "linear32": Encoding.PCM_F32LE,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
}
_CONTAINED = ("", "flac", "opus", "ogg-opus", "mp3")

# Who asks for them counts on them: they would send data elsewhere, take something
# out of the text, or add what is missing from the answer.
_TOLD = "the model tells what was said, and nothing about it"
_PLAIN = "the text is what was said"
_REFUSED = {
    "callback": "this server calls nobody",
    "redact": _PLAIN,
    "replace": _PLAIN,
    "translate": _PLAIN,
    "detect_entities": _TOLD,
    "detect_language": _TOLD,
    "detect_topics": _TOLD,
    "diarize": _TOLD,
    "diarize_model": _TOLD,
    "intents": _TOLD,
    "search": _TOLD,
    "sentiment": _TOLD,
    "summarize": _TOLD,
    "topics": _TOLD,
}
# They would change how the text is written; the answer says that they did not.
_WARNED = (
    "dictation",
    "filler_words",
    "keyterm",
    "keywords",
    "measurements",
    "numerals",
    "profanity_filter",
    "punctuate",
    "smart_format",
)


PRERECORDED = Rest("/v1/listen", False, open_prerecorded, refusal)

"""OpenAI's `POST /v1/audio/transcriptions` and `GET /v1/models`.

Source: the OpenAI API reference and the `openai` packages, which read these
answers. `openai.md` beside this file says it for users. Knows no sockets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streaming.config import AudioFormat, StreamConfig
from streaming.errors import (
    BadRequest,
    Forbidden,
    IdleTimeout,
    LimitReached,
    ModelError,
    Overloaded,
    ProtocolError,
    TooBig,
    Unauthorized,
    UnsupportedAudio,
)
from streaming.protocols.adapter import Offer, Refusal
from streaming.protocols.form import Fields
from streaming.protocols.openai_answers import LAYOUTS, Events, json_page, writer
from streaming.protocols.opening import Opening
from streaming.protocols.rest import Page, Rest, Spoken, Telling, heard_by

__all__ = ["MODELS_PATH", "TRANSCRIPTIONS", "model_page", "models_page", "refusal"]

MODELS_PATH = "/v1/models"

# Models of the cloud, whose names clients send: they get the one that is served.
# Any other name is refused, or a wrong server would never be noticed.
_STANDS_FOR = ("whisper", "gpt-4o", "gpt-realtime")

# error class -> status, type, code; the first that fits is taken.
ERRORS: tuple[tuple[type[Exception], int, str, str | None], ...] = (
    (BadRequest, 400, "invalid_request_error", None),
    (ProtocolError, 400, "invalid_request_error", "bad_body"),
    (UnsupportedAudio, 400, "invalid_request_error", "unsupported_audio"),
    (TooBig, 413, "invalid_request_error", "too_big"),
    (IdleTimeout, 408, "invalid_request_error", "timeout"),
    (Forbidden, 403, "invalid_request_error", "forbidden"),
    (Unauthorized, 401, "invalid_request_error", "invalid_api_key"),
    (LimitReached, 429, "insufficient_quota", "rate_limit_exceeded"),
    (Overloaded, 503, "server_error", "overloaded"),
    (ModelError, 500, "server_error", "model_error"),
    (Exception, 500, "server_error", "internal"),
)


def refusal(error: Exception, request: str = "") -> Refusal:  # noqa: ARG001
    """Say an error as OpenAI does; the field that is wrong is its `param`."""
    _, status, kind, code = next(row for row in ERRORS if isinstance(error, row[0]))
    message = str(error)
    if status == 500:
        message = "the server failed: see its log"
    first = message.partition(" ")[0]
    param = first if isinstance(error, BadRequest) and first in _FIELDS else None
    if param == "model":
        status, code = 404, "model_not_found"
    fields = {"message": message, "type": kind, "param": param, "code": code}
    body = json.dumps({"error": fields}, ensure_ascii=False) + "\n"
    return Refusal(code or kind, status, 1008, body, body)


# --- what is asked for -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transcription:
    """One request; see `streaming.protocols.rest.Order`."""

    config: StreamConfig
    write: Callable[[Spoken], Page]
    telling: Telling | None
    headers: Mapping[str, str]
    raw: AudioFormat | None = None
    mixed: bool = False

    def page(self, spoken: Spoken) -> Page:
        """The answer."""
        return self.write(spoken)


def open_transcription(
    opening: Opening,  # noqa: ARG001
    offer: Offer,
    fields: Fields,
) -> Transcription:
    """What a form asks for.

    Raises:
        BadRequest: a field that changes the answer is wrong or cannot be had.
    """
    asked: dict[str, list[str]] = {}
    for name, value in fields:
        asked.setdefault(name.removesuffix("[]"), []).append(value)
    for name, values in asked.items():
        if len(values) > 1 and name not in _SEVERAL:
            raise BadRequest(f"{name} must be one value, got {len(values)}")
        if name in _REFUSED and any(values):
            raise BadRequest(f"{name} {_REFUSED[name]}, got {values[0][:80]!r}")
    one = {name: values[0] for name, values in asked.items()}
    _check_model(one.get("model"), offer)
    _check_temperature(one.get("temperature", "0"))
    if one.get("chunking_strategy", "auto") not in ("auto", ""):
        raise BadRequest("chunking_strategy must be auto: silence parts the recording")
    layout = one.get("response_format") or "json"
    streamed = _truth("stream", one.get("stream") or "false")
    _check_layout(layout, streamed, asked)
    return Transcription(
        config=heard_by(offer, one.get("language")),
        write=writer(layout, asked.get("timestamp_granularities", [])),
        telling=Events(refusal, offer.space) if streamed else None,
        headers=_ignored(asked),
    )


def _check_layout(layout: str, streamed: bool, asked: Mapping[str, Any]) -> None:
    if layout not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        raise BadRequest(f"response_format must be one of {known}, got {layout[:40]!r}")
    if streamed and layout not in ("json", "text"):
        raise BadRequest(f"response_format must be json with stream, got {layout}")
    chosen = asked.get("timestamp_granularities", [])
    if chosen and layout != "verbose_json":
        raise BadRequest(
            "timestamp_granularities must come with response_format verbose_json, "
            f"got {layout}"
        )
    for each in chosen:
        if each not in ("word", "segment"):
            raise BadRequest(
                f"timestamp_granularities must be word or segment, got {each[:40]!r}"
            )


def _check_model(name: str | None, offer: Offer) -> None:
    if not name:
        raise BadRequest("model must be sent")
    if name != offer.model and not name.lower().startswith(_STANDS_FOR):
        raise BadRequest(
            f"model must be {offer.model}, or a name of OpenAI's that it stands for, "
            f"got {name[:80]!r}"
        )


def _check_temperature(text: str) -> None:
    try:
        fits = 0 <= float(text or "0") <= 1
    except ValueError:
        fits = False
    if not fits:
        raise BadRequest(f"temperature must be 0 to 1, got {text[:40]!r}")


def _truth(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise BadRequest(f"{name} must be true or false, got {text[:40]!r}")
    return text.lower() in ("true", "1")


def _ignored(asked: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What changes nothing here is named, not passed over in silence."""
    idle = [name for name in _HINTS if any(asked.get(name, []))]
    idle += sorted(
        name for name in asked if name not in _FIELDS and name.isidentifier()
    )
    return {"X-Wavestitch-Ignored": ", ".join(idle)} if idle else {}


# Hints to models that take them; the text of a CTC model depends on none of them.
_HINTS = ("prompt", "keywords", "temperature")
_REFUSED = {
    "include": "cannot be had: there are no token log probabilities",
    "known_speaker_names": "cannot be had: speakers are not told apart",
    "known_speaker_references": "cannot be had: speakers are not told apart",
}
_SEVERAL = ("timestamp_granularities", "keywords", "languages", *_REFUSED)
_FIELDS = (
    "file",
    "model",
    "language",
    "response_format",
    "stream",
    "timestamp_granularities",
    "chunking_strategy",
    *_HINTS,
    *_REFUSED,
)


# --- models ------------------------------------------------------------------


def _model(name: str, created: int) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "wavestitch",
    }


def models_page(served: str, created: int) -> Page:
    """`GET /v1/models`: the one that is served.

    Args:
        served: its name.
        created: seconds since 1970 when it began to be served.
    """
    return json_page({"object": "list", "data": [_model(served, created)]})


def model_page(asked: str, served: str, created: int) -> Page | Refusal:
    """`GET /v1/models/NAME`."""
    if asked == served:
        return json_page(_model(served, created))
    return refusal(BadRequest(f"model must be {served}, got {asked[:80]!r}"))


TRANSCRIPTIONS = Rest("/v1/audio/transcriptions", True, open_transcription, refusal)

"""What a client of Deepgram's live transcription asks for in its query.

Unknown parameters are ignored, as Deepgram does. Of the known ones that are not
honoured, those that would change what comes back are refused, those that would only
dress the text are noted for the operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import BadRequest, ConfigError
from streaming.protocols.adapter import Offer
from streaming.protocols.native_options import offered_language, shown

__all__ = ["ENCODINGS", "NOTED", "REFUSED", "Asked", "parse_query"]

ENCODINGS: Mapping[str, Encoding] = {
    "linear16": Encoding.PCM_S16LE,
    "linear32": Encoding.PCM_F32LE,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
}

# Others would go without something they count on: results elsewhere, speakers,
# secrets taken out, words replaced or found.
REFUSED = (
    "callback",
    "detect_entities",
    "detect_language",
    "diarize",
    "diarize_model",
    "redact",
    "replace",
    "search",
)

# The text is as the model writes it, and no word is more likely than another.
NOTED = (
    "dictation",
    "keyterm",
    "keywords",
    "numerals",
    "profanity_filter",
    "punctuate",
    "smart_format",
)

_MOST_PARAMETERS = 512  # keywords come one a parameter
_COMPANDED_RATE = 8_000
_LEAST_GAP_MS, _MOST_GAP_MS = 1_000, 5_000
_LEAST_HANGOVER_MS = 100  # the gate's: pauses within words are longer


@dataclass(frozen=True, slots=True)
class Asked:
    """What holds for one connection.

    Attributes:
        config: its stream; the audio format is a guess where `container`.
        container: the audio's own header says its format.
        multichannel: each channel is transcribed by itself.
        interim: hypotheses are sent before they are final.
        endpointing: pauses are told by `speech_final`.
        utterance_end_s: silence after the last word that is told; None: it is not.
        vad_events: the begin of speech is told.
        unhonoured: names of parameters that were noted.
    """

    config: StreamConfig
    container: bool
    multichannel: bool
    interim: bool
    endpointing: bool
    utterance_end_s: float | None
    vad_events: bool
    unhonoured: tuple[str, ...]


def parse_query(query: str, offer: Offer) -> Asked:
    """Read the opening parameters.

    Args:
        query: raw, percent-encoded, without the question mark.
        offer: what the server can give.

    Raises:
        BadRequest: names the parameter, what came and what is allowed.
    """
    given = _pairs(query)
    for name in REFUSED:
        if _wanted(given.get(name, "")):
            raise BadRequest(
                f"{name} is not supported here, got {shown(given[name])}: leave it out"
            )
    asked = {name: read(name, given[name]) for name, read in _READ if name in given}
    interim = asked.get("interim_results", False)
    gap_ms = asked.get("utterance_end_ms")
    if gap_ms is not None and not interim:
        raise BadRequest("utterance_end_ms needs interim_results=true")
    endpointing = asked.get("endpointing", True)
    return Asked(
        config=_config(asked, endpointing, offer, interim=interim),
        container="encoding" not in asked,
        multichannel=asked.get("multichannel", False),
        interim=interim,
        endpointing=endpointing is not False,
        utterance_end_s=None if gap_ms is None else gap_ms / 1_000,
        vad_events=asked.get("vad_events", False),
        unhonoured=tuple(name for name in NOTED if _wanted(given.get(name, ""))),
    )


def _pairs(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        raise BadRequest(f"at most {_MOST_PARAMETERS} parameters are taken") from None
    return dict(pairs)


def _wanted(text: str) -> bool:
    return text.lower() not in ("", "false", "0", "none")


def _config(
    asked: Mapping[str, Any], endpointing: int | bool, offer: Offer, *, interim: bool
) -> StreamConfig:
    base = offer.defaults
    gate = base.gate
    if endpointing is not True and endpointing is not False:
        hangover_ms = max(endpointing, _LEAST_HANGOVER_MS)
        try:
            gate = replace(gate, hangover_ms=hangover_ms)
        except ConfigError:
            raise _refuse("endpointing", "at most 5000", endpointing) from None
    return replace(
        base,
        audio=_audio(asked),
        gate=gate,
        language=_language(asked.get("language"), offer),
        partials=interim,
        words=True,
        budget_ms=max(base.budget_ms, offer.smallest_budget_ms()),
    )


def _language(tag: str | None, offer: Offer) -> str | None:
    return offered_language(tag, offer.languages) if tag else offer.defaults.language


def _audio(asked: Mapping[str, Any]) -> AudioFormat:
    encoding = asked.get("encoding")
    channels = asked.get("channels", 1)
    if encoding is None:
        return AudioFormat()
    rate = asked.get("sample_rate")
    if rate is None and encoding in (Encoding.MULAW, Encoding.ALAW):
        rate = _COMPANDED_RATE
    if rate is None:
        raise BadRequest("sample_rate is required where encoding is given")
    if channels != 1 and not asked.get("multichannel", False):
        raise BadRequest(
            f"channels={channels} needs multichannel=true: channels are not mixed here"
        )
    try:
        return AudioFormat(encoding, rate, channels)
    except ConfigError as error:
        raise BadRequest(str(error)) from None


# --- values ----------------------------------------------------------------


def _refuse(name: str, allowed: str, got: object) -> BadRequest:
    return BadRequest(f"{name} must be {allowed}, got {shown(got)}")


def _truth(name: str, text: str) -> bool:
    match text.lower():
        case "true" | "1":
            return True
        case "false" | "0" | "":
            return False
        case _:
            raise _refuse(name, "true or false", text)


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise _refuse(name, "a whole number", text)
    return int(text)


def _encoding(name: str, text: str) -> Encoding:
    if text.lower() not in ENCODINGS:
        raise _refuse(name, ", ".join(ENCODINGS), text)
    return ENCODINGS[text.lower()]


def _endpointing(name: str, text: str) -> int | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return _whole(name, text)


def _gap_ms(name: str, text: str) -> int:
    value = _whole(name, text)
    if not _LEAST_GAP_MS <= value <= _MOST_GAP_MS:
        raise _refuse(name, f"{_LEAST_GAP_MS} to {_MOST_GAP_MS}", value)
    return value


def _text(name: str, text: str) -> str:  # noqa: ARG001
    return text


_READ: tuple[tuple[str, Callable[[str, str], Any]], ...] = (
    ("encoding", _encoding),
    ("sample_rate", _whole),
    ("channels", _whole),
    ("multichannel", _truth),
    ("interim_results", _truth),
    ("endpointing", _endpointing),
    ("utterance_end_ms", _gap_ms),
    ("vad_events", _truth),
    ("language", _text),
)

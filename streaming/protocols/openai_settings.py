"""What a session of OpenAI's Realtime API is set to: read, and refused.

What this server cannot do is refused by name, never taken in silence. Knows no
messages around it, and no other spelling than that of today.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import BadRequest, ConfigError
from streaming.protocols.adapter import Offer
from streaming.protocols.json_objects import Fields
from streaming.protocols.native_options import parse_query, shown

__all__ = ["FORMATS", "Settings", "Unfit", "updated"]

# Names of formats: encoding and rates, the default first. 16 kHz is ours.
FORMATS: Mapping[str, tuple[Encoding, tuple[int, ...]]] = {
    "audio/pcm": (Encoding.PCM_S16LE, (24_000, 16_000)),
    "audio/pcmu": (Encoding.MULAW, (8_000,)),
    "audio/pcma": (Encoding.ALAW, (8_000,)),
}

# Names of OpenAI's, and none, mean the one model that this server runs.
_OPENAI = ("whisper", "gpt-4o", "gpt-realtime")

# From this threshold on the detector is so strict, 0 to 3.
_STRICTNESS = ((0.7, 3), (0.5, 2), (0.3, 1), (0.0, 0))


class Unfit(BadRequest):
    """A command that cannot be done, as OpenAI says it.

    Attributes:
        code: what kind of mistake.
        param: path of the field; None for the whole command.
    """

    def __init__(self, message: str, code: str, param: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class Settings:
    """A session's settings; what is None is the server's own.

    Attributes:
        format: a key of `FORMATS`.
        rate: samples a second.
        model: the name that was asked for; what stands for ours is let through.
        language: BCP 47 tag.
        turns: whether the server finds the turns; else the client commits them.
        threshold: of the detector, 0 to 1.
        prefix_padding_ms: audio taken before a turn.
        silence_duration_ms: silence that ends one.
    """

    format: str = "audio/pcm"
    rate: int = 24_000
    model: str = ""
    language: str | None = None
    turns: bool = True
    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None

    def config(self, offer: Offer) -> StreamConfig:
        """The stream that they ask for.

        Raises:
            Unfit: a setting is out of range.
        """
        if self.model != offer.model and not _stands_in(self.model):
            allowed = f"{offer.model}, or a name of OpenAI's that it stands for"
            raise _bad(f"{_TRANSCRIPTION}.model", allowed, self.model)
        base = _with_language(self.language, offer)
        gate = base.gate
        if self.threshold is not None:
            mode = next(mode for least, mode in _STRICTNESS if self.threshold >= least)
            gate = replace(gate, vad_mode=mode)
        if self.prefix_padding_ms is not None:
            gate = _checked(
                "prefix_padding_ms",
                lambda ms: replace(gate, pre_roll_ms=ms),
                self.prefix_padding_ms,
            )
        if self.silence_duration_ms is not None:
            gate = _checked(
                "silence_duration_ms",
                lambda ms: replace(gate, hangover_ms=ms),
                self.silence_duration_ms,
            )
        audio = AudioFormat(FORMATS[self.format][0], self.rate)
        return replace(base, audio=audio, gate=gate)


def _stands_in(model: str) -> bool:
    return not model or model.lower().startswith(_OPENAI)


def _with_language(language: str | None, offer: Offer) -> StreamConfig:
    query = "" if language is None else urlencode({"language": language})
    try:
        return parse_query(query, offer)[0]
    except BadRequest as error:
        where = f"{_TRANSCRIPTION}.language"
        raise Unfit(str(error), "invalid_value", where) from None


def _checked(name: str, make: Callable[[int], Any], value: int) -> Any:
    try:
        return make(value)
    except ConfigError as error:
        raise Unfit(f"{name}: {error}", "invalid_value", f"{_TURNS}.{name}") from None


# --- what a client asks ----------------------------------------------------

_INPUT = "session.audio.input"
_TRANSCRIPTION = f"{_INPUT}.transcription"
_TURNS = f"{_INPUT}.turn_detection"


def updated(settings: Settings, session: object, offer: Offer) -> Settings:
    """Apply the `session` of an update; what it leaves out stays.

    Raises:
        Unfit: names the field that cannot be had, what came and what is allowed.
    """
    fields = _only("session", session, ("type", "audio", "include", *_ECHOED))
    kind = fields.get("type", "transcription")
    if kind != "transcription":
        raise _bad("session.type", "transcription: this server does not speak", kind)
    if fields.get("include"):
        raise _cannot("session.include", fields["include"], "[]")
    audio = _only("session.audio", fields.get("audio", {}), ("input",))
    given = _only(_INPUT, audio.get("input", {}), tuple(_READERS))
    for name, read in _READERS.items():
        if name in given:
            settings = read(settings, given[name])
    settings.config(offer)  # raises what is out of range
    return settings


# What an update may send back as it was shown.
_ECHOED = ("id", "object", "expires_at")


def _format(settings: Settings, value: object) -> Settings:
    where = f"{_INPUT}.format"
    fields = _only(where, value, ("type", "rate"))
    name = fields.get("type")
    if not isinstance(name, str) or name not in FORMATS:
        raise _bad(f"{where}.type", ", ".join(FORMATS), name)
    rates = FORMATS[name][1]
    rate = fields.get("rate", rates[0])
    if not _is_whole(rate) or rate not in rates:
        raise _bad(f"{where}.rate", " or ".join(map(str, rates)), rate)
    return replace(settings, format=name, rate=rate)


def _transcription(settings: Settings, value: object) -> Settings:
    fields = _only(_TRANSCRIPTION, value, ("model", "language", "prompt"))
    if fields.get("prompt"):
        raise _cannot(f"{_TRANSCRIPTION}.prompt", fields["prompt"], "empty")
    model = fields.get("model") or ""
    if not isinstance(model, str):
        raise _bad(f"{_TRANSCRIPTION}.model", "a text", model)
    settings = replace(settings, model=model or settings.model)
    if "language" not in fields:
        return settings
    language = fields["language"] or None
    if language is not None and not isinstance(language, str):
        raise _bad(f"{_TRANSCRIPTION}.language", "a text", language)
    return replace(settings, language=language)


def _noise_reduction(settings: Settings, value: object) -> Settings:
    if value is not None:
        raise _cannot(f"{_INPUT}.noise_reduction", value, "null")
    return settings


def _turn_detection(settings: Settings, value: object) -> Settings:
    if value is None:
        return replace(settings, turns=False)
    fields = _only(
        _TURNS,
        value,
        ("type", "threshold", "prefix_padding_ms", "silence_duration_ms", *_ANSWERS),
    )
    if (kind := fields.get("type", "server_vad")) != "server_vad":
        raise _bad(f"{_TURNS}.type", "server_vad, or turn_detection null", kind)
    threshold = fields.get("threshold", settings.threshold)
    if threshold is not None and not _is_share(threshold):
        raise _bad(f"{_TURNS}.threshold", "0 to 1", threshold)
    lengths = {}
    for name in ("prefix_padding_ms", "silence_duration_ms"):
        lengths[name] = fields.get(name, getattr(settings, name))
        if lengths[name] is not None and not _is_whole(lengths[name]):
            raise _bad(f"{_TURNS}.{name}", "a whole number", lengths[name])
    return replace(settings, turns=True, threshold=threshold, **lengths)


# About answers to a turn, of which a transcription has none.
_ANSWERS = ("create_response", "interrupt_response", "idle_timeout_ms")

_READERS: Mapping[str, Callable[[Settings, object], Settings]] = {
    "format": _format,
    "transcription": _transcription,
    "noise_reduction": _noise_reduction,
    "turn_detection": _turn_detection,
}


def _only(where: str, value: object, names: tuple[str, ...]) -> Fields:
    """An object with no fields but these."""
    if not isinstance(value, dict):
        raise _bad(where, "an object", value)
    for name in value:
        if name not in names:
            raise Unfit(
                f"Unknown parameter: {shown(f'{where}.{name}')}; the fields are "
                f"{', '.join(names)}.",
                "unknown_parameter",
                shown(f"{where}.{name}").strip("'\""),
            )
    return value


def _bad(where: str, allowed: str, got: object) -> Unfit:
    return Unfit(
        f"Invalid value for '{where}': it must be {allowed}, got {shown(got)}.",
        "invalid_value",
        where,
    )


def _cannot(where: str, got: object, allowed: str) -> Unfit:
    return Unfit(
        f"'{where}' is not supported by this server: it must be {allowed}, "
        f"got {shown(got)}.",
        "unsupported_value",
        where,
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9


def _is_share(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1  # type: ignore[arg-type, operator]

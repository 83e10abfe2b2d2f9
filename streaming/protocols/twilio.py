"""Media streams of telephone providers: Twilio, Telnyx and Plivo in one table.

All text, audio in base64, one track in each message; one or both tracks of a call
are one or two channels. Nothing is sent back but the close. Written from the
providers' documentation: no client of theirs can be run here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import BadRequest, ConfigError, ProtocolError, UnsupportedAudio
from streaming.events import Finish, ServerEvent
from streaming.protocols.adapter import Dialect, Heard, Offer, Opening, Start
from streaming.protocols.json_objects import (
    Fields,
    audio_of,
    object_at,
    object_of,
    text_at,
    whole_at,
)
from streaming.protocols.native_options import shown
from streaming.protocols.silent import FORMAT, options_of, own_options, refusal
from streaming.protocols.timeline import Media, Timeline

__all__ = ["ENCODINGS", "PLIVO", "TELNYX", "TWILIO", "VARIANTS", "TwilioAdapter"]


@dataclass(frozen=True, slots=True)
class Variant:
    """How a provider spells the same messages.

    Attributes:
        name: of the provider.
        path: where its dialect is served.
        format: field of `start` that holds how audio is written.
        rate: field of that.
        call: field of `start` that names the call.
        tracks: field of `start` that names the tracks; None where it tells none, and
            the parameter `tracks` of the URL does.
        overtaking: messages may overtake each other; `chunk` tells their order.
    """

    name: str
    path: str
    format: str
    rate: str
    call: str
    tracks: str | None
    overtaking: bool


VARIANTS: Mapping[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "twilio", "/twilio", "mediaFormat", "sampleRate", "callSid", "tracks", False
        ),
        Variant(
            "telnyx",
            "/telnyx",
            "media_format",
            "sample_rate",
            "call_control_id",
            None,
            True,
        ),
        Variant(
            "plivo", "/plivo", "mediaFormat", "sampleRate", "callId", "tracks", False
        ),
    )
}

# How providers name encodings, in lower case.
ENCODINGS: Mapping[str, Encoding] = {
    "audio/x-mulaw": Encoding.MULAW,
    "pcmu": Encoding.MULAW,
    "audio/x-alaw": Encoding.ALAW,
    "pcma": Encoding.ALAW,
    "audio/x-l16": Encoding.PCM_S16LE,
    "l16": Encoding.PCM_S16LE,
}

# The parameter `tracks`, as Telnyx's `stream_track` is written: channels in order.
_TRACKS: Mapping[str, tuple[str, ...]] = {
    "inbound_track": ("inbound",),
    "outbound_track": ("outbound",),
    "both_tracks": ("inbound", "outbound"),
}

# What else they send: keys pressed, audio played, and news of it.
_IGNORED = frozenset(
    ("connected", "dtmf", "mark", "clear", "clearedAudio", "playedStream", "error")
)


class TwilioAdapter:
    """One connection's side of a media stream.

    Args:
        variant: whose.
        opening: the request; its query holds options of the native protocol.
        offer: what the server can give.

    Raises:
        BadRequest: a parameter is unknown, repeated or out of range.
    """

    resume = None

    def __init__(self, variant: Variant, opening: Opening, offer: Offer) -> None:
        self.config: StreamConfig | None = None
        self._variant = variant
        own, query = own_options(opening.query, ("tracks",))
        self._asked = options_of(query, offer, but=FORMAT)
        self._tracks = _tracks_asked(variant, own.get("tracks"))
        self._timeline = Timeline(AudioFormat())
        self._finishing = False

    def opened(self) -> Sequence[str]:
        """Nothing: the provider speaks first."""
        return ()

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means; see `Adapter.receive`."""
        if isinstance(message, bytes):
            raise ProtocolError("audio comes in text messages, got a binary one")
        fields = object_of(message)
        match fields.get("event"):
            case "media" if not self._finishing:
                return self._media(object_at(fields, "media"))
            case "start":
                return self._start(object_at(fields, "start"))
            case "stop":
                return self._stop()
            case str() as other if other in _IGNORED or self._finishing:
                return ()
            case other:
                allowed = ", ".join(sorted({"media", "start", "stop", *_IGNORED}))
                raise ProtocolError(
                    f"event must be one of {allowed}, got {shown(other)}"
                )

    def send(self, event: ServerEvent) -> Sequence[str]:  # noqa: ARG002
        """Nothing: what is heard is read elsewhere."""
        return ()

    def _start(self, start: Fields) -> Sequence[Heard]:
        if self.config is not None:
            raise ProtocolError("start came twice")
        variant = self._variant
        if variant.tracks is not None:
            self._tracks = _tracks_told(start.get(variant.tracks))
        audio = _format_of(object_at(start, variant.format), variant, len(self._tracks))
        self.config = replace(self._asked, audio=audio)
        self._timeline = Timeline(audio)
        call = shown(start.get(variant.call))
        tracks = " and ".join(self._tracks)
        return (Start(self.config, f"call {call}: {tracks}"),)

    def _media(self, media: Fields) -> Sequence[Heard]:
        if self.config is None:
            raise ProtocolError("media came before start")
        name = media.get("track", self._tracks[0])
        if name not in self._tracks:
            raise ProtocolError(
                f"track must be {' or '.join(self._tracks)}, as start or the parameter "
                f"tracks said, got {shown(name)}"
            )
        return self._timeline.add(
            Media(
                track=self._tracks.index(name),
                data=audio_of("payload", media.get("payload")),
                at_ms=whole_at(media, "timestamp"),
                number=whole_at(media, "chunk") if self._variant.overtaking else None,
            )
        )

    def _stop(self) -> Sequence[Heard]:
        if self.config is None:
            raise ProtocolError("stop came before start")
        if self._finishing:
            return ()
        self._finishing = True
        return (*self._timeline.drain(), Finish())


def _tracks_asked(variant: Variant, tracks: str | None) -> tuple[str, ...]:
    if tracks is None:
        return _TRACKS["inbound_track"]
    if variant.tracks is not None:
        raise BadRequest(
            f"tracks is no parameter here: start tells, got {shown(tracks)}"
        )
    if tracks not in _TRACKS:
        raise BadRequest(f"tracks must be {', '.join(_TRACKS)}, got {shown(tracks)}")
    return _TRACKS[tracks]


def _tracks_told(tracks: Any) -> tuple[str, ...]:
    if tracks is None:
        return _TRACKS["inbound_track"]
    for names in _TRACKS.values():
        if isinstance(tracks, list) and sorted(map(repr, tracks)) == sorted(
            map(repr, names)
        ):
            return names  # the caller is the first channel, whatever the order told
    raise ProtocolError(
        f"tracks must be inbound, outbound or both of them, got {shown(tracks)}"
    )


def _format_of(told: Fields, variant: Variant, channels: int) -> AudioFormat:
    name = text_at(told, "encoding")
    encoding = ENCODINGS.get(name.lower())
    if encoding is None:
        raise UnsupportedAudio(
            f"encoding must be one of {', '.join(ENCODINGS)}, got {shown(name)}"
        )
    in_each = whole_at(told, "channels")
    if in_each not in (None, 1):
        raise UnsupportedAudio(f"channels of a track must be 1, got {in_each}")
    rate = whole_at(told, variant.rate)
    try:
        return AudioFormat(encoding, 8_000 if rate is None else rate, channels)
    except ConfigError as error:
        raise UnsupportedAudio(str(error)) from None


TWILIO, TELNYX, PLIVO = (
    Dialect(variant.path, partial(TwilioAdapter, variant), refusal, silent=True)
    for variant in VARIANTS.values()
)

"""FreeSWITCH's mod_audio_fork and mod_audio_stream, and the `listen` of jambonz.

All send linear 16-bit samples as binary messages. jambonz tells rate and channels in
its first message; what the two modules send as text is the dialplan's own, so that
theirs stand in the URL. Each takes text back in its own way, or none. Written from
their documentation and sources: none of them can be run here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from streaming.config import AudioFormat, StreamConfig
from streaming.errors import BadRequest, ConfigError, ProtocolError, UnsupportedAudio
from streaming.events import Ack, Audio, Load, ServerEvent
from streaming.protocols.adapter import (
    Dialect,
    Heard,
    Note,
    Offer,
    Opening,
    Start,
    first_offered,
)
from streaming.protocols.json_objects import object_of, whole_at
from streaming.protocols.native_lines import NativeLines, as_json
from streaming.protocols.native_messages import Fields
from streaming.protocols.native_options import shown
from streaming.protocols.silent import FORMAT, options_of, own_options, refusal

__all__ = [
    "AUDIO_FORK",
    "AUDIO_STREAM",
    "JAMBONZ",
    "REPLIES",
    "ForkAdapter",
    "JambonzAdapter",
]

_Envelope: TypeAlias = Callable[[Fields], Sequence[Fields]]

# The parameter `replies`: how an event is written for who takes text back.
REPLIES: Mapping[str, _Envelope] = {
    "transcription": lambda fields: ({"type": "transcription", "data": fields},),
    "json": lambda fields: (fields,),
    "none": lambda fields: (),  # noqa: ARG005
}

_RATE = 8_000

# Told to those who asked; the rest is about the wire, which is not theirs.
_UNTOLD = (Ack, Load)


@dataclass(frozen=True, slots=True)
class _Voice:
    """Says events, or keeps silent."""

    envelope: _Envelope
    lines: NativeLines

    def say(self, event: ServerEvent) -> Sequence[str]:
        """Write an event as it was asked for."""
        if isinstance(event, _UNTOLD):
            return ()
        return [as_json(fields) for fields in self.envelope(self.lines.fields(event))]


class ForkAdapter:
    """One connection's side of mod_audio_fork or mod_audio_stream.

    Args:
        replies: what the module takes back, a key of `REPLIES`.
        opening: the request; its query holds options of the native protocol, the rate
            8,000 if it tells none.
        offer: what the server can give.

    Raises:
        BadRequest: a parameter is unknown, repeated or out of range.
    """

    resume = None

    def __init__(self, replies: str, opening: Opening, offer: Offer) -> None:
        own, query = own_options(opening.query, ("replies",))
        self.config: StreamConfig = options_of(query, _at_8_khz(offer))
        self._voice = _voice(own.get("replies", replies), self.config)
        self._noted = False

    def opened(self) -> Sequence[str]:
        """Nothing: the module speaks first."""
        return ()

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means; see `Adapter.receive`."""
        if isinstance(message, bytes):
            return (Audio(message),)
        if self._noted:
            return ()  # what the dialplan says later, at the end for instance
        self._noted = True
        return (Note(f"metadata {shown(message[:1_000])}", routine=True),)

    def send(self, event: ServerEvent) -> Sequence[str]:
        """Write an event as the module takes it back."""
        return self._voice.say(event)


class JambonzAdapter:
    """One connection's side of the verb `listen`.

    Args:
        opening: the request; its query holds options of the native protocol but those
            of the format.
        offer: what the server can give.

    Raises:
        BadRequest: a parameter is unknown, repeated or out of range.
    """

    resume = None

    def __init__(self, opening: Opening, offer: Offer) -> None:
        own, query = own_options(opening.query, ("replies",))
        self.config: StreamConfig | None = None
        self._asked = options_of(query, offer, but=FORMAT)
        self._voice = _voice(own.get("replies", "none"), self._asked)

    def opened(self) -> Sequence[str]:
        """Nothing: jambonz speaks first."""
        return ()

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means; see `Adapter.receive`."""
        if self.config is None:
            if isinstance(message, bytes):
                raise ProtocolError("audio came before the JSON that tells its rate")
            return self._start(object_of(message))
        if isinstance(message, bytes):
            return (Audio(message),)
        return ()  # keys pressed, marks

    def send(self, event: ServerEvent) -> Sequence[str]:
        """Nothing, unless it was asked for."""
        return self._voice.say(event)

    def _start(self, told: Fields) -> Sequence[Heard]:
        rate = whole_at(told, "sampleRate")
        channels = 2 if told.get("mixType") == "stereo" else 1
        try:
            audio = AudioFormat(
                sample_rate=_RATE if rate is None else rate, channels=channels
            )
        except ConfigError as error:
            raise UnsupportedAudio(str(error)) from None
        self.config = replace(self._asked, audio=audio)
        return (Start(self.config, f"call {shown(told.get('callSid'))}"),)


def _at_8_khz(offer: Offer) -> Offer:
    audio = AudioFormat(sample_rate=_RATE)
    return replace(offer, defaults=replace(offer.defaults, audio=audio))


def _voice(replies: str, config: StreamConfig) -> _Voice:
    if replies not in REPLIES:
        raise BadRequest(f"replies must be {', '.join(REPLIES)}, got {shown(replies)}")
    return _Voice(REPLIES[replies], NativeLines(words=config.words))


def _agreed(name: str) -> Callable[[tuple[str, ...]], str | None]:
    return lambda offered: name if name in offered else first_offered(offered)


AUDIO_FORK = Dialect(
    "/audio_fork",
    partial(ForkAdapter, "transcription"),
    refusal,
    subprotocol=_agreed("audio.drachtio.org"),
)
AUDIO_STREAM = Dialect("/audio_stream", partial(ForkAdapter, "json"), refusal)
JAMBONZ = Dialect(
    "/jambonz",
    JambonzAdapter,
    refusal,
    subprotocol=_agreed("audio.jambonz.org"),
    silent=True,
)

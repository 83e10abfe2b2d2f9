"""Asterisk's chan_websocket: a media channel that dials out to us.

The first message, `MEDIA_START` in plain words or JSON, tells the format; then come
binary frames. Any text of ours that is no command makes Asterisk log a warning, so
none is sent. Tested against what Asterisk 23 sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import ProtocolError, UnsupportedAudio
from streaming.events import Audio, ServerEvent
from streaming.protocols.adapter import (
    Dialect,
    Heard,
    Offer,
    Opening,
    Start,
    first_offered,
)
from streaming.protocols.json_objects import object_of
from streaming.protocols.native_options import shown
from streaming.protocols.silent import FORMAT, options_of, refusal

__all__ = ["ASTERISK", "FORMATS", "AsteriskAdapter"]

# Asterisk's names of formats; slin is signed linear, little-endian.
FORMATS: Mapping[str, tuple[Encoding, int]] = {
    "ulaw": (Encoding.MULAW, 8_000),
    "alaw": (Encoding.ALAW, 8_000),
    "slin": (Encoding.PCM_S16LE, 8_000),
    "slin12": (Encoding.PCM_S16LE, 12_000),
    "slin16": (Encoding.PCM_S16LE, 16_000),
    "slin24": (Encoding.PCM_S16LE, 24_000),
    "slin32": (Encoding.PCM_S16LE, 32_000),
    "slin44": (Encoding.PCM_S16LE, 44_100),
    "slin48": (Encoding.PCM_S16LE, 48_000),
}

_START = "MEDIA_START"


class AsteriskAdapter:
    """One connection's side of a media channel.

    Args:
        opening: the request; its query holds options of the native protocol.
        offer: what the server can give.

    Raises:
        BadRequest: a parameter is unknown, repeated or out of range.
    """

    resume = None

    def __init__(self, opening: Opening, offer: Offer) -> None:
        self.config: StreamConfig | None = None
        self._asked = options_of(opening.query, offer, but=FORMAT)

    def opened(self) -> Sequence[str]:
        """Nothing: Asterisk speaks first."""
        return ()

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means; see `Adapter.receive`."""
        if isinstance(message, bytes):
            if self.config is None:
                raise ProtocolError(f"audio came before {_START}")
            return (Audio(message),)
        event, fields = _words_of(message)
        if self.config is not None:
            return ()  # keys pressed, and news of what we do not play
        if event != _START:
            raise ProtocolError(f"{_START} must come first, got {shown(event)}")
        self.config = replace(self._asked, audio=_format_of(fields.get("format")))
        channel = shown(fields.get("channel"))
        return (Start(self.config, f"channel {channel}"),)

    def send(self, event: ServerEvent) -> Sequence[str]:  # noqa: ARG002
        """Nothing: this is a media channel, which takes commands alone."""
        return ()


def _words_of(message: str) -> tuple[object, Mapping[str, object]]:
    """The event of a message, and what it tells of it."""
    if message.lstrip().startswith("{"):
        fields = object_of(message)
        return fields.get("event"), fields
    event, *words = message[:65_536].split()[:64] or [""]
    return event, {
        name: value for name, _, value in (word.partition(":") for word in words)
    }


def _format_of(name: object) -> AudioFormat:
    if not isinstance(name, str) or name not in FORMATS:
        raise UnsupportedAudio(
            f"format must be one of {', '.join(FORMATS)}, got {shown(name)}"
        )
    return AudioFormat(*FORMATS[name])


def _agreed(offered: tuple[str, ...]) -> str | None:
    return "media" if "media" in offered else first_offered(offered)


ASTERISK = Dialect(
    "/asterisk", AsteriskAdapter, refusal, subprotocol=_agreed, silent=True
)

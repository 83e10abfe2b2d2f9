"""Asterisk's AudioSocket: frames on a TCP connection, the audio of one leg.

A frame is a type, two bytes of length (big endian) and a payload; audio is 16-bit
little endian. At hangup Asterisk just closes the connection. Nothing need be sent
back. Knows bytes; knows no sockets. docs.asterisk.org, "AudioSocket".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from streaming.errors import ProtocolError

__all__ = [
    "RATES",
    "AudioSocket",
    "Failed",
    "Hangup",
    "Heard",
    "Identified",
    "Pressed",
    "SocketEvent",
    "frame",
]

HANGUP, IDENTITY, DTMF, ERROR = 0x00, 0x01, 0x03, 0xFF

# Type of a frame of audio -> samples a second. 0x11 was 16 kHz in an older draft.
RATES: Mapping[int, int] = {
    0x10: 8_000,
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}


@dataclass(frozen=True, slots=True)
class Identified:
    """The first frame: the UUID that the dialplan gave."""

    uuid: UUID


@dataclass(frozen=True, slots=True)
class Heard:
    """Samples, 16-bit little endian.

    Attributes:
        rate: samples a second.
    """

    pcm: bytes
    rate: int


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key: `0` to `9`, `*`, `#`, `A` to `D`."""

    digit: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """The other side ends the call."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Asterisk tells of an error; the payload is its code, where there is one."""

    code: int | None


SocketEvent: TypeAlias = Identified | Heard | Pressed | Hangup | Failed


@dataclass(slots=True)
class AudioSocket:
    """One connection's bytes to events; make one per connection.

    Attributes:
        uuid: of the call, once it was told.
        rate: of the audio, once some came.
        odd_bytes: half samples at ends of frames, which nobody could use.
    """

    uuid: UUID | None = None
    rate: int | None = None
    odd_bytes: int = 0
    _bytes: bytearray = field(default_factory=bytearray)

    @property
    def unfinished(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._bytes)

    def push(self, data: bytes) -> list[SocketEvent]:
        """Take bytes; they need not end with a frame.

        Raises:
            ProtocolError: what comes is not AudioSocket; nothing after it counts.
        """
        self._bytes += data
        events: list[SocketEvent] = []
        while len(self._bytes) >= 3:
            length = int.from_bytes(self._bytes[1:3], "big")
            if self.uuid is None:
                # Told before its frame is whole: who sends anything else, waits.
                self._insist_on_identity(self._bytes[0], length)
            if len(self._bytes) < 3 + length:
                break
            kind, payload = self._bytes[0], bytes(self._bytes[3 : 3 + length])
            del self._bytes[: 3 + length]
            events += self._event(kind, payload)
        return events

    def _insist_on_identity(self, kind: int, length: int) -> None:
        if (kind, length) not in ((IDENTITY, 16), (HANGUP, 0)):
            raise ProtocolError(
                "the first frame must be a UUID (type 0x01, 16 bytes), "
                f"got type {kind:#04x} with {length} bytes"
            )

    def _event(self, kind: int, payload: bytes) -> list[SocketEvent]:
        match kind:
            case _ if kind in RATES:
                return self._heard(RATES[kind], payload)
            case 0x00:
                return [Hangup()]
            case 0x01:
                if self.uuid is not None:
                    raise ProtocolError("a second UUID came on one connection")
                self.uuid = UUID(bytes=payload)
                return [Identified(self.uuid)]
            case 0x03:
                digit = payload.decode("ascii", "replace")
                if len(digit) != 1 or digit not in "0123456789*#ABCD":
                    raise ProtocolError(f"a DTMF frame has one digit, got {payload!r}")
                return [Pressed(digit)]
            case 0xFF:
                return [Failed(payload[0] if payload else None)]
            case _:
                raise ProtocolError(f"type {kind:#04x} is no frame of AudioSocket")

    def _heard(self, rate: int, payload: bytes) -> list[SocketEvent]:
        if self.rate not in (None, rate):
            raise ProtocolError(f"audio of {rate} Hz came after {self.rate} Hz")
        self.rate = rate
        self.odd_bytes += len(payload) % 2
        whole = payload[: len(payload) // 2 * 2]
        return [Heard(whole, rate)] if whole else []


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Write a frame, as Asterisk would."""
    return bytes([kind]) + len(payload).to_bytes(2, "big") + payload

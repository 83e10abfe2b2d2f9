"""One RTP packet (RFC 3550) and what its payload type means.

Knows headers, the static audio types of telephones, comfort noise (RFC 3389) and
telephone-events (RFC 4733). Does not know the packets before and after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from struct import unpack_from

import numpy as np

from streaming.config import Encoding
from streaming.errors import BadRequest, ProtocolError
from streaming.numeric.pcm import decode

__all__ = [
    "PAYLOADS",
    "Codec",
    "Kind",
    "RtpPacket",
    "TelephoneEvent",
    "is_rtcp",
    "parse_codec",
    "parse_packet",
    "parse_telephone_event",
    "to_pcm",
]


class Kind(Enum):
    """What a payload is."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    L16 = "L16"
    COMFORT_NOISE = "CN"
    TELEPHONE_EVENT = "telephone-event"


@dataclass(frozen=True, slots=True)
class Codec:
    """A payload type's meaning.

    Attributes:
        kind: what the payload is.
        rate: of its timestamps, in Hz; samples a second where it is audio.
    """

    kind: Kind
    rate: int = 8_000

    @property
    def width(self) -> int:
        """Bytes a sample; 0 where the payload holds no samples."""
        return {Kind.PCMU: 1, Kind.PCMA: 1, Kind.L16: 2}.get(self.kind, 0)


# RFC 3551, one channel; 101 is what nearly every telephone negotiates.
PAYLOADS: Mapping[int, Codec] = {
    0: Codec(Kind.PCMU),
    8: Codec(Kind.PCMA),
    11: Codec(Kind.L16, 44_100),
    13: Codec(Kind.COMFORT_NOISE),
    101: Codec(Kind.TELEPHONE_EVENT),
}

_RATES = range(8_000, 48_001)
_DIGITS = "0123456789*#ABCD"
_HEADER = 12


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """A packet without its padding, extension and contributing sources.

    Attributes:
        payload_type: 0 to 127.
        marker: for audio, the first packet after silence.
        sequence: 16 bits, one more each packet.
        timestamp: 32 bits, of the first sample, in the codec's rate.
        ssrc: 32 bits, who sent it.
        payload: the rest.
    """

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """A key of a telephone, as one packet tells of it.

    Attributes:
        digit: `0` to `9`, `*`, `#`, `A` to `D`; None for events that are no keys.
        end: it is over; told three times as a rule.
        duration: so far, in the timestamps' unit.
    """

    digit: str | None
    end: bool
    duration: int


def is_rtcp(data: bytes) -> bool:
    """The datagram is RTCP on the port of RTP (RFC 5761, section 4)."""
    return len(data) >= 2 and data[0] >> 6 == 2 and 192 <= data[1] <= 223


def parse_packet(data: bytes) -> RtpPacket:
    """Read one datagram.

    Raises:
        ProtocolError: it is no RTP packet; the message says what is wrong.
    """
    if len(data) < _HEADER:
        raise ProtocolError(f"an RTP packet has {_HEADER} bytes at least: {len(data)}")
    first, second, sequence, timestamp, ssrc = unpack_from(">BBHII", data)
    if first >> 6 != 2:
        raise ProtocolError(f"RTP version must be 2, got {first >> 6}")
    begin, end = _HEADER + 4 * (first & 15), len(data)
    if first & 0x10:
        if end < begin + 4:
            raise ProtocolError(f"{end} bytes end before the header's extension")
        begin += 4 + 4 * int(unpack_from(">H", data, begin + 2)[0])
    if first & 0x20:
        if not data[-1]:
            raise ProtocolError("padding of 0 bytes: its length counts itself")
        end -= data[-1]
    if begin > end:
        raise ProtocolError(f"header and padding need {begin} bytes, {end} are left")
    return RtpPacket(
        second & 127, bool(second & 128), sequence, timestamp, ssrc, data[begin:end]
    )


def parse_telephone_event(payload: bytes) -> TelephoneEvent:
    """Read the payload of a telephone-event packet; the first event where several.

    Raises:
        ProtocolError: fewer than four bytes.
    """
    if len(payload) < 4:
        raise ProtocolError(f"a telephone-event has 4 bytes, got {len(payload)}")
    event, flags, duration = unpack_from(">BBH", payload)
    digit = _DIGITS[event] if event < len(_DIGITS) else None
    return TelephoneEvent(digit, bool(flags & 128), duration)


def parse_codec(text: str) -> tuple[int, Codec]:
    """Read a dynamic payload type as SDP's rtpmap writes it: `96=L16/16000`.

    Raises:
        BadRequest: not of that form, or nothing that can be read here.
    """
    match = re.fullmatch(r"(\d{1,3})\s*=\s*([\w-]+)/(\d{4,6})(?:/1)?", text.strip())
    kinds = {kind.value.lower(): kind for kind in Kind}
    if match is None or (kind := kinds.get(match[2].lower())) is None:
        names = ", ".join(kind.value for kind in Kind)
        raise BadRequest(f"must be like 96=L16/16000 with one of {names}, got {text!r}")
    number, rate = int(match[1]), int(match[3])
    if number > 127 or rate not in _RATES:
        raise BadRequest(
            "a payload type is 0 to 127 and a rate 8000 to 48000 Hz, "
            f"got {number} and {rate}"
        )
    return number, Codec(kind, rate)


def to_pcm(codec: Codec, payload: bytes) -> bytes:
    """The samples of a payload as 16-bit little endian; G.711 loses nothing by it.

    A trailing half sample is left out.
    """
    match codec.kind:
        case Kind.PCMU:
            samples = decode(Encoding.MULAW, payload)
        case Kind.PCMA:
            samples = decode(Encoding.ALAW, payload)
        case Kind.L16:
            whole = payload[: len(payload) // 2 * 2]
            return np.frombuffer(whole, ">i2").astype("<i2").tobytes()
        case _:
            return b""
    return (samples * 32_768).astype("<i2").tobytes()

"""Packets in order to audio on one clock: timestamps rule, never packet sizes.

Every sample between the first timestamp and the last comes out once: as it was
sent, as silence in place of packets that were lost (`concealed`), or as silence in
which nothing was sent (comfort noise, keys, a sender that pauses). Knows one leg
of a call; does not know addresses or sequence numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from streaming.errors import ProtocolError
from streaming.protocols.rtp import (
    Codec,
    Kind,
    RtpPacket,
    parse_telephone_event,
    to_pcm,
)
from streaming.protocols.rtp_order import Arrived

__all__ = ["AudioCounts", "Digit", "LegEvent", "RtpAudio", "Silence", "Sound"]

_WHOLE = 1 << 32
# Timestamps that go on are believed for this long; beyond it the sender set its
# clock, and the time of arrival says how long the gap was.
_MOST_GAP_S = 3_600.0
# A gap of timestamps may exceed the time that passed by so much, for jitter.
_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples as they were sent.

    Attributes:
        pcm: 16-bit little endian.
        at: position of the first sample on the leg's clock.
    """

    pcm: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch that no packet holds samples of.

    Attributes:
        samples: how long.
        at: position of the first one.
        concealed: its packets were lost; else nothing was sent.
    """

    samples: int
    at: int
    concealed: bool


@dataclass(frozen=True, slots=True)
class Digit:
    """A key was pressed (RFC 4733), told once.

    Attributes:
        digit: `0` to `9`, `*`, `#`, `A` to `D`.
        at: position of its beginning.
    """

    digit: str
    at: int


LegEvent: TypeAlias = Sound | Silence | Digit


@dataclass(slots=True)
class AudioCounts:
    """What became of the audio of one leg.

    Attributes:
        heard: samples as they were sent.
        concealed: samples made up for lost packets.
        silent: samples in which nothing was sent.
        overlapping: samples that came a second time, by their timestamps.
        unreadable: packets of types or shapes that are not known.
        jumps: times that the timestamps did not go on.
    """

    heard: int = 0
    concealed: int = 0
    silent: int = 0
    overlapping: int = 0
    unreadable: int = 0
    jumps: int = 0


@dataclass(slots=True)
class RtpAudio:
    """Make one per leg; sources that follow each other share it.

    Attributes:
        payloads: what payload types mean.
        rate: samples a second of all that comes out; the first audio packet's.
        position: samples that came out so far.
        counts: of samples.
    """

    payloads: Mapping[int, Codec]
    rate: int | None = None
    position: int = 0
    counts: AudioCounts = field(default_factory=AudioCounts)
    _due: int | None = None  # the timestamp that `position` has
    _at: float = 0.0  # when the last packet came
    _lost: int = 0  # packets, since the last audio
    _longest: int = 0  # samples of a packet
    _event: int | None = None  # timestamp of the key that was told last
    _break: bool = False

    def push(self, arrived: Arrived) -> list[LegEvent]:
        """Take a packet in its turn."""
        packet = arrived.packet
        codec = self.payloads.get(packet.payload_type)
        self._lost += arrived.lost
        self._break |= arrived.anew
        if codec is None or (codec.width and self.rate not in (None, codec.rate)):
            self.counts.unreadable += 1
            return []
        match codec.kind:
            case Kind.TELEPHONE_EVENT:
                return self._key(packet)
            case Kind.COMFORT_NOISE:
                return self._noise(arrived, codec)
            case _:
                return self._sound(arrived, codec)

    def change(self) -> None:
        """Another source goes on from here: its timestamps are its own."""
        self._break = True

    def _sound(self, arrived: Arrived, codec: Codec) -> list[LegEvent]:
        pcm = to_pcm(codec, arrived.packet.payload)
        samples = len(pcm) // 2
        if not samples:
            self.counts.unreadable += 1
            return []
        self.rate = codec.rate
        events = self._reach(arrived, samples)
        skipped = min(samples, -self._ahead(arrived.packet.timestamp))
        self.counts.overlapping += skipped
        if skipped < samples:
            events.append(Sound(pcm[2 * skipped :], self.position))
            self._go(samples - skipped)
            self.counts.heard += samples - skipped
        return events

    def _noise(self, arrived: Arrived, codec: Codec) -> list[LegEvent]:
        """The sender is silent from here on, until its next packet."""
        if self.rate is None:
            return []
        if codec.rate != self.rate:
            self.counts.unreadable += 1
            return []
        return self._reach(arrived, 0)

    def _key(self, packet: RtpPacket) -> list[LegEvent]:
        try:
            event = parse_telephone_event(packet.payload)
        except ProtocolError:
            self.counts.unreadable += 1
            return []
        if event.digit is None or packet.timestamp == self._event:
            return []
        self._event = packet.timestamp
        ahead = 0 if self._due is None else _signed(packet.timestamp - self._due)
        near = abs(ahead) < _TOLERANCE_S * (self.rate or 8_000)
        return [Digit(event.digit, max(0, self.position + (ahead if near else 0)))]

    # --- the clock ---------------------------------------------------------

    def _reach(self, arrived: Arrived, samples: int) -> list[LegEvent]:
        """Fill up to this packet; never goes back."""
        timestamp = arrived.packet.timestamp
        passed_s = max(0.0, arrived.at - self._at)
        gap = 0
        if self._due is None:
            self._lost = 0
        else:
            rate = self.rate or 8_000
            gap = self._ahead(timestamp)
            believed = (
                -_TOLERANCE_S * rate <= gap <= (passed_s + _TOLERANCE_S) * rate
                and gap <= _MOST_GAP_S * rate
            )
            if self._break or not believed:
                self.counts.jumps += not self._break
                # Where nothing else is known: as long as it took to come.
                passed = min(passed_s, _MOST_GAP_S)
                gap = max(0, round(passed * rate) - self._longest)
                self._due = timestamp - gap
        if self._due is None:
            self._due = timestamp
        self._break, self._at = False, arrived.at
        self._longest = max(self._longest, samples)
        concealed = min(max(gap, 0), self._lost * self._longest)
        self._lost = 0
        return [
            *self._fill(concealed, concealed=True),
            *self._fill(gap - concealed, concealed=False),
        ]

    def _fill(self, samples: int, *, concealed: bool) -> list[LegEvent]:
        if samples <= 0:
            return []
        silence = Silence(samples, self.position, concealed)
        if concealed:
            self.counts.concealed += samples
        else:
            self.counts.silent += samples
        self._go(samples)
        return [silence]

    def _go(self, samples: int) -> None:
        self.position += samples
        self._due = ((self._due or 0) + samples) % _WHOLE

    def _ahead(self, timestamp: int) -> int:
        """Samples from the position to this timestamp; negative where it is past."""
        return _signed(timestamp - (self._due or 0))


def _signed(difference: int) -> int:
    """A difference of timestamps as the nearest one to 0."""
    return (difference + _WHOLE // 2) % _WHOLE - _WHOLE // 2

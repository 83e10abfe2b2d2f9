"""Datagrams to the legs of a call: who speaks is told by addresses and sources.

A leg is what one address sends to another. A source (SSRC) that follows a silent
one goes on with its leg, as after a transfer; one that sends beside it is a leg of
its own. Lone packets begin nothing. Knows RTP; does not know sockets or captures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streaming.errors import ProtocolError
from streaming.protocols.datagram import Address, Datagram
from streaming.protocols.rtp import PAYLOADS, Codec, RtpPacket, is_rtcp, parse_packet
from streaming.protocols.rtp_audio import LegEvent, RtpAudio
from streaming.protocols.rtp_order import Arrived, Order, OrderCounts

__all__ = ["Leg", "Legs"]

# What anybody may send to an open port must not fill the memory.
_MOST_LEGS = 64
_MOST_UNKNOWN = 64
_MOST_STASHED = 256
_LEAST_PACKETS = 2  # RFC 3550, section 6.2.1: a source is one from its second on


@dataclass(slots=True, eq=False)
class _Source:
    ssrc: int
    flow: tuple[Address, Address]
    order: Order
    first_at: float
    last_at: float
    leg: Leg | None = None
    stash: list[Arrived] = field(default_factory=list)

    @property
    def superseded(self) -> bool:
        """Its leg has another source by now."""
        return self.leg is not None and self.leg.sources[-1] is not self


@dataclass(slots=True, eq=False)
class Leg:
    """One side of a call.

    Attributes:
        number: in the order of their beginnings, from 0.
        source: who sends.
        target: to whom.
        began_at: when its first packet came: position 0 of its clock.
        audio: what came of it, with its counts.
        sources: those that spoke, the one that speaks last.
    """

    number: int
    source: Address
    target: Address
    began_at: float
    audio: RtpAudio
    sources: list[_Source] = field(default_factory=list)

    @property
    def last_at(self) -> float:
        """When its last packet came."""
        return max(source.last_at for source in self.sources)

    @property
    def packets(self) -> OrderCounts:
        """What became of the packets of all its sources."""
        total = OrderCounts()
        for source in self.sources:
            for name in OrderCounts.__dataclass_fields__:
                counted = getattr(source.order.counts, name)
                setattr(total, name, getattr(total, name) + counted)
        return total


@dataclass(slots=True)
class Legs:
    """Make one for each port, or capture.

    Attributes:
        depth_s: how long a missing packet is waited for.
        payloads: what payload types mean.
        legs: those that began, by number.
        rtcp: datagrams of RTCP, which is not needed.
        strange: datagrams that are no RTP, or more than can be followed.
    """

    depth_s: float = 0.1
    payloads: Mapping[int, Codec] = field(default_factory=lambda: PAYLOADS)
    legs: list[Leg] = field(default_factory=list)
    rtcp: int = 0
    strange: int = 0
    _sources: dict[tuple[Address, Address, int], _Source] = field(default_factory=dict)

    def push(self, datagram: Datagram) -> list[tuple[int, LegEvent]]:
        """Take a datagram; returns what came of it, by leg."""
        if is_rtcp(datagram.data):
            self.rtcp += 1
            return []
        try:
            packet = parse_packet(datagram.data)
        except ProtocolError:
            self.strange += 1
            return []
        source = self._source(datagram, packet)
        if source is None:
            return []
        source.last_at = datagram.at
        return self._follow(source, source.order.push(packet, datagram.at))

    def wake(self, now: float) -> list[tuple[int, LegEvent]]:
        """Time has passed: give up what was waited for long enough."""
        events: list[tuple[int, LegEvent]] = []
        for source in list(self._sources.values()):
            events += self._follow(source, source.order.wake(now))
        return events

    def wake_at(self) -> float | None:
        """When `wake` is due."""
        times = [source.order.wake_at() for source in self._sources.values()]
        return min((time for time in times if time is not None), default=None)

    def drain(self) -> list[tuple[int, LegEvent]]:
        """Nothing more comes: all that waits."""
        events: list[tuple[int, LegEvent]] = []
        for source in list(self._sources.values()):
            events += self._follow(source, source.order.drain())
        return events

    # --- sources -----------------------------------------------------------

    def _source(self, datagram: Datagram, packet: RtpPacket) -> _Source | None:
        key = (datagram.source, datagram.target, packet.ssrc)
        source = self._sources.get(key)
        if source is not None and not source.superseded:
            return source
        if source is None and packet.payload_type not in self.payloads:
            self.strange += 1  # nothing that could be heard begins so
            return None
        source = self._sources[key] = _Source(
            packet.ssrc, key[:2], Order(self.depth_s), datagram.at, datagram.at
        )
        self._forget()
        return source

    def _forget(self) -> None:
        """Let the oldest source go that never became one."""
        unknown = [key for key, each in self._sources.items() if each.leg is None]
        if len(unknown) > _MOST_UNKNOWN:
            self.strange += self._sources.pop(unknown[0]).order.counts.received

    def _follow(
        self, source: _Source, arrived: list[Arrived]
    ) -> list[tuple[int, LegEvent]]:
        events: list[tuple[int, LegEvent]] = []
        for each in arrived:
            source.stash.append(each)
            leg = source.leg
            if leg is None:
                leg = self._bind(source)
                if leg is None:
                    del source.stash[:-_MOST_STASHED]
                    continue
                events += self._hand_over(leg, source)
            for kept in source.stash:
                events += [(leg.number, event) for event in leg.audio.push(kept)]
            source.stash.clear()
        return events

    def _bind(self, source: _Source) -> Leg | None:
        """Whose source it is: of a leg that fell silent, or of a new one."""
        if source.order.counts.received < _LEAST_PACKETS:
            return None
        latest = source.first_at + self.depth_s / 2
        for leg in self.legs:
            if (leg.source, leg.target) == source.flow and leg.last_at <= latest:
                return leg
        if len(self.legs) >= _MOST_LEGS:
            return None
        sender, target = source.flow
        began_at = source.stash[0].at
        leg = Leg(len(self.legs), sender, target, began_at, RtpAudio(self.payloads))
        self.legs.append(leg)
        return leg

    def _hand_over(self, leg: Leg, source: _Source) -> list[tuple[int, LegEvent]]:
        """Let this source speak from here on; first what the one before it said."""
        events: list[tuple[int, LegEvent]] = []
        if leg.sources:
            for kept in leg.sources[-1].order.drain():
                events += [(leg.number, event) for event in leg.audio.push(kept)]
            leg.audio.change()
        source.leg = leg
        leg.sources.append(source)
        return events

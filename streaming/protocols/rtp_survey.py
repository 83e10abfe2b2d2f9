"""Which calls a capture holds: flows of RTP, paired into two sides.

Knows addresses, sources and times; reads no audio. Flows in opposite directions are
one call, and so are two that go to the same place at the same time, as copies to a
recorder do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streaming.errors import ProtocolError
from streaming.protocols.datagram import Address, Datagram
from streaming.protocols.rtp import PAYLOADS, Codec, is_rtcp, parse_packet

__all__ = ["Flow", "calls_of"]

_LEAST_PACKETS = 10  # fewer are no leg, but something that looks like RTP


@dataclass(slots=True)
class Flow:
    """What one address sends to another.

    Attributes:
        source: from there.
        target: to there.
        begins: when its first packet came.
        ends: and its last.
        packets: how many, of sources that sent some.
    """

    source: Address
    target: Address
    begins: float
    ends: float
    packets: int

    @property
    def both(self) -> tuple[Address, Address]:
        """Its addresses, as a datagram has them."""
        return self.source, self.target


def calls_of(
    datagrams: Iterable[Datagram], payloads: Mapping[int, Codec] = PAYLOADS
) -> list[tuple[Flow, ...]]:
    """Calls in the order of their beginnings, each of one or two flows.

    Within a call the flow that began first comes first.
    """
    left = _flows(datagrams, payloads)
    calls: list[tuple[Flow, ...]] = []
    while left:
        first = left.pop(0)
        other = next(
            (flow for flow in left if flow.both == first.both[::-1]),
            next((flow for flow in left if _side_by_side(first, flow)), None),
        )
        if other is None:
            calls.append((first,))
        else:
            left.remove(other)
            calls.append((first, other))
    return calls


def _flows(datagrams: Iterable[Datagram], payloads: Mapping[int, Codec]) -> list[Flow]:
    sources: dict[tuple[Address, Address, int], Flow] = {}
    for datagram in datagrams:
        try:
            packet = parse_packet(datagram.data)
        except ProtocolError:
            continue
        if is_rtcp(datagram.data) or packet.payload_type not in payloads:
            continue
        one = Flow(datagram.source, datagram.target, datagram.at, datagram.at, 0)
        flow = sources.setdefault((*one.both, packet.ssrc), one)
        flow.begins = min(flow.begins, datagram.at)
        flow.ends = max(flow.ends, datagram.at)
        flow.packets += 1
    flows: dict[tuple[Address, Address], Flow] = {}
    for source in sources.values():
        if source.packets < _LEAST_PACKETS:
            continue
        flow = flows.setdefault(source.both, source)
        if flow is not source:
            flow.begins = min(flow.begins, source.begins)
            flow.ends = max(flow.ends, source.ends)
            flow.packets += source.packets
    return sorted(flows.values(), key=lambda flow: flow.begins)


def _side_by_side(one: Flow, other: Flow) -> bool:
    """To the same machine, and for most of the shorter one's time."""
    if one.target[0] != other.target[0] or one.source == other.source:
        return False
    common = min(one.ends, other.ends) - max(one.begins, other.begins)
    shorter = min(one.ends - one.begins, other.ends - other.begins)
    return common > shorter / 2

"""Calls on paper: RTP packets of a sender, what a network does to them, captures."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from ipaddress import ip_address

import numpy as np

from streaming.config import Encoding
from streaming.numeric.pcm import decode
from streaming.protocols.datagram import Datagram

CALLER, AGENT, TAP = ("10.0.0.1", 4000), ("10.0.0.2", 5000), ("10.0.0.9", 6000)


def rtp(  # a packet's fields, as RFC 3550 has them
    payload, *, sequence=0, timestamp=0, kind=0, ssrc=7, marker=False
):
    head = struct.pack(
        ">BBHII",
        0x80,
        kind | (128 if marker else 0),
        sequence % (1 << 16),
        timestamp % (1 << 32),
        ssrc,
    )
    return head + payload


@dataclass(frozen=True)
class Sender:
    """One side: where its counters begin, and whom it sends to."""

    ssrc: int = 7
    sequence: int = 65_530  # wraps soon
    timestamp: int = (1 << 32) - 400  # and so does this
    source: tuple = CALLER
    target: tuple = TAP
    kind: int = 0
    rate: int = 8_000
    width: int = 1

    def talk(self, payload, sizes=160, at=100.0):
        """The payload in packets of `sizes` samples, sent at the pace of speech."""
        datagrams, done, number = [], 0, 0
        sizes = iter(sizes) if not isinstance(sizes, int) else sizes
        while done < len(payload) // self.width:
            size = sizes if isinstance(sizes, int) else next(sizes)
            piece = payload[done * self.width : (done + size) * self.width]
            data = rtp(
                piece,
                sequence=self.sequence + number,
                timestamp=self.timestamp + done,
                kind=self.kind,
                ssrc=self.ssrc,
                marker=not done,
            )
            done += len(piece) // self.width
            number += 1
            datagrams.append(
                Datagram(at + done / self.rate, self.source, self.target, data)
            )
        return datagrams


def mulaw(samples):
    """The nearest codes of G.711, `samples` in -1..1."""
    table = decode(Encoding.MULAW, bytes(range(256)))
    order = np.argsort(table, kind="stable")
    sorted_table = table[order]
    place = np.clip(np.searchsorted(sorted_table, samples), 1, 255)
    nearer = samples - sorted_table[place - 1] < sorted_table[place] - samples
    return order[place - nearer].astype(np.uint8).tobytes()


def delayed(datagrams, delays):
    """Each datagram later by its delay, in the order they then come."""
    moved = [
        replace(datagram, at=datagram.at + delay)
        for datagram, delay in zip(datagrams, delays, strict=True)
    ]
    return sorted(moved, key=lambda datagram: datagram.at)


def frame(datagram):
    """The datagram in an Ethernet frame; checksums are left to those who check."""
    (source, sport), (target, dport) = datagram.source, datagram.target
    udp = struct.pack(">HHHH", sport, dport, 8 + len(datagram.data), 0) + datagram.data
    first, second = ip_address(source), ip_address(target)
    if first.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
        return bytes(12) + b"\x08\x00" + head + first.packed + second.packed + udp
    head = struct.pack(">IHBB", 6 << 28, len(udp), 17, 64)
    return bytes(12) + b"\x86\xdd" + head + first.packed + second.packed + udp


def pcap(datagrams, *, order="<", nano=False):
    """A classic capture of them."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    unit = 1_000_000_000 if nano else 1_000_000
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65_535, 1)
    for datagram in datagrams:
        whole, part = divmod(round(Fraction(datagram.at) * unit), unit)
        packet = frame(datagram)
        data += struct.pack(order + "IIII", whole, part, len(packet), len(packet))
        data += packet
    return data


def pcapng(datagrams, *, order="<"):
    """The same as a pcapng section with one interface in nanoseconds."""

    def block(kind, body):
        body += bytes(-len(body) % 4)
        size = struct.pack(order + "I", 12 + len(body))
        return struct.pack(order + "I", kind) + size + body + size

    data = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    options = struct.pack(order + "HHB3x", 9, 1, 9) + bytes(4)
    data += block(1, struct.pack(order + "HHI", 1, 0, 0) + options)
    for datagram in datagrams:
        packet, time = frame(datagram), round(Fraction(datagram.at) * 1_000_000_000)
        head = struct.pack(
            order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(packet), len(packet)
        )
        data += block(6, head + packet)
    return data

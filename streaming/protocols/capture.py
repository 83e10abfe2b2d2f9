"""Recorded packets (pcap, pcapng) to UDP datagrams.

Reads what tcpdump, Wireshark and sngrep write: classic pcap in both byte orders,
in micro- or nanoseconds, and pcapng; Ethernet with VLAN tags, raw IP, BSD loopback
and Linux cooked headers; IPv4 and IPv6. Knows no files: bytes (a mapped file too)
in, datagrams out. draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from mmap import mmap
from struct import error as StructError  # noqa: N812 - the library's own name
from struct import unpack_from
from typing import TypeAlias

from streaming.errors import UnsupportedAudio
from streaming.protocols.datagram import Datagram

__all__ = ["Capture"]

Bytes: TypeAlias = bytes | mmap

_MAGIC: Mapping[bytes, tuple[str, int]] = {
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
}
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_UDP, _FRAGMENT_OF_6 = 17, 44
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN = (0x8100, 0x88A8, 0x9100)


@dataclass(slots=True)
class Capture:
    """A capture to iterate over, once.

    A capture that ends within a packet, as one of a program that was stopped, gives
    all packets before it, and `cut_short` is set.

    Attributes:
        data: the file.
        packets: records so far.
        others: of these, what is no whole UDP datagram.
        cut_short: it ended within a record.
    """

    data: Bytes
    packets: int = 0
    others: int = 0
    cut_short: bool = field(default=False)

    def __iter__(self) -> Iterator[Datagram]:
        """Datagrams in the file's order.

        Raises:
            UnsupportedAudio: neither pcap nor pcapng.
        """
        first = bytes(self.data[:4])
        if first in _MAGIC:
            records = self._classic(*_MAGIC[first])
        elif first == b"\x0a\x0d\x0d\x0a":
            records = self._blocks()
        else:
            raise UnsupportedAudio(
                f"neither pcap nor pcapng: it begins with {first.hex(' ') or 'nothing'}"
            )
        for at, link, frame in records:
            self.packets += 1
            datagram = _datagram(at, link, frame)
            if datagram is None:
                self.others += 1
            else:
                yield datagram

    def _classic(self, order: str, ticks: int) -> Iterator[tuple[float, int, bytes]]:
        data, at = self.data, 24
        if len(data) < at:
            self.cut_short = True
            return
        (link,) = unpack_from(order + "I", data, 20)
        while at + 16 <= len(data):
            seconds, parts, length = unpack_from(order + "III", data, at)
            if at + 16 + length > len(data):
                break
            yield (
                seconds + parts / ticks,
                link & 0xFFFF,
                data[at + 16 : at + 16 + length],
            )
            at += 16 + length
        self.cut_short = at < len(data)

    def _blocks(self) -> Iterator[tuple[float, int, bytes]]:
        data, at, order = self.data, 0, "<"
        interfaces: list[tuple[int, int]] = []
        while at + 12 <= len(data):
            (kind,) = unpack_from(order + "I", data, at)
            if kind == _SECTION:  # reads the same in both orders
                order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
                interfaces = []
            (length,) = unpack_from(order + "I", data, at + 4)
            if length < 12 or length % 4 or at + length > len(data):
                break
            body = data[at + 8 : at + length - 4]
            try:
                if kind == _INTERFACE:
                    (link,) = unpack_from(order + "H", body, 0)
                    interfaces.append((link, _ticks(body[8:], order)))
                elif kind in (_ENHANCED, _SIMPLE):
                    yield _packet(kind, body, order, interfaces)
            except (StructError, IndexError):
                self.packets += 1
                self.others += 1
            at += length
        self.cut_short = at < len(data)


def _packet(
    kind: int, body: bytes, order: str, interfaces: list[tuple[int, int]]
) -> tuple[float, int, bytes]:
    """A packet block; a simple one has no time."""
    if kind == _SIMPLE:
        return 0.0, interfaces[0][0], body[4:]
    number, high, low, length = unpack_from(order + "IIII", body, 0)
    link, ticks = interfaces[number]
    whole, part = divmod((high << 32) + low, ticks)
    return whole + part / ticks, link, body[20 : 20 + length]


def _ticks(options: bytes, order: str) -> int:
    """A second in an interface's timestamps (option 9, if_tsresol)."""
    at = 0
    while at + 4 <= len(options):
        code, length = unpack_from(order + "HH", options, at)
        if code == 9 and length == 1 and at + 4 < len(options):
            value = options[at + 4]
            return int((2 if value & 128 else 10) ** (value & 127))
        if not code:
            break
        at += 4 + (length + 3) // 4 * 4
    return 1_000_000


def _datagram(at: float, link: int, frame: bytes) -> Datagram | None:
    """The UDP datagram in a frame, if it is one and whole."""
    begin = _LINKS.get(link)
    try:
        packet = None if begin is None else begin(frame)
        return None if packet is None else _udp(at, packet)
    except (StructError, IndexError):
        return None


def _udp(at: float, packet: bytes) -> Datagram | None:
    match packet[0] >> 4:
        case 4:
            header = (packet[0] & 15) * 4
            (length, fragment) = unpack_from(">2xH2xH", packet, 0)
            if packet[9] != _UDP or fragment & 0x3FFF:  # a fragment is no datagram
                return None
            source, target = packet[12:16], packet[16:20]
        case 6:
            header, length = 40, 40 + unpack_from(">H", packet, 4)[0]
            source, target, following = packet[8:24], packet[24:40], packet[6]
            while following in (0, 43, 60):  # options on the way
                following = packet[header]
                header += 8 + 8 * packet[header + 1]
            if following != _UDP:
                return None
        case _:
            return None
    sender, receiver, size = unpack_from(">HHH", packet, header)
    if header + size > min(len(packet), length) or size < 8:
        return None
    return Datagram(
        at,
        (str(ip_address(source)), sender),
        (str(ip_address(target)), receiver),
        packet[header + 8 : header + size],
    )


def _ethernet(frame: bytes) -> bytes | None:
    return _tagged(frame, 12)


def _cooked(frame: bytes) -> bytes | None:
    return _tagged(frame, 14)


def _cooked_2(frame: bytes) -> bytes | None:
    (kind,) = unpack_from(">H", frame, 0)
    return frame[20:] if kind in (_IPV4, _IPV6) else None


def _tagged(frame: bytes, at: int) -> bytes | None:
    """What follows the type at this place, and VLAN tags."""
    (kind,) = unpack_from(">H", frame, at)
    while kind in _VLAN:
        at += 4
        (kind,) = unpack_from(">H", frame, at)
    return frame[at + 2 :] if kind in (_IPV4, _IPV6) else None


# Link types of tcpdump.org/linktypes.html. A loopback's family is in the order of
# the machine that captured; IP says its version itself.
_LINKS: Mapping[int, Callable[[bytes], bytes | None]] = {
    0: lambda frame: frame[4:],
    1: _ethernet,
    12: lambda frame: frame,
    101: lambda frame: frame,
    108: lambda frame: frame[4:],
    113: _cooked,
    228: lambda frame: frame,
    229: lambda frame: frame,
    276: _cooked_2,
}

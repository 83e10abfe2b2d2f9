"""Captures of every common shape hold the same datagrams; broken ones do no harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import UnsupportedAudio
from streaming.protocols.capture import Capture
from streaming.protocols.datagram import Datagram
from tests.protocols.calls import frame, pcap, pcapng

SENT = [
    Datagram(1_700_000_000.25, ("10.0.0.1", 4000), ("10.0.0.2", 5000), b"abc"),
    Datagram(1_700_000_000.5, ("fd00::1", 4000), ("fd00::2", 5000), b"x" * 172),
    Datagram(1_700_000_000.75, ("10.0.0.2", 5000), ("10.0.0.1", 4000), b""),
]
CAPTURES = {
    "little": pcap(SENT),
    "big": pcap(SENT, order=">"),
    "nanoseconds": pcap(SENT, nano=True),
    "pcapng": pcapng(SENT),
    "pcapng, big": pcapng(SENT, order=">"),
}


def linked(link, begin):
    """A capture of the first datagram behind other headers than Ethernet's."""
    packet = begin + frame(SENT[0])[14:]
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, link)
    record = struct.pack("<IIII", 1_700_000_000, 250_000, len(packet), len(packet))
    return head + record + packet


@pytest.mark.parametrize("name", CAPTURES)
def test_every_shape_holds_the_same(name):
    capture = Capture(CAPTURES[name])

    assert SENT == list(capture)
    assert (3, 0, False) == (capture.packets, capture.others, capture.cut_short)


@pytest.mark.parametrize(
    ("link", "begin"),
    [
        (1, bytes(12) + b"\x81\x00\x00\x05\x08\x00"),
        (1, bytes(12) + b"\x88\xa8\0\1\x81\x00\x00\x05\x08\x00"),
        (0, b"\2\0\0\0"),
        (101, b""),
        (113, bytes(14) + b"\x08\x00"),
        (276, b"\x08\x00" + bytes(18)),
    ],
)
def test_other_headers_than_ethernets(link, begin):
    assert SENT[:1] == list(Capture(linked(link, begin)))


def test_what_is_no_udp_is_counted():
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    tcp = bytearray(frame(SENT[0]))
    tcp[14 + 9] = 6
    fragment = bytearray(frame(SENT[0]))
    fragment[14 + 6] = 0x20
    data = CAPTURES["little"]
    for packet in (arp, bytes(tcp), bytes(fragment)):
        data += struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet
    capture = Capture(data)

    assert SENT == list(capture)
    assert (6, 3) == (capture.packets, capture.others)


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_that_was_cut_gives_all_before_the_cut(name):
    capture = Capture(CAPTURES[name][:-5])

    assert SENT[:2] == list(capture)
    assert capture.cut_short


def test_what_is_no_capture_is_told():
    with pytest.raises(UnsupportedAudio, match="52 49 46 46"):
        list(Capture(b"RIFF...."))


@given(
    st.sampled_from(sorted(CAPTURES)),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=8),
    st.integers(0, 700),
)
def test_broken_captures_give_datagrams_or_a_typed_error(name, changes, end):
    data = bytearray(CAPTURES[name])
    for at, value in changes:
        data[at % len(data)] = value
    try:
        capture = Capture(bytes(data[:end]))
        found = list(capture)
    except UnsupportedAudio:
        return
    assert len(found) + capture.others == capture.packets

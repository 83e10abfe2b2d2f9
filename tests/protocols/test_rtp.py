"""One packet: its header, its payload, and whatever else may come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import BadRequest, ProtocolError
from streaming.protocols.rtp import (
    PAYLOADS,
    Codec,
    Kind,
    RtpPacket,
    TelephoneEvent,
    is_rtcp,
    parse_codec,
    parse_packet,
    parse_telephone_event,
    to_pcm,
)
from tests.protocols.calls import rtp

PLAIN = rtp(b"abcd", sequence=65_535, timestamp=2**32 - 1, kind=8, ssrc=9, marker=True)


def test_a_packet_says_what_it_is():
    expected = RtpPacket(8, True, 65_535, 2**32 - 1, 9, b"abcd")

    assert expected == parse_packet(PLAIN)


def test_padding_extension_and_sources_are_no_payload():
    sources = b"\0\0\0\1\0\0\0\2"
    extension = b"\xbe\xde\0\1" + b"\x10\xff\0\0"
    data = bytes([0x80 | 0x20 | 0x10 | 2]) + PLAIN[1:12]
    data += sources + extension + b"abcd" + b"\0\0\3"

    assert b"abcd" == parse_packet(data).payload


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (PLAIN[:11], "12 bytes at least"),
        (b"\x40" + PLAIN[1:], "version must be 2, got 1"),
        (b"\x8f" + PLAIN[1:], "need 72 bytes"),
        (b"\x90" + PLAIN[1:12], "extension"),
        (b"\xa0" + PLAIN[1:15] + b"\0", "padding of 0"),
        (b"\xa0" + PLAIN[1:15] + b"\x20", "are left"),
    ],
)
def test_what_is_no_packet_is_told(data, said):
    with pytest.raises(ProtocolError, match=said):
        parse_packet(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_a_typed_error(data):
    try:
        packet = parse_packet(data)
    except ProtocolError:
        return
    assert len(data) >= 12 + len(packet.payload)
    for codec in PAYLOADS.values():
        assert len(to_pcm(codec, packet.payload)) % 2 == 0


@pytest.mark.parametrize(
    ("kind", "expected"), [(200, True), (64 | 128, True), (0, False)]
)
def test_rtcp_on_the_port_of_rtp_is_known(kind, expected):
    assert expected is is_rtcp(bytes([0x80, kind]) + bytes(10))


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [  # ITU-T G.711: the largest, and silence
        (0, b"\x00\x80\xff", [-32_124, 32_124, 0]),
        (8, b"\x2a\xaa\xd5", [-32_256, 32_256, 8]),
        (11, b"\x01\x02\xff\xfe\x00", [258, -2]),
    ],
)
def test_payloads_are_samples(kind, payload, expected):
    pcm = to_pcm(PAYLOADS[kind], payload)

    assert expected == np.frombuffer(pcm, "<i2").tolist()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x05\x0a\x00\xa0", TelephoneEvent("5", end=False, duration=160)),
        (b"\x0b\x8a\x03\x20", TelephoneEvent("#", end=True, duration=800)),
        (b"\x10\x0a\x00\x00", TelephoneEvent(None, end=False, duration=0)),
    ],
)
def test_keys(payload, expected):
    assert expected == parse_telephone_event(payload)


def test_a_key_needs_four_bytes():
    with pytest.raises(ProtocolError, match="got 3"):
        parse_telephone_event(b"\5\0\0")


def test_dynamic_types_are_written_as_in_sdp():
    assert (96, Codec(Kind.L16, 16_000)) == parse_codec("96=L16/16000")
    assert (118, Codec(Kind.COMFORT_NOISE, 16_000)) == parse_codec("118=cn/16000/1")
    assert 2 == Codec(Kind.L16).width


@pytest.mark.parametrize("text", ["96", "96=opus/48000", "200=L16/8000", "9=L16/4000"])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(BadRequest):
        parse_codec(text)

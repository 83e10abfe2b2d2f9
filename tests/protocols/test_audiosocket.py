"""AudioSocket's frames, however they arrive, and what is none of its frames."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import ProtocolError
from streaming.protocols.audiosocket import (
    RATES,
    AudioSocket,
    Failed,
    Hangup,
    Heard,
    Identified,
    Pressed,
    frame,
)

CALL = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")
HELLO = frame(0x01, CALL.bytes)
SCRIPT = (
    HELLO
    + frame(0x10, b"\x01\x02" * 160)
    + frame(0x03, b"#")
    + frame(0x10, b"\x03\x04" * 121)
    + frame(0xFF, b"\x02")
    + frame(0x00)
)
SAID = [
    Identified(CALL),
    Heard(b"\x01\x02" * 160, 8_000),
    Pressed("#"),
    Heard(b"\x03\x04" * 121, 8_000),
    Failed(2),
    Hangup(),
]


@given(st.lists(st.integers(0, len(SCRIPT)), max_size=20))
def test_borders_of_reads_do_not_matter(cuts):
    places = [0, *sorted(cuts), len(SCRIPT)]
    socket, events = AudioSocket(), []
    for begin, end in pairwise(places):
        events += socket.push(SCRIPT[begin:end])

    assert SAID == events
    assert (CALL, 8_000, 0) == (socket.uuid, socket.rate, socket.unfinished)


@pytest.mark.parametrize(("kind", "rate"), RATES.items())
def test_every_rate_of_slin(kind, rate):
    (_, heard) = AudioSocket().push(HELLO + frame(kind, b"\0\0"))

    assert Heard(b"\0\0", rate) == heard


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (frame(0x10, b"\0\0"), "first frame must be a UUID"),
        (b"GET / HTTP/1.1\r\n", "type 0x47"),
        (frame(0x01, b"short"), "16 bytes"),
        (HELLO + HELLO, "second UUID"),
        (HELLO + frame(0x10, b"\0\0") + frame(0x12, b"\0\0"), "16000 Hz came after"),
        (HELLO + frame(0x03, b"xy"), "one digit"),
        (HELLO + frame(0x7F), "0x7f"),
    ],
)
def test_what_is_not_audiosocket_is_told(data, said):
    with pytest.raises(ProtocolError, match=said):
        AudioSocket().push(data)


def test_half_samples_are_counted():
    socket = AudioSocket()
    socket.push(HELLO + frame(0x10, b"\0\0\0") + frame(0x10, b"\0"))

    assert 2 == socket.odd_bytes


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_events_or_a_typed_error(data, known):
    with suppress(ProtocolError):
        AudioSocket().push((HELLO if known else b"") + data)

"""Calls of the benchmark are heard whole, and their losses are counted."""

from __future__ import annotations

import random

import numpy as np

from benchmarks.samples import RATE, Sample
from benchmarks.telephones import (
    PACKET,
    WIRE_RATE,
    Network,
    converse,
    mulaw,
    packets,
)
from streaming.config import Encoding
from streaming.numeric.pcm import decode
from streaming.protocols.rtp import parse_packet

SAMPLES = [
    Sample("test", name, name, np.full(RATE, level, np.float32))
    for name, level in (("low", 0.1), ("high", 0.5))
]


def test_codes_are_the_nearest():
    table = decode(Encoding.MULAW, bytes(range(256)))
    codes = np.frombuffer(mulaw(table + np.float32(1e-5)), np.uint8)

    assert np.array_equal(table, table[codes])


def test_packets_follow_each_other_from_anywhere():
    payload = bytes(range(250)) * 4
    read = [parse_packet(data) for data in packets(payload, random.Random(1))]

    assert payload == b"".join(packet.payload for packet in read)
    for number, packet in enumerate(read):
        assert (read[0].sequence + number) % 65_536 == packet.sequence
        assert (read[0].timestamp + PACKET * number) % 2**32 == packet.timestamp


def test_sides_take_turns_and_say_what_they_are_made_of():
    sides = converse(SAMPLES, seed=1, seconds=20.0)

    assert {20 * WIRE_RATE} == {len(side.payload) for side in sides}
    assert all(side.said for side in sides)
    assert {"low", "high"} >= {text for side in sides for text in side.said}
    again = converse(SAMPLES, seed=1, seconds=20.0)
    assert [side.payload for side in again] == [side.payload for side in sides]
    assert (0.01, 0.06) == (Network().loss, Network().jitter_s)

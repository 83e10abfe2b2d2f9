"""Timestamps rule: as many samples come out as lie between the first and the last."""

from __future__ import annotations

import struct
from itertools import cycle, islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.protocols.datagram import Datagram
from streaming.protocols.rtp import PAYLOADS, parse_packet, to_pcm
from streaming.protocols.rtp_audio import Digit, RtpAudio, Silence, Sound
from streaming.protocols.rtp_legs import Legs
from streaming.protocols.rtp_order import Arrived
from tests.protocols.calls import AGENT, CALLER, TAP, Sender, delayed, rtp

SPEECH = np.random.default_rng(4).integers(0, 256, 8_000, np.uint8).tobytes()
KEY = 101


def heard(datagrams, **options):
    """What one port makes of them, and its legs."""
    legs = Legs(**options)
    events = []
    for datagram in datagrams:
        while (due := legs.wake_at()) is not None and due < datagram.at:
            events += legs.wake(due)
        events += legs.push(datagram)
    return events + legs.drain(), legs


def audio(events, leg=0):
    """The samples of a leg; what was made up is zeros."""
    out = b""
    for number, event in events:
        if number != leg or isinstance(event, Digit):
            continue
        assert len(out) // 2 == event.at
        out += event.pcm if isinstance(event, Sound) else bytes(2 * event.samples)
    return np.frombuffer(out, "<i2")


PLAIN = audio(heard(Sender().talk(SPEECH))[0])


def test_a_plain_call_is_its_samples():
    assert to_pcm(PAYLOADS[0], SPEECH) == PLAIN.tobytes()


@given(
    st.lists(st.sampled_from([16, 48, 64, 160, 240]), min_size=1, max_size=5),
    st.lists(st.floats(0, 0.095), min_size=1, max_size=20),
    st.sets(st.integers(0, 20), max_size=5),
)
def test_neither_order_nor_doubling_nor_sizes_change_the_audio(sizes, delays, twice):
    sent = Sender().talk(SPEECH, cycle(sizes))
    came = delayed(sent, islice(cycle(delays), len(sent)))
    again = [came[number] for number in twice]
    events, legs = heard(sorted([*came, *again], key=lambda each: each.at))

    assert PLAIN.tobytes() == audio(events).tobytes()
    assert 0 == legs.legs[0].audio.counts.concealed
    assert len(twice) == legs.legs[0].packets.duplicates


@given(st.sets(st.integers(1, 48), max_size=20))
def test_lost_packets_are_silence_in_their_place_and_counted(gone):
    sent = Sender().talk(SPEECH)
    events, legs = heard([each for n, each in enumerate(sent) if n not in gone])

    expected = PLAIN.copy()
    for n in gone:
        expected[160 * n : 160 * (n + 1)] = 0
    counts = legs.legs[0].audio.counts
    assert expected.tobytes() == audio(events).tobytes()
    assert (160 * len(gone), 0) == (counts.concealed, counts.silent)
    assert len(gone) == legs.legs[0].packets.lost


def test_a_pause_with_comfort_noise_is_silence_and_no_loss():
    sender = Sender(sequence=9, timestamp=0)
    first = sender.talk(SPEECH[:1_600])
    noise = rtp(b"\x40", sequence=19, timestamp=1_600, kind=13)
    later = Sender(sequence=20, timestamp=9_600).talk(SPEECH[:1_600], at=101.2)
    came = [*first, Datagram(100.21, CALLER, TAP, noise), *later]

    events, legs = heard(came)

    counts = legs.legs[0].audio.counts
    assert 9_600 + 1_600 == len(audio(events))
    assert (3_200, 0, 8_000) == (counts.heard, counts.concealed, counts.silent)


def test_a_key_is_told_once_and_its_time_is_silence():
    before = Sender(sequence=0, timestamp=0).talk(SPEECH[:800])
    keys = []
    for n in range(6):  # three while it is held, three to tell its end
        flags, duration = (0x80, 480) if n >= 3 else (0, 160 * n)
        payload = struct.pack(">BBH", 5, flags | 10, duration)
        packet = rtp(payload, sequence=5 + n, timestamp=800, kind=KEY)
        keys.append(Datagram(100.1 + n / 50, CALLER, TAP, packet))
    after = Sender(sequence=11, timestamp=1_760).talk(SPEECH[:800], at=100.22)

    events, legs = heard([*before, *keys, *after])

    assert [Digit("5", 800)] == [e for _, e in events if isinstance(e, Digit)]
    assert [Silence(960, 800, concealed=False)] == [
        e for _, e in events if isinstance(e, Silence)
    ]
    assert 0 == legs.legs[0].audio.counts.concealed


def test_a_source_that_follows_a_silent_one_goes_on_with_its_leg():
    first = Sender(ssrc=1).talk(SPEECH[:3_200])
    second = Sender(ssrc=2, sequence=1, timestamp=77).talk(SPEECH[:3_200], at=101.0)

    events, legs = heard([*first, *second])

    (leg,) = legs.legs
    assert 1 == len({number for number, _ in events})
    assert 8_000 + 3_200 == len(audio(events))  # 0.6 s between them, by arrival
    assert 4_800 == leg.audio.counts.silent


def test_sources_beside_each_other_and_both_ways_are_legs_of_their_own():
    one = Sender(ssrc=1).talk(SPEECH)
    other = Sender(ssrc=2).talk(SPEECH[::-1])
    back = Sender(ssrc=3, source=AGENT).talk(SPEECH)
    came = sorted([*one, *other, *back], key=lambda each: each.at)

    events, legs = heard(came)

    assert 3 == len(legs.legs)
    assert {len(SPEECH)} == {len(audio(events, leg)) for leg in range(3)}


def test_a_clock_that_was_set_anew_costs_no_audio_and_no_hours():
    first = Sender(sequence=0, timestamp=0).talk(SPEECH[:1_600])
    second = Sender(sequence=10, timestamp=2**31 + 5).talk(SPEECH[:1_600], at=100.2)

    events, legs = heard([*first, *second])

    assert 3_200 == len(audio(events))
    assert 1 == legs.legs[0].audio.counts.jumps


def test_a_lone_packet_begins_nothing():
    _, legs = heard(Sender().talk(SPEECH[:160]))

    assert [] == legs.legs


def test_what_nobody_can_read_is_counted():
    packets = [
        Arrived(parse_packet(rtp(payload, sequence=n, kind=kind)), 0.02 * n)
        for n, (kind, payload) in enumerate(
            [(0, b"ab"), (3, b"gsm"), (11, b"ab"), (0, b"")]
        )
    ]
    audio = RtpAudio(PAYLOADS)
    for packet in packets:
        audio.push(packet)

    assert (2, 3) == (audio.counts.heard, audio.counts.unreadable)


@given(
    st.lists(
        st.tuples(
            st.floats(0, 50),
            st.sampled_from([CALLER, AGENT]),
            st.one_of(
                st.binary(max_size=60),
                st.builds(
                    rtp,
                    st.binary(max_size=40),
                    sequence=st.integers(0, 65_535),
                    timestamp=st.integers(0, 2**32 - 1),
                    kind=st.sampled_from([0, 8, 11, 13, 101, 77]),
                    ssrc=st.integers(0, 3),
                ),
            ),
        ),
        max_size=60,
    )
)
def test_any_datagrams_are_audio_or_counts(arrivals):
    datagrams = [Datagram(at, source, TAP, data) for at, source, data in arrivals]
    events, legs = heard(sorted(datagrams, key=lambda each: each.at))

    for leg in legs.legs:
        counts = leg.audio.counts
        assert leg.audio.position == len(audio(events, leg.number))
        assert leg.audio.position == counts.heard + counts.concealed + counts.silent
        assert leg.audio.position <= 48_000 * 60 * 4

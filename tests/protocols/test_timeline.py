"""Whatever order and gaps media have, each sample has its place or is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding
from streaming.errors import ProtocolError
from streaming.events import Audio
from streaming.protocols.timeline import Media, Timeline

MULAW = AudioFormat(Encoding.MULAW, 8_000)
BOTH = AudioFormat(Encoding.MULAW, 8_000, 2)
LINEAR = AudioFormat(Encoding.PCM_S16LE, 16_000)
FRAME = 160


def frame(value):
    return bytes([value]) * FRAME


def played(timeline, messages):
    """All that comes out: bytes, samples made up and late ones for each channel."""
    events = [event for media in messages for event in timeline.add(media)]
    events += timeline.drain()
    return b"".join(event.data for event in events), counts(events)


def counts(events):
    def summed(name):
        told = [getattr(event, name) for event in events]
        return tuple(map(sum, zip(*filter(None, told), strict=True)))

    return summed("concealed"), summed("late")


def test_one_track_in_order_goes_straight_through():
    timeline = Timeline(MULAW)

    assert [Audio(frame(1))] == timeline.add(Media(0, frame(1), 5))
    assert [Audio(frame(2))] == timeline.add(Media(0, frame(2), 25))
    assert [] == timeline.drain()


def test_the_first_timestamp_is_where_the_clock_begins():
    messages = [Media(0, frame(n), 1_603_000_000_000 + 20 * n) for n in range(9)]

    data, told = played(Timeline(MULAW), messages)

    assert b"".join(map(frame, range(9))) == data
    assert ((), ()) == told


def test_a_gap_is_filled_and_counted():
    messages = [Media(0, frame(1), 0), Media(0, frame(2), 60)]

    data, told = played(Timeline(MULAW), messages)

    assert frame(1) + b"\xff" * 320 + frame(2) == data
    assert ((320,), ()) == told


def test_timestamps_that_are_rounded_or_late_leave_no_gap_and_cost_nothing():
    stamps = [0, 19, 45, 58, 99, 81, 120, 139]
    messages = [Media(0, frame(n), at) for n, at in enumerate(stamps)]

    data, told = played(Timeline(MULAW), messages)

    assert b"".join(map(frame, range(8))) == data
    assert ((), ()) == told


def test_a_clock_that_never_moves_loses_nothing():
    messages = [Media(0, frame(1), 7) for _ in range(5_000)]

    data, told = played(Timeline(MULAW), messages)

    assert 5_000 * FRAME == len(data)
    assert ((), ()) == told


@pytest.mark.parametrize("jump", [10**9, -(10**9)])
def test_a_clock_that_is_set_anew_goes_on_where_it_was(jump):
    messages = [Media(0, frame(1), 10**10), Media(0, frame(2), 10**10 + jump)]
    messages.append(Media(0, frame(3), 10**10 + jump + 40))

    data, told = played(Timeline(MULAW), messages)

    assert frame(1) + frame(2) + b"\xff" * FRAME + frame(3) == data
    assert ((FRAME,), ()) == told


def test_two_tracks_are_interleaved_sample_by_sample():
    timeline = Timeline(BOTH)

    assert [] == timeline.add(Media(0, frame(1), 0))
    assert [Audio(bytes([1, 2]) * FRAME)] == timeline.add(Media(1, frame(2), 0))


def test_a_track_that_begins_later_keeps_its_place():
    messages = [Media(0, frame(1), 20 * n) for n in range(50)]
    messages.insert(30, Media(1, frame(2), 500))

    data, told = played(Timeline(BOTH), messages)

    inbound, outbound = np.frombuffer(data, np.uint8).reshape(-1, 2).T
    assert {1} == set(inbound)
    assert [4_000, 4_159] == [*np.flatnonzero(outbound == 2)[[0, -1]]]
    assert ((0, 8_000 - FRAME), ()) == told


def test_one_track_waits_for_the_other_for_a_fifth_of_a_second():
    timeline = Timeline(BOTH)
    given = [len(timeline.add(Media(0, frame(1), 20 * n))) for n in range(12)]

    assert [0] * 10 + [1, 1] == given


def test_what_comes_for_a_place_that_was_given_away_is_told_as_late():
    timeline = Timeline(BOTH)
    for number in range(25):  # 0.5 s of which 0.3 are given
        timeline.add(Media(0, frame(1), 20 * number))

    events = timeline.add(Media(1, b"\x02" * 4_000, 100))

    assert ((), (0, 1_600)) == counts(events)
    both = np.frombuffer(b"".join(e.data for e in events), np.uint8).reshape(-1, 2)
    assert {(1, 2)} == {tuple(map(int, pair)) for pair in both}
    assert 4_000 - 2_400 == len(both)


def test_messages_that_overtook_each_other_are_put_in_order():
    messages = [Media(0, frame(n), 20 * n, n + 1) for n in range(60)]
    mixed = [m for k in range(0, 60, 5) for m in reversed(messages[k : k + 5])]

    data, told = played(Timeline(MULAW), mixed)

    assert b"".join(map(frame, range(60))) == data
    assert ((), ()) == told


def test_a_message_that_never_comes_is_waited_for_and_filled():
    messages = [Media(0, frame(n), 20 * n, n + 1) for n in range(60) if n != 7]

    data, told = played(Timeline(MULAW), messages)

    assert frame(255) == data[7 * FRAME : 8 * FRAME]
    assert ((FRAME,), ()) == told


def test_a_message_that_comes_twice_is_told_as_late():
    messages = [Media(0, frame(n), 20 * n, n + 1) for n in range(9)]

    data, told = played(Timeline(MULAW), messages + messages[3:4])

    assert b"".join(map(frame, range(9))) == data
    assert ((), (FRAME,)) == told


def test_half_a_sample_is_refused():
    with pytest.raises(ProtocolError, match="whole samples of 2 bytes, got 3"):
        Timeline(LINEAR).add(Media(0, b"abc"))


def test_long_gaps_come_in_pieces():
    events = Timeline(MULAW).add(Media(0, frame(1), 0))
    timeline = Timeline(MULAW)
    timeline.add(Media(0, frame(1), 0))
    events = timeline.add(Media(0, frame(2), 29_000))

    assert 4_000 == max(len(event.data) for event in events)


media = st.builds(
    Media,
    track=st.integers(0, 1),
    data=st.integers(0, 800).map(lambda count: b"\x01" * count),
    at_ms=st.none() | st.integers(0, 5_000) | st.integers(-(10**15), 10**15),
    number=st.none() | st.integers(1, 30) | st.integers(-(10**15), 10**15),
)


@given(st.lists(media, max_size=40))
def test_every_sample_is_given_or_told_as_late(messages):
    timeline = Timeline(BOTH)
    sent = [sum(len(m.data) for m in messages if m.track == n) for n in (0, 1)]

    data, (concealed, late) = played(timeline, messages)

    tracks = np.frombuffer(data, np.uint8).reshape(-1, 2).T
    for number, track in enumerate(tracks):
        made_up = concealed[number] if concealed else 0
        came_late = late[number] if late else 0
        assert sent[number] == len(track) - made_up + came_late
        assert made_up == int((track == 255).sum())


@given(st.randoms(use_true_random=False))
def test_any_order_within_the_wait_gives_the_same(dice):
    messages = [Media(0, frame(n % 250), 20 * n, n + 1) for n in range(60)]
    mixed = sorted(messages, key=lambda m: m.number + dice.random() * 8)

    data, told = played(Timeline(MULAW), mixed)

    assert b"".join(m.data for m in messages) == data
    assert ((), ()) == told

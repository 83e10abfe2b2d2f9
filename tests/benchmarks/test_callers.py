"""What is measured of a call, on a call that was written down."""

import numpy as np
import pytest

from benchmarks.callers import PIECE, Call, _messages, measure, playlist
from benchmarks.samples import RATE, Sample, in_quiet_room
from clients import (
    Final,
    Finished,
    Partial,
    SpeechEnded,
    SpeechStarted,
    Totals,
    Word,
)

# Sent at the pace of speech from second 100 on, each piece when it was spoken.
SENT = [(PIECE * n, 100 + 0.02 * n) for n in range(1, 201)]
SAMPLES = SENT[-1][0]
FINAL = Final(
    0,
    0,
    "one two",
    0.7,
    2.5,
    0.9,
    "full",
    (Word("one", 1.0, 1.3, 0.9), Word("two", 1.5, 1.9, 0.9)),
)
EVENTS = [
    (101.2, SpeechStarted(0, 0, 1.0)),
    (101.65, Partial(0, 0, "one", 0, 0.7, 1.6)),
    (102.0, Partial(0, 0, "one to", 3, 0.7, 1.92)),
    (102.5, SpeechEnded(0, 0, 2.0, "silence")),
    (102.6, FINAL),
    (104.1, Finished((Totals(SAMPLES, 28_800, SAMPLES - 28_800, 0, 0),))),
]


def measured(events, sent=SENT):
    return measure([Call(list(sent), list(events))], hangover_s=0.5)


def test_latencies_count_from_when_the_audio_was_sent():
    found = measured(EVENTS)
    assert pytest.approx([0.05, 0.08]) == found.partial
    assert pytest.approx([0.65]) == found.first_word
    assert pytest.approx([0.6]) == found.finalization
    assert pytest.approx([0.1]) == found.after_hangover
    # "one" showed at 101.65 and was kept, "two" with the final only.
    assert pytest.approx([0.35]) == found.emission
    assert pytest.approx([0.35, 0.7]) == found.emission_with_finals


def test_a_partial_that_comes_with_the_final_is_still_a_partial():
    partial = (102.6, Partial(0, 0, "one two", 3, 0.7, 2.24))
    found = measured([*EVENTS[:4], partial, *EVENTS[4:]])
    assert pytest.approx([0.35, 0.7]) == found.emission == found.emission_with_finals


def test_what_was_taken_back_and_made_is_counted():
    found = measured(EVENTS)
    assert (1, 1, 0) == (found.finals, found.finals_full, found.finals_missing)
    assert (2, 1) == (found.churn.words, found.churn.revised)
    assert (0, 0, 0) == (found.audio_loss, found.dropped, found.calls_unfinished)


@pytest.mark.parametrize("reason", ["flush", "finish", "blank", "max_length"])
def test_no_hangover_is_taken_off_where_silence_did_not_end_it(reason):
    events = [
        (at, SpeechEnded(0, 0, 2.0, reason) if isinstance(e, SpeechEnded) else e)
        for at, e in EVENTS
    ]
    found = measured(events)
    assert [] == found.after_hangover
    assert 1 == len(found.finalization)


def test_a_final_that_never_came_is_missed():
    found = measured([(at, e) for at, e in EVENTS if not isinstance(e, Final)])
    assert (0, 1) == (found.finals, found.finals_missing)


def test_samples_that_were_not_heard_are_lost():
    short = Finished((Totals(SAMPLES - 320, 28_800, SAMPLES - 28_800 - 1_000, 680, 0),))
    found = measured([*EVENTS[:-1], (104.1, short)])
    assert (1_000, 680) == (found.audio_loss, found.dropped)


def test_a_stream_without_totals_lost_everything():
    found = measured(EVENTS[:-1])
    assert (1, SAMPLES) == (found.calls_unfinished, found.audio_loss)


def test_calls_are_pooled():
    found = measure([Call(SENT, EVENTS), Call(SENT, EVENTS)], hangover_s=0.5)
    assert (2, 4, 4) == (found.finals, found.churn.words, len(found.partial))


def sample(name, seconds=0.5):
    noise = np.random.default_rng(1).normal(0, 0.1, int(seconds * RATE))
    return Sample("x", name, name, in_quiet_room(noise.astype(np.float32), name))


def test_a_playlist_is_the_same_for_the_same_seed_and_long_enough():
    samples = [sample("a"), sample("b")]
    first, again, other = (list(playlist(samples, n, 10)) for n in (1, 1, 2))
    audio = [np.concatenate([piece for piece, _ in each]) for each in (first, again)]
    assert np.array_equal(*audio)
    assert [text for _, text in first] == [text for _, text in again]
    assert [len(p) for p, _ in first] != [len(p) for p, _ in other]
    assert 10 <= len(audio[0]) / RATE < 14
    assert {"", "a", "b"} == {text for _, text in first}


def test_messages_are_20_ms_and_hold_every_sample():
    said = []
    pieces = list(playlist([sample("a", 0.513)], 3, 5))
    messages = list(_messages(iter(pieces), said))
    whole = np.concatenate([piece for piece, _ in pieces])
    assert np.array_equal(whole, np.concatenate(messages))
    assert {PIECE} == {len(message) for message in messages[:-1]}
    assert [text for _, text in pieces if text] == said


def test_a_quiet_room_is_faint_and_always_the_same():
    silent = np.zeros(100, np.float32)
    room = in_quiet_room(silent, "clip")
    assert np.array_equal(room, in_quiet_room(silent, "clip"))
    assert len(silent) + 1.3 * RATE == len(room)
    assert 0 < np.abs(room[: RATE // 2]).max() < 0.01

"""Latencies of a paced stream, on a made-up clock."""

from __future__ import annotations

import pytest

from clients.events import Ack, Final, Partial, SpeechEnded, SpeechStarted
from clients.latency import Latencies, percentile


def paced(seconds: float) -> Latencies:
    """Audio at 16 kHz in pieces of 20 ms, each sent when it ends; began at 100."""
    latencies = Latencies(16_000)
    for piece in range(1, round(seconds * 50) + 1):
        latencies.sent(piece * 320, 100 + piece * 0.02)
    return latencies


def partial(end, text="a", utterance=0):
    return Partial(0, utterance, text, 0, 0.0, end)


def final(text="a", utterance=0):
    return Final(0, utterance, text, 0.0, 2.0, 1.0, "full")


def test_a_partial_counts_from_the_sending_of_its_last_sample():
    latencies = paced(3)

    latencies.received(partial(1.0), 101.05)

    assert [pytest.approx(0.05)] == latencies.partial


def test_a_sample_inside_a_piece_was_sent_with_the_piece():
    latencies = paced(3)

    latencies.received(partial(1.011), 101.05)

    assert [pytest.approx(0.03)] == latencies.partial


def test_first_word_counts_from_the_onset_and_once_an_utterance():
    latencies = paced(3)

    latencies.received(SpeechStarted(0, 0, 0.5), 100.6)
    latencies.received(partial(0.8, ""), 100.9)
    latencies.received(partial(1.1), 101.2)
    latencies.received(partial(1.4), 101.5)

    assert [pytest.approx(0.7)] == latencies.first_word


def test_an_utterance_without_partials_shows_its_first_word_in_the_final():
    latencies = paced(3)

    latencies.received(SpeechStarted(0, 3, 0.5), 100.6)
    latencies.received(final(utterance=3), 102.0)

    assert [pytest.approx(1.5)] == latencies.first_word


def test_finalization_counts_from_the_end_of_speech():
    latencies = paced(3)

    latencies.received(SpeechEnded(0, 0, 1.5, "silence"), 102.0)
    latencies.received(final(), 102.1)

    assert [pytest.approx(0.6)] == latencies.finalization


def test_channels_are_kept_apart():
    latencies = paced(3)

    latencies.received(SpeechEnded(0, 0, 1.5, "silence"), 102.0)
    latencies.received(SpeechEnded(1, 0, 1.0, "silence"), 102.0)
    latencies.received(final(), 102.1)

    assert [pytest.approx(0.6)] == latencies.finalization


def test_other_events_pass_by():
    latencies = paced(1)

    latencies.received(Ack(16_000), 101.0)

    assert ([], [], []) == (
        latencies.partial,
        latencies.first_word,
        latencies.finalization,
    )


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([1], 0.5, 1), ([3, 1, 2], 0.5, 2), (range(1, 101), 0.95, 95), ([1, 2], 0, 1)],
)
def test_percentiles_are_values_that_were_measured(values, share, expected):
    assert expected == percentile(list(values), share)


def test_a_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)

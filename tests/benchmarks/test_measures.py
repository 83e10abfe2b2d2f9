"""The pure half of the benchmarks, against what a person would count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measures import (
    Churn,
    churn,
    first_kept,
    percentiles,
    shown,
    summary,
)
from clients import events as client
from streaming import events as server

WORDS = st.lists(st.sampled_from("one two three on t".split()), max_size=6)


def of(*texts):
    return churn([text.split() for text in texts], 2.0)


@pytest.mark.parametrize(
    ("texts", "revised", "grown"),
    [
        ("turn|turn on|turn on the|turn on the", 0, 0),
        # The last word grows, alone or while others follow.
        ("tur|turn on|turn on", 0, 1),
        ("turn on the li|turn on the light now|turn on the light now", 0, 1),
        # Not the last word: that is a revision.
        ("tur on|turn on|turn on", 1, 0),
        # A word that shrinks or goes is one as well.
        ("turning|turn|turn", 1, 0),
        ("turn on|turn|turn", 1, 0),
        ("turn of|turn on|turn on", 1, 0),
        # There and back again is two.
        ("turn on|turn off|turn on", 2, 0),
        # A word put in before others revises none of them.
        ("on the light|turn on the light|turn on the light", 0, 0),
        # Revised and grown at once.
        ("tern on the li|turn on the light|turn on the light", 1, 1),
        # The final counts.
        ("a b c|x y z", 3, 0),
        ("a b", 0, 0),
    ],
)
def test_words_that_were_taken_back(texts, revised, grown):
    found = of(*texts.split("|"))
    assert (revised, grown) == (found.revised, found.grown)


def test_ratios_are_over_the_words_of_finals_and_seconds():
    found = of("a b", "a c", "a c d", "x c d") + of("e", "e f")
    assert Churn(5, 2, 1, 0, 2, 4.0) == found
    assert (2 / 5, 0.0, 2 / 4) == (found.upwr, found.growth, found.flicker)


def test_nothing_shown_is_nothing_revised():
    assert Churn(0, 0, 0, 0, 0, 1.0) == churn([], 1.0)
    assert (0.0, 0.0, 0.0) == (Churn().upwr, Churn().growth, Churn().flicker)


@given(st.lists(WORDS, max_size=5))
def test_no_more_is_revised_than_was_shown(hypotheses):
    found = churn(hypotheses, 1.0)
    shown_words = sum(map(len, hypotheses[:-1]))
    assert 0 <= found.revised + found.grown <= shown_words
    assert found.revisions <= max(0, len(hypotheses) - 1)
    assert found.at_final <= found.revised


@given(WORDS, st.integers(1, 4))
def test_what_only_gets_longer_is_never_revised(words, step):
    hypotheses = [words[:end] for end in range(0, len(words), step)] + [words]
    assert 0 == churn(hypotheses, 1.0).revised


def test_a_word_counts_from_the_first_hypothesis_that_keeps_it():
    hypotheses = [
        ["turn"],
        ["turn", "off"],
        ["turn", "on", "the"],
        ["turn", "of", "the"],
        ["turn", "on", "the", "light"],
    ]
    assert [0, 4, 2, 4] == first_kept(hypotheses, "turn on the light".split())


def test_a_word_that_the_last_hypothesis_lacks_was_never_kept():
    assert [0, None] == first_kept([["a", "b"], ["a"]], ["a", "b"])
    assert [None, None] == first_kept([], ["a", "b"])


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_words_of_the_last_hypothesis_were_kept_from_some_on(hypotheses):
    found = first_kept(hypotheses, hypotheses[-1])
    assert len(hypotheses[-1]) == len(found)
    assert all(place in range(len(hypotheses)) for place in found)


@pytest.mark.parametrize("words", [client, server])
def test_events_are_sorted_by_utterance(words):
    silence = "silence" if words is client else server.EndReason.SILENCE
    full = "full" if words is client else server.Pass.FULL
    told = [
        (0.5, words.SpeechStarted(0, 0, 0.4)),
        (0.9, words.Partial(0, 0, "a", 0, 0.2, 0.8)),
        (1.0, words.SpeechStarted(1, 0, 0.9)),
        (1.5, words.SpeechEnded(0, 0, 1.1, silence)),
        (1.6, words.Final(0, 0, "a b", 0.2, 1.4, 0.9, full)),
        (2.0, words.Ack(16_000)),
    ]
    first, second = shown(told)
    assert (0.4, 1.1, "silence") == (first.onset, first.speech_end, first.reason)
    assert [(0.9, ["a"]), (1.6, ["a", "b"])] == first.hypotheses
    assert [0.8] == first.ends
    assert (1, 0.9, None, []) == (
        second.channel,
        second.onset,
        second.final,
        second.hypotheses,
    )


def test_percentiles_are_values_that_were_measured():
    assert [3, 5, 5] == percentiles([5, 1, 3, 2, 4])
    assert [50, 95, 99] == percentiles(range(1, 101))
    assert [7, 7, 7] == percentiles([7])
    assert [None] * 3 == percentiles([])


def test_a_summary_says_of_how_many():
    assert {"of": 2, "p50": 1, "p95": 4, "p99": 4} == summary([4, 1])

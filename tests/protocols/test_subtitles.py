"""Subtitles: readable cues that keep every word, in the two common formats."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events import Final, Pass, Word
from streaming.protocols.subtitles import LINE, LINES, LONGEST_MS, Cue, cues, srt, vtt


def final(text, start, end, words=(), channel=0):
    return Final(channel, 0, text, start, end, 1.0, Pass.FULL, tuple(words))


@st.composite
def finals(draw):
    """Utterances one after another, as one channel yields them."""
    now, made = 0.0, []
    for _ in range(draw(st.integers(0, 6))):
        now += draw(st.floats(0, 2))
        start, words = now, []
        for text in draw(
            st.lists(st.text("abc", min_size=1, max_size=60), max_size=30)
        ):
            begin = now + draw(st.floats(0, 1.5))
            now = begin + draw(st.floats(0, 1.5))
            words.append(Word(text, begin, now, 1.0))
        kept = words if draw(st.booleans()) else ()
        made.append(final(" ".join(word.word for word in words), start, now, kept))
    return made


@given(finals())
def test_every_word_is_shown_once_and_in_order(finals):
    shown = " ".join(line for cue in cues(finals) for line in cue.lines)

    assert " ".join(final.text for final in finals).split() == shown.split()


@given(finals())
def test_cues_are_apart_and_never_longer_than_can_be_read(finals):
    made = cues(finals)

    for cue, after in pairwise(made):
        assert cue.end_ms <= after.start_ms
    for cue in made:
        assert cue.start_ms < cue.end_ms
        assert 1 <= len(cue.lines) <= LINES
        alone = len(" ".join(cue.lines).split()) == 1
        assert alone or cue.end_ms - cue.start_ms <= LONGEST_MS + 1
        for line in cue.lines:
            assert len(line) <= LINE or " " not in line


def test_a_pause_ends_a_cue():
    words = [Word("one", 0.0, 0.5, 1.0), Word("two", 1.3, 1.8, 1.0)]

    assert [Cue(0, 500, ("one",)), Cue(1300, 1800, ("two",))] == cues(
        [final("one two", 0.0, 1.8, words)]
    )


def test_words_without_times_share_the_length_of_the_final():
    assert [Cue(1000, 3000, ("one two",))] == cues([final("one two", 1.0, 3.0)])


def test_an_empty_final_is_no_cue():
    assert [] == cues([final("", 1.0, 3.0)])


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (
            srt,
            "1\n00:00:00,500 --> 00:00:01,000\na < b\n\n"
            "2\n01:01:01,001 --> 01:01:02,000\nc\nd\n",
        ),
        (
            vtt,
            "WEBVTT\n\n00:00:00.500 --> 00:00:01.000\na &lt; b\n\n"
            "01:01:01.001 --> 01:01:02.000\nc\nd\n",
        ),
    ],
)
def test_the_formats(write, expected):
    made = [Cue(500, 1000, ("a < b",)), Cue(3_661_001, 3_662_000, ("c", "d"))]

    assert expected == write(made)


def test_nothing_said():
    assert ("", "WEBVTT\n") == (srt([]), vtt([]))


def test_two_channels_are_named():
    made = cues(
        [final("hello", 0.0, 1.0, channel=0), final("there", 0.5, 1.5, channel=1)]
    )

    assert re.findall(r"^\d: .*$", srt(made), re.MULTILINE) == ["0: hello", "1: there"]

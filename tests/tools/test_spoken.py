"""Windows as a Windower cuts them, conversations as they are talked."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import GateConfig
from streaming.core.windows import Windower, WindowShape
from streaming.tools.spoken import Line, Utterance, utterances
from streaming.tools.talk import Talk, demo_phrases

RATE = 16_000


def talk(duty=1.0):
    return Talk(demo_phrases(RATE), RATE, duty)


@pytest.mark.parametrize("duty", [1.0, 0.4, 0.1])
def test_utterances_follow_one_another_and_fill_the_duty(duty):
    gate = GateConfig()
    ends, covered = 0, 0
    for utterance in islice(utterances(talk(duty), gate, 3), 300):
        assert utterance.start >= ends
        assert 0 < utterance.length <= gate.max_utterance_s * RATE
        ends = utterance.start + utterance.length
        covered += utterance.length
    # Pre-roll and hangover belong to utterances as well: 0.8 s of each.
    assert duty <= covered / ends + 0.05
    assert covered / ends <= duty + 0.8 * 300 * RATE / ends * (duty < 1) + 0.05


def test_somebody_who_always_talks_is_always_decoded():
    said = list(islice(utterances(talk(), GateConfig(), 1), 50))
    ends = [each.start + each.length for each in said]
    assert ends[:-1] == [each.start for each in said[1:]]


def test_a_stream_is_met_in_the_midst_of_a_conversation():
    firsts = [next(utterances(talk(), GateConfig(), seed)) for seed in range(40)]
    assert {0} == {each.start for each in firsts}
    assert 30 < len({each.length for each in firsts})


@given(
    left=st.integers(0, 40),
    hop=st.integers(1, 20),
    right=st.integers(0, 20),
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    gap=st.integers(0, 30),
)
def test_windows_are_those_of_a_windower(left, hop, right, lengths, gap):
    shape, sound = WindowShape(left, hop, right), np.arange(2_000, dtype=np.float32)
    said, at = [], 0
    for length in [*lengths, 1]:
        said.append(Utterance(at, length))
        at += length + gap
    line = Line(shape, sound, iter(said), 10, 0)  # 10 samples a second
    for number, utterance in enumerate(said[:-1]):
        begin = line._from
        windower, expected = Windower(shape, normalise=False), []
        for place in range(utterance.length):
            pushed = windower.push(sound[begin + place : begin + place + 1])
            expected += [(place + 1, window) for window in pushed]
        expected += [(utterance.length, window) for window in windower.flush()]
        for place, window in expected:
            spoken = line.take()
            assert (utterance.start + place, number) == (spoken.at, spoken.utterance)
            np.testing.assert_array_equal(window.samples, spoken.window.samples)
            for name in ("start", "left", "hop", "right", "last"):
                assert getattr(window, name) == getattr(spoken.window, name)


@given(hop=st.integers(1, 20), right=st.integers(0, 20), at=st.integers(0, 150))
def test_an_utterance_may_be_ended_where_the_stream_is(hop, right, at):
    shape, sound = WindowShape(0, hop, right), np.arange(2_000, dtype=np.float32)
    line = Line(shape, sound, iter([Utterance(0, 200)]), 10, 0)
    hops = 0
    while line.at <= at:
        hops += line.take().window.hop
    spoken = line.end(at)
    assert (hops == 0) == (spoken is None)
    if spoken is not None:
        assert spoken.window.last
        assert at == hops + spoken.window.hop
        assert len(spoken.window.samples) == spoken.window.hop

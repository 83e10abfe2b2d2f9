from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from streaming.errors import ModelError
from streaming.models.model import Windowed
from streaming.models.warming import time_passes, time_steps
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary
from tests.historian import Historian


class RealTime(Windowed):
    """Takes `pace` seconds for a second of audio, on a clock of its own."""

    geometry = Geometry()
    vocabulary = Vocabulary(("<pad>", "a"), 0, None, frozenset())

    def __init__(self, pace, overhead_s=0.0):
        self.pace = pace
        self.overhead_s = overhead_s
        self.now = 0.0

    def forward(self, batch):
        self.now += self.overhead_s + self.pace * sum(map(len, batch)) / 16_000
        return [
            np.zeros((self.geometry.steps(len(samples)), 2), np.float32)
            for samples in batch
        ]


def timed(pace, max_batch, overhead_s=0.0):
    model = RealTime(pace, overhead_s)
    return time_passes(model, max_batch, lambda: model.now)


def test_windows_of_growing_length_are_timed_thrice():
    expected = [
        (round(s * 16_000), 1, s / 64) for s in (0.5, 1, 2, 4, 8, 16) for _ in range(3)
    ]

    assert expected == timed(pace=1 / 64, max_batch=1)


def sizes(timed, seconds):
    """The batches of windows of one length that were timed, thrice each."""
    batches = [batch for samples, batch, _ in timed if samples == seconds * 16_000]
    assert batches == sorted(batches)
    assert {3} <= set(Counter(batches).values()) <= {3, 6}
    return sorted(set(batches))


@pytest.mark.parametrize(
    ("expected", "max_batch", "overhead_s", "pace"),
    [
        ([1], 1, 0.01, 1 / 256),
        ([1, 2, 4], 32, 0.0, 1 / 256),  # a CPU: nothing is shared
        ([1, 2, 4, 8, 16, 32], 32, 0.01, 1 / 10_000),
        ([1, 2, 4, 8, 16, 24], 24, 0.01, 1 / 10_000),
        ([1, 2, 4, 8, 16, 32, 64, 128], 256, 0.001, 1 / 1_000),  # from 32 on 3 %
        ([1, 2, 4, 8], 64, 0.2, 1 / 8),  # the last takes 0.7 s
    ],
)
def test_short_windows_are_timed_in_growing_batches_while_these_pay(
    expected, max_batch, overhead_s, pace
):
    found = timed(pace, max_batch, overhead_s)

    assert expected == sizes(found, 0.5)
    for long_s in {samples // 16_000 for samples, *_ in found if samples > 64_000}:
        assert [1] == sizes(found, long_s)


def test_a_slow_model_is_not_made_to_run_the_longest_windows():
    assert 2 * 16_000 == max(samples for samples, _, _ in timed(pace=0.5, max_batch=1))


# --- steps -----------------------------------------------------------------


class Attentive(Historian):
    """A step takes as long as it is, and as the past it looks at: 10 s of it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.now = 0.0
        self.pasts = Counter()

    def step(self, batch):
        for step in batch:
            past_s = min(10.0, self.pasts[step.state] / 16_000)
            self.now += past_s / 10_000 + len(step.samples) / 1_600_000
            self.pasts[step.state] += step.hop
        return super().step(batch)


def steps(model):
    return time_steps(model, model.max_batch, lambda: model.now)


def test_steps_are_timed_with_their_left_context_alone_and_in_batches():
    timed = steps(Attentive(max_batch=8))

    expected = [
        (round(s * 16_000), batch, pytest.approx(batch * (s / 100 + 0.001)))
        for s in (0.24, 0.48, 0.96, 1.92)
        for batch in (1, 2, 4)  # none pays
        for _ in range(3)
    ]
    assert expected == timed


def test_warming_leaves_no_state_behind():
    model = Attentive(max_batch=8)

    steps(model)

    assert [1] * 8 == [history.closed for history in model.histories]


def test_a_model_with_room_for_few_is_timed_with_those():
    model = Attentive(max_batch=8, room=3)

    assert {1, 2, 3} == {batch for _, batch, _ in steps(model)}
    assert [] == model.held


def test_a_model_without_room_for_one_state_cannot_be_warmed():
    with pytest.raises(ModelError, match="all 0 slots are taken"):
        steps(Attentive(room=0))


def test_states_are_closed_when_a_step_fails():
    model = Attentive(max_batch=4, odd={0})
    model.armed.set()
    model.gate.set()

    with pytest.raises(ModelError, match="rows, expected"):
        steps(model)
    assert [1] * 4 == [history.closed for history in model.histories]

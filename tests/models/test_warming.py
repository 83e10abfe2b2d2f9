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

    def __init__(self, pace):
        self.pace = pace
        self.now = 0.0

    def forward(self, batch):
        self.now += self.pace * sum(map(len, batch)) / 16_000
        return [
            np.zeros((self.geometry.steps(len(samples)), 2), np.float32)
            for samples in batch
        ]


def timed(pace, max_batch):
    model = RealTime(pace)
    return time_passes(model, max_batch, lambda: model.now)


def test_windows_of_growing_length_are_timed_thrice():
    expected = [
        (round(s * 16_000), 1, s / 64) for s in (0.5, 1, 2, 4, 8, 16) for _ in range(3)
    ]

    assert expected == timed(pace=1 / 64, max_batch=1)


def test_short_windows_are_timed_in_batches_too():
    batches = [(samples // 16_000, batch) for samples, batch, _ in timed(1 / 256, 8)]

    assert [*[(2, 1)] * 3, *[(2, 3)] * 3, *[(2, 8)] * 3] == batches[18:27]
    assert [*[(8, 1)] * 3, *[(16, 1)] * 3] == batches[-6:]


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
        for batch in (1, 3, 8)
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

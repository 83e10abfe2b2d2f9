from __future__ import annotations

import numpy as np

from streaming.models.model import Windowed
from streaming.models.warming import time_passes
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary


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

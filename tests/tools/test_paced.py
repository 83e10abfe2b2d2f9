"""A paced crowd: what it is told of its windows."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from streaming.config import (
    Config,
    EngineConfig,
    StreamConfig,
    WindowConfig,
)
from streaming.errors import ModelError
from streaming.events import Pass
from streaming.models.model import Windowed
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary
from streaming.tools.capacity import failings, measure_capacity
from streaming.tools.crowd import open_hall
from streaming.tools.outcome import Crowd
from streaming.tools.paced import PacedHall
from streaming.tools.talk import Talk, demo_phrases

RATE = 16_000
CONFIG = Config(
    engine=EngineConfig(workers=1),
    stream=StreamConfig(window=WindowConfig(160, 80, 80), budget_ms=100),
)


def talk(duty=1.0):
    return Talk(demo_phrases(RATE), RATE, duty)


# --- a crowd, in real time -----------------------------------------------------


class Blank(Windowed):
    """Hears nothing, at once; slowly, or not at all, as it is told."""

    name, language, normalise, temperature = "blank", "en", True, 1.0
    max_batch, pads = 4, True
    geometry = Geometry()
    vocabulary = Vocabulary(("<pad>", "|", "a"), 0, 1, frozenset())

    def __init__(self, slow=None, broken=None):
        self.slow = slow or threading.Event()
        self.broken = broken or threading.Event()

    def forward(self, batch):
        if self.slow.is_set():
            time.sleep(0.1)
        if self.broken.is_set():
            raise ModelError("out of order")
        steps = [self.geometry.steps(len(samples)) for samples in batch]
        return [np.zeros((each, 3), np.float32) for each in steps]

    def clone(self):
        return Blank(self.slow, self.broken)

    def close(self):
        pass


def test_a_crowd_is_paced_and_every_window_is_accounted_for():
    with open_hall(CONFIG, model=Blank()) as hall:
        outcome = PacedHall(hall).hear(Crowd(20, talk(), seconds=0.6, settle_s=0.4))

    assert 0 == outcome.lost == outcome.broken
    assert 0 < outcome.finals == outcome.utterances
    assert 0 < outcome.decoded == outcome.received
    ran = [ran for stream in outcome.passes for ran in stream]
    assert 20 == len(outcome.passes)
    assert {Pass.STITCHED} == {each.kind for each in ran}
    # Twenty who always talk: one window each in 80 ms.
    assert pytest.approx(20 * outcome.seconds / 0.08, rel=0.3) == len(outcome.waits)
    assert outcome.seconds >= 0.6
    assert outcome.computed > 1
    assert 1 <= outcome.batch <= 4
    assert 0 < min(outcome.waits)


def test_one_who_seldom_talks_has_few_windows():
    crowd = Crowd(40, talk(0.1), seconds=0.6, settle_s=0.2)
    with open_hall(CONFIG, model=Blank()) as hall:
        outcome = PacedHall(hall).hear(crowd)
    assert len(outcome.waits) < 0.6 * 40 * outcome.seconds / 0.08


def test_a_crowd_too_large_is_broken_off_and_leaves_nothing_behind():
    model = Blank()
    with open_hall(CONFIG, model=model) as hall:
        paced = PacedHall(hall)
        model.slow.set()
        outcome = paced.hear(Crowd(40, talk(), seconds=60, settle_s=0.2))
        stats = hall.engine.stats
        model.slow.clear()
        again = paced.hear(Crowd(1, talk(), seconds=0.4, settle_s=0.2))

    assert outcome.hopeless
    assert ("windows later and later",) == failings(outcome, 0.1)
    assert (0, 0) == (stats.waiting, stats.busy)
    assert not again.hopeless


def test_windows_that_fail_are_told():
    model = Blank()
    with open_hall(CONFIG, model=model) as hall:
        model.broken.set()
        outcome = PacedHall(hall).hear(Crowd(3, talk(), seconds=0.4, settle_s=0.2))

    assert (3, 0) == (outcome.broken, outcome.finals)
    assert outcome.lost == outcome.received > 0
    assert "out of order" in outcome.failure
    assert failings(outcome, 0.1)


def test_capacity_is_searched_with_a_paced_crowd_too():
    with open_hall(CONFIG, model=Blank()) as hall:
        found = measure_capacity(
            PacedHall(hall), 1.0, 3, seconds=0.3, settle_s=0.2, most=4
        )
    assert (4, 4) == (found.streams, found.outcome.streams)

"""The search for the most streams, what has to hold, and a crowd in real time."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import Config, EngineConfig, StreamConfig, WindowConfig
from streaming.core.ladder import LADDER
from streaming.errors import ConfigError
from streaming.events import Pass
from streaming.models.model import Windowed
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary
from streaming.tools.capacity import (
    bare_streams,
    failings,
    foretold,
    greatest,
    measure_capacity,
)
from streaming.tools.crowd import open_hall
from streaming.tools.outcome import Crowd, Outcome
from streaming.tools.talk import Talk, demo_phrases

RATE = 16_000
BUDGET_S = 0.5
GOOD = Outcome(
    streams=4, waits=(0.1,) * 950 + (0.6,) * 49 + (1.0,), utterances=9, finals=9
)


# --- the search --------------------------------------------------------------


@given(limit=st.integers(0, 20_000), guess=st.integers(-3, 20_000))
def test_the_search_comes_within_five_percent_and_never_over(limit, guess):
    tried = {}

    def holds(number):
        tried[number] = number <= limit
        return tried[number]

    found = greatest(holds, guess)

    assert found <= limit <= max(1.05 * found, found + 1) + 1e-9
    assert found == 0 or tried[found]
    assert len(tried) <= 50


@given(limit=st.integers(1, 500), most=st.integers(1, 500), guess=st.integers(1, 900))
def test_no_more_are_tried_than_the_most(limit, most, guess):
    tried = []

    def holds(number):
        tried.append(number)
        return number <= limit

    found = greatest(holds, guess, most)

    assert max(tried) <= most
    assert found <= min(limit, most) <= max(1.05 * found, found + 1) + 1e-9


def test_a_good_guess_takes_few_trials():
    tried = []

    def holds(number):
        tried.append(number)
        return number <= 100

    greatest(holds, 90)

    assert len(tried) <= 6


# --- what has to hold ----------------------------------------------------------

UNDER = {level.level: number for number, level in enumerate(LADDER)}

WRONG = [
    ({"waits": (0.51,) * 100}, "p95 510 ms, over 500"),
    ({"waits": (0.1,) * 998 + (1.1,) * 2}, "p99.9 1100 ms, over 1000"),
    ({"lowest": (UNDER["longer_hop"], "longer_hop")}, "ladder at longer_hop"),
    ({"finals": 8}, "1 finals missing"),
    ({"broken": 2}, "2 sessions failed"),
    ({"lost": 320}, "320 samples lost"),
    ({"hopeless": True}, "windows later and later"),
    ({"waits": ()}, "no window was decoded"),
]


@pytest.mark.parametrize(("what", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_speaks_against_a_number_of_streams(what, said):
    assert (said,) == failings(replace(GOOD, **what), BUDGET_S)


def test_stitched_finals_and_waits_up_to_the_budget_are_fine():
    stitched = (UNDER["stitched"], "stitched")
    assert () == failings(replace(GOOD, lowest=stitched), BUDGET_S)


@dataclass
class FakeMachine:
    """Carries so many talkers; waits grow as in a queue."""

    carries: float
    facts = SimpleNamespace(geometry=Geometry())
    config = Config()

    def hear(self, crowd):
        load = crowd.streams * crowd.talk.duty / self.carries
        wait = 0.05 / (1 - load) if load < 1 else 99.0
        return replace(GOOD, streams=crowd.streams, waits=(wait,) * 99)


@pytest.mark.parametrize("duty", [1.0, 0.4])
def test_capacity_of_a_machine_is_found_and_told(duty):
    told = []
    found = measure_capacity(FakeMachine(100), duty, 20, seconds=1, tell=told.append)

    # 0.05 / (1 - load) is half a second at a load of 0.9.
    assert 0.95 * 90 / duty - 1 <= found.streams <= 90 / duty
    assert found.streams == found.outcome.streams
    assert len(told) == len(found.trials)
    assert any("over 500" in words for words in told)


def test_a_machine_that_carries_nobody_has_no_outcome():
    found = measure_capacity(FakeMachine(1), 1.0, 20, seconds=1)
    assert (0, None) == (found.streams, found.outcome)


# --- conversations -------------------------------------------------------------


def conversation(duty, seed=1, seconds=300.0, phase=0.0):
    talk = Talk(demo_phrases(RATE), RATE, duty)
    pieces = talk.pieces(seed, 320, phase)
    data = b"".join(islice(pieces, int(seconds * 50)))
    return np.frombuffer(data, "<i2").astype(np.float32)


def test_the_same_seed_gives_the_same_conversation():
    assert np.array_equal(conversation(0.4, seconds=20), conversation(0.4, seconds=20))
    assert not np.array_equal(
        conversation(0.4, seconds=20), conversation(0.4, seed=2, seconds=20)
    )


@pytest.mark.parametrize("duty", [1.0, 0.4, 0.1])
def test_duty_is_the_share_of_time_in_turns(duty):
    heard = conversation(duty, seconds=600)
    loud = np.abs(heard).reshape(-1, 160).max(axis=1) > 300
    # In turns are pauses of up to 0.7 s; between them silences are longer.
    quiet_s = 0.0
    start = None
    for at, is_loud in enumerate([*loud, True]):
        if is_loud:
            if start is not None and at - start > 100:
                quiet_s += (at - start) / 100
            start = None
        elif start is None:
            start = at
    assert pytest.approx(1 - duty, abs=0.1) == quiet_s / 600


def test_a_phase_past_the_duty_begins_in_silence():
    assert np.abs(conversation(0.4, seconds=0.5, phase=0.9)).max() < 300


@pytest.mark.parametrize("duty", [0.0, 1.1])
def test_no_such_duty(duty):
    with pytest.raises(ConfigError, match="duty"):
        Talk(demo_phrases(RATE), RATE, duty)


# --- a crowd, in real time -------------------------------------------------------


class Blank(Windowed):
    """Hears nothing, at once, or as slowly as it is told."""

    name, language, normalise, temperature = "blank", "en", False, 1.0
    max_batch, pads = 1, True
    geometry = Geometry()
    vocabulary = Vocabulary(("<pad>", "|", "a"), 0, 1, frozenset())

    def __init__(self, slow=None):
        self.slow = slow or threading.Event()

    def forward(self, batch):
        if self.slow.is_set():
            time.sleep(0.1)
        steps = [self.geometry.steps(len(samples)) for samples in batch]
        return [np.zeros((each, 3), np.float32) for each in steps]

    def clone(self):
        return Blank(self.slow)

    def close(self):
        pass


CONFIG = Config(
    engine=EngineConfig(workers=1),
    stream=StreamConfig(window=WindowConfig(160, 80, 80), budget_ms=100),
)


def test_a_crowd_is_heard_in_real_time_and_every_sample_is_accounted_for():
    talk = Talk(demo_phrases(RATE), RATE)
    with open_hall(CONFIG, model=Blank()) as hall:
        outcome = hall.hear(Crowd(3, talk, seconds=0.6, settle_s=0.4))

    assert 0 == outcome.lost == outcome.broken
    assert 0 < outcome.finals == outcome.utterances
    assert 0 < outcome.decoded <= outcome.received
    ran = [ran for stream in outcome.passes for ran in stream]
    windows = [each for each in ran if each.kind is Pass.STITCHED]
    assert 3 == len(outcome.passes)
    assert len(windows) <= len(outcome.waits)  # a last one may hold no samples
    assert all(each.hop <= each.samples for each in ran)
    assert outcome.seconds >= 0.6
    assert outcome.computed > 1


def test_a_crowd_too_large_is_broken_off_and_leaves_nothing_behind():
    model = Blank()
    talk = Talk(demo_phrases(RATE), RATE)
    with open_hall(CONFIG, model=model) as hall:
        model.slow.set()
        outcome = hall.hear(Crowd(8, talk, seconds=60, settle_s=0.2))
        stats = hall.engine.stats
        model.slow.clear()
        again = hall.hear(Crowd(1, talk, seconds=0.4, settle_s=0.2))

    assert outcome.hopeless
    assert ("windows later and later",) == failings(outcome, 0.1)
    assert (0, 0) == (stats.waiting, stats.busy)
    assert not again.hopeless


def test_bare_passes_and_costs_foretell_a_number_of_streams():
    with open_hall(CONFIG, model=Blank()) as hall:
        assert foretold(hall) > 1
        assert bare_streams(hall.model, 2, 0.01, (0.5, 1.0)) > 1

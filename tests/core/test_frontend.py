"""A gate that can be set back: it keeps what it may need, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streaming.core.frontend import FrontEnd
from streaming.core.turns import Closed
from streaming.core.windows import WindowShape
from tests.core.rig import CONFIG, detector, sound

SHAPE = WindowShape(10_240, 5_120, 5_120)
HASTY = replace(CONFIG.gate, hangover_ms=200)


def front_end():
    return FrontEnd(CONFIG, 16_000, SHAPE, detector)


def ends(events):
    return [e for e in events if isinstance(e, Closed)]


def test_settings_hold_from_their_sample_on_when_judged_anew():
    front = front_end()
    front.push(sound([("a", 400), (" ", 300), ("b", 300)]))
    front.configure(HASTY)
    told = front.push(sound([(" ", 900)]))

    assert [(16_000 + 3_200, 16_000)] == [(e.end, e.speech_end) for e in ends(told)]
    again = ends(front.restart(11_200))
    assert [(16_000 + 3_200, 16_000)] == [(e.end, e.speech_end) for e in again]


def test_forgotten_settings_are_gone_and_those_that_hold_stay():
    front = front_end()
    second = sound([(" ", 1_000)])
    for number in range(50):
        front.push(second)
        front.configure(replace(CONFIG.gate, hangover_ms=200 + number))
        front.forget(front.settled)

    assert CONFIG.gate.hangover_ms != front.settings(front.settled).hangover_ms
    assert 249 == front.settings(front.end).hangover_ms
    assert len(front._configs) <= 2  # an hour of changes must not add up


def test_silence_for_hours_is_not_kept():
    front = front_end()
    for _ in range(600):
        front.push(np.zeros(16_000, np.float32))
        front.forget(front.settled)

    assert 600 * 16_000 == front.end
    assert front.end - front.settled < 16_000
    assert len(front.between(front.settled, front.end)) < 16_000

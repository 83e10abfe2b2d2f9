from __future__ import annotations

import numpy as np
import pytest

from streaming.core.lines import Lines
from streaming.events import Job, Pass, Window


def job(stream, deadline, samples=10, utterance=0):
    window = Window(np.zeros(samples, np.float32), 0, 0, samples, 0)
    return Job(stream, utterance, window, Pass.STITCHED, deadline)


def lines(*jobs):
    made = Lines(bucket=lambda samples: samples // 10)
    for each in jobs:
        made.add(each)
    return made


def test_beside_a_window_come_those_of_its_bucket_and_then_the_others_by_deadline():
    a, b, c = job(1, 3.0), job(2, 1.0), job(3, 2.0)
    early, late = job(4, 0.0, samples=25), job(5, 0.5, samples=35)
    made = lines(a, b, c, late, early)
    made.start(b)

    started = []
    for each in made.beside(b):
        made.start(each)
        started.append(each)

    assert [c, a, early, late] == started
    assert made.first() is None


def test_a_window_that_was_looked_at_and_left_is_still_ready():
    made = lines(first := job(1, 1.0), waiting := job(2, 2.0))
    made.start(first)

    assert [waiting] == list(made.beside(first))
    assert waiting is made.first()


def test_the_window_behind_a_cancelled_one_is_ready_by_its_own_deadline():
    first, second = job(1, 1.0, utterance=0), job(1, 9.0, utterance=1)
    made = lines(first, second, between := job(2, 5.0))

    assert [first] == made.cancel(1, 0)

    assert between is made.first()
    made.start(between)
    assert second is made.first()


def test_nothing_is_kept_of_a_stream_that_has_nothing_left():
    made = lines(*(job(stream, 1.0) for stream in range(100)))

    while (first := made.first()) is not None:
        made.start(first)
        made.done(first)

    assert (0, 0) == (made.jobs, made.samples)
    assert {} == made._lines
    assert {} == made._ready


def test_a_window_that_was_done_is_not_done_twice():
    made = lines(only := job(1, 1.0))
    made.start(only)
    made.done(only)

    with pytest.raises(ValueError, match="not running"):
        made.done(only)

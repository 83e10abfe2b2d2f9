from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.hangs import HangWatch
from streaming.events import Job, Pass, Window


def job(stream=1):
    return Job(stream, 0, Window(np.zeros(320, np.float32), 0, 0, 320, 0), Pass.FULL, 1)


def looked(watch, until, *, start=0.0, every=0.2, waiting=False):
    """What each look says, by its time."""
    times = [start + every * n for n in range(round((until - start) / every) + 1)]
    return {at: watch.look(at, waiting=waiting) for at in times}


def first(said):
    """When something was said first."""
    return next((at for at, words in said.items() if words is not None), None)


@pytest.mark.parametrize(
    ("expected", "surely_s"), [(30.0, 0.02), (30.0, 1.0), (60.0, 2.0)]
)
def test_a_pass_hangs_past_the_bound_or_far_past_what_it_takes(expected, surely_s):
    watch = HangWatch(30.0)
    watch.look(0.0, waiting=False)
    watch.began([job(), job(2)], surely_s)

    said = looked(watch, 100.0)

    assert first(said) == pytest.approx(expected, abs=0.3)
    assert (1, 1) == (watch.hung, watch.hangs)
    assert (
        f"2 windows has run for 100 s, such passes take {surely_s:.2f} s"
        in (said[max(said)])
    )


def test_a_pass_that_ends_after_all_hangs_no_more_and_was_counted():
    watch = HangWatch(5.0)
    watch.began([hung := job()], 0.02)
    looked(watch, 6.0)

    watch.ended([hung])

    assert watch.look(6.2, waiting=False) is None
    assert (0, 1) == (watch.hung, watch.hangs)


def test_one_hangs_while_others_come_and_go():
    watch = HangWatch(5.0)
    watch.began([job(1)], 0.02)
    for second in range(8):
        watch.began([short := job(2)], 0.02)
        said = looked(watch, second + 1, start=second, waiting=True)
        watch.ended([short])

    assert "1 windows" in said[max(said)]
    assert 1 == watch.hung


@given(st.lists(st.floats(10, 1e6), max_size=20))
def test_a_suspended_machine_makes_nothing_hang(pauses):
    """However often, and however long: each look counts for a moment."""
    watch, now = HangWatch(30.0), 0.0
    watch.began([job()], 0.02)
    for pause in pauses:
        now += pause
        assert watch.look(now, waiting=True) is None
    assert 0 == watch.hangs


def test_a_machine_on_which_nobody_gets_to_look_makes_nothing_hang():
    watch = HangWatch(30.0)
    watch.began([job()], 0.02)

    assert first(looked(watch, 300.0, every=20.0)) is None


def test_jobs_that_wait_while_nothing_runs_are_a_hang():
    watch = HangWatch(10.0)

    said = looked(watch, 12.0, waiting=True)

    assert first(said) == pytest.approx(10.0, abs=0.3)
    assert "no pass has begun for 12 s" in said[max(said)]
    watch.began([job()], 0.02)
    assert watch.look(12.2, waiting=True) is None


def test_an_idle_engine_does_not_hang():
    assert first(looked(HangWatch(1.0), 100.0)) is None

"""Strain: what passes that began and ended say of how pressed the engine is."""

from __future__ import annotations

from math import exp, inf

import numpy as np
import pytest

from streaming.core.ladder import Strain
from streaming.core.strain import StrainGauge
from streaming.events import Job, Pass, Window

WINDOW = Window(np.zeros(640, np.float32), 0, 0, 320, 320)


def job(due, budget_s=0.5, kind=Pass.STITCHED, stream=1):
    return Job(stream, 0, WINDOW, kind, due, budget_s)


def run(gauge, each, began, ended, filled=1.0):
    gauge.began([each], filled, began)
    gauge.ended([each], ended)


def test_an_engine_that_did_nothing_is_not_strained():
    assert Strain(0.0, 0.0, 0.0) == StrainGauge(2).strain(None, 10.0)


def test_busy_is_a_running_mean_of_the_share_of_workers_in_passes():
    gauge = StrainGauge(workers=2)
    gauge.began([job(9.0)], 1.0, 9.0)

    after = [gauge.strain(None, 9.0 + n).busy for n in range(3)]

    assert [pytest.approx(0.5 * (1 - exp(-n))) for n in range(3)] == after
    gauge.began([job(9.0, stream=2)], 1.0, 11.0)
    assert 0.9 < gauge.strain(None, 14.0).busy < 1.0


def test_what_ended_is_forgotten_within_seconds():
    gauge = StrainGauge(workers=1)
    run(gauge, job(5.0), began=5.0, ended=10.0)

    assert gauge.strain(None, 10.0).busy > 0.99
    assert gauge.strain(None, 12.0).busy < 0.2
    assert gauge.strain(None, 12.0).needed > 0.3
    assert gauge.strain(None, 30.0).needed < 0.02


def test_half_full_batches_need_half_of_the_time_they_take():
    gauge = StrainGauge(workers=1)
    gauge.began([job(8.0)], 0.5, 8.0)

    strain = gauge.strain(None, 100.0)

    assert (pytest.approx(1.0), pytest.approx(0.5)) == (strain.busy, strain.needed)


def test_a_file_pushed_ahead_of_the_pace_of_speech_presses_nobody():
    gauge = StrainGauge(workers=1)
    run(gauge, job(30.0), began=8.0, ended=10.0)

    assert Strain(0.0, 0.0, 0.0, budget_s=0.5) == gauge.strain(None, 10.0)


def test_a_live_caller_in_the_batch_of_a_file_makes_it_count():
    gauge = StrainGauge(workers=1)
    jobs = [job(30.0), job(10.4, stream=2)]
    gauge.began(jobs, 1.0, 9.0)

    assert gauge.strain(None, 11.0).busy > 0.8
    gauge.ended(jobs, 11.0)
    assert gauge.strain(None, 20.0).busy < 0.01


def test_used_is_the_share_of_its_own_budget_that_a_window_took():
    gauge = StrainGauge(workers=1)
    run(gauge, job(10.2, budget_s=1.0), began=9.9, ended=10.0)
    assert pytest.approx(0.8) == gauge.strain(None, 10.0).used
    run(gauge, job(10.0, budget_s=0.1), began=10.0, ended=10.1)
    assert pytest.approx(2.0) == gauge.strain(None, 10.1).used

    assert 0.0 == gauge.strain(None, 10.7).used


def test_used_is_the_95th_percentile_and_of_windows_only():
    gauge = StrainGauge(workers=1)
    for n in range(100):
        late = 5.0 if n >= 95 else 0.0
        run(gauge, job(10.0 - late, budget_s=1.0, stream=n), 9.9, 10.0)
    run(gauge, job(1.0, budget_s=1.0, kind=Pass.FULL), 9.9, 10.0)

    assert pytest.approx(1.0) == gauge.strain(None, 10.0).used


def test_the_most_urgent_window_that_waits_is_seen_before_it_is_run():
    gauge = StrainGauge(workers=1)

    assert pytest.approx(3.0) == gauge.strain(job(9.0), 10.0).used


def test_a_job_without_a_budget_uses_none_of_it_but_time():
    gauge = StrainGauge(workers=1)
    run(gauge, job(9.0, budget_s=inf), began=9.0, ended=10.0)

    strain = gauge.strain(None, 10.0)

    assert (0.0, pytest.approx(1 - exp(-1))) == (strain.used, strain.busy)

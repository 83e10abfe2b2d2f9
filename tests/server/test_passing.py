"""Full passes of recordings wait for each other."""

from __future__ import annotations

import numpy as np

from streaming.events import Cancel, Job, Pass, Window
from streaming.server.passing import PassLine

WINDOW = Window(np.zeros(1, np.float32), 0, 0, 1, 0)


def passes(count):
    return [Job(number, 0, WINDOW, Pass.FULL, 0.0) for number in range(count)]


def test_they_go_in_order_as_there_is_room():
    line, gone = PassLine(10), []
    jobs = passes(4)
    for job, seconds in zip(jobs, (4, 6, 1, 9), strict=True):
        line.ask(job, seconds, gone.append)
    assert jobs[:2] == gone
    line.done(jobs[0])
    assert jobs[:3] == gone
    line.done(jobs[1])
    assert jobs == gone


def test_one_that_is_too_long_goes_alone():
    line, gone = PassLine(10), []
    jobs = passes(3)
    for job in jobs:
        line.ask(job, 30, gone.append)
    assert jobs[:1] == gone
    line.done(jobs[0])
    assert jobs[:2] == gone


def test_what_is_not_wanted_never_goes():
    line, gone = PassLine(1), []
    jobs = passes(3)
    for job in jobs:
        line.ask(job, 1, gone.append)
    assert () == line.cancel(Cancel(1, None, Pass.STITCHED))
    assert () == line.cancel(Cancel(1, 7))
    assert (jobs[1],) == line.cancel(Cancel(1, None))
    line.done(jobs[1])  # which has not gone
    line.done(jobs[0])
    assert [jobs[0], jobs[2]] == gone

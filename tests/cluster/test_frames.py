"""What is written is read."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.cluster.frames import (
    Answered,
    Asked,
    Pulse,
    Refusal,
    Terms,
    read_frame,
    write_frame,
)
from streaming.core.costs import CostModel, Costs
from streaming.core.ladder import Strain
from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Job, Pass, Window


class Written:
    """A source of bytes that were written before."""

    def __init__(self, *frames):
        parts = [part for frame in frames for part in write_frame(frame)]
        self.left = b"".join(bytes(part) for part in parts)

    def take(self, size):
        if size > len(self.left):
            raise EOFError
        taken, self.left = self.left[:size], self.left[size:]
        return bytearray(taken)


def through(frame):
    source = Written(frame)
    read = read_frame(source)
    assert b"" == source.left
    return read


counts = st.integers(0, 1 << 62)


@given(
    number=counts,
    stream=counts,
    utterance=counts,
    samples=st.integers(0, 2_000),
    places=st.tuples(counts, counts, counts, counts),
    last=st.booleans(),
    kind=st.sampled_from(Pass),
    deadline=st.floats(allow_nan=False),
    budget_s=st.floats(0) | st.just(inf),
)
def test_a_job_crosses_whole(
    number, stream, utterance, samples, places, last, kind, deadline, budget_s
):
    start, left, hop, right = places
    audio = np.random.default_rng(samples).normal(size=samples).astype(np.float32)
    window = Window(audio, start, left, hop, right, last)

    read = through(
        Asked(number, Job(stream, utterance, window, kind, deadline, budget_s))
    )

    assert number == read.number
    job = read.job
    assert (stream, utterance, kind) == (job.stream, job.utterance, job.kind)
    assert (deadline, budget_s) == (job.deadline, job.budget_s)
    cut = job.window
    assert (start, left, hop, right, last) == (
        cut.start,
        cut.left,
        cut.hop,
        cut.right,
        cut.last,
    )
    assert np.float32 == cut.samples.dtype
    assert np.array_equal(audio, cut.samples)


@pytest.mark.parametrize("steps", [0, 1, 100])
def test_rows_cross_whole(steps):
    rows = np.arange(steps * 7, dtype=np.float32).reshape(steps, 7)

    read = through(Answered(3, rows))

    assert 3 == read.number
    assert (steps, 7) == read.rows.shape
    assert np.array_equal(rows, read.rows)


def test_rows_and_windows_may_be_views_of_others():
    rows = np.arange(40, dtype=np.float64).reshape(10, 4)[::2, 1:3]

    assert np.array_equal(rows, through(Answered(1, rows)).rows)


@pytest.mark.parametrize(
    "frame",
    [
        Cancel(7, None),
        Cancel(7, 0),
        Cancel(7, 3, Pass.FULL),
        Cancel(7, None, Pass.STITCHED),
        Terms(inf, full_passes=True),
        Terms(0.5, full_passes=False),
        Pulse(Strain(0.5, 0.25, 0.125), CostModel(Costs(0.1, 1e-6), Costs(0.2))),
        Pulse(Strain(), CostModel(), "60 s are late", 4.5),
    ],
    ids=repr,
)
def test_what_is_said_beside_crosses(frame):
    assert frame == through(frame)


@pytest.mark.parametrize(
    "error", [ModelError("no: ü"), Overloaded("no room", retry_after_s=2.5)]
)
def test_a_refusal_keeps_its_kind_and_words(error):
    read = through(Refusal(9, error))

    assert 9 == read.number
    assert type(error) is type(read.error)
    assert str(error) == str(read.error)
    assert getattr(error, "retry_after_s", None) == getattr(
        read.error, "retry_after_s", None
    )


def test_frames_follow_each_other():
    source = Written(Cancel(1, None), Answered(2, np.zeros((2, 3), np.float32)))

    assert Cancel(1, None) == read_frame(source)
    assert 2 == read_frame(source).number
    with pytest.raises(EOFError):
        read_frame(source)


def test_bytes_that_are_no_frame_are_refused():
    source = Written()
    source.left = b"\xff" * 40

    with pytest.raises(ValueError, match="got 255"):
        read_frame(source)

"""A track gives the samples that were added, whatever it has forgotten."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.track import Track


@given(
    start=st.integers(0, 100_000),
    steps=st.lists(
        st.tuples(st.integers(0, 12_000), st.integers(0, 20_000)), max_size=12
    ),
)
def test_what_is_kept_is_what_was_added_at_its_place(
    start: int, steps: list[tuple[int, int]]
) -> None:
    track, added = Track(start), np.empty(0, np.float32)
    for count, keep in steps:
        fresh = np.arange(len(added), len(added) + count, dtype=np.float32)
        added = np.concatenate((added, fresh))
        track.add(fresh)
        track.forget(track.end - keep)
        assert start + len(added) == track.end
        expected = added[track.start - start :].tolist()
        assert expected == track.between(track.start, track.end).tolist()


def test_a_span_that_was_given_out_stays_as_it_was() -> None:
    track = Track()
    track.add(np.full(100, 1, np.float32))
    span = track.between(0, 100)
    for value in range(2, 400):
        track.add(np.full(320, value, np.float32))
        track.forget(track.end - 320)
    assert [1.0] * 100 == span.tolist()


def test_what_was_added_is_a_copy() -> None:
    track, samples = Track(), np.zeros(10, np.float32)
    track.add(samples)
    samples[:] = 1
    assert [0.0] * 10 == track.between(0, 10).tolist()


def test_nothing_that_has_not_come_is_forgotten() -> None:
    track = Track(5)
    track.forget(1_000)
    assert 5 == track.start
    track.add(np.ones(3, np.float32))
    assert [1.0] * 3 == track.between(5, 8).tolist()

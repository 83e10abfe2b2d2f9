"""When an utterance is too long, and where it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import GateConfig
from streaming.core.endpoints import GateLengths, quietest

FRAME = 10


def lengths(hangover_ms=500, maximum=10_000):
    config = GateConfig(frame_ms=10, hangover_ms=hangover_ms)
    return GateLengths.of(config, 1_000, search=60, maximum=maximum, speculate=80)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, 500),
        (8_000, 500),
        (8_500, 400),
        (9_000, 300),
        (9_500, 200),
        (10_000, 100),
        (12_000, 100),
    ],
)
def test_silence_that_ends_shrinks_in_the_last_fifth(length, expected):
    assert expected == lengths().silence_that_ends(length)


@settings(deadline=None)
@given(st.integers(100, 5_000), st.integers(1_000, 120_000), st.data())
def test_silence_that_ends_never_grows_with_length(hangover, maximum, data):
    rules = lengths(hangover, maximum)
    one, two = sorted(data.draw(st.tuples(*[st.integers(0, 2 * maximum)] * 2)))

    assert hangover >= rules.silence_that_ends(one) >= rules.silence_that_ends(two)
    assert rules.silence_that_ends(two) >= 100


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 1_000))
def test_the_cut_lies_within(length, seed):
    samples = np.random.default_rng(seed).normal(0, 1, length).astype(np.float32)

    cut = quietest(samples, FRAME)

    assert (length % FRAME if length >= FRAME else 0) <= cut <= length


@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("quiet", range(1, 9))
def test_the_cut_is_in_the_middle_of_the_quiet(quiet, extra):
    samples = np.ones(100 + extra, np.float32)
    start = extra + quiet * FRAME
    samples[start : start + FRAME] = 0.1

    assert start + FRAME // 2 == quietest(samples, FRAME)


def test_of_equals_the_last_is_taken():
    samples = np.ones(60, np.float32)

    assert len(samples) - FRAME // 2 == quietest(samples, FRAME)

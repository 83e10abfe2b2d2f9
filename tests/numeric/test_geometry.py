"""Rows tile samples: one row a begun stride, and padding yields exactly those."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import ModelError
from streaming.numeric.geometry import Geometry

geometries = st.builds(
    lambda stride, more: Geometry(16_000, stride, stride + more),
    st.integers(1, 2_000),
    st.integers(0, 2_000),
)


@pytest.mark.parametrize(
    ("samples", "steps", "padded"),
    [
        (0, 0, 80),
        (1, 1, 400),
        (320, 1, 400),
        (321, 2, 720),
        (16_000, 50, 16_080),
        (16_001, 51, 16_400),
    ],
)
def test_wav2vec2_lengths(samples: int, steps: int, padded: int) -> None:
    assert steps == Geometry().steps(samples)
    assert padded == Geometry().padded(samples)


@given(geometries, st.integers(0, 1_000_000))
def test_padding_yields_the_promised_rows(geometry: Geometry, samples: int) -> None:
    padded = geometry.padded(samples)
    rows = (padded - geometry.receptive_field) // geometry.stride + 1
    assert geometry.steps(samples) == rows
    assert samples <= padded
    one_less = (padded - 1 - geometry.receptive_field) // geometry.stride + 1
    assert geometry.steps(samples) - 1 == one_less


@given(geometries, st.lists(st.integers(0, 200), max_size=9))
def test_whole_strides_tile(geometry: Geometry, hops: list[int]) -> None:
    lengths = [hop * geometry.stride for hop in hops]
    assert sum(hops) == sum(geometry.steps(length) for length in lengths)
    assert sum(hops) == geometry.steps(sum(lengths))


@pytest.mark.parametrize(
    ("ms", "samples"), [(0, 0), (9, 0), (10, 320), (320, 5_120), (1_289, 20_480)]
)
def test_milliseconds_are_whole_strides(ms: int, samples: int) -> None:
    assert samples == Geometry().samples_of_ms(ms)


@pytest.mark.parametrize(
    "numbers", [(0, 320, 400), (16_000, 0, 400), (16_000, 320, 319)]
)
def test_impossible_numbers_are_named(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ModelError, match="got"):
        Geometry(*numbers)

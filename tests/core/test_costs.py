from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.core.costs import UNBOUNDED, CostModel, Costs, Measured
from streaming.events import Pass

LENGTHS = (8_000, 16_000, 32_000, 64_000, 128_000, 256_000)
terms = st.tuples(st.floats(0, 0.1), st.floats(0, 1e-5), st.floats(0, 1e-11))


def measured(costs, batches=(1, 8)):
    return [
        Measured(samples, batch, costs.seconds(samples, batch))
        for samples in LENGTHS
        for batch in batches
    ]


@given(terms)
def test_a_fit_gives_back_what_was_measured(abc):
    costs = Costs(*abc)
    if costs.seconds(LENGTHS[0]) < 1e-4:
        return

    fitted = Costs.fit(measured(costs))

    for samples in (1, 12_345, *LENGTHS, 480_000):
        expected = costs.seconds(samples)
        assert expected == pytest.approx(fitted.seconds(samples), rel=1e-3, abs=1e-6)


@given(terms, st.floats(0, 0.1), st.integers(1, 64))
def test_a_fit_knows_what_a_batch_shares_and_what_each_window_costs(
    abc, window_s, batch
):
    costs = Costs(*abc, window_s=window_s)
    if costs.seconds(LENGTHS[0]) < 1e-4:
        return

    fitted = Costs.fit(measured(costs, batches=(1, 6, 32)))

    expected = costs.seconds(48_000, batch)
    assert expected == pytest.approx(fitted.seconds(48_000, batch), rel=1e-3, abs=1e-6)


@given(terms, st.floats(0, 0.1), st.sampled_from(LENGTHS), st.integers(1, 256))
def test_a_batch_is_the_smallest_that_is_nearly_as_good_as_the_largest(
    abc, window_s, samples, most
):
    costs = Costs(*abc, window_s=window_s)

    def each(batch):
        return costs.seconds(samples, batch) / batch

    batch = costs.batch(samples, most)

    assert 1 <= batch <= most
    assert each(batch) <= 1.05 * each(most) * (1 + 1e-6)
    if 1 < batch:
        assert each(batch - 1) >= 1.05 * each(most) * (1 - 1e-6) or batch == most


@pytest.mark.parametrize(
    ("expected", "costs"),
    [
        (32, Costs()),
        (31, Costs(fixed_s=0.01)),
        (1, Costs(linear_s=1e-6)),
        (1, Costs(fixed_s=0.0005, linear_s=1e-6)),  # a CPU: 16 ms each, 3 % shared
        (9, Costs(fixed_s=0.01, linear_s=1e-6)),
        (29, Costs(fixed_s=0.04, linear_s=1e-7, factor=3.0)),
    ],
)
def test_windows_worth_one_pass_of_at_most_32(expected, costs):
    assert expected == costs.batch(16_000, most=32)


def test_full_passes_and_windows_learn_apart_unless_they_are_computed_alike():
    model = CostModel(Costs(linear_s=1e-6), full=Costs(linear_s=1e-6))
    slow = Measured(16_000, 1, 0.032)

    apart = model.observed(Pass.FULL, slow)
    alike = CostModel(Costs(linear_s=1e-6)).observed(Pass.FULL, slow)

    assert (1.0, 1.02) == (apart.of(Pass.STITCHED).factor, apart.of(Pass.FULL).factor)
    assert 1.02 == alike.of(Pass.STITCHED).factor
    assert 1.02 == model.observed(Pass.STITCHED, slow).windows.factor


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=6))
def test_whatever_was_measured_longer_never_costs_less(seconds):
    costs = Costs.fit(
        [Measured(n, 1, s) for n, s in zip(LENGTHS, seconds, strict=False)]
    )

    assert sorted(map(costs.seconds, LENGTHS)) == list(map(costs.seconds, LENGTHS))
    assert 0 <= costs.seconds(0)


@given(terms, st.floats(1e-4, 10), st.floats(0.1, 10))
def test_the_longest_pass_is_within_its_time_and_one_step_more_is_not(
    abc, seconds, factor
):
    costs = Costs(*abc, factor)

    longest = costs.longest(seconds)

    if 0 < longest:
        assert seconds >= costs.seconds(longest) * (1 - 1e-9)
    if longest < UNBOUNDED:
        assert seconds <= costs.seconds(longest + 1) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("expected", "costs"),
    [
        (UNBOUNDED, Costs()),
        (UNBOUNDED, Costs(fixed_s=0.4)),
        (0, Costs(fixed_s=0.6)),
        (1_000, Costs(linear_s=0.0005)),
        (500, Costs(linear_s=0.0005, factor=2.0)),
    ],
)
def test_the_longest_pass_of_half_a_second(expected, costs):
    assert expected == costs.longest(0.5)


def test_without_end_of_time_there_is_no_longest_pass():
    assert UNBOUNDED == Costs(0.1, 1e-6, 1e-11).longest(float("inf"))


def test_one_fast_and_one_slow_pass_of_each_length_change_nothing():
    costs = Costs(fixed_s=0.005, linear_s=1e-6)
    odd = [
        Measured(each.samples, each.batch, each.seconds * times)
        for each in measured(costs)
        for times in (1, 0.05, 1, 30)
    ]

    assert costs.seconds(40_000) == pytest.approx(Costs.fit(odd).seconds(40_000))


def test_short_lengths_alone_foretell_no_square():
    noisy = [(8_000, 0.13), (16_000, 0.29), (32_000, 0.86)]

    assert 0 == Costs.fit([Measured(n, 1, s) for n, s in noisy]).square_s


def test_nothing_measured_costs_nothing():
    assert 0.0 == Costs.fit([]).seconds(16_000)


def test_a_machine_that_became_slower_is_believed_after_some_passes():
    costs = Costs(linear_s=1e-6)

    for _ in range(200):
        costs = costs.observed(Measured(16_000, 1, 3 * 0.016))

    assert 3.0 == pytest.approx(costs.factor, rel=0.05)


def test_one_hiccup_is_not_believed():
    assert 1.2 > Costs(linear_s=1e-6).observed(Measured(16_000, 1, 60.0)).factor


def test_costs_of_nothing_learn_nothing():
    assert Costs() == Costs().observed(Measured(16_000, 1, 1.0))

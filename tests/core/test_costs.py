from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
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


@given(
    terms,
    st.dictionaries(st.integers(2, 64), st.floats(0.2, 3), max_size=6),
    st.sampled_from(LENGTHS),
)
def test_of_the_sizes_that_were_measured_the_one_is_chosen_that_paid(
    abc, gains, samples
):
    """On whatever device: steps, cliffs and plateaus."""
    line = Costs(*abc)
    if line.seconds(LENGTHS[0]) < 1e-4:
        return
    gains = {1: 1.0, **gains}
    passes = {size: gain * line.seconds(samples, size) for size, gain in gains.items()}
    costs = replace(line, gains=tuple(sorted(gains.items())))

    chosen = costs.batch(samples, most=64)

    assert 1 <= chosen <= max(gains)
    each = costs.seconds(samples, chosen) / chosen
    assert each <= 1.05 * min(s / size for size, s in passes.items()) * (1 + 1e-6)
    # A size that was measured costs what it was measured to.
    for size, seconds in passes.items():
        assert seconds == pytest.approx(costs.seconds(samples, size))


def test_a_device_that_goes_by_steps_is_known_by_them():
    """Eight windows take as long as one, and sixteen thrice as long."""
    took = {1: 0.01, 2: 0.01, 4: 0.01, 8: 0.01, 16: 0.03, 32: 0.07}
    fitted = Costs.fit(
        [Measured(samples, size, s) for samples in LENGTHS for size, s in took.items()]
    )

    for size, seconds in took.items():
        assert seconds == pytest.approx(fitted.seconds(16_000, size), rel=0.01)
    assert 0.01 < fitted.seconds(16_000, 12) < 0.03
    assert 8 == fitted.batch(16_000, most=32)


@given(st.floats(1e-7, 1e-4), st.sampled_from(LENGTHS), st.integers(1, 64))
def test_where_a_batch_shares_nothing_it_is_of_one(linear_s, samples, most):
    sizes = [1 << power for power in range(7)]
    fitted = Costs.fit(measured(Costs(linear_s=linear_s), batches=sizes))

    assert 1 == fitted.batch(samples, most)


def test_a_batch_is_no_larger_than_what_was_measured():
    fitted = Costs.fit(measured(Costs(fixed_s=1.0), batches=(1, 2, 4)))

    assert 4 == fitted.batch(16_000, most=64)


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


def after(costs, ratios):
    for ratio in ratios:
        costs = costs.observed(Measured(16_000, 1, 0.016 * ratio))
    return costs


@settings(max_examples=15)
@given(st.floats(0, 0.3), st.integers(0, 1_000), st.sampled_from(["gauss", "long"]))
def test_what_passes_surely_take_all_but_one_in_a_hundred_keep(jitter, seed, kind):
    dice = Random(seed)
    draw = {
        "gauss": lambda: max(0.1, dice.gauss(1.0, jitter)),
        "long": lambda: 1.0 + dice.expovariate(1.0) * jitter,
    }[kind]
    costs = after(Costs(linear_s=1e-6), (draw() for _ in range(2_000)))

    over = 0
    for _ in range(2_000):
        seconds = 0.016 * draw()
        over += seconds > costs.surely(16_000)
        costs = costs.observed(Measured(16_000, 1, seconds))

    assert over <= 20
    # And not by a margin that fits whatever comes.
    worst = {"gauss": 1 + 5 * jitter, "long": (1 + 10 * jitter) / (1 + jitter)}[kind]
    assert costs.spread <= 1.1 * worst + 0.02


def test_one_hiccup_hardly_widens_the_spread_and_is_forgotten():
    dice = Random(7)
    calm = after(Costs(linear_s=1e-6), (dice.gauss(1, 0.1) for _ in range(2_000)))

    shaken = after(calm, [30.0])

    assert calm.spread < shaken.spread < calm.spread + 0.15
    assert after(shaken, [1.0] * 500).spread < calm.spread


def test_the_spread_that_warming_up_shows_is_the_first():
    """Where one pass in ten takes twice as long."""
    measured = [Measured(n, 1, n * 1e-6 * (1 + odd)) for n in LENGTHS for odd in (0, 0)]
    restless = [Measured(n, 1, n * 1e-6 * t) for n in LENGTHS for t in (1, 1, 1, 1, 2)]

    assert 1.01 == Costs.fit(measured).spread
    assert 2.0 == pytest.approx(Costs.fit(restless).spread)
    assert 0.032 == pytest.approx(Costs.fit(restless).surely(16_000))


def test_costs_of_nothing_learn_nothing():
    assert Costs() == Costs().observed(Measured(16_000, 1, 1.0))

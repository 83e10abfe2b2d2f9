from __future__ import annotations

from collections import defaultdict
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
)

from streaming.core.costs import CostModel, Costs
from streaming.core.schedule import Batching, Schedule
from streaming.errors import Overloaded
from streaming.events import Cancel, Job, Pass, Window
from streaming.numeric.geometry import Geometry

GEOMETRY = Geometry(sample_rate=1_000, stride=20, receptive_field=25)
ONE = Batching(GEOMETRY)
SECOND = CostModel(Costs(linear_s=0.001))  # a pass takes as long as its audio
SHARED = CostModel(Costs(0.05, 0.0005))  # a batch of 100 samples each saves half


def job(stream, deadline, samples=100, kind=Pass.STITCHED, utterance=0):
    window = Window(np.zeros(samples, np.float32), 0, 0, samples, 0)
    return Job(stream, utterance, window, kind, deadline)


def full(stream, deadline, samples=100, utterance=0):
    return job(stream, deadline, samples, Pass.FULL, utterance)


def schedule(*jobs, batching=ONE, costs=SECOND, **options):
    made = Schedule(batching, costs, **options)
    for each in jobs:
        made.add(each)
    return made


def taken(made, now=0.0):
    """Everything, in the order in which one worker takes it."""
    order = []
    while jobs := made.take(now):
        order += jobs
        made.done(jobs)
    return order


def test_the_earliest_deadline_goes_first():
    late, soon, between = job(1, 3.0), job(2, 1.0), job(3, 2.0)

    assert [soon, between, late] == taken(schedule(late, soon, between))


def test_among_equals_the_one_that_waited_longest_goes_first():
    jobs = [job(stream, 1.0) for stream in (5, 3, 4)]

    assert jobs == taken(schedule(*jobs))


def test_a_stream_keeps_its_order_even_against_its_deadlines():
    jobs = [job(1, 3.0), job(1, 2.0), job(1, 1.0)]

    assert jobs == taken(schedule(*jobs))


def test_only_one_window_of_a_stream_runs_at_a_time():
    first, second = job(1, 1.0), job(1, 1.1)
    made = schedule(first, second, workers=2)

    assert (first,) == made.take(0.0)
    assert () == made.take(0.0)
    made.done((first,))
    assert (second,) == made.take(0.0)


def test_a_job_that_does_not_run_cannot_be_done():
    waiting = job(1, 1.0)
    made = schedule(waiting)

    with pytest.raises(ValueError, match="stream 1 is not running"):
        made.done((waiting,))


# --- full passes -----------------------------------------------------------


def test_a_full_pass_is_taken_where_no_window_waits():
    final = full(1, 9.0)

    assert (final,) == schedule(final).take(0.0)


def test_a_full_pass_gives_way_to_later_windows_while_it_can():
    final, window = full(1, 1.0), job(2, 5.0)

    assert [window, final] == taken(schedule(final, window))


def test_a_full_pass_whose_deadline_nears_goes_by_it():
    # Its pass and the window's take 0.1 s each: after the window it is too late.
    final, window = full(1, 1.0), job(2, 5.0)

    assert [final, window] == taken(schedule(final, window), now=0.85)


def test_even_then_a_more_urgent_window_goes_first():
    final, window = full(1, 1.0), job(2, 0.95)

    assert (window,) == schedule(final, window).take(0.85)


@pytest.mark.parametrize("now", [0.9, 0.95, 7.0])
def test_a_full_pass_that_cannot_be_in_time_is_given_up_and_never_begun(now):
    final = full(1, 1.0)
    made = schedule(final)

    assert () == made.take(now)
    assert 0.9 == made.wake_at()
    assert (final,) == made.give_up(now)
    assert () == made.give_up(now)
    assert made.wake_at() is None


def test_a_full_pass_that_is_too_late_is_in_nobodys_way():
    made = schedule(full(1, 1.0), in_time := full(2, 9.0))

    assert (in_time,) == made.take(5.0)
    made.done((in_time,))
    made.add(window := job(3, 9.0))
    assert (window,) == made.take(5.0)


def test_a_full_pass_with_time_left_is_not_given_up():
    assert () == schedule(full(1, 1.0)).give_up(0.89)


def test_a_full_pass_longer_than_any_pass_may_take_is_given_up():
    final = full(1, 100.0, samples=300)
    made = schedule(final)
    made.longest_s = 0.25

    assert () == made.take(0.0)
    assert (final,) == made.give_up(0.0)


def test_a_window_longer_than_any_pass_may_take_runs_all_the_same():
    window = job(1, 1.0, samples=300)
    made = schedule(window)
    made.longest_s = 0.25

    assert (window,) == made.take(0.0)


@pytest.mark.parametrize(("at_once", "workers"), [(1, 1), (1, 2), (2, 3), (3, 4)])
def test_one_of_several_workers_is_kept_free_of_full_passes(at_once, workers):
    made = schedule(*(full(stream, 9.0) for stream in range(6)), workers=workers)

    running = [jobs for _ in range(workers) if (jobs := made.take(0.0))]

    assert at_once == len(running)
    made.add(job(9, 1.0))
    if workers > 1:
        assert 1 == len(made.take(0.0))
    made.done(running[0])
    assert 1 == len(made.take(0.0))


# --- batches ---------------------------------------------------------------


def lengths(jobs):
    return [len(each.window.samples) for each in jobs]


def test_without_padding_only_equal_rows_share_a_batch():
    sizes = (100, 81, 120, 99, 80)
    jobs = [job(n, float(n), samples) for n, samples in enumerate(sizes)]
    made = schedule(*jobs, batching=Batching(GEOMETRY, 8, pads=False), costs=SHARED)

    assert [100, 81, 99] == lengths(made.take(0.0))
    assert [120] == lengths(made.take(0.0))
    assert [80] == lengths(made.take(0.0))


PADS = Batching(GEOMETRY, 8, pads=True)
FIXED = CostModel(Costs(0.5, 0.001))  # as much as 500 samples more


@pytest.mark.parametrize(
    ("expected", "sizes"),
    [
        ([[400, 300, 200, 100]], [400, 300, 200, 100]),
        ([[100, 200, 300]], [100, 200, 300]),
        # One of 1,000 would make them wait for longer than it takes alone.
        ([[100, 200, 300], [1_000]], [100, 200, 300, 1_000]),
        # Nor does it pay for the first to wait for the eight that fill a pass.
        ([[1_000], [100] * 8], [1_000, *[100] * 8]),
        ([[1_000, 900], [300]], [1_000, 900, 300]),
        ([[100] * 8], [100] * 8),
    ],
)
def test_with_padding_windows_share_a_pass_as_far_as_that_pays(expected, sizes):
    jobs = [job(n, float(n), samples) for n, samples in enumerate(sizes)]
    made = schedule(*jobs, batching=PADS, costs=FIXED)

    assert expected == [lengths(made.take(0.0)) for _ in expected]
    assert () == made.take(0.0)


@given(
    st.lists(st.integers(1, 2_000), min_size=1, max_size=24),
    st.sampled_from([0.0, 0.01, 0.1, 1.0]),
    st.booleans(),
    st.sampled_from([job, full]),
)
def test_a_shared_pass_takes_no_longer_than_each_alone(sizes, fixed_s, pads, made_by):
    costs = Costs(fixed_s, 0.001, 1e-7)
    jobs = [made_by(n, 1e6 + n, samples) for n, samples in enumerate(sizes)]
    batching = Batching(GEOMETRY, 8, pads=pads)
    made = schedule(*jobs, batching=batching, costs=CostModel(costs))

    seen = []
    while taken_now := made.take(0.0):
        padded = [GEOMETRY.steps(n) * GEOMETRY.stride for n in lengths(taken_now)]
        alone_s = sum(map(costs.seconds, padded))
        pass_s = costs.seconds(max(padded), len(taken_now))
        # What is decided by samples may be a stride of each off.
        assert pass_s <= alone_s + len(taken_now) * costs.seconds(GEOMETRY.stride)
        if not pads:
            assert 1 == len({GEOMETRY.steps(n) for n in lengths(taken_now)})
        # At once, and no window of another length, where nothing is shared.
        if fixed_s == 0:
            assert 1 == len(taken_now)
        made.done(taken_now)
        seen += taken_now
    assert set(jobs) == set(seen)


def test_a_batch_is_filled_by_deadline_up_to_its_size():
    jobs = [job(n, 10.0 - n) for n in range(5)]
    made = schedule(*jobs, batching=Batching(GEOMETRY, 3), costs=CostModel())

    assert [jobs[4], jobs[3], jobs[2]] == list(made.take(0.0))
    assert [jobs[1], jobs[0]] == list(made.take(0.0))


def test_a_batch_takes_no_longer_than_a_pass_may():
    jobs = [job(n, float(n)) for n in range(5)]  # 0.1 s, and 0.05 s each more
    made = schedule(*jobs, batching=Batching(GEOMETRY, 8), costs=SHARED)
    made.longest_s = 0.16

    assert [2, 2, 1] == [len(made.take(0.0)) for _ in range(3)]


def test_a_batch_of_full_passes_is_in_time_for_its_first():
    finals = [full(n, 1.0 + n) for n in range(8)]  # 0.1 s, and 0.05 s each more
    made = schedule(*finals, batching=Batching(GEOMETRY, 8), costs=SHARED)

    assert finals[:3] == list(made.take(0.79))


def test_full_passes_that_wait_begin_early_enough_for_a_pass_together():
    finals = [full(n, 1.0) for n in range(8)]  # six take 0.35 s, the window 0.1
    batching = Batching(GEOMETRY, 8)

    for expected, now in ((Pass.STITCHED, 0.54), (Pass.FULL, 0.56)):
        made = schedule(job(9, 5.0), *finals, batching=batching, costs=SHARED)
        assert {expected} == {each.kind for each in made.take(now)}


def test_a_batch_of_full_passes_leaves_the_windows_their_time():
    finals, window = [full(n, 1.0) for n in range(8)], job(9, 1.05)
    made = schedule(window, *finals, batching=Batching(GEOMETRY, 8), costs=SHARED)

    assert 4 == len(made.take(0.69))  # 0.25 s: until 0.94, and the window's 0.1


def test_a_full_pass_begins_so_early_that_the_spread_of_passes_is_in_time():
    restless = CostModel(Costs(linear_s=0.001, spread=3.0))
    final = full(1, 1.0)
    made = schedule(final, costs=restless)

    assert 0.7 == pytest.approx(made.wake_at())
    assert () == made.give_up(0.69)
    assert (final,) == made.take(0.69)
    assert (final,) == schedule(final, costs=restless).give_up(0.71)


def test_a_batch_holds_one_window_of_a_stream():
    jobs = [job(1, 1.0), job(1, 1.1), job(2, 1.2)]
    made = schedule(*jobs, batching=Batching(GEOMETRY, 8), costs=SHARED)

    assert (jobs[0], jobs[2]) == made.take(0.0)


def test_windows_and_full_passes_do_not_mix():
    window, final, other = job(1, 1.0), full(2, 1.0), full(3, 2.0)
    jobs = (window, final, other)
    made = schedule(*jobs, batching=Batching(GEOMETRY, 8), costs=SHARED)

    assert (window,) == made.take(0.0)
    assert (final, other) == made.take(0.0)


def test_a_batch_is_no_larger_than_windows_gain_from():
    sharing = {"half": SHARED, "nothing": SECOND, "all": CostModel(Costs(0.05))}
    sizes = {}

    for name, costs in sharing.items():
        jobs = [job(n, float(n)) for n in range(32)]
        made = schedule(*jobs, batching=Batching(GEOMETRY, 32), costs=costs)
        sizes[name] = len(made.take(0.0))

    assert {"half": 13, "nothing": 1, "all": 31} == sizes


def test_full_passes_go_by_costs_of_their_own():
    dear = CostModel(windows=Costs(), full=Costs(linear_s=0.001))
    jobs = [job(1, 1.0), job(2, 1.0), full(3, 9.0), full(4, 9.0)]
    made = schedule(*jobs, batching=Batching(GEOMETRY, 8), costs=dear)

    assert [2, 1, 0] == [len(made.take(0.0)) for _ in range(3)]
    made.add(late := full(5, 0.99))
    assert (late,) == made.give_up(0.9)
    made.longest_s = 0.05
    assert (jobs[3],) == made.give_up(0.0)


def test_where_nobody_waits_for_windows_every_worker_may_run_full_passes():
    made = schedule(*(full(n, 9.0) for n in range(3)), workers=2, spare=0)

    assert [1, 1, 0] == [len(made.take(0.0)) for _ in range(3)]


def test_work_is_never_held_back_for_a_fuller_batch():
    made = schedule(job(1, 100.0), batching=Batching(GEOMETRY, 32))

    assert 1 == len(made.take(0.0))


# --- cancelling and bounds -------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "kind"),
    [("window final", None), ("window", Pass.STITCHED), ("final", Pass.FULL)],
)
def test_cancel_removes_what_it_names_and_nothing_else(expected, kind):
    named = {"window": job(1, 1.0, utterance=7), "final": full(1, 9.0, utterance=7)}
    others = [job(1, 2.0, utterance=8), full(1, 9.0, utterance=8), job(2, 3.0)]
    made = schedule(*named.values(), *others)

    removed = made.cancel(Cancel(1, 7, kind))

    assert [named[name] for name in expected.split()] == list(removed)
    rest = [each for each in (*named.values(), *others) if each not in removed]
    assert set(rest) == set(taken(made))


def test_a_whole_stream_is_cancelled_at_once():
    jobs = [job(1, 1.0), job(1, 2.0, utterance=1), full(1, 9.0, utterance=1)]
    other = job(2, 1.0)
    made = schedule(*jobs, other)

    assert jobs == list(made.cancel(Cancel(1, None)))
    assert [other] == taken(made)


def test_what_runs_is_not_cancelled():
    first, second, third = (job(1, float(n), utterance=n // 2) for n in range(3))
    made = schedule(first, second, third)
    made.take(0.0)

    assert (second,) == made.cancel(Cancel(1, 0))
    assert () == made.take(0.0)
    made.done((first,))
    assert (third,) == made.take(0.0)


def test_clear_returns_everything_that_waits():
    running, window, final = job(1, 1.0), job(1, 2.0), full(2, 9.0)
    made = schedule(running, window, final)
    made.take(0.0)

    assert (window, final) == made.clear()
    assert 0 == made.waiting
    made.done((running,))
    assert () == made.take(0.0)


def test_full_passes_past_the_bound_are_refused_with_the_numbers():
    made = schedule(full(1, 9.0, 600), queue_s=1.0)

    with pytest.raises(Overloaded, match=r"1\.1 s of audio .* at most 1 s"):
        made.add(full(2, 9.0, 500))

    made.add(full(3, 9.0, 400))
    assert 1.0 == made.waiting_s


def test_a_full_pass_that_no_pass_may_take_as_long_as_is_refused_at_once():
    made = schedule()
    made.longest_s = 0.25

    with pytest.raises(Overloaded, match=r"0\.3 s would take 0\.30 s, .* may 0\.25"):
        made.add(full(1, 9.0, 300))
    made.add(full(1, 9.0, 250))
    made.costs = CostModel(Costs(linear_s=0.002))
    with pytest.raises(Overloaded, match=r"would take 0\.40 s"):
        made.add(full(1, 9.0, 200))


def test_one_full_pass_may_always_wait():
    schedule(full(1, 9.0, 5_000), queue_s=1.0)


def test_new_streams_are_refused_with_the_numbers_when_too_much_is_late():
    late = [job(stream, 1.0, 400) for stream in range(3)]
    made = schedule(*late, job(9, 50.0, 5_000), queue_s=1.0)

    made.admit(now=0.9)
    with pytest.raises(Overloaded, match=r"1\.2 s of audio .* at most 1 s"):
        made.admit(now=1.0)


def test_windows_of_streams_that_were_let_in_are_always_taken():
    made = schedule(queue_s=1.0)

    for n in range(100):
        made.add(job(1, float(n)))

    assert 10.0 == pytest.approx(made.waiting_s)
    assert 100 == len(taken(made, now=500.0))


def test_slack_is_what_the_most_urgent_window_has_left():
    made = schedule(job(1, 5.0), job(2, 3.0))

    assert 1.9 == pytest.approx(made.slack_s(now=1.0))
    assert inf == schedule(full(1, 1.0)).slack_s(now=0.0)


# --- a model of it, against any order of calls -----------------------------


class AgainstAList(RuleBasedStateMachine):
    """The schedule against plain lists: nothing is lost, doubled or out of order."""

    waiting_jobs = Bundle("waiting_jobs")
    running_passes = Bundle("running_passes")

    def __init__(self):
        super().__init__()
        self.workers = 3
        self.made = Schedule(
            Batching(GEOMETRY, 2), SHARED, workers=self.workers, queue_s=2.0
        )
        self.windows = defaultdict(list)
        self.fulls = []
        self.running = []
        self.now = 0.0

    @rule(
        stream=st.integers(0, 3),
        utterance=st.integers(0, 2),
        ahead=st.floats(0, 2),
        samples=st.sampled_from([1, 100, 240]),
        kind=st.sampled_from(Pass),
    )
    def add(self, stream, utterance, ahead, samples, kind):
        new = job(stream, self.now + ahead, samples, kind, utterance)
        try:
            self.made.add(new)
        except Overloaded:
            assert kind is Pass.FULL
            assert 2.0 < sum(lengths(self.fulls)) / 1_000 + samples / 1_000
            return
        (self.windows[stream] if kind is Pass.STITCHED else self.fulls).append(new)

    @rule(target=running_passes)
    def take(self):
        busy = {j.stream for jobs in self.running for j in jobs if not is_full(j)}
        heads = [w[0] for s, w in self.windows.items() if w and s not in busy]
        fulls_running = sum(is_full(jobs[0]) for jobs in self.running)
        jobs = self.made.take(self.now)
        if not jobs:
            assert not heads
            return ()
        assert 1 <= len(jobs) <= 2
        assert 1 == len({each.kind for each in jobs})
        if is_full(jobs[0]):
            assert fulls_running < self.workers - 1
            for each in jobs:
                cost = SHARED.windows.seconds(lengths([each])[0])
                assert self.now + cost < each.deadline
                self.fulls.remove(each)
        else:
            assert min(each.deadline for each in heads) == jobs[0].deadline
            assert len(jobs) == len({each.stream for each in jobs})
            for each in jobs:
                assert each is self.windows[each.stream].pop(0)
        self.running.append(jobs)
        return jobs

    @rule(jobs=consumes(running_passes))
    def done(self, jobs):
        if jobs:
            self.made.done(jobs)
            self.running.remove(jobs)

    @rule(
        stream=st.integers(0, 3),
        utterance=st.none() | st.integers(0, 2),
        kind=st.sampled_from([None, *Pass]),
    )
    def cancel(self, stream, utterance, kind):
        removed = self.made.cancel(Cancel(stream, utterance, kind))
        wanted = [
            each
            for each in (*self.windows[stream], *self.fulls)
            if each.stream == stream
            and utterance in (None, each.utterance)
            and kind in (None, each.kind)
        ]
        assert wanted == list(removed)
        self.forget(removed)

    @rule()
    def give_up(self):
        wake_at = self.made.wake_at()
        given_up = self.made.give_up(self.now)
        assert bool(given_up) == (wake_at is not None and wake_at <= self.now)
        self.forget(given_up)

    @rule()
    def clear(self):
        left = self.made.clear()
        expected = [each for w in self.windows.values() for each in w] + self.fulls
        assert set(expected) == set(left)
        self.forget(left)

    @rule(seconds=st.floats(0, 1))
    def pass_time(self, seconds):
        self.now += seconds

    def forget(self, jobs):
        for each in jobs:
            (self.fulls if is_full(each) else self.windows[each.stream]).remove(each)

    @invariant()
    def counts_agree(self):
        windows = [each for w in self.windows.values() for each in w]
        assert len(windows) + len(self.fulls) == self.made.waiting
        samples = sum(lengths(windows)) + sum(lengths(self.fulls))
        assert samples / 1_000 == pytest.approx(self.made.waiting_s)


def is_full(each):
    return each.kind is Pass.FULL


TestAgainstAList = AgainstAList.TestCase


# --- under load ------------------------------------------------------------


def test_where_full_passes_are_not_allowed_none_is_begun_and_all_are_given_up():
    made = schedule(waiting := full(1, 100.0))
    made.full_passes = False

    assert () == made.take(0.0)
    assert (waiting,) == made.give_up(0.0)
    made.full_passes = True
    made.add(waiting)
    assert (waiting,) == made.take(0.0)


def test_a_full_pass_is_never_begun_at_the_cost_of_a_window():
    """It is due first and can wait no longer, but the window cannot wait for it."""
    final, window = full(1, 1.0, samples=300), job(2, 1.05)
    made = schedule(final, window)

    assert (window,) == made.take(0.69)
    assert (final,) == schedule(final, job(2, 1.2)).take(0.69)


def test_the_most_urgent_window_is_the_one_that_is_taken_next():
    made = schedule(job(1, 3.0), urgent := job(2, 1.0), full(3, 0.5))

    assert urgent is made.most_urgent
    assert schedule().most_urgent is None


@pytest.mark.parametrize(("size", "filled"), [(1, 0.55), (2, 0.73), (8, 1.0)])
def test_a_pass_is_filled_as_far_as_its_windows_share_what_they_can(size, filled):
    # 0.05 s a pass and 0.05 s a window: eight take 0.45 s, 0.056 s each.
    jobs = tuple(job(n, 1.0) for n in range(size))
    batching = Batching(GEOMETRY, max_batch=8)

    found = schedule(batching=batching, costs=SHARED).filled(jobs)

    assert pytest.approx(filled, abs=0.05) == found


def test_where_batches_gain_nothing_every_pass_is_full():
    assert 1.0 == schedule().filled((job(1, 1.0),))
    assert 1.0 == schedule(costs=CostModel()).filled((job(1, 1.0),))

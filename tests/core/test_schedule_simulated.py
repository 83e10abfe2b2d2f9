"""Virtual time: many streams through the schedule and the pacer, with workers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streaming.core.costs import CostModel, Costs
from streaming.core.pacing import Pacer
from streaming.core.schedule import Batching, Schedule
from streaming.events import Job, Pass, Window
from streaming.numeric.geometry import Geometry

GEOMETRY = Geometry(sample_rate=1_000, stride=20, receptive_field=25)
HOP = 320
BUDGET_S = 0.5
SAMPLES = np.zeros(2 * HOP, np.float32)


@dataclass
class Simulation:
    """Workers that run what the schedule says, in virtual time."""

    pass_s: float
    workers: int = 1
    max_batch: int = 1
    schedule: Schedule = field(init=False)
    began: dict[Job, float] = field(default_factory=dict)
    ended: dict[Job, float] = field(default_factory=dict)
    arrived: dict[Job, float] = field(default_factory=dict)
    given_up: list[Job] = field(default_factory=list)

    def __post_init__(self):
        self.schedule = Schedule(
            Batching(GEOMETRY, self.max_batch, pads=True),
            CostModel(Costs(fixed_s=self.pass_s)),
            workers=self.workers,
        )

    def run(self, jobs):
        """Add `(arrival, job)`s as they arrive; run until nothing is left."""
        self.arrived = {each: arrival for arrival, each in jobs}
        events = [(arrival, n, each) for n, (arrival, each) in enumerate(jobs)]
        events.sort()
        order = len(events)
        idle = self.workers
        while events:
            now, _, event = heappop(events)
            if isinstance(event, Job):
                self.schedule.add(event)
            elif event is not None:
                idle += 1
                self.schedule.done(event)
                self.ended.update(dict.fromkeys(event, now))
            if events and events[0][0] == now:
                continue
            self.given_up += self.schedule.give_up(now)
            while idle and (taken := self.schedule.take(now)):
                idle -= 1
                self.began.update(dict.fromkeys(taken, now))
                order += 1
                heappush(events, (now + self.pass_s, order, taken))
            wake_at = self.schedule.wake_at()
            if wake_at is not None:
                order += 1
                heappush(events, (wake_at, order, None))
        return self

    def lateness(self, stream):
        return [
            ended - each.deadline
            for each, ended in self.ended.items()
            if each.stream == stream and each.kind is Pass.STITCHED
        ]


def live(stream, windows, phase=0.0):
    """A caller's windows, each a hop after the other, at real-time pace."""
    return paced(stream, [phase + n * HOP / 1_000 for n in range(windows)])


def pushed(stream, windows, at=0.0):
    """A file's windows, all at once."""
    return paced(stream, [at] * windows)


def paced(stream, arrivals):
    pacer = Pacer(GEOMETRY.sample_rate, BUDGET_S)
    jobs = []
    for n, arrival in enumerate(arrivals):
        window = Window(SAMPLES[: min(n + 1, 2) * HOP], n * HOP, HOP * (n > 0), HOP, 0)
        due = pacer.window(window, 0, arrival)
        jobs.append((arrival, Job(stream, 0, window, Pass.STITCHED, due)))
    return jobs


def final(stream, at, due):
    window = Window(SAMPLES, 0, 0, len(SAMPLES), 0, last=True)
    return (at, Job(stream, 0, window, Pass.FULL, due))


def assert_in_order(simulation):
    by_stream = defaultdict(list)
    for each in simulation.began:
        if each.kind is Pass.STITCHED:
            by_stream[each.stream].append(each)
    for jobs in by_stream.values():
        assert sorted(jobs, key=lambda each: each.window.start) == jobs
        for first, second in pairwise(jobs):
            assert simulation.ended[first] <= simulation.began[second]


@settings(max_examples=15)
@given(
    st.lists(st.integers(0, HOP), min_size=1, max_size=5),
    st.lists(st.integers(0, 3_000), min_size=1, max_size=4),
)
def test_a_pushed_file_delays_live_streams_by_one_job_at_most(phases, pushes):
    """More than it would do if it were sent at the pace of speech."""
    pass_s = 0.05
    # Whole milliseconds, and a little more for each file: no two deadlines are equal.
    starts = [at / 1_000 + 1e-5 * (n + 1) for n, at in enumerate(pushes)]
    calls = [job for n, at in enumerate(phases) for job in live(n, 20, at / 1_000)]
    files = [job for n, at in enumerate(starts) for job in pushed(100 + n, 30, at)]
    spoken = [job for n, at in enumerate(starts) for job in live(100 + n, 30, at)]

    beside_files = Simulation(pass_s).run(calls + files)
    beside_callers = Simulation(pass_s).run(calls + spoken)

    for _, each in calls:
        assert beside_callers.ended[each] + pass_s + 1e-9 >= beside_files.ended[each]
    assert len(calls) + len(files) == len(beside_files.ended)


def test_callers_are_in_time_however_much_was_pushed():
    calls = [job for n in range(4) for job in live(n, 40, phase=0.0371 * n)]
    file = pushed(100, 2_000, at=1.0)

    simulation = Simulation(pass_s=0.05).run(calls + file)

    assert max(map(max, map(simulation.lateness, range(4)))) <= 0
    # All the while the file was run at full speed: the worker never idled.
    assert pytest.approx(1.0 + 2_000 * 0.05, abs=8) == max(simulation.ended.values())


def test_a_machine_with_room_is_never_late():
    calls = [job for n in range(6) for job in live(n, 50)]  # 94 % of one worker

    simulation = Simulation(pass_s=0.05).run(calls)

    assert max(map(max, map(simulation.lateness, range(6)))) <= 0


def test_a_lone_file_is_not_held_back_to_its_pace():
    simulation = Simulation(pass_s=0.01).run(pushed(1, 100))

    assert pytest.approx(1.0) == max(simulation.ended.values())


def test_in_overload_all_live_streams_are_about_equally_late():
    calls = [job for n in range(12) for job in live(n, 60)]  # twice what it can do

    simulation = Simulation(pass_s=0.053).run(calls)

    worst = [max(simulation.lateness(n)) for n in range(12)]
    assert max(worst) > 5
    assert max(worst) - min(worst) < 12 * 0.053 + 1e-9


def test_in_overload_full_passes_are_given_up_by_their_deadline_not_windows():
    calls = [job for n in range(12) for job in live(n, 60)]
    finals = [final(n, at=10.0, due=10.7) for n in range(12)]

    simulation = Simulation(pass_s=0.053).run(calls + finals)

    assert {each for _, each in finals} == set(simulation.given_up)
    assert len(calls) == len(simulation.ended)


def test_with_slack_every_full_pass_is_done_in_time_and_no_window_is_late():
    calls = [job for n in range(3) for job in live(n, 60, phase=0.1 * n)]
    finals = [final(n % 3, at=0.5 * n, due=0.5 * n + 0.7) for n in range(1, 30)]

    simulation = Simulation(pass_s=0.05).run(calls + finals)

    assert [] == simulation.given_up
    for _, each in finals:
        assert simulation.ended[each] <= each.deadline
    assert max(map(max, map(simulation.lateness, range(3)))) <= 0


@st.composite
def traffic(draw):
    jobs = []
    for stream in range(draw(st.integers(1, 6))):
        count, at = draw(st.integers(1, 12)), draw(st.floats(0, 2))
        jobs += draw(st.sampled_from([live, pushed]))(stream, count, at)
        if draw(st.booleans()):
            asked = at + draw(st.floats(0, 3))
            jobs.append(final(stream, asked, asked + draw(st.floats(0, 2))))
    return jobs


@settings(max_examples=40)
@given(
    traffic(), st.sampled_from([0.01, 0.1, 0.4]), st.integers(1, 3), st.integers(1, 4)
)
def test_nothing_starves_or_overtakes_whatever_comes(jobs, pass_s, workers, max_batch):
    simulation = Simulation(pass_s, workers, max_batch).run(jobs)

    answered = [*simulation.ended, *simulation.given_up]
    assert len(jobs) == len(answered)
    assert {each for _, each in jobs} == set(answered)
    assert_in_order(simulation)
    for each in simulation.ended:
        if each.kind is Pass.FULL:
            assert simulation.ended[each] <= each.deadline + 1e-9
    # A window that began let no window pass before it that was more urgent and free.
    began = [each for each in simulation.began if each.kind is Pass.STITCHED]
    if max_batch == 1:
        for each in began:
            assert more_urgent(simulation, each) == []


def more_urgent(simulation, job):
    """Windows that were ready and more urgent when `job` began, and began later."""
    at = simulation.began[job]
    return [
        other
        for other, began in simulation.began.items()
        if other.kind is Pass.STITCHED
        and other.stream != job.stream
        and simulation.arrived[other] <= at < began
        and other.deadline < job.deadline
        and all(
            simulation.ended[before] <= at
            for before in simulation.ended
            if before.kind is Pass.STITCHED
            and before.stream == other.stream
            and before.window.start < other.window.start
        )
    ]


@example([0] * 6, [(0, 60), (0, 404), (0, 238), (0, 128), (0, 457)])
@settings(max_examples=25)
@given(
    st.lists(st.integers(0, HOP), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 6_000), st.integers(60, 900)), max_size=60),
)
def test_full_passes_cost_no_window_its_deadline(phases, asked):
    """However many there are: windows alone take up to 94 % of the worker."""
    calls = [job for n, at in enumerate(phases) for job in live(n, 20, at / 1_000)]
    finals = [
        final(n % len(phases), at / 1_000, (at + left) / 1_000)
        for n, (at, left) in enumerate(asked)
    ]

    simulation = Simulation(pass_s=0.05).run(calls + finals)

    assert max(map(max, map(simulation.lateness, range(len(phases))))) <= 0

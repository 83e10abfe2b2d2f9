"""The engine's threads, with scripted models: gated by events, never by time."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import count
from queue import Empty, Queue

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.config import EngineConfig
from streaming.engine import Engine, Failed
from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Job, Logits, Pass, Window
from streaming.models.model import Windowed
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary
from tests.historian import Historian, digest, full_pass, tag_of, window

WAIT_S = 10  # for what must happen; only a broken engine takes as long
GEOMETRY = Geometry()
LABELS = ("<pad>", "|", "a", "b")


@dataclass
class ScriptedModel(Windowed):
    """Rows that say their window's first sample; blocks and fails when told.

    A window whose first sample is in `fails` fails its pass, once armed. While
    `gate` is clear an armed model stands still in `forward`, after it told
    `entered` the first samples of its batch.
    """

    max_batch: int = 1
    pads: bool = True
    name: str = "scripted"
    language: str = "en"
    normalise: bool = False
    temperature: float = 1.0
    geometry: Geometry = GEOMETRY
    vocabulary: Vocabulary = field(
        default_factory=lambda: Vocabulary(LABELS, 0, 1, frozenset())
    )
    armed: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: Queue = field(default_factory=Queue)
    fails: dict[int, BaseException] = field(default_factory=dict)
    steps_off: dict[int, int] = field(default_factory=dict)
    clones: list[ScriptedModel] = field(default_factory=list)
    histories: list = field(default_factory=list)
    closed: int = 0
    busy: threading.Lock = field(default_factory=threading.Lock)

    def forward(self, batch):
        assert self.busy.acquire(blocking=False), "two threads run one model"
        try:
            assert 1 <= len(batch) <= self.max_batch
            if self.armed.is_set():
                firsts = [round(float(samples[0])) for samples in batch]
                self.entered.put(firsts)
                assert self.gate.wait(WAIT_S)
                for first in firsts:
                    if first in self.fails:
                        raise self.fails[first]
            return [self.rows(samples) for samples in batch]
        finally:
            self.busy.release()

    def rows(self, samples):
        first = round(float(samples[0]))
        steps = self.geometry.steps(len(samples)) + self.steps_off.get(first, 0)
        return np.full((steps, len(LABELS)), first, np.float32)

    def clone(self):
        made = ScriptedModel(
            self.max_batch,
            self.pads,
            armed=self.armed,
            gate=self.gate,
            entered=self.entered,
            fails=self.fails,
            steps_off=self.steps_off,
        )
        self.clones.append(made)
        return made

    def close(self):
        self.closed += 1


class Answers:
    """Where answers are delivered: in order, and waited for."""

    def __init__(self):
        self.queue = Queue()

    def __call__(self, answer):
        self.queue.put(answer)

    def next(self):
        return self.queue.get(timeout=WAIT_S)

    def take(self, count):
        return [self.next() for _ in range(count)]


def job(tag, *, stream=0, deadline=1e9, samples=640, kind=Pass.STITCHED, utterance=0):
    audio = np.full(samples, tag, np.float32)
    return Job(stream, utterance, Window(audio, 0, 0, samples, 0), kind, deadline)


def even_clock():
    """On it every pass takes as long, so that windows in a batch cost nothing."""
    ticks = count()
    return lambda: next(ticks) / 1_000


def said(answer):
    assert isinstance(answer, Logits), answer
    return round(float(answer.rows[0, 0]))


@pytest.fixture
def run():
    """Starts engines, gates open unless told otherwise; stops them at the end."""
    made = []

    def start(model, *, workers=1, gated=False, **options):
        config = {
            name: options.pop(name)
            for name in ("max_batch", "queue_s", "hang_s", "state_mib")
            if name in options
        }
        engine = Engine(model, EngineConfig(workers=workers, **config), **options)
        made.append((engine, model))
        engine.start()
        model.armed.set()
        if not gated:
            model.gate.set()
        return engine

    yield start
    for engine, model in made:
        model.gate.set()
        engine.stop()
        assert [1] * len(model.clones) == [clone.closed for clone in model.clones]
        assert 0 == model.closed
        assert {1} >= {history.closed for history in model.histories}


def test_a_job_comes_back_with_a_row_for_each_stride(run):
    engine, answers = run(ScriptedModel()), Answers()
    asked = job(7, samples=1_000)

    engine.submit(asked, answers)
    answer = answers.next()

    assert asked is answer.job
    assert (4, len(LABELS)) == answer.rows.shape
    assert 7 == said(answer)


def test_a_window_without_samples_has_no_rows_and_is_not_run(run):
    model = ScriptedModel()
    engine, answers = run(model), Answers()

    engine.submit(job(7, samples=0), answers)

    assert (0, len(LABELS)) == answers.next().rows.shape
    assert model.entered.empty()


def test_starting_warms_every_worker_and_measures(run):
    model = ScriptedModel()

    engine = run(model, workers=1, clock=even_clock())

    assert engine.warm
    assert 0.001 == pytest.approx(engine.costs.windows.seconds(16_000), rel=0.01)


def test_an_engine_that_was_not_started_is_not_warm_and_takes_nothing():
    engine, answers = Engine(ScriptedModel(), EngineConfig(workers=1)), Answers()

    engine.submit(job(1), answers)

    assert not engine.warm
    assert "not started" in str(answers.next().error)
    with pytest.raises(Overloaded, match="not started"):
        engine.admit()
    engine.stop()


def test_an_engine_starts_once(run):
    engine = run(ScriptedModel())

    with pytest.raises(RuntimeError, match="running"):
        engine.start()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_model_that_does_not_run_fails_the_start(workers):
    class Broken(ScriptedModel):
        def clone(self):
            made = super().clone()
            made.steps_off = {0: 1, -1: 1, 1: 1}  # whatever the noise begins with
            return made

    model = Broken()
    engine = Engine(model, EngineConfig(workers=workers))

    with pytest.raises(ModelError, match=r"warm up.* rows, expected"):
        engine.start()

    assert not engine.warm
    assert [1] * workers == [clone.closed for clone in model.clones]


def test_a_model_that_cannot_be_cloned_fails_the_start():
    class Single(ScriptedModel):
        def clone(self):
            if self.clones:
                raise MemoryError("no room for two")
            return super().clone()

    model = Single()

    with pytest.raises(ModelError, match="no room for two"):
        Engine(model, EngineConfig(workers=2)).start()
    assert [1] == [clone.closed for clone in model.clones]


def test_stopping_while_it_warms_up_fails_the_start():
    model = ScriptedModel()
    model.armed.set()
    engine = Engine(model, EngineConfig(workers=1))
    failures = Queue()

    def start():
        try:
            engine.start()
        except ModelError as error:
            failures.put(error)

    threads = [threading.Thread(target=target) for target in (start, engine.stop)]
    threads[0].start()
    model.entered.get(timeout=WAIT_S)
    threads[1].start()
    with engine._change:  # stop has said so, then waits for the pass to end
        assert engine._change.wait_for(lambda: engine.state == "stopped", WAIT_S)
    model.gate.set()

    assert "it was stopped" in str(failures.get(timeout=WAIT_S))
    for thread in threads:
        thread.join(WAIT_S)
    assert [1] == [clone.closed for clone in model.clones]


def test_no_workers_asked_for_is_one_a_core_without_batches_and_one_with():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None

    alone, batched = (
        Engine(ScriptedModel(max_batch=n), EngineConfig()) for n in (1, 8)
    )

    assert (cores or os.cpu_count()) == alone.stats.workers
    assert 1 == batched.stats.workers


# --- order -----------------------------------------------------------------


def test_jobs_run_by_deadline_and_full_passes_from_slack(run):
    model, answers = ScriptedModel(), Answers()
    engine = run(model, gated=True)
    engine.submit(job(0, stream=9), answers)
    assert [0] == model.entered.get(timeout=WAIT_S)
    engine.submit(job(1, kind=Pass.FULL), answers)
    for tag, deadline in ((2, 3e9), (3, 1e9), (4, 2e9)):
        engine.submit(job(tag, stream=tag, deadline=deadline), answers)

    model.gate.set()

    assert [0, 3, 4, 2, 1] == [said(answer) for answer in answers.take(5)]


def test_a_streams_windows_come_back_in_order_from_many_workers(run):
    engine = run(ScriptedModel(), workers=4)
    streams = {stream: Answers() for stream in range(6)}

    for tag in range(50):
        for stream, answers in streams.items():
            engine.submit(job(tag, stream=stream, deadline=float(tag)), answers)

    for answers in streams.values():
        assert list(range(50)) == [said(answer) for answer in answers.take(50)]


def test_a_streams_next_window_is_not_begun_before_the_answer_is_handed_over(run):
    model, answers = ScriptedModel(), Answers()
    engine = run(model, workers=2, gated=True)
    early = []

    def deliver(answer):
        model.entered.get(timeout=WAIT_S)
        try:
            early.append(model.entered.get(timeout=0.05))
        except Empty:
            answers(answer)

    engine.submit(job(1), deliver)
    engine.submit(job(2), answers)
    model.gate.set()

    assert [1, 2] == [said(answer) for answer in answers.take(2)]
    assert [] == early


def test_a_batch_takes_what_waits_and_each_job_gets_its_own_rows(run):
    model, answers = ScriptedModel(max_batch=8), Answers()
    engine = run(model, gated=True, clock=even_clock())
    engine.submit(job(0, stream=0), answers)
    model.entered.get(timeout=WAIT_S)
    for tag in range(1, 6):
        engine.submit(job(tag, stream=tag, samples=640 - tag), answers)

    model.gate.set()

    assert [0, 1, 2, 3, 4, 5] == [said(answer) for answer in answers.take(6)]
    assert [1, 2, 3, 4, 5] == model.entered.get(timeout=WAIT_S)


def test_a_full_pass_that_cannot_be_in_time_is_failed_by_an_idle_worker(run):
    now = [100.0]
    engine, answers = run(ScriptedModel(), clock=lambda: now[0]), Answers()

    engine.submit(job(1, kind=Pass.FULL, deadline=99.0), answers)

    answer = answers.next()
    assert isinstance(answer.error, Overloaded)
    assert "deadline" in str(answer.error)
    assert 1 == engine.stats.given_up


def test_a_full_pass_that_must_wait_is_failed_when_its_time_has_passed(run):
    # Of two workers one stays free of full passes, and wakes to give the second up.
    model, answers = ScriptedModel(), Answers()
    engine = run(model, workers=2, gated=True)
    engine.submit(job(1, kind=Pass.FULL), answers)
    model.entered.get(timeout=WAIT_S)

    soon = time.monotonic() + 0.05
    engine.submit(job(2, stream=2, kind=Pass.FULL, deadline=soon), answers)

    assert isinstance(answers.next(), Failed)


def test_full_passes_that_are_not_allowed_are_failed_until_they_are_again(run):
    engine, answers = run(ScriptedModel()), Answers()
    engine.allow_full_passes(False)

    engine.submit(job(1, kind=Pass.FULL), answers)
    engine.submit(job(2), answers)
    first, second = answers.take(2)
    engine.allow_full_passes(True)
    engine.submit(job(3, kind=Pass.FULL), answers)

    assert isinstance(first, Failed)
    assert isinstance(first.error, Overloaded)
    assert [2, 3] == [said(second), said(answers.next())]


def test_the_strain_tells_how_much_of_their_budget_windows_take(run):
    engine, answers = run(ScriptedModel(), gated=True), Answers()
    assert 0.0 == engine.strain.used
    now = time.monotonic()
    late = replace(job(1, deadline=now - 9.0), budget_s=1.0)

    engine.submit(late, answers)
    model = engine._model
    model.entered.get(timeout=WAIT_S)
    engine.submit(replace(late, stream=1), answers)

    assert 10.0 <= engine.strain.used < 10.0 + WAIT_S
    assert 0.0 < engine.strain.busy
    model.gate.set()
    answers.take(2)


def test_windows_may_be_as_long_as_half_their_budget_allows(run):
    engine = run(ScriptedModel())

    limit = engine.window_limit(0.5)

    costs = engine.costs.of(Pass.STITCHED)
    assert costs.seconds(limit) <= 0.25 + 1e-9 or limit >= 1 << 40


def test_no_full_pass_is_longer_than_half_the_smallest_budget(run):
    now = [0.0]

    class RealTime(ScriptedModel):
        """Takes as long as its audio, on the test's clock."""

        def forward(self, batch):
            now[0] += sum(map(len, batch)) / 16_000
            return super().forward(batch)

        def clone(self):
            return RealTime(armed=self.armed, gate=self.gate)

    engine, answers = run(RealTime(), clock=lambda: now[0]), Answers()

    assert 3_840 == engine.full_pass_limit(0.5)  # whole strides within 4,000
    assert 0.2 == pytest.approx(engine.least_budget_s(1_600))
    engine.limit_passes(smallest_budget_s=0.5)
    engine.submit(job(1, samples=4_480, kind=Pass.FULL), answers)
    engine.submit(job(2, samples=3_840, kind=Pass.FULL), answers)

    assert isinstance(answers.next(), Failed)
    assert 2 == said(answers.next())


# --- failures --------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [ValueError("bad"), MemoryError("full"), SystemExit(3), ModelError("odd")]
)
def test_a_failing_job_fails_alone_and_the_worker_survives(run, error):
    model, answers = ScriptedModel(fails={13: error}), Answers()
    engine = run(model)

    for tag in (12, 13, 14):
        engine.submit(job(tag, stream=tag), answers)
    first, failed, last = answers.take(3)

    assert (12, 14) == (said(first), said(last))
    assert isinstance(failed.error, ModelError)
    assert type(error).__name__ in str(failed.error)
    assert error is failed.error.__cause__
    assert 1 == engine.stats.failed


def test_in_a_batch_only_the_job_that_fails_by_itself_is_failed(run):
    model, answers = ScriptedModel(max_batch=8, fails={3: ValueError("bad")}), Answers()
    engine = run(model, gated=True, clock=even_clock())
    engine.submit(job(0, stream=0), answers)
    model.entered.get(timeout=WAIT_S)
    for tag in range(1, 6):
        engine.submit(job(tag, stream=tag), answers)

    model.gate.set()
    _, *batch = answers.take(6)

    assert [Logits, Logits, Failed, Logits, Logits] == [type(each) for each in batch]
    assert [1, 2, 4, 5] == [said(each) for each in batch if isinstance(each, Logits)]


def test_rows_that_do_not_fit_the_window_are_a_model_error(run):
    engine, answers = run(ScriptedModel(steps_off={5: 1})), Answers()

    engine.submit(job(5), answers)

    assert "640 samples gave 3 rows, expected 2" in str(answers.next().error)


def test_logits_that_are_not_finite_are_a_model_error(run):
    class Infinite(ScriptedModel):
        def rows(self, samples):
            return super().rows(samples) * (np.nan if self.armed.is_set() else 1)

        clone = None

    model = Infinite()
    model.clone = lambda: Infinite(armed=model.armed, gate=model.gate)
    engine, answers = run(model), Answers()

    engine.submit(job(5), answers)

    assert "not finite" in str(answers.next().error)


def test_an_answer_that_nobody_takes_does_not_end_the_worker(run):
    engine, answers = run(ScriptedModel()), Answers()

    def closed(_):
        raise RuntimeError("Event loop is closed")

    engine.submit(job(1, stream=1), closed)
    engine.submit(job(2, stream=2), answers)

    assert 2 == said(answers.next())
    assert 1 == engine.stats.undelivered


# --- cancelling, stopping, bounds ------------------------------------------


def test_a_cancelled_job_is_returned_and_gets_no_answer(run):
    model, answers = ScriptedModel(), Answers()
    engine = run(model, gated=True)
    running, waiting, other = job(1), job(2), job(3, utterance=1)
    for each in (running, waiting, other):
        engine.submit(each, answers)
    model.entered.get(timeout=WAIT_S)

    assert (waiting,) == engine.cancel(Cancel(0, 0))
    model.gate.set()

    assert [1, 3] == [said(answer) for answer in answers.take(2)]
    assert 1 == engine.stats.cancelled


def test_stopping_answers_what_runs_then_fails_what_waits(run):
    model, answers = ScriptedModel(), Answers()
    engine = run(model, gated=True)
    for tag in range(4):
        engine.submit(job(tag), answers)
    model.entered.get(timeout=WAIT_S)

    stopper = threading.Thread(target=engine.stop)
    stopper.start()
    model.gate.set()
    stopper.join(WAIT_S)
    first, *left = answers.take(4)

    assert 0 == said(first)
    assert [Overloaded] * 3 == [type(each.error) for each in left]
    assert "3 jobs" in str(left[0].error)
    assert not engine.warm


def test_a_stopped_engine_fails_what_comes_and_stops_again(run):
    engine, answers = run(ScriptedModel()), Answers()
    engine.stop()

    engine.submit(job(1), answers)
    engine.stop()

    assert "stopped" in str(answers.next().error)


def test_stopping_from_an_answer_does_not_wait_for_itself(run):
    engine, answers = run(ScriptedModel()), Answers()

    def stop(answer):
        engine.stop()
        answers(answer)

    engine.submit(job(1), stop)

    assert 1 == said(answers.next())


def test_too_many_full_passes_are_refused_with_the_numbers(run):
    model, answers = ScriptedModel(), Answers()
    engine = run(model, gated=True, queue_s=1.0)
    engine.submit(job(0, stream=9), answers)
    model.entered.get(timeout=WAIT_S)
    for tag in (1, 2):
        engine.submit(job(tag, samples=12_800, kind=Pass.FULL), answers)

    assert "1.6 s of audio would wait" in str(answers.next().error)
    assert 1 == engine.stats.refused


def test_new_streams_are_refused_while_too_much_is_late(run):
    now = [0.0]
    model, answers = ScriptedModel(), Answers()
    engine = run(model, gated=True, queue_s=1.0, clock=lambda: now[0])
    engine.submit(job(0, stream=9), answers)
    model.entered.get(timeout=WAIT_S)
    for stream in range(3):
        engine.submit(job(1, stream=stream, samples=6_400, deadline=1.0), answers)
    engine.admit()

    now[0] = 2.0

    with pytest.raises(Overloaded, match=r"1\.2 s of audio"):
        engine.admit()
    assert 1.2 == pytest.approx(engine.stats.late_s)
    assert -1.0 >= engine.stats.slack_s


def test_the_stats_count(run):
    now = [0.0]
    model, answers = ScriptedModel(max_batch=4), Answers()
    engine = run(model, gated=True, clock=lambda: now[0])
    engine.submit(job(0, stream=9, deadline=2.0), answers)
    model.entered.get(timeout=WAIT_S)
    for stream in range(3):
        engine.submit(job(1, stream=stream, deadline=5.0), answers)
    engine.submit(job(2, kind=Pass.FULL), answers)

    before = engine.stats
    now[0] = 3.0
    model.gate.set()
    answers.take(5)
    engine.stop()
    after = engine.stats

    assert (1, 4, 0) == (before.busy, before.waiting, before.passes)
    assert 0.16 == pytest.approx(before.waiting_s)
    assert (0, 0, 3) == (after.busy, after.waiting, after.passes)
    assert ((1, 2), (3, 1)) == after.batch_sizes
    assert (4, 1) == (after.windows, after.full_passes)
    assert (1.0, -2.0, -2.0, -2.0) == after.lateness_s
    assert 1 == after.windows_late
    assert 3.0 == after.inference_s


# --- threads ---------------------------------------------------------------


async def test_answers_cross_to_the_event_loop(run):
    loop = asyncio.get_running_loop()
    engine = await asyncio.to_thread(
        run, ScriptedModel(), workers=2, crossing=loop.call_soon_threadsafe
    )
    answered = asyncio.Queue()
    threads = set()

    def deliver(answer):
        threads.add(threading.current_thread())
        answered.put_nowait(said(answer))

    for tag in range(20):
        engine.submit(job(tag), deliver)

    async with asyncio.timeout(WAIT_S):
        assert list(range(20)) == [await answered.get() for _ in range(20)]
    assert {threading.current_thread()} == threads


@pytest.mark.parametrize("max_batch", [1, 8])
def test_every_job_is_answered_once_or_cancelled_whoever_calls_when(run, max_batch):
    engine = run(ScriptedModel(max_batch=max_batch), workers=3, queue_s=5.0)
    answers = defaultdict(list)
    cancelled = defaultdict(set)
    begin = threading.Barrier(5)

    def client(stream):
        begin.wait(WAIT_S)
        for tag in range(200):
            kind = Pass.FULL if tag % 5 == 4 else Pass.STITCHED
            asked = job(tag, stream=stream, utterance=tag // 10, kind=kind)
            engine.submit(asked, answers[stream].append)
            if tag % 7 == 6:
                gone = engine.cancel(Cancel(stream, tag // 10))
                cancelled[stream].update(tag_of(each) for each in gone)

    def stopper():
        begin.wait(WAIT_S)
        while engine.stats.passes < 20:
            engine.stats  # noqa: B018  contends for the lock
        engine.stop()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    threads.append(threading.Thread(target=stopper))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()

    for stream in range(4):
        tags = [tag_of(answer.job) for answer in answers[stream]]
        assert list(range(200)) == sorted([*tags, *cancelled[stream]])
        run_windows = [
            tag_of(answer.job)
            for answer in answers[stream]
            if isinstance(answer, Logits) and answer.job.kind is Pass.STITCHED
        ]
        assert sorted(run_windows) == run_windows
    assert 0 == engine.stats.waiting


# --- models that keep states -------------------------------------------------


def settled(engine):
    """Wait until nothing waits or runs, its states being settled too."""
    with engine._change:
        assert engine._change.wait_for(
            lambda: not engine.stats.busy and not engine.stats.waiting, WAIT_S
        )


def test_each_utterances_windows_go_on_where_it_left_off(run):
    model, answers = Historian(max_batch=4), Answers()
    engine = run(model, workers=3)
    utterances = [(stream, serial) for serial in range(3) for stream in range(5)]
    jobs = [
        window(
            1_000 * n + piece,
            stream=stream,
            utterance=serial,
            start=640 * piece,
            last=piece == 9,
        )
        for n, (stream, serial) in enumerate(utterances)
        for piece in range(10)
    ]

    for each in jobs:
        engine.submit(each, answers)
    found = {answer.job: said(answer) for answer in answers.take(len(jobs))}
    settled(engine)

    for n, _ in enumerate(utterances):
        tags = [1_000 * n + piece for piece in range(10)]
        expected = [digest(tags[: piece + 1]) for piece in range(10)]
        assert expected == [found[each] for each in jobs[10 * n : 10 * n + 10]]
    assert [] == model.held
    assert 0 == engine.stats.states


def test_a_state_goes_when_its_utterance_is_cancelled_not_with_its_full_pass(run):
    model, answers = Historian(), Answers()
    engine = run(model)
    for stream in (1, 2):
        engine.submit(window(1, stream=stream), answers)
    answers.take(2)
    settled(engine)

    engine.cancel(Cancel(1, 0, Pass.FULL))
    assert 2 == engine.stats.states
    engine.cancel(Cancel(1, 0))
    assert 1 == engine.stats.states
    engine.cancel(Cancel(2, None))
    assert 0 == engine.stats.states
    assert [] == model.held


def test_a_state_that_is_cancelled_while_it_is_stepped_goes_afterwards(run):
    model, answers = Historian(), Answers()
    engine = run(model, gated=True)
    for tag, start in ((1, 0), (2, 640)):
        engine.submit(window(tag, start=start), answers)
    assert model.entered.acquire(timeout=WAIT_S)

    assert [2] == [tag_of(each) for each in engine.cancel(Cancel(0, 0))]
    assert 1 == len(model.held)  # the model itself insists that it is open
    model.gate.set()

    assert digest([1]) == said(answers.next())
    settled(engine)
    assert [] == model.held


def test_without_room_for_a_state_only_that_window_fails(run):
    model, answers = Historian(room=1), Answers()
    engine = run(model)
    engine.submit(window(1, stream=1), answers)
    engine.submit(window(2, stream=2), answers)
    engine.submit(window(3, stream=1, start=640), answers)

    found = {tag_of(answer.job): answer for answer in answers.take(3)}

    assert [digest([1]), digest([1, 3])] == [said(found[1]), said(found[3])]
    assert isinstance(found[2].error, Overloaded)
    assert "beside 1" in str(found[2].error)


def test_stopping_closes_what_is_open(run):
    model, answers = Historian(), Answers()
    engine = run(model, workers=2)
    for stream in range(4):
        engine.submit(window(1, stream=stream), answers)
    answers.take(4)

    engine.stop()
    engine.stop()

    assert {1} == {history.closed for history in model.histories}


def test_steps_cost_what_steps_take_and_full_passes_what_those_take(run):
    now = [0.0]

    class Paced(Historian):
        def forward(self, batch):
            now[0] += 0.1
            return super().forward(batch)

        def step(self, batch):
            now[0] += 0.02
            return super().step(batch)

    engine = run(Paced(), clock=lambda: now[0])

    assert 0.04 == pytest.approx(engine.least_budget_s(3_200), rel=0.01)
    assert 0 == engine.full_pass_limit(0.19)
    assert 160_000 < engine.full_pass_limit(0.21)
    assert 0.1 == pytest.approx(engine.costs.full.seconds(16_000), rel=0.01)


def test_steps_and_full_passes_teach_the_costs_apart(run):
    model, answers = Historian(), Answers()
    engine = run(model, clock=even_clock())
    before = engine.costs

    engine.submit(full_pass(1), answers)
    answers.next()
    settled(engine)

    assert before.windows == engine.costs.windows


def test_the_stats_tell_states_and_what_was_computed_for_what(run):
    model, answers = Historian(), Answers()
    engine = run(model)
    audio = np.full(960, 1, np.float32)
    for stream in (1, 1, 2):
        cut = Window(audio, 640 * (stream == 1 and engine.stats.states), 0, 640, 320)
        engine.submit(Job(stream, 0, cut, Pass.STITCHED, 1e9), answers)
        answers.next()
        settled(engine)
    engine.submit(full_pass(2, samples=1_280), answers)
    answers.next()
    settled(engine)

    stats = engine.stats

    assert stats.stateful
    assert (2, 300, 200) == (stats.states, stats.state_bytes, stats.state_bytes_most)
    assert {Pass.STITCHED: 2_880, Pass.FULL: 1_280} == dict(stats.computed_samples)
    assert {Pass.STITCHED: 1_920, Pass.FULL: 1_280} == dict(stats.decoded_samples)
    assert (2_880 + 1_280) / 1_920 == pytest.approx(stats.redundancy)


moves = st.one_of(
    st.tuples(st.sampled_from(["window", "last", "bad", "odd"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["full", "cancel", "cancel all"]), st.integers(0, 2)),
    st.tuples(st.sampled_from(["settle", "hold", "go on"]), st.just(0)),
)


@settings(max_examples=40)
@given(st.lists(moves, max_size=40), st.sampled_from([(1, 1), (2, 1), (2, 4)]))
def test_every_state_is_closed_once_whatever_happens_when(script, sizes):
    workers, max_batch = sizes
    model = Historian(max_batch=max_batch, room=5)
    engine = Engine(model, EngineConfig(workers=workers))
    engine.start()
    warmed = len(model.histories)
    model.armed.set()
    model.gate.set()
    tags, answers = count(1), []
    serials, pieces = Counter(), defaultdict(list)  # by stream; by utterance

    def go_on():
        model.gate.set()
        settled(engine)

    for move, stream in script:
        key = (stream, serials[stream])
        match move:
            case "window" | "last" | "bad" | "odd":
                tag = next(tags)
                model.fails |= {tag} if move == "bad" else set()
                model.odd |= {tag} if move == "odd" else set()
                asked = window(
                    tag,
                    stream=stream,
                    utterance=key[1],
                    start=640 * len(pieces[key]),
                    last=move == "last",
                )
                pieces[key].append(tag)
                serials[stream] += move == "last"
                engine.submit(asked, answers.append)
            case "full":
                whole = full_pass(next(tags), stream=stream, utterance=key[1])
                engine.submit(whole, answers.append)
            case "cancel":
                engine.cancel(Cancel(stream, key[1]))
                serials[stream] += 1
            case "cancel all":
                engine.cancel(Cancel(stream, None))
                serials[stream] += 1
            case "hold":
                model.gate.clear()
            case "go on":
                model.gate.set()
            case "settle":
                go_on()
                # What is open is what was begun, and neither ended nor failed.
                well = {
                    (answer.job.stream, answer.job.utterance)
                    for answer in answers
                    if isinstance(answer, Logits) and answer.job.kind is Pass.STITCHED
                }
                ill = {
                    (answer.job.stream, answer.job.utterance)
                    for answer in answers
                    if isinstance(answer, Failed) and answer.job.kind is Pass.STITCHED
                }
                going = {(s, serials[s]) for s in range(3)}
                assert len(going & well - ill) == len(model.held)
                assert engine.stats.states == len(model.held)
    model.gate.set()
    engine.stop()

    assert {1} >= {history.closed for history in model.histories[warmed:]}
    for answer in answers:
        if isinstance(answer, Logits) and answer.job.kind is Pass.STITCHED:
            tag = tag_of(answer.job)
            past = pieces[answer.job.stream, answer.job.utterance]
            assert digest(past[: past.index(tag) + 1]) == said(answer)


# --- a worker that hangs -----------------------------------------------------


class Clock:
    """Moves when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def look(self, engine, seconds):
        """Look a few times a second for so long; what was said last."""
        for _ in range(round(seconds * 5)):
            self.now += 0.2
            said = engine.look()
        return said


def test_a_forward_that_never_returns_is_noticed_and_no_stream_is_let_in(run, caplog):
    model, answers, clock = ScriptedModel(), Answers(), Clock()
    engine = run(model, gated=True, clock=clock, hang_s=20.0)

    engine.submit(job(1), answers)
    model.entered.get(timeout=WAIT_S)

    assert clock.look(engine, 19.0) is None
    engine.admit()
    clock.now += 3_600.0  # the machine was suspended
    assert engine.look() is None
    assert "1 windows has run for 2" in clock.look(engine, 5.0)
    assert (1, 1) == (engine.stats.hung, engine.stats.hangs)
    with pytest.raises(Overloaded, match="the engine hangs: a pass over 1 windows"):
        engine.admit()
    assert 1 == caplog.text.count("the engine hangs: a pass")

    model.gate.set()
    assert 1 == said(answers.next())
    settled(engine)
    assert clock.look(engine, 1.0) is None
    assert (0, 1) == (engine.stats.hung, engine.stats.hangs)
    engine.admit()


def test_one_worker_that_hangs_leaves_the_others_their_streams(run):
    model, answers, clock = ScriptedModel(), Answers(), Clock()
    engine = run(model, workers=2, gated=True, clock=clock, hang_s=20.0)

    engine.submit(job(1), answers)
    model.entered.get(timeout=WAIT_S)

    assert clock.look(engine, 25.0) is not None
    engine.admit()


# --- room for states ---------------------------------------------------------


def test_a_stream_that_would_find_no_place_for_its_state_is_refused(run):
    model, answers = Historian(room=2), Answers()
    engine = run(model, state_mib=0)
    assert engine.most_states is None

    for stream in (1, 2, 3):  # the third finds no room
        engine.submit(window(stream, stream=stream), answers)
    failed = [each for each in answers.take(3) if isinstance(each, Failed)]
    settled(engine)

    assert [3] == [each.job.stream for each in failed]
    assert isinstance(failed[0].error, Overloaded)
    assert (2, 2) == (engine.most_states, engine.stats.states_most)
    with pytest.raises(Overloaded, match="all 2 places for the states"):
        engine.admit()
    engine.cancel(Cancel(1, None))
    engine.admit()


def test_warming_up_learns_what_states_take(run):
    """One of the model's steps leaves 100 bytes, a whole left context a few."""
    engine = run(Historian(), state_mib=1)

    assert 100 < engine.most_states < (1 << 20) // 100
    assert engine.most_states == engine.stats.states_most

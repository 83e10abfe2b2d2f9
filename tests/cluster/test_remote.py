"""An ingest's engine, over real wires to real engines of this process."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from streaming.cluster.desk import Desk, agree, pulse_of
from streaming.cluster.remote import RemoteEngine
from streaming.cluster.wire import socketpair
from streaming.cluster.words import Warm
from streaming.config import EngineConfig
from streaming.engine import Engine, Failed, facts_of
from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Logits
from tests.historian import Historian, digest, full_pass, tag_of, window
from tests.server.scripted import until

WAIT_S = 10


class Rig:
    """Engines that can die, and the one that an ingest takes them for."""

    def __init__(self):
        self.facts = facts_of(Historian())
        cross = asyncio.get_running_loop().call_soon_threadsafe
        self.remote = RemoteEngine(0, self.facts, cross)
        self.engines = {}
        self.replaced = []
        self.answers = asyncio.Queue()
        self.changed = asyncio.Event()
        self.cross = cross

    async def start(self, number, *, gated=False, **model):
        historian = Historian(**model)
        engine = Engine(historian, EngineConfig(workers=1))
        await asyncio.to_thread(engine.start)
        historian.armed.set()
        if not gated:
            historian.gate.set()
        ours, theirs = socketpair()
        desks = []

        def changed():
            agree(engine, desks)
            self.cross(self.changed.set)

        desks.append(Desk(engine, number, theirs, changed))
        if number in self.engines:
            self.replaced.append(self.engines[number])
        self.engines[number] = (engine, historian, desks[0])
        warm = Warm(self.facts, engine.costs, 1)
        self.remote.connect(number, ours, warm)

    async def die(self, number):
        engine, historian, desk = self.engines.pop(number)
        desk.close()
        await until(lambda: number not in self.remote._links)
        historian.gate.set()
        await asyncio.to_thread(engine.stop)

    async def stop(self):
        for number in list(self.engines):
            await self.die(number)
        for engine, historian, desk in self.replaced:
            desk.close()
            historian.gate.set()
            await asyncio.to_thread(engine.stop)
        self.remote.close()

    def submit(self, *jobs):
        for job in jobs:
            self.remote.submit(job, self.answers.put_nowait)

    async def next(self):
        async with asyncio.timeout(WAIT_S):
            return await self.answers.get()

    async def said(self, count):
        return {
            tag_of(a.job): said(a) for a in [await self.next() for _ in range(count)]
        }


def said(answer):
    assert isinstance(answer, Logits), answer
    return round(float(answer.rows[0, 0]))


@pytest.fixture
async def rig():
    rig = Rig()
    yield rig
    await rig.stop()


def piece(tag, at, stream=0, last=False):
    return window(tag, stream=stream, start=640 * at, last=last)


async def test_jobs_are_run_elsewhere_and_answered_here(rig):
    await rig.start(0)

    rig.submit(piece(1, 0), piece(2, 1, last=True), full_pass(3))

    assert {1: digest([1]), 2: digest([1, 2]), 3: -3} == await rig.said(3)
    assert rig.remote.warm


async def test_streams_are_spread_and_stay(rig):
    await rig.start(0)
    await rig.start(1)

    for at in range(3):
        rig.submit(*(piece(100 * s + at, at, stream=s) for s in range(1, 5)))
    await rig.said(12)

    assert [2, 2] == [len(model.held) for _, model, _ in rig.engines.values()]
    rig.remote.cancel(Cancel(1, None))
    rig.remote.cancel(Cancel(2, None))
    await until(lambda: 2 == sum(len(m.held) for _, m, _ in rig.engines.values()))


async def test_a_dead_engines_streams_go_on_from_their_audio_on_another(rig):
    await rig.start(0)
    await rig.start(1)
    rig.submit(*(piece(100 * s, 0, stream=s) for s in (1, 2, 3)))
    await rig.said(3)

    await rig.die(0)
    rig.submit(*(piece(100 * s + 1, 1, stream=s, last=True) for s in (1, 2, 3)))

    expected = {100 * s + 1: digest([100 * s, 100 * s + 1]) for s in (1, 2, 3)}
    assert expected == await rig.said(3)


async def test_without_an_engine_streams_wait_for_the_next(rig):
    await rig.start(0)
    rig.submit(piece(1, 0))
    await rig.said(1)
    _, model, _ = rig.engines[0]
    model.gate.clear()
    rig.submit(piece(2, 1))
    await asyncio.to_thread(model.entered.acquire)  # the first
    await asyncio.to_thread(model.entered.acquire)

    await rig.die(0)
    rig.submit(piece(3, 2), piece(4, 0, stream=1))
    assert not rig.remote.warm
    with pytest.raises(Overloaded, match="no engine process"):
        rig.remote.admit()
    await rig.start(0)

    expected = {2: digest([1, 2]), 3: digest([1, 2, 3]), 4: digest([4])}
    assert expected == await rig.said(3)
    assert rig.answers.empty()


async def test_an_engine_that_comes_back_before_its_end_is_noticed(rig):
    await rig.start(0)
    rig.submit(piece(1, 0))
    await rig.said(1)
    _, _, before = rig.engines[0]

    await rig.start(0)
    rig.submit(piece(2, 1))

    assert {2: digest([1, 2])} == await rig.said(1)
    before.close()


async def test_a_job_that_engines_die_of_is_given_up(rig):
    rig.submit(piece(1, 0), piece(2, 0, stream=1))
    for _ in range(3):
        await rig.start(0, gated=True)
        await rig.die(0)

    for answer in [await rig.next() for _ in range(2)]:
        assert isinstance(answer, Failed)
        assert isinstance(answer.error, ModelError)
        assert "3 engine processes died" in str(answer.error)
    await rig.start(0)
    rig.submit(piece(4, 0, stream=2))
    assert {4: digest([4])} == await rig.said(1)


async def test_what_is_cancelled_is_not_answered_even_if_it_runs(rig):
    await rig.start(0)
    _, model, _ = rig.engines[0]
    model.gate.clear()
    rig.submit(piece(1, 0), piece(2, 1), piece(3, 0, stream=1))
    await asyncio.to_thread(model.entered.acquire)

    assert [1, 2] == [tag_of(job) for job in rig.remote.cancel(Cancel(0, 0))]
    model.gate.set()

    assert {3: digest([3])} == await rig.said(1)
    assert rig.answers.empty()


async def test_failures_cross_as_what_they_are(rig):
    await rig.start(0, fails={2}, room=1)

    rig.submit(piece(1, 0), piece(3, 0, stream=1), piece(2, 1))
    answers = {tag_of(a.job): a for a in [await rig.next() for _ in range(3)]}

    assert Overloaded is type(answers[3].error)
    assert ModelError is type(answers[2].error)
    assert "2 is not to be" in str(answers[2].error)


async def test_terms_reach_every_engine_also_one_that_comes_later(rig):
    await rig.start(0)
    rig.remote.limit_passes(0.5)
    rig.remote.allow_full_passes(False)
    await rig.start(1)

    for engine, _, _ in rig.engines.values():
        await until(lambda engine=engine: not engine._schedule.full_passes)
        assert 0.25 == engine._schedule.longest_s
    rig.submit(full_pass(1))
    assert isinstance((await rig.next()).error, Overloaded)


async def test_what_an_engine_says_of_itself_is_gone_by(rig):
    await rig.start(0)
    engine, _, desk = rig.engines[0]
    samples = 64_000
    assert engine.least_budget_s(samples) == rig.remote.least_budget_s(samples)
    assert engine.window_limit(0.5) == rig.remote.window_limit(0.5)
    rig.remote.admit()

    pulse = pulse_of(engine)
    desk.send(type(pulse)(pulse.strain, pulse.costs, "60 s are late", 4.5))
    await until(lambda: rig.remote._links[0].pulse.refusal is not None)

    with pytest.raises(Overloaded, match="60 s are late") as caught:
        rig.remote.admit()
    assert 4.5 == caught.value.retry_after_s
    await rig.start(1)
    rig.remote.admit()


async def test_an_ingest_that_dies_leaves_nothing_on_the_engine(rig):
    await rig.start(0)
    engine, model, desk = rig.engines[0]
    rig.submit(piece(1, 0), piece(2, 0, stream=1))
    await rig.said(2)
    rig.remote.limit_passes(0.5)
    await until(lambda: engine._schedule.longest_s == 0.25)

    rig.remote.close()

    await until(lambda: not desk.open and not model.held)
    await until(lambda: engine._schedule.longest_s > 1)


async def test_two_ingests_with_the_same_numbers_do_not_meet(rig):
    await rig.start(0)
    engine, _, _ = rig.engines[0]
    ours, theirs = socketpair()
    other = RemoteEngine(1, rig.facts, rig.cross)
    desk = Desk(engine, 7, theirs, lambda: None)
    other.connect(0, ours, Warm(rig.facts, engine.costs, 1))

    rig.submit(piece(1, 0))
    other.submit(piece(5, 0), rig.answers.put_nowait)
    assert {1: digest([1]), 5: digest([5])} == await rig.said(2)
    rig.submit(piece(2, 1))
    other.submit(piece(6, 1), rig.answers.put_nowait)
    assert {2: digest([1, 2]), 6: digest([5, 6])} == await rig.said(2)

    other.close()
    await until(partial(lambda desk: not desk.open, desk))

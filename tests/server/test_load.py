"""The load ladder as clients, metrics and the log see it; seats that are taken."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from websockets.exceptions import InvalidStatus

from streaming.config import LimitConfig
from streaming.core.ladder import Strain
from streaming.server.load import LoadWatch
from streaming.server.metrics import Metrics
from streaming.server.sessions import Sessions
from tests.server.scripted import staged, until
from tests.server.test_connection import FINISH, hear, rest
from tests.server.test_http import get

CALM = Strain(used=0.1, busy=0.1, needed=0.1)
LATE = Strain(used=1.5, busy=1.0, needed=1.0)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


async def to(stage, clock, number):
    """Let the server stand on a rung, as its own watch would."""
    stage.engine.strain = LATE if number > stage.server.load.number else CALM
    step_s = 0.5 if number > stage.server.load.number else 5.0
    for _ in range(20):
        if stage.server.load.number == number:
            return
        stage.server.load.step(stage.engine)
        clock.now += step_s
    raise AssertionError(f"rung {number} was not reached")


async def test_each_step_is_told_to_the_client_and_shows_in_metrics_and_log(caplog):
    clock = Clock()
    caplog.set_level(logging.INFO, "wavestitch")
    async with staged(clock=clock) as stage, stage.connect() as client:
        await hear(client, "ready")
        await to(stage, clock, 2)
        levels = [(await hear(client, "load"))[-1]["level"] for _ in range(2)]
        metrics = {
            level: stage.metric("load_transitions_total", level=level)
            for level in ("stitched", "longer_hop")
        }

        assert ["stitched", "longer_hop"] == levels
        assert {"stitched": 1.0, "longer_hop": 1.0} == metrics
        assert 2.0 == stage.metric("load_rung")
        assert 1.5 == stage.metric("load_used")
        assert 1.0 == stage.metric("load_busy")
        await to(stage, clock, 0)
        assert "stitched" == (await hear(client, "load"))[-1]["level"]
        assert "normal" == (await hear(client, "load"))[-1]["level"]
        assert 0.0 == stage.metric("load_rung")

    said = [r.getMessage() for r in caplog.records if "load:" in r.getMessage()]
    assert 4 == len(said)
    assert "load: normal -> stitched (windows take 150 %" in said[0]


async def test_the_engine_is_told_whether_to_begin_full_passes():
    clock = Clock()
    async with staged(clock=clock) as stage:
        await to(stage, clock, 1)
        await to(stage, clock, 0)

        assert [False, True] == stage.engine.full_passes


async def test_a_stream_that_comes_later_goes_by_the_rung_in_force():
    clock = Clock()
    async with staged(clock=clock) as stage:
        await to(stage, clock, 3)
        async with stage.connect("?budget_ms=300") as client:
            heard = await hear(client, "load")
            await client.send(FINISH)
            await rest(client)

    assert ["ready", "load"] == [message["type"] for message in heard]
    assert "coalesced" == heard[-1]["level"]
    assert [("coalesced", 4_800)] == stage.sessions[0].rungs


async def test_a_stream_that_comes_when_all_is_well_is_told_nothing_of_load():
    async with staged() as stage, stage.connect() as client:
        await client.send(FINISH)
        await rest(client)

    assert [] == stage.sessions[0].rungs


async def test_on_the_last_rung_new_streams_are_refused_and_those_open_go_on():
    clock = Clock()
    async with staged(clock=clock) as stage, stage.connect() as early:
        await to(stage, clock, 5)
        with pytest.raises(InvalidStatus) as refused:
            await stage.connect()
        async with stage.connect(origin=stage.origin) as page:
            told = json.loads(await page.recv())
            await page.wait_closed()
        ready = await get(stage, "/readyz")
        await early.send(FINISH)
        last = (await rest(early))[-1]
        await to(stage, clock, 4)
        async with stage.connect() as late:
            await hear(late, "ready")

    assert 503 == refused.value.response.status_code
    assert "5" == refused.value.response.headers["Retry-After"]
    assert "overloaded" == json.loads(refused.value.response.body)["code"]
    assert ("overloaded", 5, 1013) == (
        told["code"],
        told["retry_after_s"],
        page.close_code,
    )
    assert 503 == ready[0]
    assert "finished" == last["type"]
    assert 2 == stage.metric("connections_refused_total", reason="overloaded")


async def test_as_many_streams_as_the_machine_holds_are_let_in():
    async with (
        staged(max_streams=3) as stage,
        stage.connect("?channels=2") as pair,
        stage.connect() as single,
    ):
        await hear(pair, "ready")
        await hear(single, "ready")
        with pytest.raises(InvalidStatus) as refused:
            await stage.connect()
        await single.send(FINISH)
        await rest(single)
        with pytest.raises(InvalidStatus):
            await stage.connect("?channels=2")
        async with stage.connect() as other:
            await hear(other, "ready")

    assert 503 == refused.value.response.status_code
    assert "10" == refused.value.response.headers["Retry-After"]
    message = json.loads(refused.value.response.body)["message"]
    assert "3 of 3 streams are open" in message


async def test_as_many_may_speak_as_the_machine_holds():
    async with staged(max_speaking_streams=1) as stage, stage.connect() as client:
        await hear(client, "ready")
        async with stage.connect() as silent:
            await hear(silent, "ready")
        stage.sessions[0].speaking = 1
        with pytest.raises(InvalidStatus) as refused:
            await stage.connect()

    assert "1 streams speak now" in json.loads(refused.value.response.body)["message"]


async def test_the_server_watches_by_itself():
    async with staged() as stage:
        stage.engine.strain = LATE
        await until(lambda: stage.metric("load_used") == 1.5)


async def test_a_bug_in_measuring_does_not_end_the_watch(caplog):
    class Flaky:
        asked = 0
        most_states = None

        def look(self):
            return None

        @property
        def strain(self):
            self.asked += 1
            if self.asked == 1:
                raise ZeroDivisionError
            return CALM

    engine = Flaky()
    watch = LoadWatch(LimitConfig(), Sessions(), Metrics(), Clock())
    watching = asyncio.create_task(watch.run(engine))
    await until(lambda: engine.asked > 1)
    watching.cancel()

    assert "the load could not be judged" in caplog.text


async def test_an_engine_that_hangs_makes_the_server_not_ready():
    async with staged() as stage:
        stage.engine.hung = "a pass over 2 windows has run for 31 s"
        stage.server.load.step(stage.engine)
        status, _, body = await get(stage, "/readyz")

        assert 503 == status
        assert "stuck: a pass over 2 windows has run for 31 s" in body

        stage.engine.hung = None
        stage.server.load.step(stage.engine)
        assert 200 == (await get(stage, "/readyz"))[0]


async def test_a_stream_that_might_find_no_place_for_its_state_is_refused():
    async with staged() as stage:
        stage.engine.most_states = 1
        stage.server.load.step(stage.engine)
        async with stage.connect() as client:
            await hear(client, "ready")
            with pytest.raises(InvalidStatus) as refused:
                await stage.connect()

        answer = refused.value.response
        assert 503 == answer.status_code
        assert "10" == answer.headers["Retry-After"]
        assert b"1 streams are open, there is room for the states of 1" in answer.body

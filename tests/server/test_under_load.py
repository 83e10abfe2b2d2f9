"""Slow engines and slow readers: bounded, typed, and only for who causes it."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.server.scripted import staged, until
from tests.server.test_connection import FINISH, FLUSH, SECOND, hear, rest, types


async def test_pings_are_answered_while_the_engine_is_stuck():
    async with staged() as stage, stage.connect() as client:
        stage.engine.held = True
        heard = asyncio.create_task(rest(client))
        for _ in range(200):  # far more frames than the library queues
            await client.send(SECOND[:640])
        async with asyncio.timeout(5):
            await (await client.ping())
        stage.engine.held = False
        stage.engine.release(200)
        await client.send(FINISH)
        assert "finished" == (await heard)[-1]["type"]

    assert 201 == len(stage.sessions[0].events)


async def test_a_stream_past_its_backlog_is_not_read_and_everyone_else_is():
    pings = {"ping_interval_s": 0.1, "ping_timeout_s": 0.5}
    async with (
        staged(backlog_s=1.0, idle_timeout_s=0.5, **pings) as stage,
        stage.connect(ping_interval=None) as greedy,
    ):
        await greedy.recv()
        stage.engine.held = True
        sending = asyncio.create_task(flood(greedy))
        await until(lambda: stage.sessions[0].backlog_s > 1.0)
        heard = asyncio.create_task(rest(greedy))
        # Neither its pings nor its silence count against it while it waits.
        await asyncio.wait({heard}, timeout=1.2)
        assert not heard.done()
        assert stage.sessions[0].backlog_s <= 1.5

        stage.engine.held = False
        async with stage.connect() as modest:
            await modest.send(SECOND)
            await modest.send(FINISH)
            assert "finished" == (await rest(modest))[-1]["type"]

        while not heard.done():
            stage.engine.release(99)
            await asyncio.sleep(0)
        await sending
        assert 30 * 16_000 == (await heard)[-1]["received"]


async def flood(client):
    for _ in range(60):
        await client.send(SECOND[:16_000])
    await client.send(FINISH)


async def test_one_message_longer_than_the_backlog_does_not_jump_it():
    async with staged(backlog_s=1.0) as stage, stage.connect() as client:
        stage.engine.held = True
        await client.send(SECOND * 20)
        await client.send(FINISH)
        await until(lambda: stage.sessions and stage.sessions[0].backlog_s > 1.0)
        async with asyncio.timeout(5):
            await (await client.ping())
        assert stage.sessions[0].backlog_s <= 1.5
        while not stage.sessions[0].finished:
            stage.engine.release(99)
            await asyncio.sleep(0)
        assert 20 * 16_000 == (await rest(client))[-1]["received"]


async def test_a_reader_that_takes_nothing_is_told_and_closed():
    async with staged(send_timeout_s=0.2) as stage, stage.connect() as client:
        await client.recv()
        client.transport.pause_reading()
        for _ in range(200):  # 20 MB of answers, more than any socket buffers
            await client.send(b"big!")
        await stage.server.sessions.wait_empty()
        client.transport.resume_reading()
        heard = await rest(client)

        assert ("unresponsive", 1008) == (heard[-1]["code"], client.close_code)
        assert 1 == stage.metric("sessions_ended_total", reason="unresponsive")


async def test_what_waits_for_a_slow_reader_is_bounded():
    async with (
        staged(max_unsent=16, send_timeout_s=0.5) as stage,
        stage.connect() as client,
    ):
        await client.recv()
        client.transport.pause_reading()
        for _ in range(200):
            await client.send(b"big!")
        await stage.server.sessions.wait_empty()
        assert 1 == stage.metric("sessions_ended_total", reason="unresponsive")
        client.transport.resume_reading()
        heard = await rest(client)

    assert "more than 16 messages wait" in heard[-1]["message"]
    assert len(stage.sessions[0].events) < 200


@pytest.mark.parametrize("command", [FLUSH, '{"type":"configure","budget_ms":1}'])
async def test_commands_that_wait_for_their_answers_are_bounded(command):
    async with staged(max_unsent=16) as stage, stage.connect() as client:
        stage.engine.held = True
        await client.send(SECOND[:640])
        await client.send(FLUSH)
        for _ in range(20):
            await client.send(command)
        heard = await rest(client)

    assert ("too_big", 1009) == (heard[-1]["code"], client.close_code)
    assert "more than 16 commands wait" in heard[-1]["message"]


async def test_a_slow_reader_gets_the_latest_partials_and_every_final():
    async with staged() as stage, stage.connect() as client:
        await client.recv()
        client.transport.pause_reading()
        for _ in range(110):  # fill the socket: 11 MB
            await client.send(b"big!")
        for _ in range(3):
            for _ in range(50):
                await client.send(SECOND[:640])
            await client.send(FLUSH)
        await client.send(FINISH)
        await stage.server.sessions.wait_empty()
        client.transport.resume_reading()
        heard = types(await rest(client))

    assert (4, 3, 1) == tuple(map(heard.count, ("final", "flushed", "finished")))
    assert heard.count("partial") < 100


async def test_who_answers_no_ping_is_closed():
    async with (
        staged(ping_interval_s=0.05, ping_timeout_s=0.1) as stage,
        stage.connect() as client,
    ):
        await client.recv()
        client.transport.pause_reading()
        await stage.server.sessions.wait_empty()
        client.transport.resume_reading()
        heard = await rest(client)

    assert ("unresponsive", 1008) == (heard[-1]["code"], client.close_code)
    assert "no pong" in heard[-1]["message"]


async def test_who_answers_pings_is_kept():
    async with (
        staged(ping_interval_s=0.02, ping_timeout_s=2.0) as stage,
        stage.connect() as client,
    ):
        await client.recv()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.4)
        await client.send(FINISH)
        assert "finished" == (await rest(client))[-1]["type"]


# --- draining ----------------------------------------------------------------


async def test_a_drain_lets_streams_finish_and_refuses_new_ones():
    async with staged(drain_s=20) as stage, stage.connect() as client:
        await client.send(SECOND)
        await hear(client, "ack")
        drain = asyncio.create_task(stage.server.drain())
        goaway = (await hear(client, "goaway"))[-1]
        async with stage.connect(origin=stage.origin) as late:
            refused = json.loads(await late.recv())
            await late.wait_closed()
        assert not drain.done()
        await client.send(FINISH)
        heard = await rest(client)
        await drain

    assert ("shutdown", 20) == (goaway["reason"], goaway["deadline_s"])
    assert ("draining", 1013) == (refused["code"], late.close_code)
    assert ["final", "finished"] == types(heard)[-2:]
    assert 1000 == client.close_code


@pytest.mark.parametrize("why", ["deadline", "hurry"])
async def test_at_the_deadline_the_server_finishes_what_is_open(why):
    async with (
        staged(drain_s=0.05 if why == "deadline" else 3_000) as stage,
        stage.connect() as client,
    ):
        await client.send(SECOND)
        await hear(client, "ack")
        drain = asyncio.create_task(stage.server.drain())
        await hear(client, "goaway")
        if why == "hurry":
            stage.server.hurry()
        heard = await rest(client)
        await drain

    assert ["final", "finished"] == types(heard)[-2:]
    assert (1001, "shutdown") == (client.close_code, client.close_reason)


async def test_a_drain_waits_for_the_tail_of_a_lost_connection():
    async with staged(drain_s=20) as stage:
        client = await stage.connect()
        stage.engine.held = True
        await client.send(SECOND)
        await stage.engine.submitted.wait()
        client.transport.abort()
        drain = asyncio.create_task(stage.server.drain())
        await until(lambda: stage.sessions[0].abandoned)
        assert not drain.done()
        stage.engine.held = False
        stage.engine.release(9)
        await drain

        assert stage.sessions[0].finished


async def test_a_drain_waits_until_a_slow_reader_has_its_final():
    async with staged(drain_s=20) as stage, stage.connect() as client:
        await client.recv()
        client.transport.pause_reading()
        for _ in range(110):  # fill the socket: 11 MB
            await client.send(b"big!")
        await client.send(SECOND)
        await client.send(FINISH)
        drain = asyncio.create_task(stage.server.drain())
        await stage.server.sessions.wait_empty()
        await asyncio.wait({drain}, timeout=0.1)
        assert not drain.done()
        client.transport.resume_reading()
        heard = await rest(client)
        await drain

    assert ["final", "finished"] == types(heard)[-2:]
    assert 1000 == client.close_code

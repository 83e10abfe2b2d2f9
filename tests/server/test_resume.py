"""A session outlives its connection: who comes back goes on where it was."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.scripted import staged, until

PIECE = bytes(640)
FLUSH, FINISH = '{"type":"flush"}', '{"type":"finish"}'


async def hear(client, kind):
    """What comes until a message of this type, that one included."""
    heard = []
    while not heard or heard[-1]["type"] != kind:
        heard.append(json.loads(await client.recv()))
    return heard


async def rest(client):
    heard = []
    try:
        while True:
            heard.append(json.loads(await client.recv()))
    except ConnectionClosed:
        return heard


def back(ready, after, **more):
    more = "".join(f"&{name}={value}" for name, value in more.items())
    return f"?session={ready['session']}&token={ready['token']}&after={after}{more}"


async def cut(stage, client):
    """Cut the connection, and wait until the server knows."""
    client.transport.abort()
    await until(lambda: stage.metric("sessions_away") == 1)


async def test_what_was_said_after_the_last_message_is_said_again():
    async with staged(resume_window_s=30) as stage, stage.connect() as client:
        ready = (await hear(client, "ready"))[0]
        await client.send(PIECE)
        heard = await hear(client, "ack")
        await cut(stage, client)
        assert 1 == stage.metric("sessions_away")
        async with stage.connect(back(ready, heard[0]["seq"])) as again:
            ready_again, ack = [json.loads(await again.recv()) for _ in range(2)]
            await again.send(FINISH)
            last = await rest(again)

    assert (heard[0]["seq"], 320, "open", 0) == tuple(
        ready_again[name] for name in ("seq", "received", "state", "commands")
    )
    assert heard[-1] == ack
    assert ["final", "finished"] == [message["type"] for message in last]
    numbers = [ack["seq"], *(message["seq"] for message in last)]
    assert list(range(numbers[0], numbers[0] + 3)) == numbers
    assert (0, 1) == (
        stage.metric("sessions_away"),
        stage.metric("sessions_resumed_total", state="open"),
    )
    assert 1 == stage.metric("sessions_ended_total", reason="finished")
    assert 0 == stage.server.sessions.results


async def test_commands_that_were_taken_are_counted():
    async with staged(resume_window_s=30) as stage, stage.connect() as client:
        ready = (await hear(client, "ready"))[0]
        stage.engine.held = True
        await client.send(PIECE)
        await client.send('{"type":"keepalive"}')
        await client.send(FLUSH)
        await client.send('{"type":"flush","x":1}')
        await until(lambda: len(stage.sessions[0].events) == 3)
        await cut(stage, client)
        async with stage.connect(back(ready, 0)) as again:
            heard = await hear(again, "ack")
            stage.engine.release()
            heard += await hear(again, "error")

    assert 2 == heard[0]["commands"]
    assert ["ready", "partial", "ack", "final", "flushed", "error"] == [
        message["type"] for message in heard
    ]
    assert [0, 1, 2, 3, 4, 5] == [message["seq"] for message in heard]


async def test_a_sample_that_was_cut_in_two_is_counted_once():
    async with staged(resume_window_s=30) as stage, stage.connect() as client:
        ready = (await hear(client, "ready"))[0]
        await client.send(PIECE)
        await hear(client, "ack")
        stage.sessions[0].odd_bytes = 1  # of the sample that is sent again
        await cut(stage, client)
        async with stage.connect(back(ready, 2)) as again:
            await again.send(b"ab")
            await again.send(b"cd")
            await hear(again, "ack")
            await until(lambda: len(stage.sessions[0].events) == 3)

    assert [b"b", b"cd"] == [event.data for event in stage.sessions[0].events[1:]]


async def test_the_newest_connection_wins():
    async with staged(resume_window_s=30) as stage, stage.connect() as client:
        ready = (await hear(client, "ready"))[0]
        async with stage.connect(back(ready, 0)) as newer:
            assert "open" == (await hear(newer, "ready"))[0]["state"]
            await rest(client)
            assert (1008, "session_taken") == (client.close_code, client.close_reason)
            await newer.send(PIECE)
            await newer.send(FINISH)
            assert "finished" == (await rest(newer))[-1]["type"]


async def test_connections_that_race_leave_one_and_nothing_is_heard_twice():
    async with staged(resume_window_s=30) as stage, stage.connect() as client:
        ready = (await hear(client, "ready"))[0]
        await cut(stage, client)
        racing = await asyncio.gather(
            *(stage.connect(back(ready, 0)).__aenter__() for _ in range(5))
        )
        for each in racing:
            try:
                await each.send(PIECE)
                await each.send(FINISH)
            except ConnectionClosed:
                pass
        told = await asyncio.gather(*map(rest, racing))

    assert [1000, *[1008] * 4] == sorted(each.close_code for each in racing)
    winner = next(each for each in racing if each.close_code == 1000)
    heard = told[racing.index(winner)]
    taken = heard[0]["received"] // 320
    assert taken + 1 == len(
        [event for event in stage.sessions[0].events if hasattr(event, "data")]
    )
    assert list(range(len(heard) - 1)) == [message["seq"] - 1 for message in heard[1:]]


async def test_after_the_window_the_tail_is_final_and_kept():
    async with staged(resume_window_s=0.05) as stage, stage.connect() as client:
        ready = (await hear(client, "ready"))[0]
        await client.send(PIECE)
        await hear(client, "ack")
        client.transport.abort()
        await stage.server.sessions.wait_empty()
        where = f"/v1/sessions/{ready['session']}?token={quote(ready['token'])}"
        url = f"http://127.0.0.1:{stage.server.port}{where}"
        page = await asyncio.to_thread(lambda: json.load(urlopen(url)))
        async with stage.connect(back(ready, 2)) as late:
            heard = await rest(late)

    assert ["ready", "final", "finished"] == [message["type"] for message in heard]
    assert ("finished", 320) == (heard[0]["state"], heard[0]["received"])
    assert 1000 == late.close_code
    assert heard[1:] == page["messages"][-2:]
    assert ("finished", 320) == (page["state"], page["received"])
    assert 1 == stage.metric("sessions_ended_total", reason="lost")
    assert 1 == stage.metric("finals_undelivered_total")
    assert 0 == stage.server.sessions.results  # it has been heard to its end


async def test_a_result_is_kept_for_its_window_only():
    async with (
        staged(resume_window_s=0.02, result_window_s=0.02) as stage,
        stage.connect() as client,
    ):
        ready = (await hear(client, "ready"))[0]
        client.transport.abort()
        await stage.server.sessions.wait_empty()
        await until(lambda: not stage.server.sessions.results)
        with pytest.raises(InvalidStatus) as refused:
            async with stage.connect(back(ready, 0)):
                pass

    assert 410 == refused.value.response.status_code


async def test_a_client_that_says_goodbye_is_not_waited_for():
    async with staged(resume_window_s=30) as stage:
        async with stage.connect() as client:
            await client.send(PIECE)
            await hear(client, "ack")
        await stage.server.sessions.wait_empty()

        assert 0 == stage.server.sessions.results
        assert 1 == stage.metric("sessions_ended_total", reason="lost")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"sample_rate": 8_000}, "sample_rate of a resume must be that of the session"),
        ({"encoding": "mulaw"}, "pcm_s16le, got mulaw"),
    ],
)
async def test_a_resume_with_another_format_is_refused(more, message):
    async with staged(resume_window_s=30) as stage, stage.connect() as client:
        ready = (await hear(client, "ready"))[0]
        with pytest.raises(InvalidStatus) as refused:
            async with stage.connect(back(ready, 0, **more)):
                pass
        async with stage.connect(back(ready, 0, sample_rate=16_000)) as again:
            await hear(again, "ready")

    assert 400 == refused.value.response.status_code
    assert message in refused.value.response.body.decode()


async def test_a_seq_that_was_never_sent_and_one_that_is_not_kept_are_refused():
    async with staged(resume_window_s=30, max_kept=16) as stage:
        client = await stage.connect()
        ready = (await hear(client, "ready"))[0]
        for _ in range(20):
            await client.send(PIECE)
            last = (await hear(client, "ack"))[-1]["seq"]
        await cut(stage, client)
        codes = []
        for after in (last + 1, 0):
            with pytest.raises(InvalidStatus) as refused:
                async with stage.connect(back(ready, after)):
                    pass
            codes.append(refused.value.response.status_code)

    assert [400, 410] == codes


async def test_what_has_arrived_is_not_kept():
    async with (
        staged(resume_window_s=30, ping_interval_s=0.02) as stage,
        stage.connect() as client,
    ):
        ready = (await hear(client, "ready"))[0]
        (stream,) = stage.server.sessions
        await until(lambda: not stream.telling.sent.kept)
        await cut(stage, client)
        async with stage.connect(back(ready, 0)) as again:
            assert "open" == (await hear(again, "ready"))[0]["state"]


async def test_who_answers_no_ping_is_cut_and_may_come_back():
    async with (
        staged(resume_window_s=30, ping_interval_s=0.05, ping_timeout_s=0.1) as stage,
        stage.connect() as client,
    ):
        ready = (await hear(client, "ready"))[0]
        client.transport.pause_reading()
        await until(lambda: stage.metric("sessions_away") == 1)
        async with stage.connect(back(ready, 0)) as again:
            await again.send(FINISH)
            assert "finished" == (await rest(again))[-1]["type"]
        client.transport.resume_reading()


async def test_while_it_is_away_no_stall_and_no_idle_time_passes():
    clock = [100.0]
    async with (
        staged(resume_window_s=30, clock=lambda: clock[0]) as stage,
        stage.connect() as client,
    ):
        ready = (await hear(client, "ready"))[0]
        (stream,) = stage.server.sessions
        await cut(stage, client)
        stage.sessions[0].wakes_at = 103.0
        clock[0] = 1_000.0
        stream._tick()
        async with stage.connect(back(ready, 0)) as again:
            assert "open" == (await hear(again, "ready"))[0]["state"]
            assert not stage.sessions[0].woken.is_set()


async def test_a_drain_and_a_full_house_let_a_session_be_resumed():
    async with (
        staged(resume_window_s=30, max_connections=1, drain_s=30) as stage,
        stage.connect() as client,
    ):
        ready = (await hear(client, "ready"))[0]
        await cut(stage, client)
        stage.engine.full = "too much waits"
        drain = asyncio.create_task(stage.server.drain())
        await asyncio.sleep(0)
        async with stage.connect(back(ready, 0)) as again:
            assert "shutdown" == (await hear(again, "goaway"))[-1]["reason"]
            await again.send(FINISH)
            assert "finished" == (await rest(again))[-1]["type"]
        await drain

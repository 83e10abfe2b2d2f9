"""A conversation over a real websocket, with scripted insides."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from streaming.events import Audio, Configure
from tests.server.scripted import staged, until

SECOND = bytes(32_000)  # of 16 kHz pcm_s16le

FLUSH, FINISH = '{"type":"flush"}', '{"type":"finish"}'


async def hear(client, kind):
    """Messages up to the first of a type."""
    heard = []
    while not heard or heard[-1]["type"] != kind:
        heard.append(json.loads(await client.recv()))
    return heard


async def rest(client):
    """All messages until the close."""
    heard = []
    with suppress(ConnectionClosed):
        while True:
            heard.append(json.loads(await client.recv()))
    return heard


def types(heard):
    return [message["type"] for message in heard if message["type"] != "ack"]


# --- a conversation --------------------------------------------------------


async def test_ready_comes_first_and_finished_last_and_seq_rises_by_one():
    async with staged() as stage, stage.connect() as client:
        for message in [SECOND, FLUSH, SECOND, FINISH]:
            await client.send(message)
        heard = await rest(client)

    assert list(range(len(heard))) == [message["seq"] for message in heard]
    assert ("ready", "finished") == (heard[0]["type"], heard[-1]["type"])
    assert 2 == types(heard).count("final")
    assert 32_000 == heard[-1]["received"]
    assert (1000, "") == (client.close_code, client.close_reason)


async def test_ready_says_what_holds():
    query = "?encoding=mulaw&sample_rate=8000&channels=2&budget_ms=300"
    async with staged(idle_timeout_s=7) as stage, stage.connect(query) as client:
        ready = json.loads(await client.recv())

    assert {
        "encoding": "mulaw",
        "sample_rate": 8_000,
        "channels": 2,
        "budget_ms": 300,
        "hop_ms": 480,
        "right_ms": 320,
        "idle_timeout_s": 7,
        "model": "scripted",
        "language": "en",
        "received": 0,
        "state": "open",
    }.items() <= ready.items()


async def test_a_client_of_two_channels_is_told_of_both():
    async with staged() as stage, stage.connect("?channels=2") as client:
        await client.send(SECOND)
        await client.send(FINISH)
        heard = await rest(client)

    assert [8_000, 8_000] == heard[-1]["received"]


async def test_a_long_message_is_taken_in_slices():
    async with staged() as stage, stage.connect() as client:
        await client.send(SECOND * 3 + b"\0")
        await client.send(FINISH)
        await rest(client)

    sizes = [len(e.data) for e in stage.sessions[0].events if isinstance(e, Audio)]
    assert [16_000] * 6 + [1] == sizes


async def test_answers_keep_the_order_of_their_commands():
    bad, good = '{"type":"configure","budget_ms":1}', '{"type":"configure"}'
    async with staged() as stage, stage.connect() as client:
        stage.engine.held = True
        for message in [bad, SECOND[:100], FLUSH, bad, good, bad, bad]:
            await client.send(message)
        await until(lambda: stage.engine.waiting)
        async with asyncio.timeout(5):
            await (await client.ping())  # all of it has been read
        stage.engine.held = False
        stage.engine.release()
        await client.send(FINISH)
        heard = types(await rest(client))

    answers = [kind for kind in heard if kind in ("flushed", "error", "configured")]
    assert ["error", "flushed", "error", "configured", "error", "error"] == answers


async def test_the_servers_own_time_wakes_the_session():
    async with staged() as stage, stage.connect() as client:
        await client.recv()
        session = stage.sessions[0]
        session.wakes_at = 0.0
        await client.send('{"type":"keepalive"}')  # any step sets the timer anew
        await session.woken.wait()


async def test_budgets_limit_the_passes_of_the_engine():
    async with staged() as stage:
        async with stage.connect("?budget_ms=300") as client:
            await client.recv()
            assert 0.3 == stage.engine.limits[-1]
            await client.send('{"type":"configure","budget_ms":200}')
            await hear(client, "configured")
            assert 0.2 == stage.engine.limits[-1]
        await stage.server.sessions.wait_empty()
        assert float("inf") == stage.engine.limits[-1]


async def test_latencies_and_audio_are_counted():
    async with staged() as stage, stage.connect() as client:
        await client.recv()
        await client.send(SECOND)
        await hear(client, "ack")
        await client.send(FINISH)
        await rest(client)
        await stage.server.sessions.wait_empty()

        assert 1 == stage.metric("finalization_latency_seconds_count")
        assert 1 <= stage.metric("partial_latency_seconds_count")
        assert 2 == stage.metric("lateness_seconds_count")
        assert 1.0 == stage.metric("audio_received_seconds_total")
        assert 1.0 == stage.metric("audio_decoded_seconds_total")
        assert 1 == stage.metric("finals_total", **{"pass": "stitched"})
        assert 1 == stage.metric("sessions_ended_total", reason="finished")
        assert 0 == stage.metric("streams_open")


# --- what is wrong is told, then closed -------------------------------------


@pytest.mark.parametrize(
    ("message", "text", "code", "close"),
    [
        ("hello", None, "bad_message", 1003),
        ('{"type":"stop"}', None, "bad_message", 1003),
        (" " * 70_000, None, "too_big", 1009),
        (b"\xff\xfe", True, "bad_message", 1003),
        (b"wav", None, "unsupported_audio", 1003),
        (b"\0" * 2_000_000, None, "too_big", 1009),
        (["a" * 600_000] * 2, None, "too_big", 1009),
    ],
    ids=["no json", "no command", "long command", "no utf-8", "wav", "big", "parts"],
)
async def test_a_fatal_error_is_typed_and_closes(message, text, code, close):
    async with (
        staged(max_message_bytes=1_000_000) as stage,
        stage.connect() as client,
    ):
        with suppress(ConnectionClosed):
            await client.send(message, text=text)
        heard = await rest(client)

    assert ("error", code) == (heard[-1]["type"], heard[-1]["code"])
    assert close == client.close_code
    assert list(range(len(heard))) == [message["seq"] for message in heard]


async def test_a_broken_frame_is_told_before_the_library_closes():
    async with staged() as stage, stage.connect() as client:
        await client.recv()
        client.transport.write(b"\xf3\x80\0\0\0\0")  # a reserved opcode, and bits
        heard = await rest(client)

    assert "bad_message" == heard[-1]["code"]
    assert 1002 == client.close_code


async def test_a_bug_hits_only_its_own_stream(caplog):
    async with (
        staged() as stage,
        stage.connect() as beside,
        stage.connect() as client,
    ):
        await beside.send(SECOND)
        await client.send(b"boom")
        heard = await rest(client)
        await beside.send(FINISH)
        assert "finished" == (await rest(beside))[-1]["type"]

    assert ("internal", 1011) == (heard[-1]["code"], client.close_code)
    assert "secret" not in heard[-1]["message"]
    assert "a secret of the server" in caplog.text


@pytest.mark.parametrize("last", [b"boom", FINISH])
async def test_what_the_engine_keeps_of_a_stream_goes_with_it(last):
    async with staged() as stage, stage.connect() as client:
        await client.send(SECOND)
        await hear(client, "partial")
        assert [] == stage.engine.ended
        await client.send(last)
        await rest(client)
        await stage.server.sessions.wait_empty()

        assert [stage.sessions[0].first] == stage.engine.ended


async def test_a_bug_while_writing_hits_only_its_own_stream(caplog):
    async with (
        staged() as stage,
        stage.connect() as beside,
        stage.connect() as client,
    ):
        await client.send(b"nan!")
        heard = await rest(client)
        await beside.send(FINISH)
        assert "finished" == (await rest(beside))[-1]["type"]

    assert ["ready", "error"] == types(heard)
    assert (1, "internal") == (heard[-1]["seq"], heard[-1]["code"])
    assert 1011 == client.close_code
    assert "a connection failed" in caplog.text


async def test_an_idle_stream_is_closed_unless_it_is_kept():
    now = 100.0
    async with (
        staged(idle_timeout_s=0.1, clock=lambda: now) as stage,
        stage.connect() as client,
    ):
        await client.recv()
        for _ in range(5):  # on the server's clock longer than the timeout
            now += 0.09
            await client.send('{"type":"keepalive"}')
            await (await client.ping())
        with pytest.raises(TimeoutError):  # its timer rings, its clock stands still
            await asyncio.wait_for(client.recv(), 0.25)
        now += 0.11
        heard = await rest(client)

    assert ["idle_timeout"] == [message["code"] for message in heard]
    assert (1008, "idle_timeout") == (client.close_code, client.close_reason)


async def test_a_stream_that_is_finishing_is_not_idle():
    async with staged(idle_timeout_s=0.1) as stage, stage.connect() as client:
        stage.engine.held = True
        await client.send(SECOND)
        await client.send(FINISH)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hear(client, "error"), 0.3)
        stage.engine.release(9)
        assert "finished" == (await rest(client))[-1]["type"]


async def test_a_stream_that_lasts_too_long_is_finished_first():
    async with staged(max_stream_s=1) as stage, stage.connect() as client:
        await client.send(SECOND[:16_000])
        await client.send(SECOND)
        heard = await rest(client)

    assert ["final", "finished", "error"] == types(heard)[-3:]
    assert ("too_big", 1009) == (heard[-1]["code"], client.close_code)


async def test_what_follows_a_finish_is_refused_and_the_tail_still_comes():
    async with staged() as stage, stage.connect() as client:
        stage.engine.held = True
        for message in [SECOND, FINISH, SECOND, '{"type":"keepalive"}']:
            await client.send(message)
        refused = (await hear(client, "error"))[-1]
        stage.engine.held = False
        stage.engine.release(9)
        heard = await rest(client)

    assert ("bad_request", False) == (refused["code"], refused["fatal"])
    assert 16_000 == heard[-1]["received"]
    assert 1000 == client.close_code


# --- connections that are lost ----------------------------------------------


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_lost_connection_leaves_a_tail_that_is_made_final_and_counted(
    how, caplog
):
    async with staged() as stage:
        client = await stage.connect()
        stage.engine.held = True
        await client.send(SECOND)
        await stage.engine.submitted.wait()
        if how == "abort":
            client.transport.abort()
        else:
            await client.close()
        await until(lambda: stage.sessions[0].abandoned)
        assert 1 == stage.metric("streams_open")  # still being decoded
        stage.engine.held = False
        stage.engine.release(9)
        await stage.server.sessions.wait_empty()

        assert 1 == stage.metric("finals_undelivered_total")
        assert 1 == stage.metric("sessions_ended_total", reason="lost")
        assert stage.metric("audio_received_seconds_total") == stage.metric(
            "audio_decoded_seconds_total"
        )
    assert [] == caplog.records


async def test_many_abrupt_ends_print_nothing(caplog, capfd):
    async with staged() as stage:
        clients = [await stage.connect() for _ in range(20)]
        for number, client in enumerate(clients):
            await client.send(SECOND[: 100 * number])
            client.transport.abort()
        await asyncio.gather(*(client.wait_closed() for client in clients))
        await stage.server.sessions.wait_empty()

    assert [] == caplog.records
    assert ("", "") == capfd.readouterr()


async def test_memory_does_not_grow_as_connections_come_and_go():
    async with staged() as stage:
        left = []
        for number in range(12):
            async with stage.connect() as client:
                await client.send(SECOND)
                await client.send(FINISH if number % 3 else "broken")
                await rest(client)
            left.append(weakref.ref(stage.sessions.pop()))
        await stage.server.sessions.wait_empty()
        await until(lambda: not stage.server._websockets.handler_tasks)
        gc.collect()

        assert [None] * 12 == [session() for session in left]
        assert 0 == len(stage.server.sessions)
        assert set() == stage.server._admission._doors


async def test_a_message_changes_nobody_elses_settings():
    async with (
        staged() as stage,
        stage.connect() as one,
        stage.connect() as other,
    ):
        await other.recv()
        await one.send('{"type":"configure","partials":false,"hangover_ms":900}')
        await hear(one, "configured")
        await other.send(SECOND[:100])
        assert "partial" == (await hear(other, "partial"))[-1]["type"]

    changed, same = stage.sessions
    assert Configure(partials=False, hangover_ms=900) == changed.events[0]
    assert all(isinstance(event, Audio) for event in same.events)

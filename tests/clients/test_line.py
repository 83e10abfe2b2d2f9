"""A client comes back after a cut, against a server that follows a script."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest

from clients import (
    Ack,
    Finished,
    Flushed,
    ProtocolBroken,
    Reconnect,
    Reconnecting,
    Resumed,
    SessionLost,
    StreamFailed,
    Unauthorized,
    connect,
)
from clients.errors import ConnectionLost
from tests.clients.scripted import READY, Line, scripted

SOON = Reconnect(first_s=0.001, most_s=0.01, patience_s=5.0)
HELD = READY | {"resume_window_s": 30, "commands": 0}


def script_of(*scripts):
    """A script for each connection, and what each was asked for."""
    asked, left = [], list(scripts)

    async def script(line: Line):
        asked.append({k: v[0] for k, v in parse_qs(urlsplit(line.path).query).items()})
        await left.pop(0)(line)

    return script, asked


async def back(line: Line, after: int, **more):
    line._seq = after
    await line.say("ready", **HELD | more)


async def test_audio_and_commands_go_on_where_the_server_is():
    heard = []

    async def first(line):
        await line.say("ready", **HELD)
        await line.command()
        await line.say("ack", received=2)
        line.socket.transport.abort()

    async def second(line):
        await back(line, 1, received=3, commands=0)
        heard.append((await line.command(), bytes(line.audio)))
        await line.say("flushed", received=4)
        await line.until_finish(received=4)

    script, asked = script_of(first, second)
    async with scripted(script, ready=False) as url, connect(url, reconnect=SOON) as s:
        await s.send(b"aabbccdd")
        assert Flushed(4) == await s.flush()
        assert 1 == s.unacknowledged
        await s.finish()
        events = [event async for event in s]

    assert [({"type": "flush"}, b"dd")] == heard
    assert {"session": "s1", "token": "t1", "after": "1"} == asked[1]
    ack, cut, resumed, flushed, finished = events
    assert (Ack(2), Flushed(4)) == (ack, flushed)
    assert (Reconnecting, Finished) == (type(cut), type(finished))
    assert (3, 1) == (resumed.received, resumed.sent_again)


async def test_what_is_said_again_is_heard_once():
    async def first(line):
        await line.say("ready", **HELD)
        for received in (0, 0, 0):
            await line.say("ack", received=received)
        line.socket.transport.abort()

    async def second(line):
        await back(line, 0)
        for _ in range(5):
            await line.say("ack", received=0)
        await line.until_finish()

    script, _ = script_of(first, second)
    async with scripted(script, ready=False) as url, connect(url, reconnect=SOON) as s:
        await s.finish()
        events = [event async for event in s]

    assert 5 == sum(isinstance(event, Ack) for event in events)


async def test_while_it_is_cut_off_audio_is_kept_up_to_a_bound():
    let_in = asyncio.Event()

    async def first(line):
        await line.say("ready", **HELD)
        line.socket.transport.abort()

    async def second(line):
        await let_in.wait()
        await back(line, 0)
        await line.command()
        assert 40 * 320 == len(line.audio)
        await line.say("ack", received=40 * 160)
        await line.finish(received=40 * 160)

    script, _ = script_of(first, second)
    policy = Reconnect(first_s=0.001, most_s=0.01, keep_s=0.2)
    async with (
        scripted(script, ready=False) as url,
        connect(url, reconnect=policy) as stream,
    ):
        assert isinstance(await anext(stream), Reconnecting)
        for _ in range(20):  # 0.2 s
            await stream.send(bytes(320))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.send(bytes(320)), 0.05)
        assert 20 * 160 == stream.unacknowledged
        let_in.set()
        assert isinstance(await anext(stream), Resumed)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("session_lost", SessionLost, "gone"),
        ("unauthorized", Unauthorized, "gone"),
    ],
)
async def test_a_refusal_that_stays_ends_the_stream(code, kind, words):
    async def first(line):
        await line.say("ready", **HELD)
        await line.command()
        line.socket.transport.abort()

    async def second(line):
        await line.say("error", code=code, message=words)

    script, _ = script_of(first, second)
    async with scripted(script, ready=False) as url, connect(url, reconnect=SOON) as s:
        await s.send(b"aabb")
        with pytest.raises(kind, match=words) as caught:
            await s.finish()
        with pytest.raises(kind):
            await s.keepalive()

    if kind is SessionLost:
        assert (0, 2) == (caught.value.acknowledged, caught.value.lost)


async def test_who_comes_too_late_hears_the_end_and_what_was_lost():
    async def first(line):
        await line.say("ready", **HELD)
        await line.command()
        line.socket.transport.abort()

    async def second(line):
        await back(line, 0, received=1, state="finished")
        await line.finish(received=1)

    script, _ = script_of(first, second)
    async with scripted(script, ready=False) as url, connect(url, reconnect=SOON) as s:
        await s.send(b"aabbcc")
        with pytest.raises(SessionLost, match="2 samples came too late") as caught:
            await s.finish()
        events = [await anext(s) for _ in range(3)]
        with pytest.raises(SessionLost):
            await anext(s)

    assert 2 == caught.value.lost
    assert [Reconnecting, Resumed, Finished] == [type(event) for event in events]


async def test_a_session_that_another_has_taken_is_not_fought_for():
    async def taken(line):
        await line.say("ready", **HELD)
        await line.socket.close(1008, "session_taken")

    script, asked = script_of(taken)
    async with scripted(script, ready=False) as url, connect(url, reconnect=SOON) as s:
        with pytest.raises(StreamFailed, match="taken") as caught:
            await s.finish()

    assert "session_taken" == caught.value.code
    assert 1 == len(asked)


async def test_a_connection_over_which_nothing_comes_counts_as_cut():
    async def silent(line):
        await line.say("ready", **HELD)
        await line.socket.wait_closed()

    async def second(line):
        await back(line, 0)
        await line.until_finish()

    script, asked = script_of(silent, second)
    policy = Reconnect(first_s=0.001, silence_s=0.05)
    async with (
        scripted(script, ready=False) as url,
        connect(url, reconnect=policy) as stream,
    ):
        await stream.finish()

    assert 2 == len(asked)


async def test_it_gives_up_when_nobody_answers():
    async def first(line):
        await line.say("ready", **HELD)
        line.socket.transport.abort()

    async def nothing(line):
        await line.socket.close()

    script, asked = script_of(first, *[nothing] * 1_000)
    policy = Reconnect(first_s=0.001, most_s=0.005, patience_s=0.05)
    async with (
        scripted(script, ready=False) as url,
        connect(url, reconnect=policy) as stream,
    ):
        with pytest.raises(ConnectionLost, match=r"cut off for 0\.05 s"):
            await stream.finish()

    assert len(asked) >= 2


async def test_a_server_that_claims_what_was_never_sent_is_broken():
    async def first(line):
        await line.say("ready", **HELD)
        line.socket.transport.abort()

    async def second(line):
        await back(line, 0, received=99)
        await line.socket.wait_closed()

    script, _ = script_of(first, second)
    async with scripted(script, ready=False) as url, connect(url, reconnect=SOON) as s:
        with pytest.raises(ProtocolBroken, match="99 samples"):
            await s.finish()


async def test_without_reconnect_a_cut_is_the_end():
    async def first(line):
        await line.say("ready", **HELD)
        line.socket.transport.abort()

    script, asked = script_of(first)
    async with scripted(script, ready=False) as url, connect(url, reconnect=None) as s:
        with pytest.raises(ConnectionLost):
            await s.finish()

    assert 1 == len(asked)

"""An open stream: audio out, events in, every end of it told apart."""

from __future__ import annotations

import asyncio

import pytest

from clients import (
    Ack,
    ConfigureRefused,
    ConnectionLost,
    EventsUnread,
    Finished,
    Flushed,
    Partial,
    ProtocolBroken,
    StreamFailed,
    Totals,
    connect,
    exchange,
)
from clients import stream as stream_module
from tests.clients.scripted import scripted

PARTIAL = {"channel": 0, "utterance": 0, "stable": 0, "start": 0.0, "end": 0.5}


async def test_what_is_sent_arrives_and_finish_ends_the_iteration():
    heard = bytearray()

    async def script(line):
        await line.until_finish(received=3, gated=3)
        heard.extend(line.audio)

    async with scripted(script) as url, connect(url) as stream:
        await stream.send(b"abc")
        await stream.send(memoryview(b"def"))
        finished = await stream.finish()
        events = [event async for event in stream]

    assert b"abcdef" == bytes(heard)
    assert Finished((Totals(3, 0, 3, 0, 0),)) == finished
    assert [finished] == events


async def test_flush_can_be_awaited_while_nobody_iterates():
    async def script(line):
        assert {"type": "flush"} == await line.command()
        await line.say("partial", text="a", **PARTIAL)
        await line.say("flushed", received=4)
        await line.until_finish()

    async with scripted(script) as url, connect(url) as stream:
        assert Flushed(4) == await stream.flush()
        assert Partial(0, 0, "a", 0, 0.0, 0.5) == await anext(stream)


async def test_commands_are_answered_in_order():
    async def script(line):
        for received in (1, 2):
            await line.command()
            await line.say("flushed", received=received)
        await line.until_finish()

    async with scripted(script) as url, connect(url) as stream:
        answers = await asyncio.gather(stream.flush(), stream.flush())

    assert [Flushed(1), Flushed(2)] == answers


async def test_a_configure_that_does_not_hold_leaves_the_stream_open():
    asked = []

    async def script(line):
        asked.append(await line.command())
        await line.say("error", code="bad_request", message="budget_ms: 20 to 60000")
        await line.until_finish()

    async with scripted(script) as url, connect(url) as stream:
        with pytest.raises(ConfigureRefused, match="budget_ms"):
            await stream.configure(budget_ms=1)
        await stream.finish()

    assert [{"type": "configure", "budget_ms": 1}] == asked


async def test_acknowledged_samples_and_seq_are_kept_for_a_resume():
    async def script(line):
        await line.say("ack", received=16_000)
        await line.until_finish()

    async with scripted(script) as url, connect(url) as stream:
        assert Ack(16_000) == await anext(stream)
        assert (16_000, 1) == (stream.acknowledged, stream.last_seq)


async def test_keepalive_is_sent():
    said = []

    async def script(line):
        said.append(await line.command())
        await line.until_finish()

    async with scripted(script) as url, connect(url) as stream:
        await stream.keepalive()
        await stream.finish()

    assert [{"type": "keepalive"}] == said


async def test_audio_after_finish_is_a_mistake_of_the_caller():
    async def script(line):
        await line.until_finish()

    async with scripted(script) as url, connect(url) as stream:
        await stream.finish()
        with pytest.raises(RuntimeError, match="audio after finish"):
            await stream.send(b"ab")


async def fail(line):
    await line.say("error", code="unsupported_audio", message="a WAV header")
    await line.socket.close(1003)


async def cut(line):
    line.socket.transport.abort()


async def skip_a_number(line):
    line._seq += 1
    await line.say("ack", received=0)
    await line.socket.wait_closed()


async def babble(line):
    await line.socket.send("hello")
    await line.socket.wait_closed()


ENDS = [
    (fail, StreamFailed, "^a WAV header$"),
    (cut, ConnectionLost, "1006"),
    (skip_a_number, ProtocolBroken, "message 2 came after 0"),
    (babble, ProtocolBroken, "hello"),
]


@pytest.mark.parametrize(("script", "kind", "words"), ENDS)
async def test_iterating_tells_how_it_ended(script, kind, words):
    async with scripted(script) as url, connect(url) as stream:
        with pytest.raises(kind, match=words):
            async for _ in stream:
                pass


@pytest.mark.parametrize(("script", "kind", "words"), ENDS)
async def test_sending_tells_it_as_well(script, kind, words):
    async def send_on(stream):
        while True:
            await stream.send(bytes(640))
            await asyncio.sleep(0)

    async with scripted(script) as url, connect(url) as stream:
        with pytest.raises(kind, match=words):
            await asyncio.wait_for(send_on(stream), 5)


@pytest.mark.parametrize(("script", "kind", "words"), ENDS)
async def test_waiting_for_the_end_tells_it_as_well(script, kind, words):
    async with scripted(script) as url, connect(url) as stream:
        with pytest.raises(kind, match=words):
            await asyncio.wait_for(stream.finish(), 5)


async def test_close_code_and_word_come_with_a_failure():
    async with scripted(fail) as url, connect(url) as stream:
        with pytest.raises(StreamFailed) as caught:
            _ = [event async for event in stream]

    assert ("unsupported_audio", 1003) == (caught.value.code, caught.value.close_code)


async def test_events_that_nobody_reads_are_bounded(monkeypatch):
    monkeypatch.setattr(stream_module, "MOST_UNREAD", 3)

    async def script(line):
        for received in range(5):
            await line.say("ack", received=received)
        await line.socket.wait_closed()

    async with scripted(script) as url, connect(url) as stream:
        with pytest.raises(EventsUnread, match="3 events wait"):
            await stream.flush()


async def test_leaving_early_closes_the_connection():
    closed = asyncio.Event()

    async def script(line):
        await line.socket.wait_closed()
        closed.set()

    async with scripted(script) as url:
        async with connect(url):
            pass
        await asyncio.wait_for(closed.wait(), 5)


async def test_exchange_sends_and_listens_at_once():
    async def script(line):
        await line.say("partial", text="a", **PARTIAL)
        await line.until_finish()

    heard = []
    async with scripted(script) as url, connect(url) as stream:

        async def send():
            await stream.send(b"ab")
            await stream.finish()

        await exchange(stream, send(), heard.append)

    assert ["Partial", "Finished"] == [type(event).__name__ for event in heard]


async def test_exchange_raises_what_ended_the_sending():
    async def script(line):
        await line.socket.wait_closed()

    async def send():
        raise OSError("the recording is damaged")

    async with scripted(script) as url, connect(url) as stream:
        with pytest.raises(OSError, match="damaged"):
            await exchange(stream, send(), lambda _: None)

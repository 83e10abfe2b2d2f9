"""Calls survive a broken network: every run ends with the uncut run's exact finals."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import soundfile
import websockets

import streaming.cli
from clients import (
    CannotConnect,
    Event,
    Final,
    Finished,
    Flushed,
    Partial,
    Reconnect,
    Reconnecting,
    Resumed,
    SessionLost,
    SpeechEnded,
    SpeechStarted,
    Stream,
    StreamFailed,
    connect,
)
from clients.messages import parse
from streaming.app import running
from streaming.config import Config, LimitConfig, ServerConfig, StreamConfig
from tests.network.proxy import Break, Fault, Proxy, proxied

RECORDING = Path(streaming.cli.__file__).with_name("demo.flac")
SECONDS = 4.0  # of it: what a run plays
RATE = 16_000
PIECE = 640  # bytes: 20 ms
FLUSH_AT = 100  # pieces: in the middle of a word
CUTS = 200
KINDS = (Break.CUT, Break.CLOSE, Break.TRUNCATE, Break.DELAY)
SOON = Reconnect(first_s=0.001, most_s=0.01, patience_s=20.0)


@pytest.fixture(scope="module")
def audio() -> bytes:
    samples, rate = soundfile.read(RECORDING, dtype="int16", frames=int(SECONDS * RATE))
    assert RATE == rate
    return samples.tobytes()


@asynccontextmanager
async def broken(**limits: float) -> AsyncIterator[Proxy]:
    """A real server behind a network that fails; the server is the proxy's `server`."""
    limit = LimitConfig(**limits)
    # A machine that is busy with something else must not make a caller stall.
    stream = StreamConfig(stall_ms=20_000)
    config = Config(server=ServerConfig(port=0), limits=limit, stream=stream)
    async with running(config) as run, proxied(run.server.port) as proxy:
        proxy.server = run.server
        yield proxy


@dataclass
class Call:
    """What a caller heard."""

    events: list[Event] = field(default_factory=list)

    async def listen(self, stream: Stream) -> None:
        async for event in stream:
            self.events.append(event)

    def of(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def told(self) -> list[Event]:
        """All that does not depend on when something was computed."""
        return self.of(SpeechStarted, SpeechEnded, Final, Flushed, Finished)

    def insist_whole(self) -> None:
        finals = [(event.channel, event.utterance) for event in self.of(Final)]
        assert sorted(set(finals)) == finals
        (finished,) = self.of(Finished)
        for totals in finished.totals:
            assert totals.received == totals.decoded + totals.gated + totals.dropped
            assert 0 == totals.dropped
        shown: dict[int, Partial] = {}
        for event in self.of(Partial):
            before = shown.get(event.utterance)
            if before is not None:
                assert before.end <= event.end
                assert event.text.startswith(before.text[: before.stable])
            shown[event.utterance] = event


async def call(url: str, audio: bytes, reconnect: Reconnect | None = SOON) -> Call:
    """Send a recording as fast as it is taken, with a flush in the middle."""
    heard = Call()
    async with connect(url, finals="stitched", reconnect=reconnect) as stream:
        listening = asyncio.create_task(heard.listen(stream))
        flushing = None
        for number, start in enumerate(range(0, len(audio), PIECE)):
            if number == FLUSH_AT:
                flushing = asyncio.create_task(stream.flush())
                await asyncio.sleep(0)
            await stream.send(audio[start : start + PIECE])
            if number % 8 == 0:
                await asyncio.sleep(0)
        await stream.finish()
        await flushing
        await listening
    return heard


@pytest.fixture(scope="module")
def expected(audio) -> Call:
    async def uncut() -> Call:
        async with broken() as proxy:
            return await call(proxy.url, audio)

    heard = asyncio.run(uncut())
    heard.insist_whole()
    assert 2 <= len([event for event in heard.of(Final) if event.text])
    return heard


async def test_two_hundred_cuts_lose_nothing_and_say_nothing_twice(audio, expected):
    chance = random.Random(20_261_121)
    again = lost = 0
    async with broken() as proxy:
        while proxy.broken < CUTS:
            while len(proxy.faults) < 20:
                kind, down = chance.choice(KINDS), chance.random() < 0.5
                # The handshake takes some 300 bytes: cuts within it count as well.
                most = 2_500 if down else len(audio) // 2
                proxy.faults.append(Fault(kind, down, chance.randrange(1, most)))
            try:
                heard = await call(proxy.url, audio)
            except CannotConnect:  # cut before there was a session
                continue
            heard.insist_whole()
            assert expected.told == heard.told
            again += len(heard.of(Resumed))
            lost += len(heard.of(Reconnecting))
    assert again == lost > CUTS // 2  # the others hit a handshake


async def commanded(url, audio, breaking, cut_at):
    """A call whose network breaks just when a command is on its way."""
    heard = Call()
    async with connect(url, finals="stitched", reconnect=SOON) as stream:
        await stream.send(audio[: FLUSH_AT * PIECE])
        if cut_at == "before flush":
            breaking()
        flushing = asyncio.create_task(stream.flush())
        await asyncio.sleep(0)
        if cut_at == "in flush":
            breaking()
        await flushing
        await stream.send(audio[FLUSH_AT * PIECE :])
        if cut_at == "before finish":
            breaking()
        finishing = asyncio.create_task(stream.finish())
        await asyncio.sleep(0)
        if cut_at == "in finish":
            breaking()
        async for event in stream:
            heard.events.append(event)
            if cut_at == "at the last final" and isinstance(event, Final):
                breaking()
        await finishing
    return heard


@pytest.mark.parametrize(
    "cut_at",
    ["before flush", "in flush", "before finish", "in finish", "at the last final"],
)
async def test_cuts_around_commands(audio, expected, cut_at):
    async with broken() as proxy:
        heard = await commanded(proxy.url, audio, proxy.cut, cut_at)
    heard.insist_whole()
    assert expected.told == heard.told


async def test_a_network_that_goes_silent_counts_as_cut(audio, expected):
    async with broken() as proxy:
        proxy.faults = [
            Fault(Break.STALL, False, 60_000),
            Fault(Break.STALL, True, 900),
        ]
        policy = Reconnect(first_s=0.001, most_s=0.01, silence_s=1.0)
        heard = await call(proxy.url, audio, policy)
    heard.insist_whole()
    assert expected.told == heard.told
    assert 2 == len(heard.of(Resumed))


async def test_who_comes_back_after_the_window_is_told_what_was_not_heard(audio):
    async with broken(resume_window_s=0.1) as proxy:
        heard = Call()
        policy = Reconnect(first_s=0.01, most_s=0.05)
        async with connect(proxy.url, finals="stitched", reconnect=policy) as stream:
            await stream.send(audio[: len(audio) // 2])
            await stream.flush()
            proxy.refuse = True
            proxy.cut()
            await stream.send(audio[len(audio) // 2 :])
            await proxy.server.sessions.wait_empty()
            proxy.refuse = False
            with pytest.raises(SessionLost) as caught:
                await stream.finish()
            with pytest.raises(SessionLost):
                await heard.listen(stream)
    heard.insist_whole()
    (finished,) = heard.of(Finished)
    assert len(audio) // 2 == finished.totals[0].received + caught.value.lost


async def test_of_two_that_show_the_same_session_the_newest_has_it(audio, expected):
    async with broken() as proxy:
        heard = Call()
        async with connect(proxy.url, finals="stitched", reconnect=SOON) as stream:
            await stream.send(audio[: FLUSH_AT * PIECE])
            await stream.flush()
            thief = (
                f"{proxy.url}/v1/stream?session={stream.ready.session}"
                f"&token={stream.ready.token}&after=0"
            )
            async with websockets.connect(thief, compression=None) as other:
                assert "ready" == json.loads(await other.recv())["type"]
                with pytest.raises(StreamFailed) as caught:
                    await stream.finish()
                await other.send(audio[FLUSH_AT * PIECE :])
                await other.send('{"type":"finish"}')
                async for message in other:
                    _, event = parse(message)
                    heard.events.append(event)
    assert "session_taken" == caught.value.code
    heard.insist_whole()
    assert expected.told == heard.told

"""Calls survive a broken network: every run ends with the uncut run's exact finals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import soundfile

import streaming.cli
from clients import (
    Event,
    Final,
    Finished,
    Flushed,
    Partial,
    Reconnect,
    Reconnecting,
    Resumed,
    SpeechEnded,
    SpeechStarted,
    connect,
)
from streaming.app import running
from streaming.config import Config, LimitConfig, ServerConfig
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
    config = Config(server=ServerConfig(port=0), limits=limit)
    async with running(config) as run, proxied(run.server.port) as proxy:
        proxy.server = run.server
        yield proxy


@dataclass
class Call:
    """What a caller heard."""

    events: list[Event] = field(default_factory=list)

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

        async def listen() -> None:
            async for event in stream:
                heard.events.append(event)

        listening = asyncio.create_task(listen())
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
            heard = await call(proxy.url, audio)
            heard.insist_whole()
            assert expected.told == heard.told
            again += len(heard.of(Resumed))
            lost += len(heard.of(Reconnecting))
    assert again == lost > CUTS // 2  # the others hit a handshake

"""The whole server under load: real session, real engine, real ladder; a tiny model."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from math import inf

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streaming.app import running
from streaming.config import DecoderConfig, Finals
from streaming.core.ladder import LADDER
from tests.test_app import (
    FINISH,
    RATE,
    LoudnessModel,
    config,
    hush,
    of,
    rest,
    say,
    voice,
)

PARTS = (hush(0.3), voice(2.4), hush(1.0), voice(1.0), hush(0.3))


async def spoken(run, rung):
    """All that a client hears of two utterances on a rung."""
    async with connect(f"{run.url}/v1/stream") as client:
        ready = json.loads(await client.recv())
        (stream,) = run.server.sessions
        stream.ease(rung, run.engine.window_limit(0.5))
        await say(client, *PARTS)
        await client.send(FINISH)
        return [ready, *await rest(client)]


async def test_on_every_rung_the_same_is_said_and_all_is_accounted_for():
    stitched = replace(config().stream, decoder=DecoderConfig(Finals.STITCHED))
    finals = {}
    async with running(
        replace(config(), stream=stitched), model=LoudnessModel()
    ) as run:
        for rung in LADDER:
            heard = await spoken(run, rung)
            finals[rung.level] = [f["text"] for f in of(heard, "final")]
            finished = heard[-1]
            assert "finished" == finished["type"]
            assert finished["received"] == finished["decoded"] + finished["gated"]
            assert [rung.level] == [each["level"] for each in of(heard, "load")]
            if rung.partial_every_s == inf:  # else a final may replace them unsent
                assert [] == of(heard, "partial")

    assert 2 == len(finals["normal"])
    assert all(finals["normal"] == texts for texts in finals.values())


class SlowModel(LoudnessModel):
    """Takes its time for each pass, as a large model on a small machine."""

    pass_s = 0.0

    def forward(self, batch):
        if self.pass_s:
            threading.Event().wait(self.pass_s)
        return super().forward(batch)


async def live(client, seconds):
    """Speech at the pace of speech."""
    loop = asyncio.get_running_loop()
    began, audio = loop.time(), voice(seconds)
    for n, start in enumerate(range(0, len(audio), RATE // 5)):
        await asyncio.sleep(began + n / 10 - loop.time())
        await client.send(audio[start : start + RATE // 5])


@pytest.mark.slow
async def test_an_overloaded_server_goes_down_the_ladder_refuses_and_comes_back():
    """Ten callers, three windows a second each, on a worker that does twelve."""
    model = SlowModel()
    async with running(config(), model=model) as run:
        model.pass_s = 1 / 12
        clients = [await connect(f"{run.url}/v1/stream") for _ in range(10)]
        hearing = [asyncio.create_task(rest(client)) for client in clients]
        talking = asyncio.gather(*(live(client, 10) for client in clients))

        async with asyncio.timeout(10):
            while run.server.load.rung.admits:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.1)
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{run.url}/v1/stream")
        await talking
        for client in clients:
            await client.send(FINISH)
        heard = await asyncio.gather(*hearing)
        async with asyncio.timeout(60):
            while run.server.load.number:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.1)

    assert 503 == refused.value.response.status_code
    assert float(refused.value.response.headers["Retry-After"]) >= 1
    for messages in heard:
        levels = [each["level"] for each in of(messages, "load")]
        assert ["stitched", "longer_hop"] == levels[:2]
        assert "finished" == messages[-1]["type"]
        assert 0 == messages[-1]["dropped"]
        assert len(of(messages, "final")) >= 1

"""With several processes, who comes back reaches the one that holds the session."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from clients import Final, Finished, Reconnect, Resumed, connect
from tests.cluster.test_processes import parent
from tests.network.proxy import Break, Fault, proxied
from tests.test_app import hush, voice

AUDIO = hush(0.4) + voice(1.5) + hush(1.0) + voice(1.0)
SOON = Reconnect(first_s=0.001, most_s=0.01)


async def call(url: str):
    """Its finals and totals, how often it came back, and which process held it."""
    async with connect(
        url, finals="stitched", budget_ms=60_000, reconnect=SOON
    ) as stream:
        for start in range(0, len(AUDIO), 640):
            await stream.send(AUDIO[start : start + 640])
            await asyncio.sleep(0)
        await stream.finish()
        events = [event async for event in stream]
        told = [event for event in events if isinstance(event, Final | Finished)]
        resumed = sum(isinstance(event, Resumed) for event in events)
        return told, resumed, stream.ready.session[:2]


async def test_each_of_several_calls_comes_back_to_its_own_process():
    # The model of these processes writes what it has seen into every letter.
    async with parent() as server:
        url = await server.url()
        expected, _, _ = await call(url)
        async with proxied(urlsplit(url).port) as proxy:
            proxy.faults = [
                Fault(Break.CUT, False, 5_000 + 3_000 * number) for number in range(12)
            ]
            calls = await asyncio.gather(*(call(proxy.url) for _ in range(4)))

    assert [expected] * 4 == [told for told, _, _ in calls]
    assert 12 == sum(resumed for _, resumed, _ in calls)
    assert {"00", "01"} == {process for _, _, process in calls}

"""A call over UDP that drops, doubles, reorders: what arrives is heard in its place.

The finals are those of the same samples with silence where packets were dropped, so
nothing else was lost, doubled or moved.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Sequence

import numpy as np
import pytest

from clients import Final, connect, exchange
from clients.call import SPEAKERS, Call
from clients.rtp_tap import Follow, listen_rtp
from clients.side import Asked
from streaming.protocols.rtp import PAYLOADS, to_pcm
from tests.protocols.calls import Sender
from tests.recorded_calls import sides

PACKET = 160
FASTER = 4  # than anyone speaks; the jitter shrinks as much


class Broken:
    """A wire that drops, doubles and reorders what one side sends."""

    def __init__(self, datagrams, chance):
        self.dropped = sorted(
            chance.sample(range(1, len(datagrams) - 1), len(datagrams) // 25)
        )
        self.doubled = chance.sample(range(len(datagrams)), len(datagrams) // 20)
        self._sent = []
        for number, datagram in enumerate(datagrams):
            if number in self.dropped:
                continue
            for _ in range(1 + (number in self.doubled)):
                # Late by up to four packets.
                self._sent.append((number + chance.uniform(0, 4), datagram.data))
        self._sent.sort(key=lambda each: each[0])

    async def carry(self, wire, port):
        loop = asyncio.get_running_loop()
        began = loop.time()
        for place, data in self._sent:
            due = began + place * PACKET / 8_000 / FASTER
            await asyncio.sleep(max(0.0, due - loop.time()))
            wire.sendto(data, port)


def with_silence(payload, dropped):
    """The samples of a side as a perfect listener has them: 16 bits."""
    samples = np.frombuffer(to_pcm(PAYLOADS[0], payload), "<i2").copy()
    for number in dropped:
        samples[PACKET * number : PACKET * (number + 1)] = 0
    return samples.tobytes()


async def straight(url, pcm):
    finals = []

    def heard(event):
        if isinstance(event, Final):
            finals.append((event.text, event.start))

    async with connect(url, sample_rate=8_000) as stream:

        async def send():
            await stream.send(pcm)
            await stream.finish()

        await exchange(stream, send(), heard)
    return finals


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_arrives_is_heard_in_its_place_and_the_rest_is_counted(
    live_server, seed
):
    chance = random.Random(seed)
    wires = [
        Broken(Sender(ssrc=number).talk(payload), chance)
        for number, payload in enumerate(sides())
    ]
    records, ended = [], asyncio.Event()
    bound: asyncio.Future[Sequence] = asyncio.get_running_loop().create_future()
    tapping = asyncio.create_task(
        listen_rtp(
            [("127.0.0.1", 0)] * 2,
            Follow(depth_s=0.5),
            lambda at: Call(
                "call", Asked(live_server, pause_s=5.0), at, records.append
            ),
            ended,
            bound.set_result,
        )
    )
    ports = await bound
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        await asyncio.gather(
            *(wire.carry(out, port) for wire, port in zip(wires, ports, strict=True))
        )
    ended.set()
    await tapping

    (end,) = [record for record in records if record["type"] == "call_ended"]
    for wire, speaker, payload in zip(wires, SPEAKERS, sides(), strict=True):
        (begun,) = [
            record
            for record in records
            if record["type"] == "side_started" and record["speaker"] == speaker
        ]
        heard = [
            (
                record["text"],
                pytest.approx(record["start"] - begun["at"], abs=0.002),
            )
            for record in records
            if record["type"] == "final" and record["speaker"] == speaker
        ]
        packets = end["packets"][speaker]
        assert len(wire.dropped) == packets["lost"]
        assert (0, len(wire.doubled) - len({*wire.doubled} & {*wire.dropped})) == (
            packets["late"],
            packets["duplicates"],
        )
        assert PACKET * len(wire.dropped) == packets["concealed"]
        (totals,) = [
            record
            for record in records
            if record["type"] == "side_ended" and record["speaker"] == speaker
        ]
        # As the server has it: none is counted as heard.
        assert packets["concealed"] == totals["concealed"]
        assert len(payload) == totals["received"] + totals["concealed"]
        assert len(payload) == totals["decoded"] + totals["gated"]
        assert heard == await straight(live_server, with_silence(payload, wire.dropped))

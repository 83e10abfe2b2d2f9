"""Asterisk's legs become calls: joined by their UUID, ended by their end."""

from __future__ import annotations

import asyncio
import io
import json
from uuid import UUID

import pytest
from rich.console import Console

from clients.side import Asked
from clients.voip_tap import Settings, tap
from streaming.config import Encoding
from streaming.numeric.pcm import decode
from streaming.protocols.audiosocket import frame
from tests.recorded_calls import sides

CALL = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")


class Asterisk:
    """What Asterisk does with a channel: a connection for each leg."""

    def __init__(self, port):
        self.port = port

    async def leg(self):
        """Open a connection and say whose call it is."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(frame(0x01, CALL.bytes))
        return reader, writer

    async def talk(self, leg, pcm, *, size=320, last=b""):
        """Send a leg faster than it was spoken, the last frame short, and hang up."""
        reader, writer = leg
        for at in range(0, len(pcm), size):
            writer.write(frame(0x10, pcm[at : at + size]))
            await writer.drain()
        writer.write(last)
        writer.write_eof()  # as Asterisk does: it says no more than this
        assert b"" == await reader.read()  # until the tap has done with it
        writer.close()

    async def stray(self, data):
        """Send what no Asterisk sends; return when the tap has closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        assert b"" == await reader.read()
        writer.close()


@pytest.fixture
async def tapped(live_server, tmp_path):
    """A tap: where it listens, and how to end it and have its records."""
    out = tmp_path / "calls.jsonl"
    ended, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    console = Console(file=io.StringIO())
    notes = Console(file=io.StringIO(), width=200)
    settings = Settings(
        audiosocket=("127.0.0.1", 0), asked=Asked(live_server), lines=[str(out)]
    )
    running = asyncio.create_task(
        tap(settings, console, notes, ended=ended, listening=bound.set_result)
    )

    async def end():
        ended.set()
        await running
        lines = out.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines], notes.file.getvalue()

    ((_, port),) = await bound
    yield Asterisk(port), end
    ended.set()
    await running


def pcm(payload):
    return (decode(Encoding.MULAW, payload) * 32_768).astype("<i2").tobytes()


def of(records, kind):
    return [record for record in records if record["type"] == kind]


async def test_two_connections_of_one_uuid_are_the_sides_of_a_call(tapped):
    asterisk, end = tapped
    caller, agent = (pcm(payload) for payload in sides())
    one, other = await asterisk.leg(), await asterisk.leg()
    await asterisk.talk(one, caller, last=frame(0x03, b"7"))
    await asterisk.talk(other, agent, size=242, last=frame(0x00))
    records, _ = await end()

    (started,) = of(records, "call_started")
    assert str(CALL) == started["call"]
    assert ["caller", "agent"] == [
        side["speaker"] for side in of(records, "side_started")
    ]
    assert {len(caller) // 2} == {
        side["received"] for side in of(records, "side_ended")
    }
    assert {"caller", "agent"} == {turn["speaker"] for turn in of(records, "turn")}
    (key,) = of(records, "digit")
    assert ("caller", "7") == (key["speaker"], key["digit"])
    assert pytest.approx(9.0, abs=1.0) == key["at"]
    assert "call_ended" == records[-1]["type"]


async def test_what_goes_on_at_the_end_is_finished(tapped):
    asterisk, end = tapped
    reader, writer = await asterisk.leg()
    writer.write(frame(0x10, bytes(3_200)))
    await writer.drain()
    await asterisk.stray(b"no")  # by now the tap has read the leg's first frames
    records, _ = await end()

    assert b"" == await reader.read()
    writer.close()
    assert "call_ended" == records[-1]["type"]
    assert [1_600] == [side["received"] for side in of(records, "side_ended")]


async def test_who_does_not_speak_audiosocket_disturbs_nobody(tapped):
    asterisk, end = tapped
    caller, _ = (pcm(payload) for payload in sides())
    leg = await asterisk.leg()
    await asterisk.stray(b"GET / HTTP/1.1\r\n\r\n")
    await asterisk.stray(frame(0x10, bytes(320)))
    await asterisk.talk(leg, caller[:32_000])
    records, noted = await end()

    (side,) = of(records, "side_ended")
    assert (16_000, 0) == (side["received"], side["unsent"])
    assert "type 0x47" in noted
    assert "first frame must be a UUID" in noted

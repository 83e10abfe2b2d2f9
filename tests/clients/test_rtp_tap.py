"""Both sides of a recorded call, and of one that is being spoken, become turns."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections import defaultdict

import pytest
from rich.console import Console

from clients import Final, connect, exchange
from clients.errors import AudioUnavailable
from clients.rtp_tap import Follow
from clients.side import Asked
from clients.voip_tap import Settings, address, main, payloads, tap
from streaming.errors import BadRequest
from tests.protocols.calls import pcap, pcapng
from tests.recorded_calls import UTTERANCES, call, sides

TEXTS = [each["text"] for each in UTTERANCES]


async def straight(url, payload):
    """What the server hears of the same samples on a stream of their own."""
    finals = []

    def heard(event):
        if isinstance(event, Final) and event.text:
            finals.append(event.text)

    async with connect(url, encoding="mulaw", sample_rate=8_000) as stream:

        async def send():
            await stream.send(payload)
            await stream.finish()

        await exchange(stream, send(), heard)
    return finals


async def tapped(settings, path, **options):
    """Run a tap; its records and what it showed."""
    console = Console(file=io.StringIO(), width=100, highlight=False)
    notes = Console(file=io.StringIO(), width=200, highlight=False)
    await tap(settings, console, notes, **options)
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return records, console.file.getvalue(), notes.file.getvalue()


def of(records, kind):
    return [record for record in records if record["type"] == kind]


def said(records, kind="turn"):
    texts = defaultdict(list)
    for record in of(records, kind):
        if record["text"]:
            texts[record["speaker"]].append(record["text"])
    return dict(texts)


@pytest.mark.parametrize("write", [pcap, pcapng])
async def test_a_recorded_call_is_heard_as_its_samples_are(
    live_server, tmp_path, write
):
    (tmp_path / "call.pcap").write_bytes(write(call()))
    caller, agent = sides()
    out = tmp_path / "call.jsonl"
    records, shown, _ = await tapped(
        Settings(
            capture=tmp_path / "call.pcap",
            asked=Asked(live_server, live=False),
            lines=[str(out)],
        ),
        out,
    )

    expected = {
        "caller": await straight(live_server, caller),
        "agent": await straight(live_server, agent),
    }
    assert expected == said(records) == said(records, "final")
    assert list(range(len(records))) == [record["n"] for record in records]
    turns = of(records, "turn")
    assert [turn["start"] for turn in turns] == sorted(turn["start"] for turn in turns)
    assert ["agent"] == [o["speaker"] for o in turns[0]["overlaps"]]
    assert ["caller"] == [o["speaker"] for o in turns[1]["overlaps"]]
    assert [turn["text"] for turn in turns] == [
        line.split(maxsplit=3)[3].removeprefix("=").strip()
        for line in shown.splitlines()
    ]
    assert {"caller", "agent"} == {each["speaker"] for each in of(records, "session")}
    for end in of(records, "side_ended"):
        assert len(caller) == end["sent"] == end["received"]
        assert (0, 0, 0) == (end["concealed"], end["dropped"], end["unsent"])


async def test_a_call_over_udp_is_two_sides_on_one_clock(live_server, tmp_path):
    out = tmp_path / "call.jsonl"
    ended, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = Settings(
        rtp=[("127.0.0.1", 0), ("127.0.0.1", 0)],
        asked=Asked(live_server, pause_s=5.0),  # however the machine starves the sender
        lines=[str(out)],
        partials=True,
    )
    running = asyncio.create_task(
        tapped(settings, out, ended=ended, listening=bound.set_result)
    )
    loop, ports = asyncio.get_running_loop(), await bound
    first = call()[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        began = loop.time()
        for datagram in call():
            due = began + (datagram.at - first.at) / 4  # faster than anyone speaks
            await asyncio.sleep(max(0.0, due - loop.time()))
            sender.sendto(datagram.data, ports[datagram.source != first.source])
    ended.set()
    records, _, _ = await running

    caller, agent = sides()
    expected = {
        "caller": await straight(live_server, caller),
        "agent": await straight(live_server, agent),
    }
    assert expected == said(records)
    assert of(records, "partial")
    assert {len(caller)} == {end["received"] for end in of(records, "side_ended")}
    (end,) = of(records, "call_ended")
    assert {0} == {packets["lost"] for packets in end["packets"].values()}


async def test_a_side_that_no_server_takes_is_told(tmp_path, unused_port):
    (tmp_path / "call.pcap").write_bytes(pcap(call()))
    out = tmp_path / "call.jsonl"
    records, _, noted = await tapped(
        Settings(
            capture=tmp_path / "call.pcap",
            asked=Asked(f"ws://127.0.0.1:{unused_port}", live=False),
            lines=[str(out)],
        ),
        out,
    )

    assert {72_000} == {end["unsent"] for end in of(records, "side_ended")}
    assert "nothing listens there" in noted


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"RIFFxxxx", "neither pcap nor pcapng"), (pcap([]), "no RTP"), (b"", "cannot")],
)
async def test_a_file_that_holds_no_call_is_told(tmp_path, data, said):
    (tmp_path / "x.pcap").write_bytes(data)
    console = Console(file=io.StringIO())

    with pytest.raises(AudioUnavailable, match=said):
        await tap(Settings(capture=tmp_path / "x.pcap"), console, console)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.0.0.0:5004", ("0.0.0.0", 5004)),
        ("[::1]:9", ("::1", 9)),
        (":7", ("127.0.0.1", 7)),
    ],
)
def test_addresses(text, expected):
    assert expected == address(text)


@pytest.mark.parametrize("text", ["5004", "host:x", "host:70000"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(BadRequest):
        address(text)


def test_options_that_cannot_hold_are_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--rtp", "nowhere"])

    assert 2 == ended.value.code
    assert "HOST:PORT" in capsys.readouterr().err
    assert 96 in payloads(["96=L16/16000"])
    assert 0.1 == Follow().depth_s

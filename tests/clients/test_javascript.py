"""Python and JavaScript clients agree: one table of vectors, one broken network."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from clients.dialing import endpoint
from clients.errors import ProtocolBroken
from clients.kept import Kept
from clients.reconnect import Reconnect
from streaming.app import running
from streaming.config import Config, ServerConfig, StreamConfig
from tests.conftest import ROOT
from tests.network.proxy import Break, Fault, proxied

VECTORS = json.loads((ROOT / "clients" / "vectors.json").read_text("utf-8"))
PROGRAMS = Path(__file__).parent / "javascript"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(
    NODE is None, reason="node is not installed: apt install nodejs"
)


async def node(program: str, *arguments: str) -> str:
    """What a program prints; it must end well."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        "--no-warnings",
        "--experimental-websocket",
        PROGRAMS / program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    assert 0 == process.returncode, complaints.decode()
    return printed.decode()


def sent(kept):
    messages = []
    while (message := kept.next()) is not None:
        messages.append(message if isinstance(message, str) else message.decode())
    return messages


@pytest.mark.parametrize("case", VECTORS["kept"], ids=lambda case: case["title"])
def test_python_keeps_as_the_vectors_say(case):
    kept = Kept(2, case["most_bytes"])
    for call, *rest in case["steps"]:
        match call:
            case "audio":
                kept.audio(rest[0].encode())
            case "sent":
                assert rest[0] == sent(kept)
            case "forget":
                kept.forget_sent()
            case "rewind" if rest[2] == "refused":
                with pytest.raises(ProtocolBroken):
                    kept.rewind(*rest[:2])
            case "rewind":
                assert rest[2] == kept.rewind(*rest[:2])
            case "samples" | "room" | "awaiting":
                assert rest[0] == getattr(kept, call)
            case _:
                getattr(kept, call)(*rest)


def test_python_waits_as_the_vectors_say():
    table = VECTORS["delays"]

    class Chance:
        left = iter(table["chances"])

        def uniform(self, low, high):
            return low + (high - low) * next(self.left)

    waits = Reconnect(**table["reconnect"]).delays(Chance())
    assert table["expected"] == pytest.approx([next(waits) for _ in table["chances"]])


@pytest.mark.parametrize(("url", "parameters", "expected"), VECTORS["addresses"])
def test_python_dials_as_the_vectors_say(url, parameters, expected):
    assert expected == endpoint(url, parameters)


@needs_node
async def test_javascript_does_all_of_it_as_the_vectors_say():
    printed = await node("vectors.mjs", str(ROOT / "clients" / "vectors.json"))
    assert f"{len(VECTORS['kept']) + 1 + len(VECTORS['addresses'])} cases\n" == printed


@needs_node
async def test_javascript_survives_a_broken_network(tmp_path):
    recording = ROOT / "streaming" / "cli" / "demo.flac"
    soundfile = pytest.importorskip("soundfile")
    samples, _ = soundfile.read(recording, dtype="int16", frames=4 * 16_000)
    audio = tmp_path / "audio.pcm"
    audio.write_bytes(samples.tobytes())
    config = Config(server=ServerConfig(port=0), stream=StreamConfig(stall_ms=20_000))
    async with running(config) as run, proxied(run.server.port) as proxy:
        uncut = json.loads(await node("call.mjs", proxy.url, str(audio)))
        proxy.faults = [
            Fault(kind, down, at)
            for kind, down, at in (
                (Break.CUT, False, 20_000),
                (Break.CLOSE, False, 15_001),
                (Break.DELAY, False, 12_000),
                (Break.CUT, False, 9_000),
                (Break.TRUNCATE, True, 900),
            )
        ]
        cut = json.loads(await node("call.mjs", proxy.url, str(audio)))

    assert 0 == uncut["resumed"]
    assert 5 == proxy.broken
    assert cut["resumed"] >= 4  # a connection that broke while it was made is none
    assert uncut["told"] == cut["told"]
    assert any(event.get("text") for event in cut["told"])
    assert 64_000 == cut["told"][-1]["received"]

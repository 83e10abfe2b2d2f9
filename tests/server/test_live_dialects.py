"""One server, every dialect: the same samples give the same text through each.

The bundled model and the bundled recording. Telephony providers' messages are written
from their documentation.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from streaming.app import running
from streaming.cli.demo import RECORDING
from streaming.config import (
    Config,
    DecoderConfig,
    Finals,
    ServerConfig,
    StreamConfig,
)
from streaming.numeric.resample import Resampler
from streaming.protocols import twilio
from tests.protocols.calls import mulaw

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAID = "zero four one seven two nine five"  # by the first of the recording's voices

# Nothing that depends on how busy the machine is.
CONFIG = Config(
    server=ServerConfig(port=0),
    stream=StreamConfig(
        decoder=DecoderConfig(finals=Finals.STITCHED), budget_ms=20_000
    ),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server():
    async with running(CONFIG) as run:
        yield run


# --- the recording ---------------------------------------------------------


def recording(rate):
    """The first 9 s, three utterances, as 16-bit samples."""
    samples, native = soundfile.read(RECORDING, dtype="float32")
    samples = samples[: 9 * native]
    resampler = Resampler(native, rate)
    out = np.concatenate([resampler.push(samples), resampler.drain()])
    return np.clip(np.round(out * 32_767), -32_768, 32_767).astype("<i2")


MULAW = mulaw(recording(8_000) / 32_768)
LINEAR_8 = recording(8_000).tobytes()
LINEAR_16 = recording(16_000).tobytes()
STEREO = np.stack([np.frombuffer(MULAW, np.uint8)] * 2, axis=1)
STEREO[:24_000, 1] = 0xFF  # the second side keeps silent for the first 3 s


def pieces(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


# --- speaking each dialect -------------------------------------------------


async def converse(url, messages, **options):
    """Send all and read until the server closes."""
    async with connect(url, compression=None, **options) as websocket:

        async def speak():
            with suppress(ConnectionClosed):
                for message in messages:
                    await websocket.send(message)

        speaking = asyncio.create_task(speak())
        heard = []
        with suppress(ConnectionClosed):
            while True:
                heard.append(json.loads(await websocket.recv()))
        await speaking
        return heard, websocket


async def native(server, data, query):
    """The finals of the native protocol: the measure of all others."""
    messages = [*pieces(data, 3_200), '{"type":"finish"}']
    heard, _ = await converse(f"{server.url}/v1/stream?{query}", messages)
    return texts(heard)


def texts(events):
    return [(e.get("channel", 0), e["text"]) for e in events if e["type"] == "final"]


@pytest.fixture
def overheard(caplog):
    """What the server tells of calls that carry no text back."""
    caplog.set_level(logging.INFO, "wavestitch.calls")

    def events():
        lines = [r for r in caplog.records if r.name == "wavestitch.calls"]
        return [json.loads(line.args[-1]) for line in lines]

    return events


def media(data, track="inbound"):
    """Messages of 20 ms as Twilio sends them."""
    return [
        {
            "event": "media",
            "media": {
                "track": track,
                "chunk": str(number),
                "timestamp": str(20 * number),
                "payload": base64.b64encode(piece).decode(),
            },
        }
        for number, piece in enumerate(pieces(data, 160), start=1)
    ]


def start(**fields):
    return {"event": "start", "start": fields}


TWILIO = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
TELNYX = {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
STOP = {"event": "stop"}


@pytest.mark.parametrize(
    ("path", "begin"),
    [
        ("/twilio", start(callSid="CA1", tracks=["inbound"], mediaFormat=TWILIO)),
        ("/telnyx", start(call_control_id="v3:1", media_format=TELNYX)),
        ("/plivo", start(callId="b7", tracks=["inbound"], mediaFormat=TWILIO)),
    ],
)
async def test_a_call_of_a_provider_is_heard(server, overheard, path, begin):
    script = [{"event": "connected"}, begin, *media(MULAW), STOP]

    heard, websocket = await converse(server.url + path, map(json.dumps, script))

    assert [] == heard
    assert 1000 == websocket.close_code
    expected = await native(server, MULAW, "encoding=mulaw&sample_rate=8000")
    assert (0, SAID) == expected[0]
    assert expected == texts(overheard())
    assert 72_000 == overheard()[-1]["received"]


TRACKS = ("inbound", "outbound")


async def test_both_sides_of_a_call_are_two_channels(server, overheard):
    begin = start(tracks=["inbound", "outbound"], mediaFormat=TWILIO)
    sides = [media(STEREO[:, n].tobytes(), track=t) for n, t in enumerate(TRACKS)]
    sides[1] = sides[1][150:]  # what is silent is not sent
    both = sorted(sides[0] + sides[1], key=lambda m: int(m["media"]["timestamp"]))

    await converse(f"{server.url}/twilio", map(json.dumps, [begin, *both, STOP]))

    expected = await native(
        server, STEREO.tobytes(), "encoding=mulaw&sample_rate=8000&channels=2"
    )
    assert {0, 1} == {channel for channel, _ in expected}
    assert sorted(expected) == sorted(texts(overheard()))
    totals = overheard()[-1]
    assert [72_000, 48_000] == totals["received"]
    assert [0, 24_000] == totals["concealed"]


@pytest.mark.parametrize(
    ("begin", "data", "size", "query"),
    [
        (
            "MEDIA_START connection_id:asr channel:x format:ulaw ptime:20",
            MULAW,
            160,
            "encoding=mulaw&sample_rate=8000",
        ),
        ('{"event":"MEDIA_START","format":"slin16"}', LINEAR_16, 640, ""),
    ],
)
async def test_a_channel_of_asterisk_is_heard(
    server, overheard, begin, data, size, query
):
    url = f"{server.url}/asterisk"
    async with connect(url, subprotocols=["media"], compression=None) as websocket:
        await websocket.send(begin)
        for piece in pieces(data, size):
            await websocket.send(piece)
    # It was hung up: its last words are final after that.
    await server.server.sessions.wait_empty()

    assert "media" == websocket.subprotocol
    expected = await native(server, data, query)
    assert (0, SAID) == expected[0]
    assert expected == texts(overheard())


@pytest.mark.parametrize(
    ("path", "metadata"),
    [
        ("/audio_fork?sample_rate=8000", "any text"),
        ("/audio_stream?sample_rate=8000", '{"any":"json"}'),
        ("/jambonz?replies=json", '{"callSid":"1","sampleRate":8000}'),
    ],
)
async def test_freeswitch_and_jambonz_are_heard_and_answered(server, path, metadata):
    expected = await native(server, LINEAR_8, "sample_rate=8000")
    async with connect(server.url + path, compression="deflate") as websocket:
        await websocket.send(metadata)
        for piece in pieces(LINEAR_8 + bytes(16_000), 320):
            await websocket.send(piece)
        said = []
        while len(said) < len(expected):
            event = json.loads(await websocket.recv())
            event = event.get("data", event)
            said += texts([event])

    assert (0, SAID) == expected[0]
    assert expected == said


async def test_the_example_of_twilios_page_is_heard(server, overheard, tmp_path):
    page = Path(twilio.__file__).with_name("twilio.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "x.ul").write_bytes(MULAW)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example.replace("ws://127.0.0.1:8770", server.url),
        tmp_path / "x.ul",
    )

    assert 0 == await process.wait()
    assert (0, SAID) == texts(overheard())[0]


async def test_what_a_call_carries_is_refused_by_a_close_alone(server, overheard):
    begin = start(mediaFormat={"encoding": "audio/opus"})

    heard, websocket = await converse(f"{server.url}/twilio", map(json.dumps, [begin]))

    assert [] == heard
    assert (1003, "unsupported_audio") == (websocket.close_code, websocket.close_reason)
    assert [] == overheard()


# --- OpenAI Realtime -------------------------------------------------------


def realtime(data, **given):
    """An update, the recording, and what ends it."""
    session = {"type": "transcription", "audio": {"input": given}}
    yield json.dumps({"type": "session.update", "session": session})
    for piece in pieces(data, 16_000):
        audio = base64.b64encode(piece).decode()
        yield json.dumps({"type": "input_audio_buffer.append", "audio": audio})
    yield json.dumps({"type": "input_audio_buffer.commit"})


async def transcribed(server, messages, ends):
    """All that is said until so many items are completed."""
    url = f"{server.url}/v1/realtime?intent=transcription"
    heard = []
    async with connect(url, subprotocols=["realtime"], compression=None) as websocket:
        assert "session.created" == json.loads(await websocket.recv())["type"]
        for message in messages:
            await websocket.send(message)
        while len(transcripts(heard)) < ends:
            heard.append(json.loads(await websocket.recv()))
    return heard


def transcripts(events):
    return [e["transcript"] for e in events if e["type"].endswith(".completed")]


@pytest.mark.parametrize(
    ("written", "data", "query"),
    [
        ({"type": "audio/pcm", "rate": 16_000}, LINEAR_16, ""),
        ({"type": "audio/pcmu"}, MULAW, "encoding=mulaw&sample_rate=8000"),
    ],
)
async def test_turns_of_a_realtime_session_are_the_native_finals(
    server, written, data, query
):
    expected = [text for _, text in await native(server, data, query)]

    heard = await transcribed(server, realtime(data, format=written), len(expected))

    assert SAID == expected[0]
    assert expected == transcripts(heard)
    items = {e["item_id"] for e in heard if e["type"].endswith("committed")}
    for item in items:
        of = [e for e in heard if e.get("item_id") == item]
        delta = "".join(e["delta"] for e in of if e["type"].endswith(".delta"))
        assert delta == of[-1]["transcript"]


async def test_a_file_in_a_realtime_session_is_named(server):
    file = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(16_000)
    messages = realtime(file, format={"type": "audio/pcm"})

    heard, websocket = await converse(f"{server.url}/v1/realtime", messages)

    error = heard[-1]["error"]
    assert "unsupported_audio" == error["code"]
    assert "WAV" in error["message"]
    assert 1003 == websocket.close_code


async def test_a_commit_of_the_client_holds_all_that_was_said(server):
    expected = [text for _, text in await native(server, LINEAR_16, "")]
    pcm = {"type": "audio/pcm", "rate": 16_000}
    messages = realtime(LINEAR_16, format=pcm, turn_detection=None)

    heard = await transcribed(server, messages, 1)

    assert [" ".join(expected)] == transcripts(heard)

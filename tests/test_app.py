"""The whole server: real session, real engine, real sockets; a tiny model.

The model hears loud steps as `a` and quiet ones as blanks, so a text of `a` is a
stretch of sound that went all the way.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import clients
from streaming import app
from streaming.app import running, serve
from streaming.config import (
    AccessConfig,
    Config,
    EngineConfig,
    LimitConfig,
    ModelConfig,
    ServerConfig,
)
from streaming.errors import ConfigError, ModelError
from streaming.models.model import Windowed
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

RATE = 16_000
FINISH = '{"type":"finish"}'


class LoudnessModel(Windowed):
    """Says `a` where it is loud; one step in two, so that `a`s do not merge."""

    name = "loudness"
    language = "en"
    geometry = Geometry()
    vocabulary = Vocabulary(("_", "|", "a"), 0, 1, frozenset())
    normalise = False
    temperature = 1.0
    max_batch = 1
    pads = False

    def __init__(self):
        self.broken = None
        self.closed = False

    def forward(self, batch):
        if self.broken is not None:
            raise ModelError(self.broken)
        return [self._rows(samples) for samples in batch]

    def _rows(self, samples):
        steps = self.geometry.steps(len(samples))
        padded = np.zeros(steps * 320, np.float32)
        padded[: len(samples)] = samples
        loud = np.abs(padded.reshape(steps, 320)).mean(axis=1) > 0.02
        rows = np.full((steps, 3), -5.0, np.float32)
        rows[np.arange(steps), np.where(loud, 2, 0)] = 5.0
        return rows

    def clone(self):
        return self

    def close(self):
        self.closed = True


def voice(seconds):
    """Harmonics that rise and fall as syllables do, s16le: a VAD hears speech."""
    t = np.arange(int(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20))
    samples = 0.25 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    return (np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes()


def hush(seconds):
    noise = np.random.default_rng(1).normal(0, 3, int(seconds * RATE))
    return noise.astype("<i2").tobytes()


def config(**limits):
    return Config(
        server=ServerConfig(port=0),
        engine=EngineConfig(workers=1),
        limits=LimitConfig(**limits),
    )


async def rest(client):
    heard = []
    with suppress(ConnectionClosed):
        while True:
            heard.append(json.loads(await client.recv()))
    return heard


async def say(client, *parts, chunk=3_201):
    audio = b"".join(parts)
    for start in range(0, len(audio), chunk):
        await client.send(audio[start : start + chunk])


def of(heard, kind):
    return [message for message in heard if message["type"] == kind]


async def test_a_stream_from_end_to_end():
    async with (
        running(config(), model=LoudnessModel()) as run,
        connect(f"{run.url}/v1/stream", compression=None) as client,
    ):
        heard = []
        await say(client, hush(1), voice(2))
        while not of(heard, "partial"):  # else its final might replace it unsent
            heard.append(json.loads(await client.recv()))
        await say(client, hush(2), voice(1))
        await client.send(FINISH)
        heard += await rest(client)

    assert list(range(len(heard))) == [message["seq"] for message in heard]
    assert ("ready", "loudness") == (heard[0]["type"], heard[0]["model"])
    finals = of(heard, "final")
    assert [0, 1] == [final["utterance"] for final in finals]
    assert ["a", "a"] == [final["text"] for final in finals]
    assert ["silence", "finish"] == [m["reason"] for m in of(heard, "speech_ended")]
    acks = [0, *(ack["received"] for ack in of(heard, "ack"))]
    assert max(np.diff(acks)) <= RATE
    totals = heard[-1]
    assert 6 * RATE == totals["received"]
    assert totals["received"] == totals["decoded"] + totals["gated"]
    assert 0 == totals["dropped"]
    assert 1000 == client.close_code


async def test_two_channels_of_telephone_audio():
    query = "?channels=2&sample_rate=8000&words=false"
    left, right = (
        np.frombuffer(part, "<i2")[::2]
        for part in (voice(1.5) + hush(1), hush(1) + voice(1.5))
    )
    audio = np.stack((left, right), axis=1).tobytes()
    async with (
        running(config(), model=LoudnessModel()) as run,
        connect(f"{run.url}/v1/stream{query}", compression=None) as client,
    ):
        await say(client, audio)
        await client.send(FINISH)
        heard = await rest(client)

    assert {0, 1} == {final["channel"] for final in of(heard, "final")}
    assert all("words" not in final for final in of(heard, "final"))
    assert [20_000, 20_000] == heard[-1]["received"]


async def test_streams_beside_each_other_get_the_text_they_get_alone():
    async def one(url, seconds):
        async with connect(f"{url}/v1/stream", compression=None) as client:
            await say(client, voice(seconds), hush(1), chunk=640 * seconds)
            await client.send(FINISH)
            return [(f["text"], f["end"]) for f in of(await rest(client), "final")]

    async with running(config(), model=LoudnessModel()) as run:
        alone = [await one(run.url, seconds) for seconds in (1, 2, 3)]
        together = await asyncio.gather(*(one(run.url, s) for s in (1, 2, 3)))

    assert alone == together


async def test_a_lost_connection_is_decoded_to_its_end():
    async with running(config(resume_window_s=0.05), model=LoudnessModel()) as run:
        client = await connect(f"{run.url}/v1/stream", compression=None)
        await say(client, voice(2))
        await (await client.ping())
        client.transport.abort()
        await client.wait_closed()
        while len(run.server.sessions):
            await run.server.sessions.wait_empty()
        value = run.server.metrics.registry.get_sample_value

        assert 1 == value("wavestitch_finals_undelivered_total")
        received = value("wavestitch_audio_received_seconds_total")
        decoded = value("wavestitch_audio_decoded_seconds_total")
        gated = value("wavestitch_audio_gated_seconds_total")
        assert 2.0 == pytest.approx(received) == pytest.approx(decoded + gated)


async def test_a_model_that_fails_ends_the_stream_typed(caplog):
    model = LoudnessModel()
    async with (
        running(config(), model=model) as run,
        connect(f"{run.url}/v1/stream", compression=None) as client,
    ):
        await client.recv()
        model.broken = "out of memory at 0x7f"
        await say(client, voice(2))
        with suppress(ConnectionClosed):
            await client.send(FINISH)
        heard = await rest(client)

    assert ("error", "internal") == (heard[-1]["type"], heard[-1]["code"])
    assert "0x7f" not in heard[-1]["message"]
    assert 1011 == client.close_code
    assert "0x7f" in caplog.text


async def test_a_recording_header_is_named_and_closes_1003():
    async with (
        running(config(), model=LoudnessModel()) as run,
        connect(f"{run.url}/v1/stream", compression=None) as client,
    ):
        await client.send(b"RIFF\x24\x08\0\0WAVEfmt \x10\0\0\0" + voice(1))
        heard = await rest(client)

    assert "unsupported_audio" == heard[-1]["code"]
    assert 1003 == client.close_code


def inference_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("inference")]


async def test_a_given_model_stays_the_callers():
    model, before = LoudnessModel(), inference_threads()
    async with running(config(), model=model) as run:
        assert run.url.startswith("ws://127.0.0.1:")
        assert run.http_url == run.url.replace("ws", "http", 1)
        assert run.engine.warm
        assert len(before) < len(inference_threads())

    assert before == inference_threads()
    # The engine closes its clone, which for this model is the model itself.
    assert model.closed


async def test_two_servers_live_in_one_process():
    async with (
        running(config(), model=LoudnessModel()) as one,
        running(config(), model=LoudnessModel()) as other,
    ):
        assert one.url != other.url


# --- serve -------------------------------------------------------------------


async def test_serve_says_when_it_listens_and_stops_when_told(monkeypatch, caplog):
    model, stop = LoudnessModel(), asyncio.Event()
    monkeypatch.setattr(app, "load_model", lambda *_: model)
    caplog.set_level("INFO", "wavestitch")
    urls = []

    def ready(url):
        urls.append(url)
        stop.set()

    await serve(config(), ready=ready, stop=stop)

    assert f"listening on {urls[0]}" in caplog.messages
    assert model.closed


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="needs signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_long_load_can_be_stopped(number):
    """Nothing of the model's loading is waited for: it may be a long download."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        NEVER_LOADS,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert b"loading\n" == await process.stdout.readline()
    process.send_signal(number)
    async with asyncio.timeout(20):
        _, errors = await process.communicate()

    assert 0 == process.returncode
    assert "stopped before the model was warm" in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_a_model_that_does_not_load_frees_the_port(monkeypatch):
    def fail(*_):
        raise ModelError("no weights")

    monkeypatch.setattr(app, "load_model", fail)
    with pytest.raises(ModelError, match="no weights"):
        await serve(config(), stop=asyncio.Event())


async def test_a_port_that_is_taken_is_known_before_the_model_loads(monkeypatch):
    monkeypatch.setattr(app, "load_model", lambda *_: pytest.fail("loaded"))
    async with running(config(), model=LoudnessModel()) as run:
        port = int(run.url.rsplit(":", 1)[1])
        taken = replace(config(), server=ServerConfig(port=port))
        message = (
            rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use; choose"
        )
        with pytest.raises(OSError, match=message):
            await serve(taken, stop=asyncio.Event())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
async def test_an_address_that_is_not_ours_is_named(host):
    elsewhere = replace(
        config(),
        server=ServerConfig(host=host, port=0),
        access=AccessConfig(allow_anyone=True),
    )
    with pytest.raises(OSError, match=rf"cannot listen on {host}:0: [A-Z]"):
        await serve(elsewhere, stop=asyncio.Event())


async def test_a_model_that_is_nowhere_is_the_operators_error():
    nowhere = replace(config(), model=ModelConfig(name="/no such folder"))
    with pytest.raises(ConfigError):
        await serve(nowhere, stop=asyncio.Event())


SCRIPT = """
import asyncio, logging, sys
import clients
from streaming import app
from tests.test_app import LoudnessModel, config
logging.basicConfig(level="INFO", stream=sys.stderr)
app.load_model = lambda *_: LoudnessModel()
settings = config(drain_s=float(sys.argv[1]))
asyncio.run(app.serve(settings, ready=lambda url: print(url, flush=True)))
"""


NEVER_LOADS = """
import asyncio, logging, sys, threading
from streaming import app
from tests.test_app import config
logging.basicConfig(level="INFO", stream=sys.stderr)
def load(*_):
    print("loading", flush=True)
    threading.Event().wait()
app.load_model = load
asyncio.run(app.serve(config()))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGTERM"), reason="needs signals")
@pytest.mark.parametrize("drain_s", [30.0, 0.1])
async def test_sigterm_drains_and_exits_0(drain_s):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        str(drain_s),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    async with connect(f"{url}/v1/stream", compression=None) as client:
        await say(client, voice(1.5))
        await (await client.ping())
        process.send_signal(signal.SIGTERM)
        heard = []
        while not of(heard, "goaway"):
            heard.append(json.loads(await client.recv()))
        if drain_s > 1:
            await client.send(FINISH)
        heard += await rest(client)
    _, errors = await process.communicate()

    assert 0 == process.returncode, errors.decode()
    assert 1 == len(of(heard, "final"))
    assert "finished" == heard[-1]["type"]
    assert (1000 if drain_s > 1 else 1001) == client.close_code
    assert "Traceback" not in errors.decode()


async def test_the_client_library_and_the_server_understand_each_other():
    async with running(config(), model=LoudnessModel()) as run:
        async with clients.connect(run.url, budget_ms=900, words=True) as stream:
            for _ in range(15):
                await stream.send(voice(0.1))
            await stream.flush()
            await stream.configure(hangover_ms=700)
            totals = await stream.finish()
            finals = [e async for e in stream if isinstance(e, clients.Final)]
        with pytest.raises(clients.BadRequest, match="at least"):
            async with clients.connect(run.url, budget_ms=-1):
                pass

    assert 1 == len(finals)
    assert 24_000 == totals.totals[0].received

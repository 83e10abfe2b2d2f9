"""Recordings sent to a server say what `wavestitch transcribe` says."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
import soundfile

from streaming.app import running
from streaming.cli.demo import RECORDING
from streaming.config import Config, EngineConfig, Finals, ServerConfig
from streaming.models.loading import load_model
from streaming.tools.transcribe import transcripts
from streaming.tools.workbench import open_workbench
from tests.core import rig
from tests.server.talking_http import TRANSCRIBE, calling, form, post
from tests.tools.test_transcribe import Amplitudes

CONFIG = Config(server=ServerConfig(port=0))


class Stage:
    def __init__(self, server):
        self.address = ("127.0.0.1", server.port)


async def sent(stage, path, **fields):
    """The answer of OpenAI's dialect to a file."""
    body, kind = form(path.read_bytes(), model="whisper-1", **fields)
    async with calling(stage) as caller:
        caller.send(post(TRANSCRIBE, body, content_type=kind))
        async with asyncio.timeout(120):
            return await caller.hear()


@pytest.fixture(scope="module")
def model():
    model = load_model(CONFIG.model, CONFIG.stream.window)
    yield model
    model.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The demo as it is, and as others would send it."""
    folder = tmp_path_factory.mktemp("recordings")
    samples, rate = soundfile.read(RECORDING, int(6.2 * 16_000), dtype="float32")
    pair = np.stack([samples, np.roll(samples, 3 * rate)], axis=1)
    soundfile.write(folder / "a.flac", samples, rate)
    soundfile.write(folder / "a.mp3", samples, rate)
    soundfile.write(folder / "half.wav", samples[::2], rate // 2, "ULAW")
    soundfile.write(folder / "pair.flac", pair, rate)
    return sorted(folder.iterdir())


async def test_a_recording_says_what_the_command_says(model, files):
    with open_workbench(CONFIG, model=model) as bench:
        wanted = [
            done.text for done in transcripts(bench, files, CONFIG.stream, "streaming")
        ]
    async with running(CONFIG, model=model) as run:
        stage = Stage(run.server)
        answers = await asyncio.gather(*(sent(stage, path) for path in files))

    assert wanted == [json.loads(answer.body)["text"] for answer in answers]
    assert wanted[0].startswith("zero four one seven two nine five b k four x seven")


async def test_two_channels_are_told_in_order_of_time_as_events_too(model, files):
    pair = next(path for path in files if path.name == "pair.flac")
    async with running(CONFIG, model=model) as run:
        stage = Stage(run.server)
        whole = json.loads((await sent(stage, pair)).body)["text"]
        events = await sent(stage, pair, stream="true")

    said = [json.loads(each[6:]) for each in events.body.decode().split("\n\n") if each]
    assert whole == said[-1]["text"]
    assert whole == "".join(event["delta"] for event in said[:-1])


async def test_long_recordings_are_decoded_by_full_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "streaming.server.backend.load_detector", lambda *_: rig.detector
    )
    # Its passes read the samples' heights; warming up with noise costs seconds.
    monkeypatch.setattr(
        "streaming.engine.warmth.time_passes", lambda *_: [(16_000, 1, 0.01)]
    )
    script = [(" ", 400), ("a", 300), ("-", 60), ("b", 300), (" ", 1_000)] * 60
    soundfile.write(tmp_path / "long.wav", rig.sound(script), 16_000, "PCM_16")
    config = Config(
        server=ServerConfig(port=0),
        engine=EngineConfig(workers=2, queue_s=2),  # one that waits is enough
        stream=rig.with_finals(Finals.AUTO),
    )
    async with running(config, model=Amplitudes()) as run:
        stage, path = Stage(run.server), tmp_path / "long.wav"
        answers = await asyncio.gather(sent(stage, path), sent(stage, path))
        text = run.server.metrics.text()

    for answer in answers:
        assert ["ab"] * 60 == json.loads(answer.body)["text"].split()
    assert 'wavestitch_finals_total{pass="full"} 120.0' in text
    assert 'wavestitch_finals_total{pass="stitched"}' not in text

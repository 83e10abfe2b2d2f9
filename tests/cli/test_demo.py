"""The demo, through a live server."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pytest
import soundfile
from rich.console import Console

from streaming.cli.demo import RECORDING, perform
from streaming.config import BUNDLED_MODEL, Config
from tests.checkpoints import exported


def config(model=None):
    default = Config()
    return replace(
        default,
        server=replace(default.server, port=0),
        model=replace(default.model, name=model),
    )


async def shown(model=None):
    """The demo's lines; eight times as fast, which changes no text."""
    console = Console(file=io.StringIO(), width=80, highlight=False)
    await perform(config(model), console, speed=8)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_recording_is_small_and_its_text_is_beside_it():
    about = json.loads(RECORDING.with_suffix(".json").read_text())
    sound = soundfile.info(RECORDING)

    assert 400_000 > RECORDING.stat().st_size
    assert (16_000, 1) == (sound.samplerate, sound.channels)
    assert 15 <= sound.duration <= 20
    ends = [0.0]
    for utterance in about["utterances"]:
        assert utterance["text"] == utterance["text"].lower()
        assert 0.8 == pytest.approx(utterance["start"] - ends[-1], abs=1e-3)
        ends.append(utterance["end"])
    assert 0.8 == pytest.approx(sound.duration - ends[-1], abs=1e-3)


async def test_it_plays_and_measures_with_any_model():
    lines = await shown(str(exported("bundled")))

    frames = soundfile.info(RECORDING).frames
    text = "\n".join(lines)
    assert "ws://127.0.0.1:" in text
    assert "zero four one seven two nine five" in text
    assert "finalization" in text
    account = re.fullmatch(
        rf"audio: {frames} samples sent = (\d+) decoded \+ (\d+) not speech "
        r"\+ 0 dropped",
        lines[-1],
    )
    assert account, lines[-1]
    assert frames == sum(int(count) for count in account.groups())


@pytest.mark.skipif(
    not (BUNDLED_MODEL / "config.json").is_file(), reason="no bundled model yet"
)
async def test_the_bundled_model_hears_what_is_meant():
    lines = await shown()

    (said,) = [line for line in lines if "words wrong" in line]
    wrong, total = re.match(r"(\d+) of (\d+) words wrong", said).groups()
    assert 0.15 >= int(wrong) / int(total), "\n".join(lines)
    assert any(" ... " in line for line in lines)

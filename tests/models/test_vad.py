"""The real detectors hear speech as speech and silence as silence."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from streaming.config import GateConfig
from streaming.errors import ConfigError
from streaming.models import vad
from streaming.models.vad import WebRtcVad, load_detector
from tests.conftest import ROOT

RATE = 16_000
VADS = [
    pytest.param("webrtc"),
    pytest.param(
        "silero",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("silero_vad") is None,
            reason="silero-vad is not installed",
        ),
    ),
]


@pytest.fixture(scope="module")
def sentence(speech_folder):
    """A read sentence, its first and last 300 ms left out."""
    lines = (speech_folder / "test" / "manifest.jsonl").read_text().splitlines()
    clip = next(c for c in map(json.loads, lines) if c["corpus"] == "librispeech")
    samples, rate = soundfile.read(
        speech_folder / "test" / clip["audio"], dtype="float32"
    )
    assert rate == RATE
    return samples[4_800:-4_800]


def share_of_speech(is_speech, samples, frame_ms):
    frame = RATE * frame_ms // 1000
    count = len(samples) // frame
    return (
        sum(is_speech(samples[i * frame : (i + 1) * frame]) for i in range(count))
        / count
    )


@pytest.mark.parametrize("name", VADS)
@pytest.mark.parametrize("frame_ms", [10, 20, 30])
def test_a_sentence_is_mostly_speech(name, frame_ms, sentence):
    is_speech = load_detector(GateConfig(vad=name, frame_ms=frame_ms), RATE)()

    assert share_of_speech(is_speech, sentence, frame_ms) > 0.5  # it pauses


@pytest.mark.parametrize("name", VADS)
@pytest.mark.parametrize("level", [0.0, 1e-4])
def test_silence_is_none(name, level):
    quiet = np.random.default_rng(0).normal(0, level, RATE * 3).astype(np.float32)
    is_speech = load_detector(GateConfig(vad=name), RATE)()

    assert share_of_speech(is_speech, quiet, 20) < 0.05


@pytest.mark.parametrize("name", VADS)
def test_streams_do_not_hear_one_another(name, sentence):
    detector = load_detector(GateConfig(vad=name), RATE)
    frames = [sentence[i : i + 320] for i in range(0, RATE * 4, 320)]
    one = detector()
    alone = [one(frame) for frame in frames]
    one, other = detector(), detector()

    beside = []
    for frame in frames:
        other(frame[::-1].copy())
        beside.append(one(frame))

    assert alone == beside


def test_silero_hears_through_noise_that_webrtc_takes_for_speech():
    pytest.importorskip("silero_vad")
    noise = np.random.default_rng(0).normal(0, 0.05, RATE * 4).astype(np.float32)
    noise = np.convolve(noise, np.ones(8) / 8, "same").astype(np.float32)

    def share(name):
        config = GateConfig(vad=name, vad_mode=0)
        return share_of_speech(load_detector(config, RATE)(), noise, 20)

    assert share("silero") < 0.1 < share("webrtc")


@pytest.fixture
def heard(monkeypatch):
    """What reaches webrtcvad: its mode, then (bytes, rate) of each frame."""
    seen = []

    class Spy:
        def __init__(self, mode):
            seen.append(mode)

        def is_speech(self, data, rate):
            seen.append((data, rate))
            return 1

    monkeypatch.setattr(vad.webrtcvad, "Vad", Spy)
    return seen


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_pcm16_reaches_webrtc_unchanged(mode, heard):
    pcm = np.linspace(-32_768, 32_767, 320).astype("<i2")

    detector = WebRtcVad(RATE, mode)
    said = [detector(pcm.astype(np.float32) / 32_768) for _ in range(8)]

    assert [False] * 6 + [True] * 2 == said  # what it says at first is not believed
    assert [mode, *[(pcm.tobytes(), RATE)] * 8] == heard


def test_what_is_louder_than_full_scale_is_clipped_not_wrapped(heard):
    loud = np.full(320, 3.0, np.float32)

    WebRtcVad(RATE, 0)(loud)
    WebRtcVad(RATE, 0)(-loud)

    full = [np.full(320, peak, "<i2").tobytes() for peak in (32_767, -32_768)]
    assert [0, (full[0], RATE), 0, (full[1], RATE)] == heard


def test_a_frame_of_another_length_is_refused():
    with pytest.raises(ValueError, match="10, 20 or 30 ms, got 200 samples"):
        WebRtcVad(RATE, 2)(np.zeros(200, np.float32))


@pytest.mark.parametrize("name", VADS)
def test_a_rate_it_does_not_take_is_refused_at_once(name):
    with pytest.raises(ConfigError, match="got 22050"):
        load_detector(GateConfig(vad=name), 22_050)


def test_silero_that_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr(vad, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError, match=r"pip install wavestitch\[silero\]"):
        load_detector(GateConfig(vad="silero"), RATE)


def test_silero_needs_no_torch():
    pytest.importorskip("silero_vad")
    program = (
        "import sys; from streaming.config import GateConfig;"
        " from streaming.models.vad import load_detector;"
        " import numpy as np;"
        " load_detector(GateConfig(vad='silero'), 16000)()(np.zeros(640, np.float32));"
        " sys.exit('torch' in sys.modules or 'silero_vad' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)

    assert not done.returncode


def test_the_first_moments_of_room_noise_are_no_speech():
    noise = np.random.default_rng(0).normal(0, 0.001, 16_000).astype(np.float32)
    detector = WebRtcVad(16_000, 2)

    assert not any(detector(noise[at : at + 320]) for at in range(0, 16_000, 320))

"""Make the recording that `wavestitch demo` plays, and the text that is meant.

    python -m streaming.tools.make_demo

A synthetic voice (espeak-ng), so that the recording is the project's own: digits
and letters in sequence, commands in a fixed grammar. The same program version
gives the same bytes again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from streaming.errors import ConfigError
from streaming.events import Samples

__all__ = ["DEMO", "DemoVoice", "make_demo"]

DEMO = Path(__file__).parent.parent / "cli" / "demo.flac"
RATE = 16_000
TEXTS = (
    "zero four one seven two nine five",
    "b k four x seven",
    "bin blue at f two now",
    "place red in k nine please",
    "set white with m three again",
    "stop go left",
)
# Digital silence is what no microphone gives: a quiet room instead.
ROOM = 10 ** (-66 / 20)


@dataclass(frozen=True, slots=True)
class DemoVoice:
    """Who speaks, and how.

    Attributes:
        voice: espeak-ng's name of it.
        speed: words a minute.
        pitch: 0 to 99.
        pause_s: silence before, between and after the utterances.
    """

    voice: str = "en-us"
    speed: int = 140
    pitch: int = 45
    pause_s: float = 0.8


def make_demo(
    recording: Path = DEMO,
    texts: tuple[str, ...] = TEXTS,
    voice: DemoVoice = DemoVoice(),
) -> None:
    """Write `recording` (16 kHz mono FLAC) and beside it a `.json` of what is meant.

    Args:
        recording: the file to write.
        texts: an utterance each; a word of one letter is that letter's name.
        voice: who speaks them.

    Raises:
        ConfigError: espeak-ng is not installed.
    """
    if shutil.which("espeak-ng") is None:
        raise ConfigError("espeak-ng is not installed (Debian: apt install espeak-ng)")
    pause = np.zeros(round(voice.pause_s * RATE), np.float32)
    parts, meant, at = [pause], [], len(pause)
    for text in texts:
        spoken = _speak(text, voice)
        end = at + len(spoken)
        meant.append({"text": text, "start": at / RATE, "end": end / RATE})
        parts += [spoken, pause]
        at = end + len(pause)
    samples = np.concatenate(parts)
    samples *= 0.5 / np.abs(samples).max()
    samples += np.random.default_rng(7).normal(0, ROOM, len(samples)).astype("f4")
    soundfile.write(recording, samples, RATE, "PCM_16")
    about = {
        "voice": f"espeak-ng {voice.voice}, a synthetic voice",
        "sample_rate": RATE,
        "utterances": meant,
    }
    recording.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n")


def _speak(text: str, voice: DemoVoice) -> Samples:
    """The words, without the silence that espeak-ng puts around them."""
    # espeak-ng reads a lone "a" as the article: name its vowel instead.
    spoken = [
        "[[eI]]" if word == "a" else word.upper() if len(word) == 1 else word
        for word in text.split()
    ]
    options = ["-v", voice.voice, "-s", str(voice.speed), "-p", str(voice.pitch)]
    with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
        subprocess.run(
            ["espeak-ng", *options, "-w", wave.name, " ".join(spoken)],
            check=True,
            capture_output=True,
        )
        samples, rate = soundfile.read(wave.name, dtype="float32")
    samples = soxr.resample(samples, rate, RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    kept: Samples = samples[loud[0] : loud[-1] + 1]
    return kept


if __name__ == "__main__":
    make_demo()

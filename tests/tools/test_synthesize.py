"""Synthetic speech: the same from the same seed, in many voices."""

from __future__ import annotations

import json
import shutil

import pytest
import soundfile

from streaming.errors import ConfigError
from streaming.tools.synthesize import Synthesis, synthesize

needs_voices = pytest.mark.skipif(
    not (shutil.which("espeak-ng") and shutil.which("flite")),
    reason="no synthetic voices: apt install espeak-ng flite",
)


@pytest.fixture
def sentences(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_text("the quick brown fox jumps over a lazy dog\nwhat did i say\n")
    return path


def rows_of(manifest):
    return [json.loads(row) for row in manifest.read_text().splitlines()]


@needs_voices
def test_it_speaks_as_long_as_asked_and_tells_the_words(sentences, tmp_path):
    hours = []
    plan = Synthesis(sentences, hours=0.02, accent_share=0.5)
    manifest = synthesize(plan, tmp_path / "out", hours.append)
    rows = rows_of(manifest)

    assert 72 <= sum(row["duration"] for row in rows) < 90
    assert hours[-1] >= 0.02
    for row in rows:
        sound = soundfile.info(manifest.parent / row["audio"])
        assert (16_000, 1) == (sound.samplerate, sound.channels)
        assert sound.duration == pytest.approx(row["duration"], abs=1e-3)
        assert row["text"] == " ".join(row["text"].lower().split()) != ""
    assert len({row["speaker"] for row in rows}) > len(rows) / 3


@needs_voices
def test_one_seed_gives_one_corpus(sentences, tmp_path):
    made = [
        rows_of(synthesize(Synthesis(sentences, 0.004, seed), tmp_path / str(place)))
        for place, seed in enumerate((1, 1, 2))
    ]

    assert made[0] == made[1] != made[2]


@needs_voices
def test_voices_of_other_languages_say_the_same_words(sentences, tmp_path):
    plan = Synthesis(sentences, 0.004, flite_share=0, accent_share=1)
    rows = rows_of(synthesize(plan, tmp_path / "out"))

    languages = {row["speaker"].removeprefix("espeak_").split("+")[0] for row in rows}
    assert len(languages) > 1
    assert not any(language.startswith("en") for language in languages)


@pytest.mark.parametrize(
    ("setting", "value"), [("hours", 0), ("accent_share", 1.5), ("flite_share", -1)]
)
def test_settings_are_checked(sentences, setting, value):
    with pytest.raises(ConfigError, match=setting):
        Synthesis(sentences, **{setting: value})


def test_a_missing_synthesizer_is_named(sentences, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ConfigError, match="espeak-ng is not installed"):
        synthesize(Synthesis(sentences), tmp_path / "out")

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.errors import ConfigError
from streaming.tools.corpus import AudioStore, read_manifest
from streaming.tools.recipe import Snippets
from streaming.tools.snippets import PHRASES, WORDS, cut_snippets

RATE = 16_000
PAUSE = 3_200
WORD = 4_800


def recording(folder, words):
    """Words as tones of their own pitch, pauses between; and where each is."""
    random = np.random.default_rng(1)
    samples = random.normal(0, 1e-3, PAUSE + len(words) * (WORD + PAUSE))
    spans = []
    for number in range(len(words)):
        start = PAUSE + number * (WORD + PAUSE)
        tone = np.sin(2 * np.pi * (200 + 100 * number) * np.arange(WORD) / RATE)
        samples[start : start + WORD] += 0.3 * tone
        spans.append((start, start + WORD))
    soundfile.write(folder / "a.flac", samples, RATE)
    row = {"audio": "a.flac", "text": " ".join(words), "speaker": "ann", "corpus": "c"}
    (folder / "all.jsonl").write_text(json.dumps(row))
    return read_manifest(folder / "all.jsonl"), spans


def cut(folder, words, plan, spans=None):
    rows, own = recording(folder, words)
    store = AudioStore(rows, folder / "audio")
    asked = lambda samples, text: own if spans is None else spans  # noqa: ARG005, E731
    made = cut_snippets(plan, rows, store, asked, folder / "cut")
    return read_manifest(made)


def pitch_of(path):
    samples, _ = soundfile.read(path)
    spectrum = np.abs(np.fft.rfft(samples))
    return spectrum.argmax() * RATE / len(samples)


def test_wanted_words_are_cut_out_whole_and_alone(tmp_path):
    plan = Snippets(("c",), Path(), words=("two", "four"), phrase_words=0)

    rows = cut(tmp_path, "one two three four".split(), plan)

    assert [("two", WORDS, "ann"), ("four", WORDS, "ann")] == [
        (row.text, row.corpus, row.speaker) for row in rows
    ]
    assert [300, 500] == [pytest.approx(pitch_of(row.path), abs=5) for row in rows]
    for row in rows:
        samples, _ = soundfile.read(row.path)
        assert WORD <= len(samples) <= WORD + 2 * PAUSE
        loud = np.abs(samples) > 0.02
        assert loud.sum() == pytest.approx(0.95 * WORD, rel=0.03)  # a sine crosses zero


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 99))
def test_phrases_tile_the_text(tmp_path_factory, count, most, seed):
    words = [f"w{number}" for number in range(count)]
    plan = Snippets(("c",), Path(), phrase_words=most, seed=seed)

    rows = cut(tmp_path_factory.mktemp("tile"), words, plan)

    assert {PHRASES} == {row.corpus for row in rows}
    assert " ".join(words) == " ".join(row.text for row in rows)
    assert all(1 <= len(row.text.split()) <= most for row in rows)


def test_a_recording_that_cannot_be_aligned_is_left_out(tmp_path):
    rows, _ = recording(tmp_path, ["one"])
    store = AudioStore(rows, tmp_path / "audio")
    plan = Snippets(("c",), Path(), words=("one",))

    made = cut_snippets(plan, rows, store, lambda *_: None, tmp_path / "cut")

    assert [] == read_manifest(made)


def test_what_is_too_short_to_be_a_word_is_left_out(tmp_path):
    plan = Snippets(("c",), Path(), words=("one", "two"), phrase_words=0)
    spans = [(8_000, 8_010), (8_020, 8_030)]

    rows = cut(tmp_path, ["one", "two"], plan, spans)

    assert all(soundfile.info(row.path).duration >= 0.1 for row in rows)
    assert len(rows) <= 2


@pytest.mark.parametrize(
    "wrong", [{"phrase_words": -1}, {"phrase_words": 1.5}, {"corpora": ()}]
)
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match="snippets"):
        Snippets(**{"corpora": ("c",), "model": Path(), **wrong})

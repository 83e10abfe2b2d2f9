"""Error rates of a manifest, with a model whose hearing is known."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import soundfile

from streaming.errors import ConfigError, UnsupportedAudio
from streaming.tools import workbench
from streaming.tools.corpus import read_manifest
from streaming.tools.evaluate import evaluate, fit, passes_of
from streaming.tools.workbench import open_workbench
from tests.core import rig
from tests.tools.test_transcribe import CONFIG, Amplitudes


@pytest.fixture(autouse=True)
def _amplitudes(monkeypatch):
    monkeypatch.setattr(workbench, "load_model", lambda *_: Amplitudes())
    monkeypatch.setattr(workbench, "load_detector", lambda *_: rig.detector)
    passes = [(16_000, 1, 0.01)]
    monkeypatch.setattr("streaming.engine.warmth.time_passes", lambda *_: passes)


def spoken(folder, rows):
    """A manifest: for each row its corpus, its text and the letter it sounds like."""
    lines = []
    for number, (corpus, text, letter) in enumerate(rows):
        path = folder / f"{number}.wav"
        script = [(" ", 300), (letter, 400), (" ", 900)]
        soundfile.write(path, rig.sound(script), 16_000)
        lines.append(json.dumps({"audio": path.name, "text": text, "corpus": corpus}))
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(lines))
    return manifest


@pytest.mark.parametrize("mode", ["streaming", "offline"])
def test_errors_are_pooled_and_told_by_corpus(tmp_path, mode):
    rows = [
        ("one", "a", "a"),
        ("one", "b", "b"),
        ("two", "a", "c"),
        ("two", "d e", "d"),
    ]
    done = evaluate(spoken(tmp_path, rows), config=CONFIG, mode=mode)
    assert (4, 5, 2 / 5) == (done.utterances, done.words, done.wer)
    # "a" is heard as "c": one of one; "d e" as "d": two of three characters.
    assert pytest.approx(3 / 6) == done.cer
    assert ["one", "two"] == list(done.by_corpus)
    assert [0.0, 2 / 3] == [rates.wer for rates in done.by_corpus.values()]
    low, high = done.wer_interval
    assert 0.0 <= low < done.wer < high <= 1.0
    # Sure of every word, and right in three of four.
    assert pytest.approx(0.25, abs=1e-3) == done.calibration_error


def test_an_evaluation_is_the_same_every_time_and_goes_into_json(tmp_path):
    manifest = spoken(tmp_path, [("x", "a", "a"), ("x", "b", "c")])
    first, again = (evaluate(manifest, config=CONFIG, mode="offline") for _ in "12")
    assert first == again
    assert 0.5 == json.loads(json.dumps(asdict(first)))["by_corpus"]["x"]["wer"]


def test_silence_has_no_calibration(tmp_path):
    manifest = spoken(tmp_path, [("x", "a", " ")])
    done = evaluate(manifest, config=CONFIG, mode="streaming")
    assert (1.0, None) == (done.wer, done.calibration_error)


def test_a_recording_that_is_missing_is_no_word_heard(tmp_path):
    manifest = spoken(tmp_path, [("x", "a", "a"), ("x", "b", "b")])
    (tmp_path / "1.wav").unlink()
    with pytest.raises(UnsupportedAudio, match=r"1\.wav: no such file"):
        evaluate(manifest, config=CONFIG, mode="streaming")


def test_an_empty_manifest_is_refused(tmp_path):
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("")
    with pytest.raises(ConfigError, match="has no utterances"):
        evaluate(manifest, config=CONFIG, mode="offline")


def test_a_rate_needs_the_texts(tmp_path):
    manifest = spoken(tmp_path, [("x", "a", "a")])
    row = json.loads(manifest.read_text())
    del row["text"]
    manifest.write_text(json.dumps(row))
    with pytest.raises(ConfigError, match="a row is an object with audio and text"):
        evaluate(manifest, config=CONFIG, mode="offline")


def test_a_model_that_is_too_sure_is_calibrated(tmp_path):
    rows = [("x", "a", "a"), ("x", "b", "b"), ("x", "c", "d"), ("x", "d", "d")]
    manifest = spoken(tmp_path, rows)
    found = fit(manifest, config=CONFIG)
    assert found == fit(read_manifest(manifest), config=CONFIG)
    assert found.after.error < found.before.error


def test_recordings_longer_than_a_pass_are_not_fitted_on():
    short, long = np.zeros(16_000, np.float32), np.zeros(48_000, np.float32)
    with open_workbench(CONFIG, longest_pass_s=2) as bench:
        passes = list(passes_of(bench, [(short, "a"), (long, "b"), (short, "c")]))
    assert ["a", "c"] == [text for _, text in passes]
    assert 50 == len(passes[0][0])

"""Manifests are read, audio is decoded once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from streaming.errors import ConfigError
from streaming.tools.corpus import AudioStore, Utterance, held_out, read_manifest


@pytest.fixture
def manifest(tmp_path):
    rows = []
    for number, (rate, seconds) in enumerate([(16_000, 0.5), (8_000, 1.0)]):
        tone = 0.5 * np.sin(np.arange(int(rate * seconds)) / rate * 2_000)
        soundfile.write(tmp_path / f"{number}.wav", tone, rate)
        rows.append({"audio": f"{number}.wav", "text": "a", "corpus": "c"})
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_audio_is_mono_at_16_khz_and_survives_its_source(manifest, tmp_path):
    rows = read_manifest(manifest)
    first = AudioStore(rows, tmp_path / "cache")
    before = [first.samples(row) for row in rows]
    again = AudioStore(rows, tmp_path / "cache")

    assert [len(s) for s in before] == [8_000, 16_000]
    assert [again.seconds(row) for row in rows] == [0.5, 1.0]
    assert all((again.samples(r) == b).all() for r, b in zip(rows, before, strict=True))
    middle = before[1][4_000:12_000]  # away from the edges, which ring
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.01)


def test_a_changed_corpus_is_decoded_anew(manifest, tmp_path):
    rows = read_manifest(manifest)
    AudioStore(rows, tmp_path / "cache")
    soundfile.write(tmp_path / "0.wav", np.zeros(4_000), 16_000)

    assert AudioStore(rows, tmp_path / "cache").seconds(rows[0]) == 0.25


@pytest.mark.parametrize("line", ["{", '{"text": "a"}', "[1]"])
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio": "a.wav"}\n' + line)

    with pytest.raises(ConfigError, match=r"m\.jsonl:2"):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.jsonl"):
        read_manifest(tmp_path / "nothing.jsonl")


def test_holding_out_takes_one_in_n_and_always_the_same(tmp_path):
    rows = [Utterance(tmp_path / f"{n}.wav", "") for n in range(3_000)]
    out = [held_out(row, 10) for row in rows]

    assert 200 < sum(out) < 400
    assert out == [held_out(row, 10) for row in rows]
    assert not any(held_out(row, 0) for row in rows)


@pytest.mark.parametrize(
    "line",
    ['{"audio":"a.wav"}', '{"audio":"a.wav","text":null}', '{"text":"a"}', "[1]", "7"],
)
def test_a_row_says_what_was_said(tmp_path, line):
    path = tmp_path / "m.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigError, match=r"m\.jsonl:1: a row is an object with audio"):
        read_manifest(path, texts=True)


def test_noise_needs_no_text(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio":"a.wav"}')
    assert [""] == [row.text for row in read_manifest(path)]


def test_what_is_no_json_is_said(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio":')
    with pytest.raises(ConfigError, match=r"m\.jsonl:1: not JSON: Expecting"):
        read_manifest(path)

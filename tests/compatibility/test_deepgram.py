"""Deepgram's own SDKs against a live server: live transcription."""

from __future__ import annotations

import hashlib
import json
import sys
import wave
from itertools import pairwise

import numpy as np
import pytest

from streaming.numeric.wer import edits
from tests.compatibility.environments import node_modules, python_of

PYTHON = "deepgram-sdk==7.17.0"
NPM = "@deepgram/sdk@5.13.0"


@pytest.fixture(scope="module")
def python():
    return python_of("deepgram", PYTHON)


@pytest.fixture(scope="module")
def by_sync(run, python):
    return run(python, "deepgram_sync.py")


@pytest.fixture(scope="module")
def by_async(run, python):
    return run(python, "deepgram_async.py")


@pytest.fixture(scope="module")
def by_npm(run):
    folder = node_modules("deepgram", NPM)
    return run("node", "deepgram.mjs", str(folder))


def results(said, *, is_final=True):
    found = [each for each in said if each.get("type") == "Results"]
    return [each for each in found if each["is_final"] is is_final]


def spoken(said, channel=0):
    """The finals of a channel over the native protocol that have text."""
    finals = [each for each in said if each["type"] == "final"]
    return [e["text"] for e in finals if e["channel"] == channel and e["text"]]


def transcripts(said):
    all_of = [each["channel"]["alternatives"][0] for each in results(said)]
    return [only["transcript"] for only in all_of if only["transcript"]]


def test_the_words_that_were_spoken_arrive(by_sync, meant):
    spoken = " ".join(meant).split()
    assert len(spoken) / 10 >= edits(spoken, " ".join(transcripts(by_sync)).split())


@pytest.mark.parametrize("client", ["by_sync", "by_async", "by_npm"])
def test_the_finals_are_those_of_the_native_protocol(request, client, native):
    assert native == transcripts(request.getfixturevalue(client))


@pytest.mark.parametrize("client", ["by_async", "by_npm"])
def test_interim_results_come_before_their_final(request, client):
    said = request.getfixturevalue(client)
    kinds = [each["is_final"] for each in said if each.get("type") == "Results"]
    assert kinds[0] is False
    assert kinds[-1] is True
    assert results(said, is_final=False)[0]["channel"]["alternatives"][0]["transcript"]


def test_every_pause_is_an_endpoint(by_sync, meant):
    assert [True] * len(meant) == [each["speech_final"] for each in results(by_sync)]


def test_the_begin_and_the_end_of_speech_are_told(by_async, meant):
    begins = [
        each["timestamp"] for each in by_async if each.get("type") == "SpeechStarted"
    ]
    assert len(meant) == len(begins)
    assert sorted(begins) == begins


def test_the_metadata_is_of_the_audio_that_was_sent(by_sync, recording):
    with wave.open(str(recording)) as file:
        frames, rate = file.getnframes(), file.getframerate()
        audio = file.readframes(frames)
    metadata = by_sync[-1]

    assert "Metadata" == metadata["type"]
    assert hashlib.sha256(audio).hexdigest() == metadata["sha256"]
    assert frames / rate == pytest.approx(metadata["duration"], abs=1e-3)
    assert {metadata["request_id"]} == {
        each["metadata"]["request_id"] for each in results(by_sync)
    }


def test_a_finalize_is_answered(run, python, native):
    said = run(python, "deepgram_sync.py", '{"finalize":true}')
    assert native == transcripts(said)
    assert results(said)[-1]["from_finalize"] is True


def test_a_wav_needs_no_encoding(run, python, native):
    assert native == transcripts(run(python, "deepgram_sync.py", '{"container":true}'))


def test_endpointing_is_the_native_hangover(run, python, native):
    query = json.dumps({"query": {"endpointing": 2000}})
    said = run(sys.executable, "native.py", "&hangover_ms=2000")
    finals = spoken(said)

    assert finals != native
    assert finals == transcripts(run(python, "deepgram_sync.py", query))


def test_both_channels_are_transcribed(run, python, recording, tmp_path):
    with wave.open(str(recording)) as file:
        rate, audio = file.getframerate(), file.readframes(file.getnframes())
    both = np.zeros((len(audio) // 2 + rate, 2), "<i2")  # the second comes 1 s later
    both[: len(audio) // 2, 0] = both[rate:, 1] = np.frombuffer(audio, "<i2")
    path = tmp_path / "both.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(both.tobytes())

    asked = json.dumps({"query": {"channels": 2, "multichannel": True}})
    said = run(python, "deepgram_sync.py", asked, path=path)
    expected = run(sys.executable, "native.py", path=path)
    for channel in (0, 1):
        mine = [each for each in said if each.get("channel_index") == [channel, 2]]
        assert spoken(expected, channel) == transcripts(mine)


def test_silence_is_told_where_it_is_asked_for(run, python, tmp_path, recording):
    with wave.open(str(recording)) as file:
        audio, rate = file.readframes(file.getnframes()), file.getframerate()
    longer = tmp_path / "longer.wav"
    with wave.open(str(longer), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(audio + bytes(4 * rate))
    query = {"interim_results": True, "utterance_end_ms": "1000"}
    said = run(python, "deepgram_sync.py", json.dumps({"query": query}), path=longer)

    ends = [each for each in said if each.get("type") == "UtteranceEnd"]
    words = [each["channel"]["alternatives"][0]["words"] for each in results(said)]
    gaps = [b[0]["start"] - a[-1]["end"] for a, b in pairwise(words)]
    assert max(gaps) < 1  # between them nothing is told
    assert [words[-1][-1]["end"]] == [each["last_word_end"] for each in ends]


def test_a_client_is_refused_as_deepgram_refuses(run, python):
    query = json.dumps({"query": {"redact": "pci"}})
    (refused,) = run(python, "deepgram_sync.py", query)

    assert 400 == refused["status"]
    assert "Bad Request" == refused["body"]["err_code"]
    assert refused["body"]["request_id"] == refused["headers"]["dg-request-id"]
    assert "redact is not supported here" in refused["headers"]["dg-error"]

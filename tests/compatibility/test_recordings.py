"""Recordings sent whole by OpenAI's and Deepgram's own packages."""

from __future__ import annotations

import hashlib

import pytest

from streaming.numeric.wer import edits
from tests.compatibility import test_deepgram, test_openai_realtime
from tests.compatibility.environments import node_modules, python_of


@pytest.fixture(scope="module")
def openai(run):
    python = python_of("openai-realtime", test_openai_realtime.PYTHON)
    return told(run(python, "openai_rest.py"))


@pytest.fixture(scope="module")
def openai_npm(run):
    folder = node_modules("openai-realtime", *test_openai_realtime.NPM)
    return told(run("node", "openai_rest.mjs", str(folder)))


@pytest.fixture(scope="module")
def deepgram(run):
    python = python_of("deepgram", test_deepgram.PYTHON)
    return told(run(python, "deepgram_prerecorded.py"))


def told(said):
    return {each["call"]: each["value"] for each in said}


@pytest.fixture(scope="module")
def text(native):
    return " ".join(native)


def test_the_words_that_were_spoken_arrive(openai, meant):
    spoken = " ".join(meant).split()
    assert len(spoken) / 10 >= edits(spoken, openai["json"].split())


def test_the_text_is_that_of_a_stream(openai, text):
    assert text == openai["json"]
    assert f"{text}\n" == openai["text"]
    assert text == openai["verbose_json"]["text"]


def test_times_are_told(openai, native):
    said = openai["verbose_json"]
    assert native == [segment["text"] for segment in said["segments"]]
    assert " ".join(native).split() == [word["word"] for word in said["words"]]
    starts = [word["start"] for word in said["words"]]
    assert sorted(starts) == starts
    assert 16.9 == pytest.approx(said["duration"], abs=0.1)


def test_subtitles_are_made(openai, native):
    assert openai["srt"].startswith("1\n00:00:00,")
    assert openai["vtt"].startswith("WEBVTT\n\n00:00:00.")
    lines = openai["srt"].splitlines()
    assert native[0] in " ".join(lines[2:4])


def test_events_add_up_to_the_text(openai, text, native):
    *deltas, done = openai["stream"]
    assert len(native) == len(deltas)
    assert text == "".join(event["delta"] for event in deltas)
    assert ("transcript.text.done", text) == (done["type"], done["text"])
    assert 17 == done["usage"]["seconds"]


def test_models_are_listed(openai):
    assert [openai["model"]] == openai["models"]
    assert "model" == openai["missing"]["param"]


def test_a_model_of_somebody_else_is_refused(openai):
    assert "model_not_found" == openai["refused"]["code"]
    assert openai["model"] in openai["refused"]["message"]


def test_the_npm_package_hears_the_same(openai_npm, openai, text):
    assert text == openai_npm["json"]
    assert openai["srt"] == openai_npm["srt"]
    assert text == "".join(event["delta"] for event in openai_npm["stream"][:-1])
    assert text == openai_npm["stream"][-1]["text"]
    assert openai["models"] == openai_npm["models"]


@pytest.mark.parametrize("way", ["whole", "chunked"])
def test_deepgrams_answer_holds_the_text(deepgram, way, text, native, recording):
    said = deepgram[way]
    [channel] = said["results"]["channels"]
    assert text == channel["alternatives"][0]["transcript"]
    assert native == [each["transcript"] for each in said["results"]["utterances"]]
    expected = hashlib.sha256(recording.read_bytes()).hexdigest()
    assert expected == said["metadata"]["sha256"]


def test_an_address_is_not_opened(deepgram):
    refused = deepgram["url"]
    assert 400 == refused["status"]
    assert "REMOTE_CONTENT_ERROR" == refused["body"]["err_code"]
    assert "upload only" in refused["body"]["err_msg"]

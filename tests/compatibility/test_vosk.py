"""Vosk's clients against a live server: as alphacep's samples send it."""

from __future__ import annotations

import json

import pytest

from streaming.numeric.wer import edits
from tests.compatibility.environments import python_of

PACKAGES = ("websockets==17.4", "websocket-client==1.9.2")


@pytest.fixture(scope="module")
def python():
    return python_of("vosk", *PACKAGES)


def texts(said):
    """What was final, in order; the last may hold several utterances."""
    return " ".join(each["text"] for each in said if each.get("text"))


@pytest.fixture(scope="module")
def said(run, python):
    return run(python, "vosk_websockets.py")


def test_the_words_that_were_spoken_arrive(said, meant):
    spoken = " ".join(meant).split()
    assert len(spoken) / 10 >= edits(spoken, texts(said).split())


def test_the_finals_are_those_of_the_native_protocol(said, native):
    assert " ".join(native) == texts(said)


def test_each_message_has_one_answer_that_jigasi_can_read(said):
    *answers, closed = said
    assert {"closed": 1000} == closed
    assert all(("partial" in each) != ("text" in each) for each in answers)
    assert any(each.get("partial") for each in answers)


def test_times_count_from_the_begin_of_the_stream(said):
    words = [word for each in said for word in each.get("result", ())]
    starts = [word["start"] for word in words]
    assert sorted(starts) == starts
    assert 0.8 == pytest.approx(starts[0], abs=0.2)
    assert 14.9 < starts[-1] < 16.1
    assert all(0 <= word["conf"] <= 1 for word in words)


def test_websocket_client_is_served_too(run, python, native):
    assert " ".join(native) == texts(run(python, "vosk_websocket_client.py"))


@pytest.mark.parametrize("size", [320, 64_000, 2_000_000])
def test_a_file_pushed_as_it_is_needs_no_config(run, python, native, size):
    options = {"config": None, "raw": True, "size": size}
    said = run(python, "vosk_websockets.py", json.dumps(options))
    assert " ".join(native) == texts(said)


def test_a_reset_makes_final_what_was_said_and_goes_on(run, python, native):
    said = run(python, "vosk_websockets.py", '{"reset":20}')  # 4 s: in the first pause
    assert native[0].startswith(texts(said[:21]))
    assert "text" in said[20]
    assert " ".join(native) == texts(said)


@pytest.mark.parametrize("words", [True, False])
def test_alternatives_come_in_their_own_shape(run, python, native, words):
    config = {"sample_rate": 16000.0, "max_alternatives": 2, "words": words}
    said = run(python, "vosk_websockets.py", json.dumps({"config": config}))
    finals = [each["alternatives"][0] for each in said if "alternatives" in each]

    finals = [final for final in finals if final["text"]]  # at eof there may be none

    assert " ".join(native) == " ".join(final["text"] for final in finals)
    assert {words} == {"result" in final for final in finals}


def test_what_is_not_honoured_is_in_the_servers_log(run, python, live):
    config = {"sample_rate": 16_000, "phrase_list": ["zero", "[unk]"]}
    run(python, "vosk_websockets.py", json.dumps({"config": config}))
    assert any("phrase_list is not honoured" in line for line in live.log)

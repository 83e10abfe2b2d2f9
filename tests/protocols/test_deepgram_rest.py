"""Deepgram's prerecorded answers, and what their requests may ask."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding
from streaming.errors import (
    BadRequest,
    Draining,
    TooBig,
    Unauthorized,
    UnsupportedAudio,
)
from streaming.protocols.deepgram_rest import PRERECORDED, refusal
from streaming.protocols.opening import Opening
from streaming.protocols.rest import Spoken
from tests.protocols.test_openai_rest import AGAIN, HELLO, NOTHING, OFFER, SPOKEN


def order(query="", **headers):
    opening = Opening("/v1/listen", query, headers, id="an-id", at=1_700_000_000.25)
    return PRERECORDED.open(opening, OFFER, ())


def answer(query="", spoken=SPOKEN):
    return json.loads(order(query).page(spoken).text)


def test_the_answer_has_metadata_and_a_channel():
    said = answer("model=nova-3&language=en-US")
    meta, [channel] = said["metadata"], said["results"]["channels"]
    [alternative] = channel["alternatives"]

    assert ("an-id", "ff", 6.1, 1) == tuple(
        meta[name] for name in ("request_id", "sha256", "duration", "channels")
    )
    assert "2023-11-14T22:13:20.250Z" == meta["created"]
    assert "mine" == meta["model_info"][meta["models"][0]]["name"]
    assert "hello there a < b" == alternative["transcript"]
    assert 0.76 == alternative["confidence"]
    expected = {"word": "hello", "start": 0.6, "end": 1.0, "confidence": 0.8}
    assert {**expected, "punctuated_word": "hello"} == alternative["words"][0]
    assert "utterances" not in said["results"]


def test_utterances_are_parted_where_it_is_asked():
    def told(query):
        utterances = answer(query)["results"]["utterances"]
        return [each["transcript"] for each in utterances]

    assert ["hello there", "a < b"] == told("utterances=true")
    assert ["hello there a < b"] == told("utterances=true&utt_split=2")
    assert ["hello", "there", "a <", "b"] == told("utterances=true&utt_split=0.05")


def test_channels_are_told_apart():
    other = replace(AGAIN, channel=1, start=0.2)
    other = replace(other, words=tuple(replace(w, start=0.1) for w in other.words))
    spoken = Spoken((other, HELLO, NOTHING), 6.1, 2, "ff", "mine", "en")
    results = answer("multichannel=true&utterances=true", spoken)["results"]

    assert ["hello there", "a < b"] == [
        channel["alternatives"][0]["transcript"] for channel in results["channels"]
    ]
    assert [1, 0] == [each["channel"] for each in results["utterances"]]
    assert not order("multichannel=true").mixed
    assert order().mixed


def test_paragraphs_are_the_utterances_that_were_heard():
    [channel] = answer("paragraphs=true")["results"]["channels"]
    told = channel["alternatives"][0]["paragraphs"]

    assert "hello there\n\na < b" == told["transcript"]
    sentence = {"text": "hello there", "start": 0.6, "end": 1.9}
    expected = {"sentences": [sentence], "num_words": 2, "start": 0.6, "end": 1.9}
    assert expected == told["paragraphs"][0]


def test_silence_is_an_answer():
    said = answer("utterances=true", Spoken((), 1.0, 1, "ff", "mine", "en"))
    [alternative] = said["results"]["channels"][0]["alternatives"]

    assert {"transcript": "", "confidence": 0.0, "words": []} == alternative
    assert [] == said["results"]["utterances"]


def test_raw_samples_are_what_they_are_said_to_be():
    asked = order("encoding=mulaw&sample_rate=8000&channels=2")
    assert AudioFormat(Encoding.MULAW, 8_000, 2) == asked.raw
    assert order("encoding=flac").raw is None


def test_what_adds_nothing_is_warned_of():
    said = answer("smart_format=true&diarize=false&punctuate=TRUE&tag=x&unknown=1")
    warned = [each["parameter"] for each in said["metadata"]["warnings"]]
    assert ["smart_format", "punctuate"] == warned


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("callback=http://x", "callback cannot be had"),
        ("redact=pci", "redact cannot be had"),
        ("diarize=true", "diarize cannot be had"),
        ("language=de", "language must be en"),
        ("encoding=amr-nb&sample_rate=8000", "encoding must be one of"),
        ("encoding=linear16", "sample_rate must be sent"),
        ("encoding=linear16&sample_rate=1", "sample_rate must be 8000 to 48000"),
        ("encoding=linear16&sample_rate=8e3", "whole numbers"),
        ("encoding=linear16&sample_rate=8000&channels=3", "channels must be 1 to 2"),
        ("multichannel=maybe", "multichannel must be true or false"),
        ("utt_split=-1", "utt_split must be seconds"),
        ("&".join(["a=1"] * 501), "the query cannot be read"),
    ],
)
def test_what_cannot_be_had_is_named(query, message):
    with pytest.raises(BadRequest, match=message):
        order(query)


def test_addresses_and_forms_are_refused():
    with pytest.raises(BadRequest, match="upload only") as caught:
        order(**{"content-type": "application/json; charset=utf-8"})
    with pytest.raises(BadRequest, match="content-type must"):
        order(**{"content-type": "multipart/form-data; boundary=x"})

    assert "REMOTE_CONTENT_ERROR" == refusal(caught.value).code


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BadRequest("x"), 400, "Bad Request"),
        (UnsupportedAudio("x"), 400, "Bad Request"),
        (TooBig("x"), 413, "PAYLOAD_TOO_LARGE"),
        (Unauthorized("x"), 401, "INVALID_AUTH"),
        (Draining("x"), 503, "SERVICE_UNAVAILABLE"),
        (ZeroDivisionError("secret"), 500, "INTERNAL_SERVER_ERROR"),
    ],
)
def test_errors_have_their_codes(error, status, code):
    said = refusal(error, "an-id")
    told = json.loads(said.body)

    assert (status, code, "an-id") == (
        said.status,
        told["err_code"],
        told["request_id"],
    )
    assert "secret" not in said.body


@given(st.text(max_size=60) | st.from_regex(r"(encoding|utt_split|language)=.{0,9}"))
def test_arbitrary_queries_give_an_answer_or_a_typed_error(query):
    with suppress(BadRequest):
        assert order(query).page(SPOKEN).text

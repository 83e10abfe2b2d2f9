"""OpenAI's transcriptions: what is asked for, and the formats of the answer."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import StreamConfig
from streaming.errors import (
    BadRequest,
    Draining,
    IdleTimeout,
    ModelError,
    ProtocolError,
    TooBig,
    Unauthorized,
    UnsupportedAudio,
)
from streaming.events import Final, Pass, Word
from streaming.protocols.adapter import Offer, Refusal
from streaming.protocols.openai_rest import (
    TRANSCRIPTIONS,
    model_page,
    models_page,
    refusal,
)
from streaming.protocols.opening import Opening
from streaming.protocols.rest import Spoken

OFFER = Offer(StreamConfig(), ("en",), lambda: 20, model="mine", space=" ")
HELLO = Final(
    channel=0,
    utterance=0,
    text="hello there",
    start=0.5,
    end=2.0,
    confidence=0.9,
    made_by=Pass.FULL,
    words=(Word("hello", 0.6, 1.0, 0.8), Word("there", 1.1, 1.9, 1.0)),
)
AGAIN = Final(
    channel=0,
    utterance=1,
    text="a < b",
    start=3.0,
    end=4.0,
    confidence=0.5,
    made_by=Pass.STITCHED,
    words=(Word("a", 3.1, 3.2, 0.5), Word("<", 3.2, 3.4, 0.5), Word("b", 3.5, 3.9, 1)),
)
NOTHING = Final(0, 2, "", 5.0, 6.0, 1.0, Pass.FULL)
SPOKEN = Spoken((HELLO, AGAIN, NOTHING), 6.1, 1, "ff", "mine", "en")


def order(*fields, model="whisper-1"):
    given = (("model", model), *fields) if model else fields
    return TRANSCRIPTIONS.open(Opening(), OFFER, given)


def page(*fields):
    return order(*fields).page(SPOKEN)


def test_json_is_the_default():
    said = page()

    assert "application/json" == said.kind
    expected = {
        "text": "hello there a < b",
        "usage": {"type": "duration", "seconds": 7},
    }
    assert expected == json.loads(said.text)
    assert said == page(("response_format", "json"), ("language", ""))


def test_text_is_a_line():
    said = page(("response_format", "text"))
    assert ("text/plain; charset=utf-8", "hello there a < b\n") == (
        said.kind,
        said.text,
    )


def test_subtitles_are_those_of_the_command():
    assert page(("response_format", "srt")).text.startswith(
        "1\n00:00:00,600 --> 00:00:01,900\nhello there\n\n2\n"
    )
    assert "a &lt; b" in page(("response_format", "vtt")).text


def test_verbose_json_has_segments_unless_words_are_asked_for():
    verbose = ("response_format", "verbose_json")
    word, segment = (
        ("timestamp_granularities[]", kind) for kind in ("word", "segment")
    )
    plain = json.loads(page(verbose).text)
    words = json.loads(page(verbose, word).text)
    both = json.loads(page(verbose, word, segment).text)

    assert ("transcribe", "en", 6.1) == (
        plain["task"],
        plain["language"],
        plain["duration"],
    )
    assert [(0, 0.5, 2.0, "hello there"), (1, 3.0, 4.0, "a < b")] == [
        (s["id"], s["start"], s["end"], s["text"]) for s in plain["segments"]
    ]
    assert -0.1054 == plain["segments"][0]["avg_logprob"]
    assert "words" not in plain
    assert "segments" not in words
    assert {"word": "hello", "start": 0.6, "end": 1.0} == words["words"][0]
    assert {"words", "segments"} <= set(both)


def test_events_add_up_to_the_text():
    telling = order(("stream", "true")).telling
    said = [telling.final(final) for final in SPOKEN.finals] + [telling.end(SPOKEN)]
    events = [json.loads(each.removeprefix("data: ")) for each in said if each]

    assert ["hello there", " a < b"] == [e["delta"] for e in events[:-1]]
    assert "transcript.text.done" == events[-1]["type"]
    assert events[-1]["text"] == "".join(e["delta"] for e in events[:-1])
    assert all(each.endswith("\n\n") for each in said if each)


def test_an_error_midway_is_an_event():
    said = order(("stream", "1")).telling.broken(TooBig("9 bytes"))
    event = json.loads(said.removeprefix("data: "))

    assert ("error", "9 bytes") == (event["type"], event["error"]["message"])


def test_partials_are_not_asked_of_the_engine():
    config = order(("language", "en-GB")).config
    assert (False, "en") == (config.partials, config.language)


def test_what_changes_nothing_is_named():
    hints = ("prompt", "OpenAI, DALL E"), ("temperature", "0.2"), ("user", "me")
    assert {"X-Wavestitch-Ignored": "prompt, temperature, user"} == order(
        *hints
    ).headers
    assert {} == order(("prompt", "")).headers


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-mini-transcribe", "mine"])
def test_the_clouds_models_stand_for_the_one_that_is_served(model):
    assert order(model=model)


@pytest.mark.parametrize(
    ("fields", "param", "status"),
    [
        ([("model", "large-v3")], "model", 404),
        ([], "model", 404),
        ([("response_format", "diarized_json")], "response_format", 400),
        ([("response_format", "srt"), ("stream", "true")], "response_format", 400),
        ([("stream", "maybe")], "stream", 400),
        ([("stream", "true"), ("stream", "true")], "stream", 400),
        ([("language", "de")], "language", 400),
        ([("temperature", "2")], "temperature", 400),
        ([("temperature", "nan")], "temperature", 400),
        ([("include[]", "logprobs")], "include", 400),
        ([("timestamp_granularities[]", "word")], "timestamp_granularities", 400),
        ([("chunking_strategy", '{"type":"x"}')], "chunking_strategy", 400),
        ([("known_speaker_names[]", "me")], "known_speaker_names", 400),
    ],
)
def test_a_field_that_cannot_be_had_is_named(fields, param, status):
    model = None if param == "model" else "whisper-1"
    with pytest.raises(BadRequest) as caught:
        order(*fields, model=model)
    said = refusal(caught.value)
    error = json.loads(said.body)["error"]

    assert (status, param) == (said.status, error["param"])
    assert "invalid_request_error" == error["type"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ProtocolError("x"), 400, "bad_body"),
        (UnsupportedAudio("x"), 400, "unsupported_audio"),
        (TooBig("x"), 413, "too_big"),
        (IdleTimeout("x"), 408, "timeout"),
        (Unauthorized("x"), 401, "invalid_api_key"),
        (Draining("x"), 503, "overloaded"),
        (ModelError("secret"), 500, "model_error"),
        (ZeroDivisionError("secret"), 500, "internal"),
    ],
)
def test_errors_have_their_codes(error, status, code):
    said = refusal(error)

    assert (status, code) == (said.status, json.loads(said.body)["error"]["code"])
    assert "secret" not in said.body


def test_models():
    listed = json.loads(models_page("mine", 5).text)
    one = model_page("mine", "mine", 5)
    none = model_page("other", "mine", 5)

    assert [
        {"id": "mine", "object": "model", "created": 5, "owned_by": "wavestitch"}
    ] == (listed["data"])
    assert listed["data"][0] == json.loads(one.text)
    assert isinstance(none, Refusal)
    assert (404, "model") == (none.status, json.loads(none.body)["error"]["param"])


names = st.sampled_from(
    "model language response_format stream temperature prompt "
    "timestamp_granularities[] chunking_strategy x".split()
)
values = st.text(max_size=8) | st.sampled_from(["json", "srt", "true", "word", "en"])


@given(st.lists(st.tuples(names, values), max_size=6))
def test_arbitrary_fields_give_an_answer_or_a_typed_error(fields):
    with suppress(BadRequest):
        made = order(*fields, ("model", "mine"), model=None)
        json.dumps(dict(made.headers))
        assert made.page(SPOKEN).text

"""mod_audio_fork, mod_audio_stream and jambonz, as their documentation has it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import BadRequest, WavestitchError
from streaming.events import Ack, Audio, Final, Load, Pass, SpeechStarted
from streaming.protocols.adapter import Note, Offer, Opening, Start
from streaming.protocols.freeswitch import AUDIO_FORK, AUDIO_STREAM, JAMBONZ

OFFER = Offer(StreamConfig(), ("en",), lambda: 180)
CALL = json.dumps(
    {
        "callSid": "7d6f",
        "accountSid": "fef6",
        "direction": "inbound",
        "from": "+15083084809",
        "to": "+15083728299",
        "callStatus": "in-progress",
        "sampleRate": 16000,
        "mixType": "stereo",
        "metadata": {"agent": 7},
    }
)
FINAL = Final(0, 0, "yes", 0.5, 1.0, 0.9, Pass.FULL)
FINAL_FIELDS = {
    "type": "final",
    "seq": 1,
    "channel": 0,
    "utterance": 0,
    "text": "yes",
    "start": 0.5,
    "end": 1.0,
    "confidence": 0.9,
    "pass": "full",
    "words": [],
}


def opened(dialect, query=""):
    return dialect.open(Opening(query=query), OFFER)


def said(adapter, *events):
    return [json.loads(m) for event in events for m in adapter.send(event)]


@pytest.mark.parametrize("dialect", [AUDIO_FORK, AUDIO_STREAM])
def test_a_module_of_freeswitch_tells_its_format_in_the_url(dialect):
    plain = opened(dialect)
    stereo = opened(dialect, "sample_rate=16000&channels=2&hangover_ms=700")

    assert AudioFormat(Encoding.PCM_S16LE, 8_000) == plain.config.audio
    assert AudioFormat(Encoding.PCM_S16LE, 16_000, 2) == stereo.config.audio
    assert 700 == stereo.config.gate.hangover_ms


@pytest.mark.parametrize("dialect", [AUDIO_FORK, AUDIO_STREAM])
def test_its_first_text_is_the_dialplans_own(dialect):
    adapter = opened(dialect)

    assert (Note("metadata 'any \\u20ac {'", routine=True),) == adapter.receive(
        "any € {"
    )
    assert (Audio(b"ab"),) == adapter.receive(b"ab")
    assert () == adapter.receive("bye")


def test_audio_fork_takes_transcriptions_back():
    events = said(opened(AUDIO_FORK), SpeechStarted(0, 0, 0.5), Ack(1), FINAL)

    assert ["transcription"] * 2 == [e["type"] for e in events]
    assert FINAL_FIELDS == events[1]["data"]


def test_audio_stream_takes_any_json_back():
    events = said(opened(AUDIO_STREAM), SpeechStarted(0, 0, 0.5), Load("x"), FINAL)

    assert FINAL_FIELDS == events[1]


def test_jambonz_tells_its_format_in_its_first_message():
    adapter = opened(JAMBONZ)

    heard = adapter.receive(CALL)

    audio = AudioFormat(Encoding.PCM_S16LE, 16_000, 2)
    assert (Start(StreamConfig(audio=audio), "call '7d6f'"),) == heard
    assert (Audio(b"ab"),) == adapter.receive(b"ab")
    assert () == adapter.receive('{"event":"dtmf","dtmf":"2"}')


def test_jambonz_is_told_nothing_unless_it_asks():
    assert [] == said(opened(JAMBONZ), SpeechStarted(0, 0, 0.5), FINAL)
    asking = opened(JAMBONZ, "replies=json")
    assert FINAL_FIELDS == said(asking, SpeechStarted(0, 0, 0.5), FINAL)[1]


def test_nobody_is_told_of_errors_in_words():
    for dialect in (AUDIO_FORK, AUDIO_STREAM, JAMBONZ):
        assert dialect.refusal(BadRequest("no"), "").message is None


@pytest.mark.parametrize(
    ("dialect", "offered", "agreed"),
    [
        (AUDIO_FORK, ("audio.drachtio.org",), "audio.drachtio.org"),
        (AUDIO_FORK, ("mine",), "mine"),
        (JAMBONZ, ("audio.jambonz.org",), "audio.jambonz.org"),
        (AUDIO_STREAM, (), None),
    ],
)
def test_the_subprotocol_that_is_offered_is_agreed_on(dialect, offered, agreed):
    assert agreed == dialect.subprotocol(offered)


@pytest.mark.parametrize(
    ("dialect", "query"),
    [
        (AUDIO_FORK, "replies=xml"),
        (AUDIO_FORK, "rate=8000"),
        (AUDIO_STREAM, "session=a&token=b&after=1"),
        (JAMBONZ, "sample_rate=8000"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(dialect, query):
    with pytest.raises(BadRequest):
        opened(dialect, query)


@pytest.mark.parametrize(
    "message", [b"ab", "x", '{"sampleRate":1}', '{"sampleRate":""}']
)
def test_jambonz_that_begins_otherwise_is_refused(message):
    with pytest.raises(WavestitchError):
        opened(JAMBONZ).receive(message)


@given(
    st.sampled_from([AUDIO_FORK, AUDIO_STREAM, JAMBONZ]),
    st.lists(
        st.binary()
        | st.text()
        | st.dictionaries(
            st.sampled_from(["sampleRate", "mixType", "callSid"]),
            st.none() | st.integers() | st.text() | st.floats(),
        ).map(json.dumps),
        max_size=8,
    ),
)
def test_whatever_is_sent_gives_events_or_a_typed_error(dialect, messages):
    adapter = opened(dialect)
    for message in messages:
        try:
            events = adapter.receive(message)
        except WavestitchError:
            continue
        assert all(isinstance(e, Note | Start | Audio) for e in events)

"""A media channel as Asterisk 23's chan_websocket opens it: its messages, replayed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import BadRequest, WavestitchError
from streaming.events import Audio, Final, Pass
from streaming.protocols.adapter import Offer, Opening, Start
from streaming.protocols.asterisk import ASTERISK, FORMATS

OFFER = Offer(StreamConfig(), ("en",), lambda: 180)
PLAIN = (
    "MEDIA_START connection_id:asr channel:WebSocket/asr/0x7f channel_id:1763 "
    "format:ulaw optimal_frame_size:160 ptime:20"
)
AS_JSON = json.dumps(
    {
        "event": "MEDIA_START",
        "connection_id": "asr",
        "channel": "WebSocket/asr/0x7f",
        "channel_id": "1763",
        "format": "slin16",
        "optimal_frame_size": 640,
        "ptime": 20,
        "channel_variables": {},
    }
)


def opened(query=""):
    return ASTERISK.open(Opening(query=query), OFFER)


@pytest.mark.parametrize(
    ("message", "audio"),
    [
        (PLAIN, AudioFormat(Encoding.MULAW, 8_000)),
        (AS_JSON, AudioFormat(Encoding.PCM_S16LE, 16_000)),
    ],
)
def test_the_first_message_tells_the_format(message, audio):
    adapter = opened()

    heard = adapter.receive(message)

    label = "channel 'WebSocket/asr/0x7f'"
    assert (Start(StreamConfig(audio=audio), label),) == heard
    assert (Audio(b"ab"),) == adapter.receive(b"ab")


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_can_be_heard(name):
    adapter = opened()
    adapter.receive(f"MEDIA_START format:{name}")

    assert FORMATS[name][1] == adapter.config.audio.sample_rate


@pytest.mark.parametrize("event", ["DTMF_END digit:1", "MEDIA_XOFF", '{"event":"X"}'])
def test_other_news_of_the_channel_is_passed_over(event):
    adapter = opened()
    adapter.receive(PLAIN)

    assert () == adapter.receive(event)


@pytest.mark.parametrize(
    ("message", "match"),
    [
        (b"ab", "audio came before MEDIA_START"),
        ("DTMF_END digit:1", "MEDIA_START must come first, got 'DTMF_END'"),
        ("", "MEDIA_START must come first"),
        ("MEDIA_START format:opus", "format must be one of ulaw, .* got 'opus'"),
        ('{"event":"MEDIA_START"}', "format must be one of"),
        ("{", "must be a JSON object"),
    ],
)
def test_a_channel_that_begins_otherwise_is_refused(message, match):
    with pytest.raises(WavestitchError, match=match):
        opened().receive(message)


def test_options_of_the_native_protocol_stand_in_the_uri():
    adapter = opened("hangover_ms=800")
    adapter.receive(PLAIN)

    assert 800 == adapter.config.gate.hangover_ms
    with pytest.raises(BadRequest, match="encoding is no parameter here"):
        opened("encoding=mulaw")


def test_nothing_is_ever_said_on_a_media_channel():
    adapter = opened()
    adapter.receive(PLAIN)

    assert () == adapter.opened()
    assert () == adapter.send(Final(0, 0, "a", 0.0, 1.0, 1.0, Pass.FULL))
    assert ASTERISK.refusal(BadRequest("no"), "").message is None
    assert "media" == ASTERISK.subprotocol(("media",))


@given(
    st.lists(
        st.binary()
        | st.text()
        | st.text().map(lambda rest: "MEDIA_START " + rest)
        | st.dictionaries(st.text(), st.text() | st.integers()).map(json.dumps),
        max_size=8,
    )
)
def test_whatever_is_sent_gives_events_or_a_typed_error(messages):
    adapter = opened()
    for message in messages:
        try:
            events = adapter.receive(message)
        except WavestitchError:
            continue
        assert all(isinstance(e, Start | Audio) for e in events)

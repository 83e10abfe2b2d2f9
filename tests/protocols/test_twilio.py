"""Media streams as Twilio, Telnyx and Plivo document them: written from their pages.

No client of theirs runs here; the scripts below are their documented messages.
"""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import BadRequest, WavestitchError
from streaming.events import Audio, Final, Finish, Pass
from streaming.protocols.adapter import Offer, Opening, Start
from streaming.protocols.twilio import PLIVO, TELNYX, TWILIO

OFFER = Offer(StreamConfig(), ("en",), lambda: 180)
DIALECTS = {"twilio": TWILIO, "telnyx": TELNYX, "plivo": PLIVO}
FRAME = b"\x01" * 160
PAYLOAD = base64.b64encode(FRAME).decode()

TWILIO_CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
TWILIO_START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "streamSid": "MZ18ad3ab5a668481ce02b83e7395059f0",
        "accountSid": "AC123",
        "callSid": "CA123",
        "tracks": ["inbound"],
        "mediaFormat": {
            "encoding": "audio/x-mulaw",
            "sampleRate": 8000,
            "channels": 1,
        },
        "customParameters": {"FirstName": "Jane"},
    },
    "streamSid": "MZ18ad3ab5a668481ce02b83e7395059f0",
}
TWILIO_STOP = {
    "event": "stop",
    "sequenceNumber": "5",
    "streamSid": "MZ18ad3ab5a668481ce02b83e7395059f0",
    "stop": {"accountSid": "AC123", "callSid": "CA123"},
}
TELNYX_START = {
    "event": "start",
    "sequence_number": "1",
    "start": {
        "user_id": "3e6f995f-85f7-4705-9741-53b116d28237",
        "call_control_id": "v3:abc",
        "client_state": "aGF2ZSBhIG5pY2UgZGF5ID1d",
        "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
    },
    "stream_id": "32de0dea",
}
PLIVO_START = {
    "sequenceNumber": 0,
    "event": "start",
    "start": {
        "callId": "b7e9",
        "streamId": "20170a",
        "accountId": "MA",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16000},
    },
    "extra_headers": "{}",
}


def opened(name="twilio", query=""):
    return DIALECTS[name].open(Opening(query=query), OFFER)


def twilio_media(at, track="inbound", payload=PAYLOAD, chunk="2"):
    return {
        "event": "media",
        "sequenceNumber": "4",
        "media": {
            "track": track,
            "chunk": chunk,
            "timestamp": str(at),
            "payload": payload,
        },
        "streamSid": "MZ18ad3ab5a668481ce02b83e7395059f0",
    }


def telnyx_media(chunk, data=FRAME, track="inbound"):
    return {
        "event": "media",
        "sequence_number": str(chunk + 1),
        "media": {
            "track": track,
            "chunk": str(chunk),
            "timestamp": str(20 * chunk),
            "payload": base64.b64encode(data).decode(),
        },
        "stream_id": "32de0dea",
    }


def both_tracks():
    start = TWILIO_START["start"] | {"tracks": ["outbound", "inbound"]}
    return TWILIO_START | {"start": start}


def heard(adapter, *messages):
    return [e for message in messages for e in adapter.receive(json.dumps(message))]


def test_a_documented_call_is_heard_from_start_to_stop():
    adapter = opened()

    events = heard(
        adapter,
        TWILIO_CONNECTED,
        TWILIO_START,
        twilio_media(5),
        {"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": "1"}},
        twilio_media(25),
        {"event": "mark", "mark": {"name": "my label"}},
        TWILIO_STOP,
    )

    mulaw = AudioFormat(Encoding.MULAW, 8_000)
    assert [
        Start(StreamConfig(audio=mulaw), "call 'CA123': inbound"),
        Audio(FRAME),
        Audio(FRAME),
        Finish(),
    ] == events


def test_both_tracks_are_two_channels_the_caller_first():
    adapter = opened()
    caller, callee = b"\x01" * 160, b"\x02" * 160

    events = heard(
        adapter,
        both_tracks(),
        twilio_media(5, "outbound", base64.b64encode(callee).decode()),
        twilio_media(5, "inbound", base64.b64encode(caller).decode()),
        twilio_media(25, "inbound", base64.b64encode(caller).decode()),
        TWILIO_STOP,
    )

    assert 2 == adapter.config.audio.channels
    assert [
        Audio(b"\x01\x02" * 160),
        Audio(b"\x01\xff" * 160, concealed=(0, 160)),
        Finish(),
    ] == events[1:]


def test_a_gap_in_a_track_is_filled_and_counted():
    adapter = opened()

    events = heard(adapter, TWILIO_START, twilio_media(5), twilio_media(45))

    assert Audio(b"\xff" * 160 + FRAME, concealed=(160,)) == events[-1]


def test_telnyx_is_put_in_order_by_chunk():
    adapter = opened("telnyx")
    frames = [bytes([n]) * 160 for n in range(4)]
    order = [1, 3, 2, 4]

    events = heard(
        adapter,
        {"event": "connected", "version": "1.0.0"},
        TELNYX_START,
        *(telnyx_media(chunk, frames[chunk - 1]) for chunk in order),
    )

    assert b"".join(frames) == b"".join(e.data for e in events[1:])
    assert AudioFormat(Encoding.MULAW, 8_000) == adapter.config.audio


def test_telnyx_tells_its_tracks_in_the_url():
    adapter = opened("telnyx", "tracks=both_tracks")

    heard(adapter, TELNYX_START, telnyx_media(1, track="outbound"))

    assert 2 == adapter.config.audio.channels
    with pytest.raises(WavestitchError, match="track must be inbound, as start"):
        heard(opened("telnyx"), TELNYX_START, telnyx_media(1, track="outbound"))


def test_plivo_may_send_linear_samples():
    adapter = opened("plivo")
    payload = base64.b64encode(b"\x01\x00" * 320).decode()
    media = {
        "sequenceNumber": 1,
        "event": "media",
        "media": {
            "track": "inbound",
            "timestamp": "1603000000000",
            "chunk": 1,
            "payload": payload,
        },
        "streamId": "20170a",
    }

    events = heard(adapter, PLIVO_START, media)

    assert AudioFormat(Encoding.PCM_S16LE, 16_000) == adapter.config.audio
    assert Audio(b"\x01\x00" * 320) == events[-1]


def test_options_of_the_native_protocol_stand_in_the_url():
    adapter = opened("plivo", "hangover_ms=700&language=en-US")

    heard(adapter, PLIVO_START)

    assert 700 == adapter.config.gate.hangover_ms
    assert "en" == adapter.config.language


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("twilio", "sample_rate=8000"),
        ("twilio", "session=a&token=b&after=1"),
        ("twilio", "tracks=both_tracks"),
        ("telnyx", "tracks=all"),
        ("telnyx", "tracks=both_tracks&tracks=both_tracks"),
        ("plivo", "x=1"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(name, query):
    with pytest.raises(BadRequest):
        opened(name, query)


def test_nothing_is_ever_said():
    adapter = opened()
    heard(adapter, TWILIO_START)

    assert () == adapter.opened()
    assert () == adapter.send(Final(0, 0, "a", 0.0, 1.0, 1.0, Pass.FULL))
    assert TWILIO.refusal(BadRequest("no"), "").message is None
    assert 1008 == TWILIO.refusal(BadRequest("no"), "").close


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ([twilio_media(5)], "media came before start"),
        ([TWILIO_STOP], "stop came before start"),
        ([TWILIO_START, TWILIO_START], "start came twice"),
        ([{"event": "x"}], "event must be one of"),
        ([{"event": "start"}], "start must be an object"),
        ([TWILIO_START, twilio_media("x")], "timestamp must be a whole number"),
        ([TWILIO_START, twilio_media(5, "other")], "track must be inbound, as"),
        ([TWILIO_START, twilio_media(5, payload="%")], "payload must be base64"),
        ([TWILIO_START | {"start": {}}], "mediaFormat must be an object"),
        (
            [TWILIO_START | {"start": {"mediaFormat": {"encoding": "audio/opus"}}}],
            "encoding must be one of audio/x-mulaw",
        ),
        (
            [
                TWILIO_START
                | {"start": {"mediaFormat": {"encoding": "L16", "sampleRate": 1}}}
            ],
            "sample_rate must be 8000 to 48000, got 1",
        ),
        ([TWILIO_START | {"start": {"tracks": ["x"]}}], "tracks must be inbound"),
    ],
)
def test_a_message_out_of_place_is_refused_by_name(script, match):
    with pytest.raises(WavestitchError, match=match):
        heard(opened(), *script)


def test_what_comes_after_the_stop_is_ignored():
    adapter = opened()
    heard(adapter, TWILIO_START, TWILIO_STOP)

    assert [] == heard(adapter, twilio_media(5), TWILIO_STOP, {"event": "x"})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
numbers = values | st.integers(-(10**16), 10**16).map(str)
scripts = st.fixed_dictionaries(
    {"event": values | st.sampled_from(["start", "media", "stop", "dtmf"])},
    optional={
        "start": values
        | st.fixed_dictionaries(
            {"mediaFormat": values | st.just({"encoding": "PCMU"})},
            optional={"tracks": values | st.just(["inbound", "outbound"])},
        ),
        "media": values
        | st.fixed_dictionaries(
            {"payload": values | st.just(PAYLOAD)},
            optional={
                "track": values | st.sampled_from(["inbound", "outbound"]),
                "timestamp": numbers,
                "chunk": numbers,
            },
        ),
    },
)


@given(
    st.sampled_from([*DIALECTS]),
    st.lists(st.binary() | st.text() | (values | scripts).map(json.dumps), max_size=12),
)
def test_whatever_is_sent_gives_events_or_a_typed_error(name, messages):
    adapter = opened(name)
    for message in messages:
        try:
            events = adapter.receive(message)
        except WavestitchError:
            continue
        assert all(isinstance(e, Start | Audio | Finish) for e in events)

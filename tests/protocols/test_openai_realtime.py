"""A Realtime session says what OpenAI's clients expect, in their order."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import BadRequest, Overloaded, ProtocolError, TooBig
from streaming.events import (
    Ack,
    Audio,
    Configure,
    EndReason,
    Final,
    Flush,
    Flushed,
    Notice,
    Partial,
    Pass,
    Refused,
    SpeechEnded,
    SpeechStarted,
)
from streaming.protocols.adapter import Offer, Opening, Say, Start
from streaming.protocols.openai_realtime import REALTIME, RealtimeAdapter

OFFER = Offer(StreamConfig(), ("en",), lambda: 180, "bundled")
SECOND = bytes(48_000)


def opened(query="model=whisper-1", **headers):
    return RealtimeAdapter(Opening(query=query, headers=headers, id="x"), OFFER)


def command(kind, **fields):
    return json.dumps({"type": kind, **fields})


def append(data):
    return command("input_audio_buffer.append", audio=base64.b64encode(data).decode())


def session(**given):
    return command("session.update", session={"audio": {"input": given}})


def without_ids(messages):
    told = [json.loads(message) for message in messages]
    for each in told:
        assert each.pop("event_id")
    return told


def events_of(heard):
    return [each for each in heard if not isinstance(each, Say)]


def said(heard):
    """What the dialect answers by itself."""
    written = [m for each in heard if isinstance(each, Say) for m in each.written()]
    return without_ids(written)


def told(adapter, *events):
    return without_ids([message for e in events for message in adapter.send(e)])


def error_of(heard):
    (answer,) = said(heard)
    assert "error" == answer["type"]
    return answer["error"]


def started(utterance=0, at=1.0):
    return SpeechStarted(0, utterance, at)


def ended(utterance=0, at=2.0, reason=EndReason.SILENCE):
    return SpeechEnded(0, utterance, at, reason)


def partial(text, stable, utterance=0):
    return Partial(0, utterance, text, stable, 0.9, 1.5)


def final(text, utterance=0):
    return Final(0, utterance, text, 0.9, 2.15, 0.9, Pass.FULL)


DEFAULT_INPUT = {
    "format": {"type": "audio/pcm", "rate": 24_000},
    "transcription": {"model": "bundled", "language": "en", "prompt": ""},
    "noise_reduction": None,
    "turn_detection": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
    },
}

# --- settings --------------------------------------------------------------


def test_the_server_speaks_first_and_shows_what_holds():
    (created,) = without_ids(opened().opened())

    assert "session.created" == created["type"]
    assert "transcription" == created["session"]["type"]
    assert DEFAULT_INPUT == created["session"]["audio"]["input"]


def test_an_update_is_answered_with_what_holds_now():
    adapter = opened()
    given = {
        "format": {"type": "audio/pcmu"},
        "transcription": {"model": "gpt-4o-transcribe", "language": "en-GB"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 700},
    }

    (answer,) = said(adapter.receive(session(**given)))

    assert "session.updated" == answer["type"]
    shown = answer["session"]["audio"]["input"]
    assert {"type": "audio/pcmu", "rate": 8_000} == shown["format"]
    assert 700 == shown["turn_detection"]["silence_duration_ms"]
    (begun, _) = adapter.receive(append(b"x"))
    assert AudioFormat(Encoding.MULAW, 8_000) == begun.config.audio
    assert 700 == begun.config.gate.hangover_ms
    assert "en" == begun.config.language


def test_what_an_update_leaves_out_stays_and_null_ends_turn_detection():
    adapter = opened()
    adapter.receive(session(format={"type": "audio/pcm", "rate": 16_000}))

    (answer,) = said(adapter.receive(session(turn_detection=None)))

    shown = answer["session"]["audio"]["input"]
    assert {"type": "audio/pcm", "rate": 16_000} == shown["format"]
    assert shown["turn_detection"] is None


@pytest.mark.parametrize(
    ("threshold", "mode"), [(0, 0), (0.3, 1), (0.5, 2), (0.69, 2), (1, 3)]
)
def test_the_threshold_is_how_strict_the_detector_is(threshold, mode):
    adapter = opened()
    turns = {"type": "server_vad", "threshold": threshold, "prefix_padding_ms": 100}
    adapter.receive(session(turn_detection=turns))

    begun = adapter.receive(append(b""))[0]

    assert mode == begun.config.gate.vad_mode
    assert 100 == begun.config.gate.pre_roll_ms


INPUT = "session.audio.input"


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"format": {"type": "audio/opus"}}, "invalid_value", "format.type"),
        ({"format": {"type": "audio/pcm", "rate": 8}}, "invalid_value", "format.rate"),
        ({"format": "pcm16"}, "invalid_value", "format"),
        ({"noise_reduction": {"type": "x"}}, "unsupported_value", "noise_reduction"),
        ({"transcription": None}, "invalid_value", "transcription"),
        (
            {"transcription": {"prompt": "names"}},
            "unsupported_value",
            "transcription.prompt",
        ),
        (
            {"transcription": {"language": "pl"}},
            "invalid_value",
            "transcription.language",
        ),
        ({"transcription": {"model": "ours"}}, "invalid_value", "transcription.model"),
        (
            {"turn_detection": {"type": "semantic_vad"}},
            "invalid_value",
            "turn_detection.type",
        ),
        (
            {"turn_detection": {"threshold": 2}},
            "invalid_value",
            "turn_detection.threshold",
        ),
        (
            {"turn_detection": {"silence_duration_ms": 10}},
            "invalid_value",
            "turn_detection.silence_duration_ms",
        ),
        ({"voice": "x"}, "unknown_parameter", "voice"),
    ],
)
def test_what_cannot_be_done_is_answered_with_an_error(given, code, param):
    adapter = opened()
    before = adapter.opened()[0]
    update = json.loads(session(**given)) | {"event_id": "mine"}

    error = error_of(adapter.receive(json.dumps(update)))

    assert "invalid_request_error" == error["type"]
    assert (code, f"{INPUT}.{param}") == (error["code"], error["param"])
    assert "mine" == error["event_id"]
    assert json.loads(before)["session"] == json.loads(adapter.opened()[0])["session"]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"type": "realtime"}, "session.type"),
        ({"include": ["item.input_audio_transcription.logprobs"]}, "session.include"),
        ({"tools": []}, "session.tools"),
        ({"audio": {"output": {}}}, "session.audio.output"),
        (None, "session"),
    ],
)
def test_what_no_transcription_has_is_refused_by_name(given, param):
    error = error_of(opened().receive(command("session.update", session=given)))

    assert param == error["param"]


def test_settings_of_the_audio_hold_from_the_first_of_it():
    adapter = opened()
    adapter.receive(append(SECOND))

    error = error_of(adapter.receive(session(turn_detection=None)))
    assert (
        "turns cannot change once audio has come: it is True, got False."
        == (error["message"])
    )
    turns = {"type": "server_vad", "silence_duration_ms": 900}
    heard = adapter.receive(session(turn_detection=turns))
    assert [Configure(hangover_ms=900)] == events_of(heard)
    assert "session.updated" == said(heard)[0]["type"]


@pytest.mark.parametrize("query", ["intent=x", "voice=a", "model=ours"])
def test_an_opening_that_asks_for_something_else_is_refused(query):
    with pytest.raises(BadRequest) as caught:
        opened(query)

    refusal = REALTIME.refusal(caught.value, "x")
    assert 400 == refusal.status
    assert "invalid_request_error" == json.loads(refusal.body)["error"]["type"]


# --- audio and turns -------------------------------------------------------


def test_the_first_audio_starts_the_stream():
    adapter = opened("intent=transcription")

    begun, audio = adapter.receive(append(b"ab"))

    assert Start(adapter.config) == begun
    assert AudioFormat(sample_rate=24_000) == begun.config.audio
    assert Audio(b"ab") == audio
    assert (Audio(b"cd"),) == adapter.receive(append(b"cd"))


def test_a_turn_that_the_server_finds_is_told_from_start_to_end():
    adapter = opened()
    adapter.receive(append(SECOND))

    messages = told(
        adapter,
        started(at=1.0),
        partial("turn on the li", 11),
        Ack(48_000),
        partial("turn on the light", 11),
        partial("turn on the light up", 17),
        ended(at=2.0),
        final("turn on the light now"),
    )

    ids = {m.pop("item_id") for m in messages if "item_id" in m}
    assert {"item_x_1"} == ids
    item = {
        "id": "item_x_1",
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": None}],
    }
    transcription = "conversation.item.input_audio_transcription"
    assert [
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 700},
        {"type": f"{transcription}.delta", "content_index": 0, "delta": "turn on the"},
        {"type": f"{transcription}.delta", "content_index": 0, "delta": " light"},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 2_000},
        {"type": "input_audio_buffer.committed", "previous_item_id": None},
        {"type": "conversation.item.added", "previous_item_id": None, "item": item},
        {"type": "conversation.item.done", "previous_item_id": None, "item": item},
        {"type": f"{transcription}.delta", "content_index": 0, "delta": " now"},
        {
            "type": f"{transcription}.completed",
            "content_index": 0,
            "transcript": "turn on the light now",
            "usage": {"type": "duration", "seconds": 1.25},
        },
    ] == messages


def test_what_was_told_is_never_taken_back_and_completed_has_the_last_word():
    adapter = opened()

    messages = told(
        adapter, started(), partial("turn of", 7), ended(), final("turn off the")
    )
    corrected = told(
        adapter, started(1), partial("light", 5, 1), ended(1), final("right", 1)
    )

    assert ["turn of", "f the"] == [m["delta"] for m in messages if "delta" in m]
    assert ["light"] == [m["delta"] for m in corrected if "delta" in m]
    assert "right" == corrected[-1]["transcript"]


def test_items_are_joined_by_id_when_the_next_turn_begins_early():
    adapter = opened()

    messages = told(
        adapter,
        started(0),
        ended(0),
        started(1),
        final("a", 0),
        ended(1),
        final("b", 1),
    )

    completed = [m for m in messages if "transcript" in m]
    assert ["item_x_1", "item_x_2"] == [m["item_id"] for m in completed]
    committed = [m for m in messages if m["type"].endswith("committed")]
    assert [None, "item_x_1"] == [m["previous_item_id"] for m in committed]


def test_a_commit_ends_the_turn_that_is_open():
    adapter = opened()
    adapter.receive(append(SECOND))
    told(adapter, started())

    assert [Flush()] == events_of(adapter.receive(command("input_audio_buffer.commit")))

    messages = told(adapter, ended(reason=EndReason.FLUSH), final("a"), Flushed(24_000))
    assert 1 == len([m for m in messages if m["type"].endswith("committed")])
    assert "a" == messages[-1]["transcript"]


def test_a_commit_in_silence_makes_an_item_without_text():
    adapter = opened()
    adapter.receive(append(SECOND))
    adapter.receive(command("input_audio_buffer.commit"))

    messages = told(adapter, Flushed(24_000))

    assert "input_audio_buffer.committed" == messages[0]["type"]
    assert "" == messages[-1]["transcript"]


def test_without_turn_detection_only_the_client_ends_turns():
    adapter = opened()
    adapter.receive(session(turn_detection=None))
    adapter.receive(append(SECOND))
    assert [] == told(adapter, started(), partial("a b", 3), ended(), final("a b"))

    answer, flush = adapter.receive(command("input_audio_buffer.commit"))
    assert Flush() == flush
    assert [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ] == [m["type"] for m in said([answer])]
    messages = told(adapter, started(1), ended(1), final("c", 1), Flushed(24_000))

    assert ["a b c"] == [m["delta"] for m in messages if "delta" in m]
    assert "a b c" == messages[-1]["transcript"]
    assert {"type": "duration", "seconds": 2.5} == messages[-1]["usage"]


@pytest.mark.parametrize("size", [0, 4_799])
def test_a_commit_of_too_little_is_refused(size):
    adapter = opened()
    adapter.receive(append(bytes(size)))

    error = error_of(adapter.receive(command("input_audio_buffer.commit")))

    assert "input_audio_buffer_commit_empty" == error["code"]


def test_what_is_cleared_is_transcribed_for_nobody():
    adapter = opened()
    adapter.receive(append(SECOND))
    told(adapter, started())

    heard = adapter.receive(command("input_audio_buffer.clear"))

    assert [Flush()] == events_of(heard)
    assert [{"type": "input_audio_buffer.cleared"}] == said(heard)
    assert [] == told(
        adapter, ended(reason=EndReason.FLUSH), final("a"), Flushed(24_000)
    )
    assert "b" == told(adapter, started(1), ended(1), final("b", 1))[-1]["transcript"]


def test_what_is_cleared_without_turn_detection_is_gone_too():
    adapter = opened()
    adapter.receive(session(turn_detection=None))
    adapter.receive(append(SECOND))
    adapter.receive(command("input_audio_buffer.clear"))
    adapter.receive(append(SECOND))
    adapter.receive(command("input_audio_buffer.commit"))

    messages = told(
        adapter, final("a"), Flushed(24_000), final("b", 1), Flushed(48_000)
    )

    assert "b" == messages[-1]["transcript"]


def test_a_clear_before_any_audio_is_answered():
    heard = opened().receive(command("input_audio_buffer.clear"))

    assert [] == events_of(heard)
    assert [{"type": "input_audio_buffer.cleared"}] == said(heard)


# --- errors ----------------------------------------------------------------


@pytest.mark.parametrize("message", ["x", "[]", "{}", '{"type":"response.create"}'])
def test_a_message_that_means_nothing_is_an_error_event(message):
    error = error_of(opened().receive(message))

    assert "invalid_request_error" == error["type"]


def test_an_event_id_that_no_message_can_carry_is_carried_as_well_as_can_be():
    (answer,) = opened().receive('{"type":"x","event_id":"a\\ud800"}')

    (message,) = answer.written()
    assert b'"event_id":"a?"' in message.encode()


def test_audio_in_binary_messages_ends_the_session():
    with pytest.raises(ProtocolError, match="in base64"):
        opened().receive(b"ab")


def test_errors_of_the_session_are_told_as_openai_does():
    theirs, ours = told(
        opened(), Refused(BadRequest("no"), fatal=False), Refused(Overloaded("full"))
    )

    assert "invalid_request_error" == theirs["error"]["type"]
    assert "server_error" == ours["error"]["type"]
    assert [] == told(opened(), Notice("clipping", "loud"))


# --- the beta --------------------------------------------------------------


@pytest.mark.parametrize(
    "opening",
    [
        Opening(headers={"openai-beta": "realtime=v1"}, id="x"),
        Opening(subprotocols=("realtime", "openai-beta.realtime-v1"), id="x"),
    ],
)
def test_the_beta_is_spoken_to_who_speaks_it(opening):
    adapter = RealtimeAdapter(opening, OFFER)
    update = {
        "input_audio_format": "g711_ulaw",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": {"type": "server_vad", "silence_duration_ms": 600},
    }

    (created,) = without_ids(adapter.opened())
    (answer,) = said(
        adapter.receive(command("transcription_session.update", session=update))
    )
    begun, _ = adapter.receive(append(b"x"))
    messages = told(adapter, started(), ended(), final("a"))

    assert "transcription_session.created" == created["type"]
    assert "pcm16" == created["session"]["input_audio_format"]
    assert "transcription_session.updated" == answer["type"]
    assert "g711_ulaw" == answer["session"]["input_audio_format"]
    assert 600 == answer["session"]["turn_detection"]["silence_duration_ms"]
    assert AudioFormat(Encoding.MULAW, 8_000) == begun.config.audio
    assert "conversation.item.created" in [m["type"] for m in messages]
    assert "conversation.item.added" not in [m["type"] for m in messages]


def test_realtime_is_the_subprotocol_that_is_agreed_on():
    offered = ("realtime", "openai-insecure-api-key.KEY")

    assert "realtime" == REALTIME.subprotocol(offered)
    assert REALTIME.subprotocol(()) is None


# --- anything --------------------------------------------------------------

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
inputs = st.fixed_dictionaries(
    {},
    optional={
        "format": values | st.fixed_dictionaries({"type": values, "rate": values}),
        "transcription": values
        | st.fixed_dictionaries({}, optional={"language": values, "model": values}),
        "noise_reduction": values,
        "turn_detection": values
        | st.fixed_dictionaries(
            {}, optional={"threshold": values, "silence_duration_ms": values}
        ),
    },
)
commands = st.fixed_dictionaries(
    {
        "type": values
        | st.sampled_from(
            [
                "session.update",
                "input_audio_buffer.append",
                "input_audio_buffer.commit",
                "input_audio_buffer.clear",
            ]
        )
    },
    optional={
        "event_id": values,
        "audio": values | st.binary().map(lambda b: base64.b64encode(b).decode()),
        "session": values
        | inputs.map(lambda given: {"audio": {"input": given}})
        | st.fixed_dictionaries({}, optional={"type": values, "include": values}),
    },
)


@given(st.lists(st.text() | (values | commands).map(json.dumps), max_size=10))
def test_whatever_is_sent_is_an_event_or_an_error_event(messages):
    adapter = opened()
    running = False
    for message in messages:
        try:
            heard = adapter.receive(message)
        except TooBig:
            continue
        for each in heard:
            if isinstance(each, Say):
                assert all(json.loads(m)["type"] for m in each.written())
                continue
            assert isinstance(each, Start) != running
            running = True

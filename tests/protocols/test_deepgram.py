"""Deepgram's live protocol: its query, its commands, its full shapes."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming import errors
from streaming.config import AudioFormat, Encoding, GateConfig, StreamConfig
from streaming.errors import BadRequest, UnsupportedAudio, WavestitchError
from streaming.events import (
    Ack,
    Audio,
    EndReason,
    Final,
    Finish,
    Finished,
    Flush,
    Flushed,
    Keepalive,
    Partial,
    Pass,
    Ready,
    Refused,
    SpeechEnded,
    SpeechStarted,
    Totals,
    Word,
)
from streaming.protocols.adapter import Note, Offer, Opening, Say, Start
from streaming.protocols.deepgram import DEEPGRAM, DeepgramAdapter
from streaming.protocols.deepgram_options import NOTED, REFUSED, parse_query
from tests.protocols.test_wav import SAMPLES, written

OFFER = Offer(StreamConfig(), ("en",), lambda: 20)
RAW = "encoding=linear16&sample_rate=16000"
READY = Ready("s", "t", "small", "en", "pcm_s16le", 16_000, 1, 500, 480, 320, 60.0)

WORDS = (Word("one", 0.5, 0.75, 0.9), Word("two", 0.8, 1.0, 0.8))
FINAL = Final(0, 0, "one two", 0.2, 1.2, 0.85, Pass.FULL, WORDS)
PARTIAL = Partial(0, 0, "one", 3, 0.2, 0.9)
SECOND = bytes(32_000)


def opened(query=RAW, **offer):
    opening = Opening("/v1/listen", query, id="the-id", at=1_767_225_600.5)
    adapter = DeepgramAdapter(opening, replace(OFFER, **offer))
    adapter.send(READY)
    return adapter


def tell(adapter, *events):
    return [json.loads(text) for event in events for text in adapter.send(event)]


def answers(heard):
    said = [each for each in heard if isinstance(each, Say)]
    return [json.loads(text) for say in said for text in say.written()]


def acts(heard):
    return [each for each in heard if not isinstance(each, Say)]


def ends(reason, channel=0):
    return SpeechEnded(channel, 0, 1.0, reason)


# --- the query -------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "audio"),
    [
        (RAW, AudioFormat()),
        ("encoding=linear32&sample_rate=48000", (Encoding.PCM_F32LE, 48_000, 1)),
        ("encoding=mulaw", (Encoding.MULAW, 8_000, 1)),
        ("encoding=ALAW&sample_rate=16000", (Encoding.ALAW, 16_000, 1)),
        (RAW + "&channels=2&multichannel=True", AudioFormat(channels=2)),
    ],
)
def test_the_query_says_what_the_audio_is(query, audio):
    expected = audio if isinstance(audio, AudioFormat) else AudioFormat(*audio)
    assert expected == opened(query).config.audio


def test_the_defaults_are_deepgrams_but_for_the_servers_own_endpointing():
    asked = parse_query(RAW, replace(OFFER, smallest_budget_ms=lambda: 777))

    assert StreamConfig(partials=False, budget_ms=777) == asked.config
    assert (False, True, None, False, False) == (
        asked.interim,
        asked.endpointing,
        asked.utterance_end_s,
        asked.vad_events,
        asked.multichannel,
    )


@pytest.mark.parametrize(
    ("value", "hangover_ms", "tells"),
    [("300", 300, True), ("10", 100, True), ("true", 500, True), ("False", 500, False)],
)
def test_endpointing_is_the_gates_hangover(value, hangover_ms, tells):
    asked = parse_query(f"{RAW}&endpointing={value}", OFFER)

    assert GateConfig(hangover_ms=hangover_ms) == asked.config.gate
    assert tells == asked.endpointing


def test_what_is_unknown_is_ignored_and_what_only_dresses_the_text_is_noted():
    query = urlencode(
        {
            "punctuate": "true",
            "smart_format": "false",
            "keyterm": ["a", "b"],
            "model": "nova-3",
            "novelty": "1",
        },
        doseq=True,
    )
    adapter = opened(f"{RAW}&{query}")

    notes = [each.text for each in adapter.receive(b"ab") if isinstance(each, Note)]
    assert ["keyterm is not honoured", "punctuate is not honoured"] == notes
    assert [Audio(b"ab")] == list(adapter.receive(b"ab"))


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("encoding=linear16", "sample_rate is required"),
        ("encoding=opus&sample_rate=48000", "encoding must be linear16, linear32,"),
        ("encoding=linear16&sample_rate=4000", "sample_rate must be 8000 to 48000"),
        ("encoding=linear16&sample_rate=x", "sample_rate must be a whole number"),
        (RAW + "&channels=2", "needs multichannel=true"),
        (RAW + "&channels=3&multichannel=true", "channels must be 1 to 2"),
        (RAW + "&interim_results=maybe", "interim_results must be true or false"),
        (RAW + "&utterance_end_ms=1000", "needs interim_results=true"),
        (RAW + "&interim_results=1&utterance_end_ms=500", "must be 1000 to 5000"),
        (RAW + "&endpointing=soon", "endpointing must be a whole number"),
        (RAW + "&endpointing=9000", "endpointing must be at most 5000"),
        (RAW + "&language=fr", "language must be en"),
        ("&".join(["a=b"] * 600), "at most 512 parameters"),
        *((f"{RAW}&{name}=true", f"{name} is not supported here") for name in REFUSED),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(query, why):
    with pytest.raises(BadRequest, match=why):
        opened(query)


@pytest.mark.parametrize("name", [*REFUSED, *NOTED])
def test_what_is_not_wanted_needs_no_honour(name):
    assert () == parse_query(f"{RAW}&{name}=false&{name}=False", OFFER).unhonoured


def test_a_refusal_is_as_deepgram_writes_it():
    refusal = DEEPGRAM.refusal(BadRequest("no 'ü' here"), "the-id")

    assert 400 == refusal.status
    assert {
        "err_code": "Bad Request",
        "err_msg": "no 'ü' here",
        "request_id": "the-id",
    } == json.loads(refusal.body)
    assert "the-id" == refusal.headers["dg-request-id"]
    assert refusal.headers["dg-error"].isascii()
    assert "\n" not in DEEPGRAM.refusal(BadRequest("a\nb"), "").headers["dg-error"]


@pytest.mark.parametrize(
    ("name", "status", "close", "reason"),
    [
        ("UnsupportedAudio", 400, 1008, "DATA-0000"),
        ("IdleTimeout", 408, 1011, "NET-0001"),
        ("Unauthorized", 401, 1008, "INVALID_AUTH"),
        ("Forbidden", 403, 1008, "INSUFFICIENT_PERMISSIONS"),
        ("LimitReached", 429, 1008, "TOO_MANY_REQUESTS"),
        ("Overloaded", 503, 1013, "NET-0000"),
        ("ModelError", 500, 1011, "NET-0000"),
    ],
)
def test_errors_have_their_codes(name, status, close, reason):
    error = getattr(errors, name)("a secret")
    refusal = DEEPGRAM.refusal(error, "")

    assert (status, close, reason) == (refusal.status, refusal.close, refusal.code)
    assert None is refusal.message
    assert (status == 500) == ("secret" not in refusal.body)
    assert [] == tell(opened(), Refused(error))


# --- commands --------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (b"ab", Audio(b"ab")),
        (b"", Finish()),
        ('{"type":"KeepAlive"}', Keepalive()),
        ('{"type":"Finalize"}', Flush()),
        ('{"type":"Finalize","channel":0}', Flush()),
        ('{"type":"CloseStream"}', Finish()),
    ],
)
def test_what_a_client_says_becomes_an_event(message, event):
    assert [event] == list(opened().receive(message))


@pytest.mark.parametrize("close", [b"", '{"type":"CloseStream"}'])
def test_nothing_is_heard_after_the_close(close):
    adapter = opened()
    adapter.receive(close)
    assert [()] * 3 == [adapter.receive(m) for m in (b"ab", close, "nonsense")]


@pytest.mark.parametrize(
    "message", ["hello", "[1]", "{}", '{"type":"Stop"}', '{"type":1}', " " * 70_000]
)
def test_a_bad_text_is_answered_and_the_stream_goes_on(message):
    adapter = opened()
    (said,) = answers(adapter.receive(message))

    assert ("Error", "SchemaError") == (said["type"], said["variant"])
    assert message[:1_000] == said["message"]
    assert said["description"]
    assert [Audio(b"ab")] == list(adapter.receive(b"ab"))


def test_a_change_is_refused_by_what_is_not_here():
    wanted = '{"type":"Configure","keyterms":["Ada"],"features":{"numerals":true}}'
    (failed,) = answers(opened().receive(wanted))
    (done,) = answers(opened().receive('{"type":"Configure","keyterms":[]}'))

    assert ("ConfigureFailure", "the-id") == (failed["type"], failed["request_id"])
    assert "not supported here: keyterms, features" == failed["description"]
    assert {"type": "ConfigureSuccess", "request_id": "the-id", "keyterms": []} == done


# --- audio in a container --------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 44, 400])
def test_a_wav_says_its_own_format(size):
    adapter, data = opened("model=nova-3"), written(22_050)
    assert adapter.config is None
    heard = []
    for at in range(0, len(data), size):
        heard += adapter.receive(data[at : at + size])

    started, *audio = heard
    assert AudioFormat(sample_rate=22_050) == started.config.audio
    assert SAMPLES == b"".join(each.data for each in audio)


def test_both_channels_of_a_wav_are_heard_where_they_are_asked_for():
    data = written(8_000, 2)
    (started, _) = opened("multichannel=true").receive(data)
    assert 2 == started.config.audio.channels
    with pytest.raises(UnsupportedAudio, match="ask for multichannel=true"):
        opened("").receive(data)


@pytest.mark.parametrize("data", [b"OggS\0\0\0\0", b"\x1aE\xdf\xa3", b"\0" * 40])
def test_other_containers_are_refused(data):
    with pytest.raises(UnsupportedAudio, match="expected a WAV"):
        opened("").receive(data)


def test_before_the_header_commands_act_on_nothing():
    adapter = opened("")
    assert [()] * 3 == [
        tuple(adapter.receive(message))
        for message in ('{"type":"KeepAlive"}', '{"type":"Finalize"}', b"RI")
    ]
    assert "SchemaError" == answers(adapter.receive("x"))[0]["variant"]
    started, finish = adapter.receive('{"type":"CloseStream"}')
    assert isinstance(started, Start)
    assert Finish() == finish


# --- results ---------------------------------------------------------------


def test_a_final_has_the_full_shape():
    adapter = opened()
    (said,) = tell(adapter, ends(EndReason.SILENCE), FINAL)

    words = [
        {"word": "one", "start": 0.5, "end": 0.75, "confidence": 0.9},
        {"word": "two", "start": 0.8, "end": 1.0, "confidence": 0.8},
    ]
    words = [{**word, "punctuated_word": word["word"]} for word in words]
    only = {"transcript": "one two", "confidence": 0.85, "words": words}
    uuid = said["metadata"].pop("model_uuid")
    assert 36 == len(uuid)
    assert {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": 1.0,
        "start": 0.2,
        "is_final": True,
        "speech_final": True,
        "channel": {"alternatives": [only]},
        "metadata": {
            "request_id": "the-id",
            "model_info": {"name": "small", "version": "1", "arch": "ctc"},
        },
        "from_finalize": False,
    } == said


def test_interim_results_are_sent_where_they_are_asked_for():
    (said,) = tell(opened(RAW + "&interim_results=true"), PARTIAL)

    assert (False, False) == (said["is_final"], said["speech_final"])
    assert (0.2, 0.7) == (said["start"], said["duration"])
    only = {"transcript": "one", "confidence": 0.0, "words": []}
    assert [only] == said["channel"]["alternatives"]
    assert [] == tell(opened(), PARTIAL)


@pytest.mark.parametrize(
    ("reason", "query", "speech_final", "from_finalize"),
    [
        (EndReason.SILENCE, RAW, True, False),
        (EndReason.BLANK, RAW, True, False),
        (EndReason.MAX_LENGTH, RAW, False, False),
        (EndReason.STALL, RAW, True, False),
        (EndReason.FLUSH, RAW, True, True),
        (EndReason.FINISH, RAW, True, False),
        (EndReason.SILENCE, RAW + "&endpointing=false", False, False),
    ],
)
def test_how_an_utterance_ended_says_what_its_final_is(
    reason, query, speech_final, from_finalize
):
    (said,) = tell(opened(query), ends(reason), FINAL)
    assert (speech_final, from_finalize) == (
        said["speech_final"],
        said["from_finalize"],
    )


def test_a_finalize_is_answered_once_whether_or_not_somebody_spoke():
    adapter = opened()
    spoken = tell(adapter, ends(EndReason.FLUSH), FINAL, Flushed(16_000))
    silent = tell(adapter, Flushed(32_000))

    assert [("one two", True)] == [
        (r["channel"]["alternatives"][0]["transcript"], r["from_finalize"])
        for r in spoken
    ]
    assert [("", True, True, 2.0)] == [
        (
            r["channel"]["alternatives"][0]["transcript"],
            r["from_finalize"],
            r["is_final"],
            r["start"],
        )
        for r in silent
    ]


def test_channels_have_their_own_results():
    adapter = opened(RAW + "&channels=2&multichannel=true&vad_events=true")
    said = tell(
        adapter,
        SpeechStarted(1, 0, 0.5),
        ends(EndReason.MAX_LENGTH, 1),
        ends(EndReason.SILENCE, 0),
        FINAL,
        replace(FINAL, channel=1),
        Flushed(9),
    )

    assert [[1, 2]] == [each["channel"] for each in said if "timestamp" in each]
    results = [each for each in said if each["type"] == "Results"]
    assert [([0, 2], True), ([1, 2], False)] == [
        (each["channel_index"], each["speech_final"]) for each in results[:2]
    ]
    assert [[0, 2], [1, 2]] == [each["channel_index"] for each in results[2:]]


def test_the_begin_of_speech_is_told_where_it_is_asked_for():
    asked = opened(RAW + "&vad_events=true")
    expected = {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.5}
    assert [expected] == tell(asked, SpeechStarted(0, 0, 0.5))
    assert [] == tell(opened(), SpeechStarted(0, 0, 0.5), Ack(9))


def test_the_last_message_is_the_metadata():
    adapter = opened()
    adapter.receive(SECOND)
    (said,) = tell(adapter, Finished((Totals(received=16_000, decoded=16_000),)))

    uuid = said["models"][0]
    assert {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "the-id",
        "sha256": hashlib.sha256(SECOND).hexdigest(),
        "created": "2026-01-01T00:00:00.500Z",
        "duration": 1.0,
        "channels": 1,
        "models": [uuid],
        "model_info": {uuid: {"name": "small", "version": "1", "arch": "ctc"}},
    } == said


# --- the end of an utterance ------------------------------------------------

GAP = RAW + "&interim_results=true&utterance_end_ms=1000"


def speak(adapter, *events):
    """A second of audio, then what came of it; what is said by itself."""
    heard = adapter.receive(SECOND)
    tell(adapter, *events)
    return answers(heard)


def test_silence_after_the_last_word_is_told_once():
    adapter = opened(GAP)
    assert [] == speak(adapter, SpeechStarted(0, 0, 0.5))
    assert [] == speak(adapter, ends(EndReason.SILENCE), FINAL)  # its last word: 1 s
    expected = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.0}
    assert [expected] == speak(adapter)
    assert [] == speak(adapter)


def test_who_speaks_again_has_not_ended():
    adapter = opened(GAP)
    speak(adapter, SpeechStarted(0, 0, 0.5), FINAL)
    heard = adapter.receive(SECOND)
    tell(adapter, SpeechStarted(0, 1, 1.5))
    assert [] == answers(heard)
    noise = replace(FINAL, utterance=1, text="", words=())
    assert [1.0] == [said["last_word_end"] for said in speak(adapter, noise)]


@pytest.mark.parametrize(
    "event", [Flushed(32_000), Finished((Totals(32_000),)), SpeechStarted(0, 1, 2.0)]
)
def test_silence_that_is_decoded_late_is_told_late(event):
    adapter = opened(GAP)
    for _ in range(2):
        assert [] == answers(adapter.receive(SECOND))
    tell(adapter, SpeechStarted(0, 0, 0.5), FINAL)
    ends = [said for said in tell(adapter, event) if said["type"] == "UtteranceEnd"]
    assert [1.0] == [said["last_word_end"] for said in ends]


def test_a_pause_that_is_short_is_not_told():
    adapter = opened(GAP)
    tell(adapter, SpeechStarted(0, 0, 0.5), FINAL)
    assert [] == tell(adapter, SpeechStarted(0, 1, 1.9))


def test_it_is_not_told_where_nobody_asked():
    adapter = opened()
    assert [] == speak(adapter, FINAL) + speak(adapter) + speak(adapter)


# --- what strangers send ----------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
kinds = st.sampled_from(["KeepAlive", "Finalize", "CloseStream", "Configure", "?"])
commands = st.fixed_dictionaries(
    {"type": kinds}, optional={"keyterms": json_values, "features": json_values}
)
queries = st.sampled_from([RAW, "", "multichannel=true"])


@given(
    queries,
    st.lists(st.binary() | st.text() | (json_values | commands).map(json.dumps)),
)
def test_arbitrary_messages_give_only_typed_errors(query, messages):
    adapter = opened(query)
    is_open = adapter.config is not None
    for message in messages:
        try:
            heard = adapter.receive(message)
        except WavestitchError:
            return
        answers(heard)
        for each in acts(heard):
            assert is_open or isinstance(each, Start)
            is_open = True


ASKED = (
    "encoding sample_rate channels multichannel interim_results endpointing "
    "utterance_end_ms vad_events language"
)
names = st.sampled_from([*ASKED.split(), *REFUSED, *NOTED])


@given(st.text() | st.lists(st.tuples(names, st.text())))
def test_arbitrary_queries_give_only_typed_errors(query):
    query = query if isinstance(query, str) else urlencode(query, errors="replace")
    with suppress(BadRequest):  # nothing else may come out
        opened(query)


@given(st.text())
def test_an_error_is_one_line_of_a_header(why):
    header = DEEPGRAM.refusal(BadRequest(why), "").headers["dg-error"]
    assert header.isascii()
    assert header.isprintable()

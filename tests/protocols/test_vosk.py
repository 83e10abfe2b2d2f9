"""Vosk's protocol: scripts of its clients, and its one answer a message."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming import errors
from streaming.config import AudioFormat, StreamConfig
from streaming.errors import (
    Overloaded,
    ProtocolError,
    TooBig,
    UnsupportedAudio,
    WavestitchError,
)
from streaming.events import (
    Ack,
    Audio,
    Final,
    Finish,
    Finished,
    Flush,
    Flushed,
    Notice,
    Partial,
    Pass,
    Refused,
    Totals,
    Word,
)
from streaming.protocols.adapter import Note, Offer, Opening, Say, Start
from streaming.protocols.vosk import VOSK, VoskAdapter
from tests.protocols.test_wav import SAMPLES, of_format, written

OFFER = Offer(StreamConfig(), ("en",), lambda: 20)
EOF = '{"eof" : 1}'
CONFIG = '{ "config" : { "sample_rate" : 16000 } }'

WORDS = (Word("one", 0.5, 0.75, 0.9), Word("two", 0.8, 1.0, 0.8))
FINAL = Final(0, 0, "one two", 0.2, 1.2, 0.85, Pass.FULL, WORDS)
PARTIAL = Partial(0, 0, "one", 3, 0.2, 0.9)


def opened(*messages, **offer):
    adapter = VoskAdapter(Opening(), replace(OFFER, **offer))
    for message in messages:
        adapter.receive(message)
    return adapter


def answers(heard):
    return [
        json.loads(text)
        for say in heard
        if isinstance(say, Say)
        for text in say.written()
    ]


def acts(heard):
    return [each for each in heard if not isinstance(each, Say)]


def tell(adapter, *events):
    return [json.loads(text) for event in events for text in adapter.send(event)]


def started(rate):
    return Start(StreamConfig(audio=AudioFormat(sample_rate=rate)))


# --- what opens a stream ---------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "expected"), [("16000", 16_000), ("16000.0", 16_000), ('"8000"', 8_000)]
)
def test_the_config_names_the_rate(rate, expected):
    adapter = opened()
    heard = adapter.receive(f'{{"config":{{"sample_rate":{rate}}}}}')

    assert [started(expected)] == acts(heard)
    assert [] == answers(heard)
    assert expected == adapter.config.audio.sample_rate


def test_a_config_without_a_rate_waits_for_audio_at_8_kHz():  # noqa: N802
    adapter = opened('{"config":{"words":true}}')
    assert adapter.config is None
    assert [started(8_000), Audio(b"abcdef")] == acts(adapter.receive(b"abcdef"))


def test_audio_without_a_config_is_at_8_kHz_and_answered():  # noqa: N802
    heard = opened().receive(b"abcdef")

    assert [started(8_000), Audio(b"abcdef")] == acts(heard)
    assert [{"partial": ""}] == answers(heard)


@pytest.mark.parametrize(("before", "rate"), [([], 22_050), ([CONFIG], 16_000)])
@pytest.mark.parametrize("size", [1, 3, 4, 11, 44, 300])
def test_a_wav_header_is_taken_out_and_each_piece_answered_once(before, rate, size):
    adapter, data = opened(*before), written(rate)
    heard = [adapter.receive(data[at : at + size]) for at in range(0, len(data), size)]
    done = [act for each in heard for act in acts(each)]

    assert ([] if before else [started(rate)]) == [
        e for e in done if isinstance(e, Start)
    ]
    assert SAMPLES == b"".join(e.data for e in done if isinstance(e, Audio))
    assert [[{"partial": ""}]] * len(heard) == [answers(each) for each in heard]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (written(8_000), "the config says 16000 Hz, the WAV header 8000"),
        (written(16_000, 2), "expected 16-bit PCM of one channel"),
        (of_format(7, 8), "the WAV header says mulaw of 1"),
    ],
)
def test_a_wav_that_is_something_else_is_refused(data, why):
    with pytest.raises(UnsupportedAudio, match=why):
        opened(CONFIG).receive(data)


@pytest.mark.parametrize("first", [b"", b"RI", b"RIFF\0\0"])
def test_the_end_may_come_before_the_header(first):
    adapter = opened()
    heard = [*adapter.receive(first), *adapter.receive(EOF)]

    assert 1 == heard.count(started(8_000))
    assert Finish() == heard[-1]


def test_a_budget_that_the_machine_cannot_keep_is_raised():
    adapter = opened(CONFIG, smallest_budget_ms=lambda: 777)
    assert 777 == adapter.config.budget_ms


# --- one answer for each message -------------------------------------------


def test_partials_wait_for_the_next_message():
    adapter = opened(CONFIG)
    assert [{"partial": ""}] == answers(adapter.receive(b"ab"))
    assert [] == tell(adapter, PARTIAL, Ack(9), Notice("zeros", "silence"))
    assert [{"partial": "one"}] == answers(adapter.receive(b"ab"))


def test_an_answer_is_written_at_its_turn():
    adapter = opened(CONFIG)
    heard = adapter.receive(b"ab")
    tell(adapter, PARTIAL)
    assert [{"partial": "one"}] == answers(heard)


def test_a_final_is_the_next_answer_once():
    adapter = opened(CONFIG)
    tell(adapter, PARTIAL, FINAL)

    expected = {
        "result": [
            {"conf": 0.9, "end": 0.75, "start": 0.5, "word": "one"},
            {"conf": 0.8, "end": 1.0, "start": 0.8, "word": "two"},
        ],
        "text": "one two",
    }
    assert [expected] == answers(adapter.receive(b"ab"))
    assert [{"partial": ""}] == answers(adapter.receive(b"ab"))


def test_a_final_comes_before_the_partial_of_the_next_utterance():
    adapter = opened(CONFIG)
    tell(adapter, FINAL, replace(PARTIAL, utterance=1, text="three"))

    assert "one two" == answers(adapter.receive(b"ab"))[0]["text"]
    assert [{"partial": "three"}] == answers(adapter.receive(b"ab"))


@pytest.mark.parametrize("spaced", ['{"eof" : 1}', '{"eof":1}', '{ "eof":true }'])
def test_the_end_is_one_result_of_all_that_was_not_told(spaced):
    adapter = opened(CONFIG, b"ab")
    assert (Finish(),) == adapter.receive(spaced)
    other = Final(0, 1, "three", 2, 3, 0.5, Pass.FULL, (Word("three", 2, 3, 0.5),))
    (said,) = tell(
        adapter, FINAL, replace(FINAL, text="", words=()), other, Finished((Totals(),))
    )

    assert "one two three" == said["text"]
    assert ["one", "two", "three"] == [word["word"] for word in said["result"]]
    assert () == adapter.receive(b"more")
    assert () == adapter.receive(EOF)


def test_the_end_of_silence_is_an_empty_text():
    adapter = opened(CONFIG, EOF)
    assert [{"text": ""}] == tell(adapter, Finished((Totals(),)))


def test_a_reset_is_answered_with_what_was_said_and_the_stream_goes_on():
    adapter = opened(CONFIG)
    assert (Flush(),) == adapter.receive('{"reset" : 1}')
    assert ["one two"] == [said["text"] for said in tell(adapter, FINAL, Flushed(9))]
    assert [Audio(b"ab")] == acts(adapter.receive(b"ab"))


def test_words_are_left_out_where_they_are_not_wanted():
    adapter = opened('{"config":{"sample_rate":16000,"words":false}}')
    tell(adapter, FINAL)
    assert [{"text": "one two"}] == answers(adapter.receive(b"ab"))


@pytest.mark.parametrize("words", [True, False])
def test_alternatives_have_a_shape_of_their_own(words):
    config = {"sample_rate": 16_000, "max_alternatives": 3, "words": words}
    adapter = opened(json.dumps({"config": config}))
    tell(adapter, FINAL)

    times = [
        {"end": 0.75, "start": 0.5, "word": "one"},
        {"end": 1.0, "start": 0.8, "word": "two"},
    ]
    result = {"result": times} if words else {}
    only = {"confidence": 0.85, **result, "text": "one two"}
    assert [{"alternatives": [only]}] == answers(adapter.receive(b"ab"))
    assert [{"partial": ""}] == answers(adapter.receive(b"ab"))


def test_messages_are_set_as_kaldi_sets_them():
    (heard,) = [each for each in opened(CONFIG).receive(b"ab") if isinstance(each, Say)]
    assert ['{\n  "partial" : ""\n}'] == heard.written()


# --- what is not honoured, and what is wrong -------------------------------


def test_what_is_not_honoured_is_noted():
    config = {"sample_rate": 8_000, "phrase_list": ["yes", "[unk]"], "model": "small"}
    heard = opened().receive(json.dumps({"config": config}))

    assert ["phrase_list", "model"] == [
        each.text.split()[0] for each in heard if isinstance(each, Note)
    ]
    assert started(8_000) == heard[-1]


def test_a_rate_is_kept():
    (note,) = opened(CONFIG).receive('{"config":{"sample_rate":8000}}')
    assert "sample_rate is kept within a stream, got 8000" == note.text
    assert () == (*opened(CONFIG).receive(CONFIG),)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("hello", ProtocolError),
        ("[]", ProtocolError),
        ('{"config":1}', ProtocolError),
        ('{"start":1}', ProtocolError),
        ('{"config":{"sample_rate":true}}', ProtocolError),
        ('{"config":{"sample_rate":"x"}}', ProtocolError),
        ('{"config":{"sample_rate":16000.5}}', ProtocolError),
        ('{"config":{"sample_rate":1e999}}', ProtocolError),
        ('{"config":{"sample_rate":4000}}', ProtocolError),
        ('{"config":{"sample_rate":96000}}', ProtocolError),
        ('{"config":{"max_alternatives":1e999}}', ProtocolError),
        ('{"config":{"max_alternatives":"x"}}', ProtocolError),
        (" " * 70_000, TooBig),
    ],
)
def test_what_is_wrong_is_a_typed_error(message, error):
    with pytest.raises(error):
        opened().receive(message)


@pytest.mark.parametrize("name", [n for n in errors.__all__ if n != "reason_of"])
def test_every_error_closes_without_a_message(name):
    refusal = VOSK.refusal(getattr(errors, name)("why"), "id")
    assert refusal.message is None
    assert refusal.close in (1003, 1008, 1009, 1011, 1013)
    assert [] == tell(opened(CONFIG), Refused(Overloaded("full")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
keys = st.sampled_from(["sample_rate", "words", "max_alternatives", "phrase_list", "x"])
configs = st.dictionaries(keys, json_values).map(lambda c: {"config": c})
commands = st.dictionaries(
    st.sampled_from(["eof", "reset", "config", "x"]), json_values
)


@given(st.lists(st.binary() | st.text() | (configs | commands).map(json.dumps)))
def test_arbitrary_messages_give_typed_errors_and_one_answer_for_audio(messages):
    adapter, is_open, ended = opened(), False, False
    for message in messages:
        try:
            heard = adapter.receive(message)
        except WavestitchError:
            return
        for each in acts(heard):
            assert is_open or isinstance(each, Start | Note)
            is_open = is_open or isinstance(each, Start)
        expected = 1 if isinstance(message, bytes) and not ended else 0
        assert expected == len(answers(heard))
        ended = ended or Finish() in heard
        tell(adapter, PARTIAL, FINAL)

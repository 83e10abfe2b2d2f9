"""The native protocol says what its document says, and survives anything."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from streaming import errors, events
from streaming.config import AudioFormat, Encoding, Finals, StreamConfig
from streaming.errors import (
    BadRequest,
    ModelError,
    Overloaded,
    ProtocolError,
    TooBig,
    WavestitchError,
)
from streaming.events import (
    Ack,
    Audio,
    Configure,
    EndReason,
    Final,
    Finish,
    Flush,
    Keepalive,
    Partial,
    Pass,
    Refused,
    Totals,
    Word,
)
from streaming.protocols import native
from streaming.protocols.adapter import Offer, Opening, Resume
from streaming.protocols.native import MAX_COMMAND_CHARS, NATIVE, NativeAdapter
from streaming.protocols.native_messages import ERRORS
from streaming.protocols.native_options import PARAMETERS

DOCUMENT = yaml.safe_load(
    Path(native.__file__).with_name("asyncapi.yaml").read_text(encoding="utf-8")
)
MESSAGES = DOCUMENT["components"]["messages"]
OFFER = Offer(StreamConfig(), ("en",), lambda: 180)
REPLAYS = [r for r in DOCUMENT["x-replays"] if "lines" in r]
REFUSED = [o for r in DOCUMENT["x-replays"] for o in r.get("refused", [])]


def opened(query=""):
    return NativeAdapter(Opening(query=query), OFFER)


def heard(adapter, message):
    """The one event that a message means."""
    (event,) = adapter.receive(message)
    return event


def sent(adapter, event):
    (message,) = adapter.send(event)
    return json.loads(message)


# --- the document ----------------------------------------------------------


def event_of(said):
    """`{Final: {...}}` to the event that it writes down."""
    ((name, fields),) = said.items()
    fields = dict(fields)
    if name == "Refused":
        fatal = fields.pop("fatal")
        ((error, message),) = fields.items()
        return Refused(getattr(errors, error)(message), fatal)
    if "data" in fields:
        fields["data"] = bytes.fromhex(fields["data"])
    if "reason" in fields and name == "SpeechEnded":
        fields["reason"] = EndReason(fields["reason"])
    if "made_by" in fields:
        fields["made_by"] = Pass(fields["made_by"])
    if "words" in fields:
        fields["words"] = tuple(Word(**word) for word in fields["words"])
    if "concealed" in fields:
        fields["concealed"] = tuple(fields["concealed"])
    if "totals" in fields:
        fields["totals"] = tuple(Totals(**totals) for totals in fields["totals"])
    return getattr(events, name)(**fields)


@pytest.mark.parametrize("replay", REPLAYS, ids=[r["title"] for r in REPLAYS])
def test_each_line_of_the_document_replays(replay):
    adapter = opened(replay["open"])
    for line in replay["lines"]:
        if "<" in line:
            assert line["<"] == sent(adapter, event_of(line["says"]))
            continue
        message = line[">"]
        raw = bytes.fromhex(message["bytes"]) if "bytes" in message else None
        message = json.dumps(message) if raw is None else raw
        if "error" in line:
            with pytest.raises(WavestitchError) as caught:
                adapter.receive(message)
            assert line["error"] == NATIVE.refusal(caught.value).code
        else:
            assert event_of(line["means"]) == heard(adapter, message)


@pytest.mark.parametrize("opening", REFUSED, ids=[o["open"] for o in REFUSED])
def test_each_refused_opening_of_the_document_is_refused(opening):
    with pytest.raises(BadRequest) as caught:
        opened(opening["open"])

    refusal = NATIVE.refusal(caught.value)
    assert opening["code"] == refusal.code
    assert opening["status"] == refusal.status
    assert {
        "type": "error",
        "code": opening["code"],
        "message": opening["message"],
    } == json.loads(refusal.body)


def test_the_document_shows_each_message_at_least_once():
    shown = {
        line["<"]["type"] for r in REPLAYS for line in r["lines"] if "<" in line
    } | {
        line[">"].get("type", "audio")
        for r in REPLAYS
        for line in r["lines"]
        if ">" in line
    }
    assert set(MESSAGES) == shown - {"pause"}


@pytest.mark.parametrize("replay", REPLAYS, ids=[r["title"] for r in REPLAYS])
def test_each_shown_message_fits_its_schema(replay):
    for line in replay["lines"]:
        if "<" in line:
            check(MESSAGES[line["<"]["type"]]["payload"], line["<"])


def test_the_document_names_our_parameters_errors_and_path():
    channel = DOCUMENT["channels"]["stream"]
    query = channel["bindings"]["ws"]["query"]
    codes = MESSAGES["error"]["payload"]["properties"]["code"]["enum"]

    assert list(PARAMETERS) == list(query["properties"])
    assert [code for _, code, _, _ in ERRORS] == codes
    assert channel["address"] == NATIVE.path
    table = DOCUMENT["info"]["description"]
    for _, code, close, _ in ERRORS:
        assert f"| `{code}` | {close} |" in table


def check(schema, message):
    """What of JSON Schema the document uses."""
    kinds = {
        "integer": int,
        "number": (int, float),
        "string": str,
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    assert set(schema["required"]) <= set(message)
    assert set(message) <= set(schema["properties"])
    for name, value in message.items():
        rule = schema["properties"][name]
        if "const" in rule:
            assert rule["const"] == value
        if "enum" in rule:
            assert value in rule["enum"]
        if "type" in rule:
            types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
            assert any(isinstance(value, kinds[kind]) for kind in types)


# --- opening ---------------------------------------------------------------


def test_without_parameters_the_defaults_hold():
    assert StreamConfig() == opened().config
    assert opened().resume is None


def test_all_parameters_are_taken():
    asked = {
        "encoding": "pcm_f32le",
        "sample_rate": "44100",
        "channels": "2",
        "language": "EN",
        "partials": "False",
        "words": "false",
        "finals": "full",
        "budget_ms": "700",
        "vad_mode": "3",
        "hangover_ms": "900",
        "max_utterance_s": "12.5",
    }
    config = opened(urlencode(asked)).config

    assert AudioFormat(Encoding.PCM_F32LE, 44_100, 2) == config.audio
    assert "en" == config.language
    assert (False, False) == (config.partials, config.words)
    assert Finals.FULL is config.decoder.finals
    assert 700 == config.budget_ms
    assert (3, 900, 12.5) == (
        config.gate.vad_mode,
        config.gate.hangover_ms,
        config.gate.max_utterance_s,
    )


def test_what_a_client_cannot_choose_stays_the_servers():
    defaults = replace(StreamConfig(), stall_ms=1_234, budget_ms=900)
    opening = Opening(query="words=false")
    config = NativeAdapter(opening, replace(OFFER, defaults=defaults)).config

    assert replace(defaults, words=False) == config


def test_a_default_budget_that_cannot_be_kept_is_raised_to_one_that_can():
    slow = replace(OFFER, smallest_budget_ms=lambda: 777)

    assert NativeAdapter(Opening(), slow).config.budget_ms == 777
    with pytest.raises(BadRequest, match="at least 777"):
        NativeAdapter(Opening(query="budget_ms=776"), slow)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("vad_mode=4", "vad_mode must be 0 to 3, got 4"),
        ("hangover_ms=1e3", "hangover_ms must be a whole number, got '1e3'"),
        ("hangover_ms=1_0", "hangover_ms must be a whole number, got '1_0'"),
        ("hangover_ms=%D9%A3", "hangover_ms must be a whole number"),
        ("max_utterance_s=nan", "max_utterance_s must be a number, got 'nan'"),
        ("max_utterance_s=999", "max_utterance_s must be 2 to 120, got 999"),
        ("budget_ms=90000", "budget_ms must be 20 to 60000, got 90000"),
        ("finals=", "finals must be auto, full, stitched, got ''"),
        ("language=", "language must be 1 to 256 characters, got ''"),
        ("&".join("words=true" for _ in range(65)), "at most 64 parameters"),
        ("session=a&token=b&after=-2", "after must be a seq, or -1 for none, got -2"),
    ],
)
def test_a_bad_parameter_is_named_with_what_came_and_what_is_allowed(query, expected):
    with pytest.raises(BadRequest) as caught:
        opened(query)

    assert expected in str(caught.value)


def test_a_region_of_an_offered_language_takes_the_language():
    assert opened("language=en-GB-oxendict").config.language == "en"


def test_a_resume_is_read_for_the_server_to_judge():
    assert Resume("s", "t", 7) == opened("session=s&token=t&after=7").resume


# --- messages in -----------------------------------------------------------


def test_commands():
    adapter = opened()

    assert Audio(b"\x01") == heard(adapter, b"\x01")
    assert Audio(b"") == heard(adapter, b"")
    assert Keepalive() == heard(adapter, '{"type":"keepalive"}')
    assert Flush() == heard(adapter, ' {"type" : "flush"}\n')
    assert Configure(budget_ms=300) == heard(
        adapter, '{"type":"configure","budget_ms":300}'
    )
    assert Finish() == heard(adapter, '{"type":"finish"}')


@pytest.mark.parametrize("late", [b"\0\0", '{"type":"flush"}', '{"type":"finish"}'])
def test_nothing_but_a_keepalive_follows_a_finish_and_the_tail_is_not_lost(late):
    adapter = opened()
    adapter.receive('{"type":"finish"}')

    with pytest.raises(BadRequest, match="nothing may follow a finish"):
        adapter.receive(late)
    assert Keepalive() == heard(adapter, '{"type":"keepalive"}')


@pytest.mark.parametrize(
    "message",
    [
        "",
        "flush",
        "[]",
        "1" * 6_000,
        "[" * 60_000,
        '{"type":"flush"',
        '{"type":null}',
        '{"type":["flush"]}',
        '{"type":"FLUSH"}',
        '{"kind":"flush"}',
        '{"type":"flush","x":NaN}',
        '{"type":"\\ud800"}',
    ],
)
def test_a_message_that_breaks_the_protocol_is_fatal_and_shown_short(message):
    with pytest.raises(ProtocolError) as caught:
        opened().receive(message)

    assert not isinstance(caught.value, BadRequest)
    assert len(str(caught.value)) < 400
    str(caught.value).encode()


def test_a_text_of_many_megabytes_is_refused_without_being_parsed():
    with pytest.raises(TooBig, match=str(MAX_COMMAND_CHARS)):
        opened().receive(" " * (MAX_COMMAND_CHARS + 1))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"partials": 1}, "partials must be true or false, got 1"),
        ({"budget_ms": 5.5}, "budget_ms must be a whole number, got 5.5"),
        ({"budget_ms": True}, "budget_ms must be a whole number, got True"),
        ({"budget_ms": 10}, "budget_ms must be at least 180"),
        ({"hangover_ms": None}, "hangover_ms must be a whole number, got None"),
        ({"max_utterance_s": "9"}, "max_utterance_s must be a number, got '9'"),
        ({"max_utterance_s": 10**400}, "max_utterance_s must be a number"),
        ({"max_utterance_s": 1}, "max_utterance_s must be 2 to 120, got 1"),
        ({"model": "/etc"}, "configure has no field 'model'"),
    ],
)
def test_a_bad_option_is_refused_and_the_stream_goes_on(fields, expected):
    with pytest.raises(BadRequest) as caught:
        opened().receive(json.dumps({"type": "configure", **fields}))

    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "concealed", [5, [], [1, 2], [-1], [True], [1.0], "5", {"0": 1}]
)
def test_made_up_samples_are_counts_for_each_channel(concealed):
    with pytest.raises(BadRequest, match="concealed must be a list"):
        opened().receive(json.dumps({"type": "finish", "concealed": concealed}))


def test_a_command_takes_no_fields_it_does_not_know():
    with pytest.raises(BadRequest, match="finish takes concealed alone, got 'now'"):
        opened().receive('{"type":"finish","now":true}')
    with pytest.raises(BadRequest, match="flush takes no fields, got 'now'"):
        opened().receive('{"type":"flush","now":true}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
commands = st.fixed_dictionaries(
    {"type": st.sampled_from(["flush", "finish", "keepalive", "configure", "?"])},
    optional=dict.fromkeys(
        ["partials", "budget_ms", "hangover_ms", "max_utterance_s", "concealed", "x"],
        json_values,
    ),
)


@given(
    st.lists(st.binary() | st.text() | st.one_of(json_values, commands).map(json.dumps))
)
def test_the_adapter_survives_arbitrary_messages(messages):
    adapter = opened()
    for message in messages:
        try:
            event = heard(adapter, message)
        except WavestitchError as error:
            said = sent(adapter, Refused(error))
            check(MESSAGES["error"]["payload"], said)
        else:
            assert isinstance(event, Audio | Flush | Finish | Keepalive | Configure)


@given(st.text() | st.lists(st.tuples(st.sampled_from([*PARAMETERS]), st.text())))
def test_openings_survive_arbitrary_queries(query):
    query = query if isinstance(query, str) else urlencode(query, errors="replace")
    with suppress(BadRequest):  # nothing else may come out
        assert isinstance(opened(query).config, StreamConfig)


# --- messages out ----------------------------------------------------------


def test_seq_rises_by_one_from_0_over_all_messages():
    adapter = opened()
    said = [sent(adapter, Ack(n * 100)) for n in range(5)]

    assert [0, 1, 2, 3, 4] == [message["seq"] for message in said]


def test_words_come_only_when_they_are_asked_for():
    word = Word("a", 0.0, 0.1, 0.5)
    final = Final(0, 0, "a", 0.0, 0.1, 0.5, Pass.FULL, (word,))

    assert "words" in sent(opened("words=true"), final)
    assert "words" not in sent(opened("words=false"), final)
    assert [] == sent(opened(), replace(final, text="", words=()))["words"]


@given(st.floats(0, 1e6), st.text(st.characters(codec="utf-8")))
def test_times_have_three_decimals_and_texts_pass_unchanged(at, text):
    message = sent(opened(), Partial(0, 0, text, 0, at, at))

    assert text == message["text"]
    assert round(at, 3) == message["end"]
    assert len(repr(message["end"]).partition(".")[2]) <= 3 or at > 1e5


def test_a_number_that_json_cannot_hold_is_a_bug_and_not_sent():
    with pytest.raises(ValueError, match="JSON"):
        opened().send(Partial(0, 0, "a", 0, float("nan"), 1.0))


# --- errors ----------------------------------------------------------------


def test_each_error_class_has_its_code_close_and_status():
    expected = {
        "BadRequest": ("bad_request", 1008, 400),
        "ProtocolError": ("bad_message", 1003, 400),
        "UnsupportedAudio": ("unsupported_audio", 1003, 415),
        "TooBig": ("too_big", 1009, 413),
        "IdleTimeout": ("idle_timeout", 1008, 408),
        "Unresponsive": ("unresponsive", 1008, 408),
        "Forbidden": ("forbidden", 1008, 403),
        "Unauthorized": ("unauthorized", 1008, 401),
        "SessionLost": ("session_lost", 1008, 410),
        "Draining": ("draining", 1013, 503),
        "LimitReached": ("limit_reached", 1008, 429),
        "Overloaded": ("overloaded", 1013, 503),
        "ConfigError": ("internal", 1011, 500),
        "ModelError": ("internal", 1011, 500),
        "WavestitchError": ("internal", 1011, 500),
    }
    classes = {n for n in errors.__all__ if isinstance(getattr(errors, n), type)}
    assert classes == set(expected)
    for name, codes in expected.items():
        refusal = NATIVE.refusal(getattr(errors, name)("why"))
        assert codes == (refusal.code, refusal.close, refusal.status)


@pytest.mark.parametrize("error", [ModelError("/srv/secret"), KeyError("/srv/secret")])
def test_what_failed_inside_is_not_told_to_clients(error):
    assert "secret" not in NATIVE.refusal(error).body
    assert "secret" not in json.dumps(sent(opened(), Refused(error)))


def test_an_overload_says_when_to_come_again():
    body = json.loads(NATIVE.refusal(Overloaded("full", 2.5)).body)

    assert {
        "type": "error",
        "code": "overloaded",
        "message": "full",
        "retry_after_s": 2.5,
    } == body

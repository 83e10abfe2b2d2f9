"""Messages of the protocol become events."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.errors import ProtocolBroken
from clients.events import (
    Ack,
    Configured,
    Final,
    Finished,
    Flushed,
    GoAway,
    Load,
    Notice,
    Partial,
    Ready,
    Refused,
    SpeechEnded,
    SpeechStarted,
    Totals,
    Unknown,
    Word,
)
from clients.messages import parse

# Every message of native-protocol.md, as it stands there.
SAID = [
    (
        '{"type":"ready","seq":0,"session":"a","token":"b","protocol":1,"model":"m",'
        '"language":"en","encoding":"pcm_s16le","sample_rate":16000,"channels":1,'
        '"budget_ms":500,"hop_ms":320,"right_ms":320,"idle_timeout_s":60,'
        '"received":0,"state":"open"}',
        Ready("a", "b", 1, "m", "en", "pcm_s16le", 16000, 1, 500, 320, 320, 60),
    ),
    (
        '{"type":"speech_started","seq":1,"channel":0,"utterance":0,"at":1.23}',
        SpeechStarted(0, 0, 1.23),
    ),
    (
        '{"type":"speech_ended","seq":1,"channel":0,"utterance":0,"at":2.9,'
        '"reason":"silence"}',
        SpeechEnded(0, 0, 2.9, "silence"),
    ),
    (
        '{"type":"partial","seq":1,"channel":0,"utterance":0,"text":"turn on the li",'
        '"stable":11,"start":1.23,"end":2.4}',
        Partial(0, 0, "turn on the li", 11, 1.23, 2.4),
    ),
    (
        '{"type":"final","seq":1,"channel":0,"utterance":0,"text":"turn","start":1.23,'
        '"end":2.9,"confidence":0.93,"pass":"full",'
        '"words":[{"word":"turn","start":1.25,"end":1.5,"confidence":0.97}]}',
        Final(0, 0, "turn", 1.23, 2.9, 0.93, "full", (Word("turn", 1.25, 1.5, 0.97),)),
    ),
    ('{"type":"ack","seq":1,"received":48000}', Ack(48000)),
    ('{"type":"flushed","seq":1,"received":5}', Flushed(5)),
    (
        '{"type":"configured","seq":1,"partials":true,"budget_ms":500,'
        '"hangover_ms":300,"max_utterance_s":20}',
        Configured(True, 500, 300, 20),
    ),
    (
        '{"type":"finished","seq":1,"received":9,"decoded":6,"gated":2,"dropped":1,'
        '"concealed":0,"odd_bytes":1}',
        Finished((Totals(9, 6, 2, 1, 0),), 1),
    ),
    (
        '{"type":"finished","seq":1,"received":[9,8],"decoded":[6,5],"gated":[2,2],'
        '"dropped":[1,1],"concealed":[0,0]}',
        Finished((Totals(9, 6, 2, 1, 0), Totals(8, 5, 2, 1, 0))),
    ),
    ('{"type":"load","seq":1,"level":"normal"}', Load("normal")),
    (
        '{"type":"warning","seq":1,"code":"zeros","message":"only zeros"}',
        Notice("zeros", "only zeros"),
    ),
    (
        '{"type":"goaway","seq":1,"reason":"shutdown","deadline_s":30}',
        GoAway("shutdown", 30),
    ),
    (
        '{"type":"error","seq":1,"code":"bad_request","message":"no"}',
        Refused("bad_request", "no"),
    ),
]


@pytest.mark.parametrize(("message", "event"), SAID, ids=lambda x: type(x).__name__)
def test_each_message_is_read(message, event):
    assert event == parse(message)[1]


@pytest.mark.parametrize("message", [said for said, _ in SAID])
def test_a_later_server_may_add_fields(message):
    grown = json.dumps(json.loads(message) | {"novelty": {"x": 1}})

    assert parse(message) == parse(grown)


def test_a_later_server_may_add_messages():
    assert (7, Unknown("haiku")) == parse('{"type":"haiku","seq":7,"lines":3}')


@pytest.mark.parametrize(
    "message",
    ["", "{", "[]", "3", '{"type":"ack"}', '{"seq":1}', '{"type":"ack","seq":1}'],
)
def test_what_is_no_message_is_refused(message):
    with pytest.raises(ProtocolBroken):
        parse(message)


@given(st.text() | st.binary())
def test_arbitrary_bytes_raise_nothing_else(message):
    with contextlib.suppress(ProtocolBroken):
        parse(message)

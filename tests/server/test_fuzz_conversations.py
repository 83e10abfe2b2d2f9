"""Conversations that begin well and go on as they like: a close of ours, and no bug."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from streaming.protocols.native_messages import ERRORS
from streaming.server.dialects import DIALECTS
from tests.server.scripted import staged

CLOSES = {close for _, _, close, _ in ERRORS} | {1000, 1002}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
AUDIO = base64.b64encode(bytes(1_600)).decode()
MEDIA = {"track": "inbound", "timestamp": "20", "chunk": "1", "payload": AUDIO}
MULAW = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "sample_rate": 8000}
# What each dialect understands, so that what follows is heard by a session.
KNOWN = [
    {"type": "flush"},
    {"type": "finish"},
    {"config": {"sample_rate": 8000}},
    {"eof": 1},
    {"reset": 1},
    {"type": "KeepAlive"},
    {"type": "Finalize"},
    {"type": "CloseStream"},
    {"type": "session.update", "session": {"audio": {"input": {}}}},
    {"type": "input_audio_buffer.append", "audio": AUDIO},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"event": "start", "start": {"mediaFormat": MULAW, "media_format": MULAW}},
    {"event": "media", "media": MEDIA},
    {"event": "media", "media": MEDIA | {"timestamp": "90000"}},
    {"event": "stop"},
    {"event": "MEDIA_START", "format": "ulaw"},
    {"callSid": "1", "sampleRate": 8000},
]
messages = st.lists(
    st.sampled_from(KNOWN).map(json.dumps)
    | st.sampled_from(KNOWN).map(json.dumps)
    | st.tuples(st.sampled_from(KNOWN), st.dictionaries(st.text(), json_values)).map(
        lambda both: json.dumps(both[0] | both[1])
    )
    | st.binary(max_size=200)
    | st.just(bytes(1_600))
    | st.text()
    | json_values.map(json.dumps),
    max_size=10,
)


async def attack(stage, path, sent):
    url = f"{stage.server.url}{path.format(call='x')}"
    with suppress(InvalidHandshake):
        async with connect(url, compression=None) as client:

            async def hear():
                with suppress(ConnectionClosed):
                    while True:
                        await client.recv()

            hearing = asyncio.create_task(hear())
            with suppress(ConnectionClosed):
                for message in sent:
                    await client.send(message)
                await client.close()
            await hearing
        assert client.close_code in CLOSES
    await stage.server.sessions.wait_empty()


@pytest.mark.parametrize("path", [dialect.path for dialect in DIALECTS])
def test_arbitrary_conversations_break_nothing(path, caplog):
    caplog.set_level(logging.ERROR)

    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(messages)
    def run(sent):
        async def once():
            async with staged() as stage:
                await attack(stage, path, sent)

        asyncio.run(once())
        assert [] == caplog.records

    run()

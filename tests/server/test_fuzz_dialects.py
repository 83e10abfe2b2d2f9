"""Whatever a client of any dialect sends, nobody else notices, and no bug shows."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import contextmanager, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from streaming.server.dialects import DIALECTS
from tests.server.test_fuzz import beside, json_values

WORDS = (
    "type event config eof reset KeepAlive Finalize CloseStream Configure keyterms "
    "sample_rate words max_alternatives session.update session "
    "input_audio_buffer.append input_audio_buffer.commit audio start media stop dtmf "
    "streamSid stream_id streamId payload track chunk timestamp sequenceNumber "
    "mediaFormat sampleRate encoding channels MEDIA_START format mixType"
).split()
QUERIES = ("", "encoding=linear16&sample_rate=16000", "intent=transcription")

words = st.sampled_from(WORDS)
objects = st.dictionaries(words, words | json_values | st.dictionaries(words, words))
messages = st.lists(
    st.binary(max_size=400)
    | st.sampled_from([b"RIFF", b"", bytes(4_000), "MEDIA_START format:ulaw"])
    | st.text()
    | (json_values | objects).map(json.dumps),
    max_size=8,
)


@contextmanager
def no_bug():
    """Nothing is logged as an error meanwhile."""
    errors = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = errors.append
    logger = logging.getLogger("wavestitch")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    assert [] == [(record.getMessage(), record.exc_info) for record in errors]


@pytest.mark.parametrize("dialect", DIALECTS, ids=[each.path for each in DIALECTS])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=st.sampled_from(QUERIES), sent=messages)
def test_arbitrary_messages_show_no_bug_and_hurt_nobody(dialect, query, sent):
    async def attack(stage):
        url = f"{stage.server.url}{dialect.path.replace('{', '').replace('}', '')}"
        with suppress(InvalidHandshake, ConnectionClosed):
            async with connect(f"{url}?{query}", compression=None) as client:
                for message in sent:
                    await client.send(message)
                await (await client.ping())  # it has all arrived

    with no_bug():
        asyncio.run(beside(attack))

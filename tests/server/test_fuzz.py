"""Whatever one client sends, only that client gets an error, and a typed one."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from streaming.protocols.native_messages import ERRORS
from tests.server.scripted import staged
from tests.server.test_connection import FINISH, FLUSH, SECOND, hear, rest

CODES = {code for _, code, _, _ in ERRORS}
CLOSES = {close for _, _, close, _ in ERRORS} | {1000, 1002}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
commands = st.fixed_dictionaries(
    {"type": st.sampled_from(["flush", "finish", "keepalive", "configure"])},
    optional={"budget_ms": json_values, "partials": json_values, "x": json_values},
)
messages = st.lists(
    st.binary(max_size=200)
    | st.sampled_from([b"boom", b"wav", b"big", SECOND, FLUSH, FINISH])
    | st.text()
    | (json_values | commands).map(json.dumps),
    max_size=8,
)

PRINTABLE = st.characters(
    codec="ascii", exclude_categories=["Cc", "Zs"], exclude_characters="#"
)

thorough = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


async def beside(attack):
    """Run an attack while somebody else holds a conversation."""
    async with staged(handshake_timeout_s=5) as stage, stage.connect() as other:
        await other.send(SECOND)
        await attack(stage)
        await other.send(FLUSH)
        assert "final" in [m["type"] for m in await hear(other, "flushed")]
        await other.send(FINISH)
        assert 16_000 == (await rest(other))[-1]["received"]
        assert other.close_code == 1000
        await stage.server.sessions.wait_empty()


@thorough
@given(messages)
@pytest.mark.filterwarnings("error")
def test_arbitrary_messages_hurt_only_their_sender(sent):
    async def attack(stage):
        async with stage.connect() as client:
            heard = asyncio.create_task(rest(client))
            with suppress(ConnectionClosed):
                for message in sent:
                    await client.send(message)
                await client.send(FINISH)
            said = await heard
        assert list(range(len(said))) == [message["seq"] for message in said]
        assert {m["code"] for m in said if m["type"] == "error"} <= CODES
        assert client.close_code in CLOSES
        assert said[-1]["type"] in ("finished", "error")

    asyncio.run(beside(attack))


@thorough
@given(st.binary(max_size=300))
def test_arbitrary_bytes_after_the_handshake_hurt_only_their_sender(sent):
    async def attack(stage):
        async with stage.connect() as client:
            await client.recv()
            client.transport.write(sent)
            await client.send(FINISH)
            client.transport.write_eof()
            await rest(client)

    asyncio.run(beside(attack))


@thorough
@given(st.binary(max_size=300))
def test_arbitrary_bytes_instead_of_a_handshake_hurt_nobody(sent):
    async def attack(stage):
        reader, writer = await asyncio.open_connection(*stage.address)
        writer.write(sent)
        with suppress(ConnectionError):
            writer.write_eof()
            await reader.read()
        writer.close()

    asyncio.run(beside(attack))


@thorough
@given(
    st.text(
        st.characters(
            codec="ascii", exclude_categories=["Cc", "Zs"], exclude_characters="#"
        )
    )
)
def test_arbitrary_queries_hurt_nobody(query):
    async def attack(stage):
        with suppress(InvalidHandshake, ConnectionClosed):
            async with stage.connect("?" + query) as client:
                await client.recv()

    asyncio.run(beside(attack))

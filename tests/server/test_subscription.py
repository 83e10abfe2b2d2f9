"""Who reads along hears what a session tells, and never holds it up."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.core.tokens import Scope
from streaming.events import Ack
from tests.server.scripted import staged, until
from tests.server.test_auth import KEY, bearer, kept, locked, token
from tests.server.test_http import get

PIECE, FINISH = bytes(640), '{"type":"finish"}'


def along(stage, ready, query="", **options):
    path = f"/v1/sessions/{ready['session']}/events{query}"
    return connect(f"{stage.server.url}{path}", compression=None, **options)


async def rest(client):
    """What comes until the close, and its code."""
    heard = []
    try:
        while True:
            heard.append(json.loads(await client.recv()))
    except ConnectionClosed as closed:
        return heard, closed.rcvd.code


async def test_a_reader_hears_what_the_client_hears():
    async with staged() as stage, stage.connect() as client:
        ready = json.loads(await client.recv())
        async with along(stage, ready) as reader:
            first = json.loads(await reader.recv())
            await client.send(PIECE)
            await client.send(FINISH)
            told, _ = await rest(client)
            heard, code = await rest(reader)

    assert ("ready", ready["session"], "") == (
        first["type"],
        first["session"],
        first["token"],
    )
    assert list(range(1, len(heard) + 1)) == [message["seq"] for message in heard]
    bare = [[{**m, "seq": 0} for m in said] for said in (told, heard)]
    assert bare[0] == bare[1]
    assert ("finished", 1000) == (heard[-1]["type"], code)


async def test_a_reader_that_leaves_or_talks_disturbs_nobody():
    async with staged() as stage, stage.connect() as client:
        ready = json.loads(await client.recv())
        async with along(stage, ready) as reader:
            await reader.recv()
            await reader.send(FINISH)
        (stream,) = stage.server.sessions
        await until(lambda: not stream.telling.readers)
        await client.send(PIECE)
        await client.send(FINISH)
        told, code = await rest(client)

    assert ("finished", 1000) == (told[-1]["type"], code)
    assert 320 == told[-1]["received"]


async def test_a_reader_that_takes_nothing_is_let_go():
    async with staged(max_unsent=16) as stage, stage.connect() as client:
        ready = json.loads(await client.recv())
        async with along(stage, ready) as reader:
            await reader.recv()
            (stream,) = stage.server.sessions
            (outbox,) = stream.telling.readers
            for _ in range(18):  # at once, so that the reader has no turn
                stream.telling.pass_on(Ack(1))
            heard, code = await rest(reader)
        await client.send(FINISH)
        told, _ = await rest(client)

    assert outbox.closed
    assert ([], 1008) == (heard, code)
    assert "finished" == told[-1]["type"]


async def test_what_is_not_held_and_what_is_no_websocket_is_told():
    async with staged() as stage:
        with pytest.raises(InvalidStatus) as refused:
            await along(stage, {"session": "0" * 16})
        status, *_ = await get(stage, f"/v1/sessions/{'0' * 16}/events")

    assert 410 == refused.value.response.status_code
    assert 426 == status


async def test_an_ended_session_is_closed_at_once():
    async with staged(resume_window_s=30) as stage, stage.connect() as client:
        ready = json.loads(await client.recv())
        stage.engine.held = True
        await client.send(PIECE)
        await client.send(FINISH)
        await until(lambda: stage.engine.waiting)
        async with along(stage, ready) as reader:
            await reader.recv()
            stage.engine.release()
            heard, code = await rest(reader)

    assert (["final", "finished"], 1000) == ([m["type"] for m in heard], code)


OTHER = "wsk_other"


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (lambda _: ("", {}), 401),
        (lambda _: ("", bearer(OTHER)), 403),
        (lambda _: ("", bearer(token())), 403),
        (lambda _: ("", bearer(token(Scope.READ, "another"))), 403),
        (lambda _: ("?token=wrong", {}), 401),
        (lambda _: ("", bearer(KEY)), None),
        (lambda ready: ("", bearer(token(Scope.READ, ready["session"]))), None),
        (lambda ready: (f"?token={ready['token']}", {}), None),
    ],
)
async def test_who_may_read_along(shown, status):
    async with (
        locked(kept(), kept("other", OTHER)) as stage,
        stage.connect(**bearer(KEY)) as client,
    ):
        ready = json.loads(await client.recv())
        query, options = shown(ready)
        if status is None:
            async with along(stage, ready, query, **options) as reader:
                assert "ready" == json.loads(await reader.recv())["type"]
            return
        with pytest.raises(InvalidStatus) as refused:
            await along(stage, ready, query, **options)
        assert status == refused.value.response.status_code


async def test_without_keys_a_wrong_token_is_no_way_in():
    async with staged() as stage, stage.connect() as client:
        ready = json.loads(await client.recv())
        with pytest.raises(InvalidStatus) as refused:
            await along(stage, ready, "?token=wrong")

    assert 401 == refused.value.response.status_code

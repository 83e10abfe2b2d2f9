"""Tokens for web pages, and keys of what is sent over plain HTTP."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.config import AccessConfig
from streaming.core.tokens import Claims, Scope, verify
from streaming.errors import BadRequest
from streaming.server.issuing import _asked
from tests.server.scripted import staged
from tests.server.talking_http import LISTEN, SECOND, ask, calling, post
from tests.server.test_auth import KEY, SECRET, bearer, kept, keyed, locked, token
from tests.server.test_http import refused


def asking(body=b"", key=KEY, **headers):
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    return post("/v1/tokens", body, **headers)


async def test_a_key_gets_a_token_that_opens_a_stream():
    async with locked() as stage:
        answer = await ask(stage, asking())
        said = json.loads(answer.body)
        options = {"subprotocols": ["bearer", said["token"]], "origin": stage.origin}
        async with stage.connect(**options) as page:
            assert '"type":"ready"' in await page.recv()
            assert "bearer" == page.subprotocol
            assert 1 == stage.metric("key_streams_open", key="desk")

    assert (200, "stream") == (answer.status, said["scope"])
    assert "no-store" == answer.headers["cache-control"]
    assert 55 <= said["expires_at"] - time.time() <= 60


async def test_a_token_to_read_a_session_opens_none():
    body = b'{"scope": "read", "session": "abc", "life_s": 90}'
    async with locked() as stage:
        said = json.loads((await ask(stage, asking(body))).body)
        status, _, _ = await refused(stage, **bearer(said["token"]))

    claims = Claims("desk", Scope.READ, said["expires_at"], "abc")
    assert claims == verify(said["token"], SECRET, time.time())
    assert 403 == status


async def test_no_token_lives_longer_than_may():
    async with locked(max_token_s=120.0) as stage:
        said = json.loads((await ask(stage, asking(b'{"life_s": 1e9}'))).body)

    assert said["expires_at"] - time.time() <= 120


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (asking(key=None), 401, "a key is needed"),
        (asking(key="wsk_other"), 401, "not one of this server"),
        (asking(key=token()), 403, "a token is not enough"),
        (asking(origin="https://evil.example"), 403, "access.origins"),
        (asking(b"{"), 400, "the body must be a JSON object"),
        (asking(b"[]"), 400, "the body must be a JSON object"),
        (asking(b'{"scop": 1}'), 400, "the fields are scope, session, life_s"),
        (asking(b'{"scope": "admin"}'), 400, "scope must be stream or read, got 'adm"),
        (asking(b'{"scope": "read"}'), 400, "session is that to read"),
        (asking(b'{"session": "a"}'), 400, "session is that to read"),
        (asking(b'{"life_s": 0}'), 400, "life_s must be 1 or more seconds, got '0'"),
        (asking(b'{"life_s": "60"}'), 400, "life_s must be"),
        (asking(b" " * 5_000), 413, "4096 bytes at most"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(request_, status, words):
    async with locked() as stage:
        answer = await ask(stage, request_)

    said = json.loads(answer.body)
    assert (status, "error") == (answer.status, said["type"])
    assert words in said["message"]
    assert ("Bearer" if status == 401 else None) == answer.headers.get(
        "www-authenticate"
    )


async def test_where_there_are_no_keys_there_are_no_tokens():
    async with staged(access=AccessConfig()) as stage:
        answer = await ask(stage, asking())
        page = await ask(stage, b"GET /v1/tokens HTTP/1.1\r\nHost: x\r\n\r\n")

    assert (403, "forbidden") == (answer.status, json.loads(answer.body)["code"])
    assert (405, "POST") == (page.status, page.headers["allow"])


@given(st.binary(max_size=60) | st.from_regex(r'\{"(scope|session|life_s)": .*\}'))
def test_whatever_is_asked_for_is_understood_or_refused(body):
    if isinstance(body, str):
        body = body.encode()
    try:
        scope, session, life_s = _asked(body)
    except BadRequest:
        return
    assert (scope is Scope.READ) == (session is not None)
    assert life_s >= 1


# --- recordings ------------------------------------------------------------


async def test_a_recording_takes_a_key_and_counts_for_it():
    async with locked(kept(minutes_a_day=1)) as stage:
        upload = post(LISTEN, SECOND, content_type="audio/raw")
        assert 401 == (await ask(stage, upload)).status
        upload = post(LISTEN, SECOND, authorization=f"Token {KEY}")
        assert 200 == (await ask(stage, upload)).status
        assert 1.0 == stage.metric("key_audio_seconds_total", key="desk")
        upload = post(LISTEN, 60 * SECOND, authorization=f"Token {KEY}")
        spent = await ask(stage, upload)

    assert 429 == spent.status
    assert "1 minutes of audio a day" in spent.body.decode()


async def test_a_recording_is_a_stream_of_its_key_while_it_is_heard():
    async with (
        staged(access=keyed(kept(streams=1)), secret=SECRET) as stage,
        calling(stage) as slow,
    ):
        upload = post(LISTEN, SECOND, authorization=f"Token {KEY}")
        slow.send(upload[:-1])
        async with asyncio.timeout(10):
            while not stage.metric("key_streams_open", key="desk"):  # noqa: ASYNC110
                await asyncio.sleep(0)
        status, _, body = await refused(stage, **bearer(KEY))
        slow.send(upload[-1:])
        assert 200 == (await slow.hear()).status
        async with stage.connect(**bearer(KEY)) as client:
            assert '"type":"ready"' in await client.recv()

    assert (429, "limit_reached") == (status, body["code"])

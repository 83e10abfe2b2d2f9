"""Recordings over TLS, and on the account of a key."""

from __future__ import annotations

import asyncio
import json

from streaming.server import http
from tests.server.scripted import until
from tests.server.talking_http import LISTEN, SECOND, TRANSCRIBE, ask, calling, post
from tests.server.test_auth import KEY, kept, locked
from tests.server.test_rest import ASKING, UPLOAD, text_of
from tests.server.test_tls import Authority, secured


def over_tls(stage):
    return calling(stage, ssl=stage.trust, server_hostname="localhost")


async def test_it_is_the_same_over_tls(tmp_path):
    async with secured(Authority(tmp_path)) as stage, over_tls(stage) as caller:
        caller.send(UPLOAD)
        assert "a" == text_of(await caller.hear())
        caller.send(UPLOAD, UPLOAD)
        assert ["a", "a"] == [text_of(await caller.hear()) for _ in range(2)]
        caller.send(ASKING)
        assert 100 == (await caller.hear()).status
        caller.send(SECOND[:-1])
        await asyncio.sleep(0)
        caller.send(SECOND[-1:])
        assert "a" == text_of(await caller.hear())
        caller.send(post("/nowhere"))
        assert 404 == (await caller.hear()).status
        assert b"" == await caller.rest()


async def test_who_is_refused_over_tls_still_reads_why(tmp_path):
    async with secured(Authority(tmp_path)) as stage, over_tls(stage) as caller:
        caller.send(post("/nowhere", content_length="9000000"))
        for _ in range(90):
            caller.send(bytes(100_000))
            await caller.writer.drain()
        assert 404 == (await caller.hear()).status


async def test_who_leaves_over_tls_is_heard_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(http, "_TOGETHER_S", 0)
    async with secured(Authority(tmp_path)) as stage:
        stage.engine.held = True
        async with over_tls(stage) as caller:
            caller.send(UPLOAD)
            await stage.engine.submitted.wait()
        await until(lambda: stage.engine.ended)
        assert 0 == stage.metric("streams_open")


async def test_a_recording_needs_a_key_where_there_are_keys():
    async with locked() as stage:
        deepgram = await ask(stage, UPLOAD)
        openai = await ask(stage, post(TRANSCRIBE))
        right = await ask(stage, post(LISTEN, SECOND, authorization=f"Token {KEY}"))

    assert (401, "INVALID_AUTH") == (
        deepgram.status,
        json.loads(deepgram.body)["err_code"],
    )
    assert "Bearer" == openai.headers["www-authenticate"]
    assert "invalid_api_key" == json.loads(openai.body)["error"]["code"]
    assert 200 == right.status


async def test_a_web_page_of_strangers_is_refused():
    async with locked() as stage:
        answer = await ask(
            stage,
            post(LISTEN, authorization=f"Token {KEY}", origin="https://x.example"),
        )

    assert 403 == answer.status


async def test_a_recording_spends_what_its_key_may():
    async with locked(kept(minutes_a_day=1)) as stage:
        whole = post(LISTEN, SECOND * 40, authorization=f"Token {KEY}")
        answers = [await ask(stage, whole) for _ in range(3)]

    assert [200, 429, 429] == [answer.status for answer in answers]
    assert "TOO_MANY_REQUESTS" == json.loads(answers[1].body)["err_code"]

"""Vosk's and Deepgram's clients over a real websocket, with scripted insides."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.protocols.deepgram import DEEPGRAM
from streaming.protocols.vosk import VOSK
from streaming.server import dialects
from tests.server.scripted import staged

SECOND = bytes(32_000)  # of 16 kHz pcm_s16le
RAW = "/v1/listen?encoding=linear16&sample_rate=16000"


def call(stage, path, **options):
    return connect(f"{stage.server.url}{path}", compression=None, **options)


async def rest(client):
    heard = []
    with suppress(ConnectionClosed):
        while True:
            heard.append(json.loads(await client.recv()))
    return heard


# --- Vosk ------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 320, 32_000, 200_000])
async def test_each_message_of_vosk_has_one_answer_whatever_its_length(size):
    async with staged() as stage, call(stage, "/") as client:
        await client.send('{"config":{"sample_rate":16000}}')
        for _ in range(10):
            await client.send(bytes(size))
        answers = [json.loads(await client.recv()) for _ in range(10)]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.05)
        await client.send('{"eof" : 1}')
        last = await rest(client)

    assert all({"partial"} == set(answer) for answer in answers)
    assert [{"text": "a"}] == last
    assert (1000, "") == (client.close_code, client.close_reason)


async def test_an_answer_of_vosk_waits_while_more_than_a_second_is_undecoded():
    async with staged() as stage, call(stage, "/") as client:
        stage.engine.held = True
        await client.send('{"config":{"sample_rate":16000}}')
        for _ in range(4):
            await client.send(SECOND[:16_000])
        assert ["partial"] == list(json.loads(await client.recv()))
        assert ["partial"] == list(json.loads(await client.recv()))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.05)
        stage.engine.held = False
        stage.engine.release(9)
        assert ["partial"] == list(json.loads(await client.recv()))


@pytest.mark.parametrize(
    ("begin", "message", "code", "reason"),
    [
        (b"", "hello", 1003, "bad_message"),
        (b"", '{"config":{"sample_rate":1}}', 1003, "bad_message"),
        (b"", b"RIFF\0\0\0\0AVI ", 1003, "unsupported_audio"),
        (SECOND, "hello", 1003, "bad_message"),
        (SECOND, '{"config":{"sample_rate":-1}}', 1003, "bad_message"),
        (SECOND, b"wav", 1003, "unsupported_audio"),
    ],
)
async def test_vosk_is_told_errors_by_the_close_alone(begin, message, code, reason):
    async with staged() as stage, call(stage, "/") as client:
        await client.send(begin)
        await client.recv()
        await client.send(message)
        said = await rest(client)

    assert [] == [each for each in said if each != {"partial": ""}]
    assert (code, reason) == (client.close_code, client.close_reason)


async def test_a_browser_or_probe_at_the_root_is_told_what_is_there():
    async with staged() as stage:
        reader, writer = await asyncio.open_connection(*stage.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 426")
    assert b"upgrade_required" in answer


async def test_vosk_is_sent_no_pings():
    assert VOSK.pings is False


# --- Deepgram --------------------------------------------------------------


async def test_a_stream_of_deepgram_ends_with_its_metadata():
    async with staged() as stage, call(stage, RAW) as client:
        await client.send(SECOND)
        await client.send('{"type":"Finalize"}')
        await client.send('{"type":"CloseStream"}')
        heard = await rest(client)
        request = client.response.headers["dg-request-id"]

    assert "Metadata" == heard[-1]["type"]
    assert 1.0 == heard[-1]["duration"]
    assert request == heard[-1]["request_id"]
    assert {"scripted"} == {
        said["metadata"]["model_info"]["name"] for said in heard[:-1]
    }
    assert 1000 == client.close_code


async def test_the_answer_to_a_bad_text_keeps_its_place_and_the_stream_goes_on():
    async with staged() as stage, call(stage, RAW) as client:
        await client.send("what?")
        await client.send('{"type":"CloseStream"}')
        heard = await rest(client)

    assert ["Error", "Results", "Metadata"] == [said["type"] for said in heard]


@pytest.mark.parametrize(
    ("query", "message", "code", "reason"),
    [
        ("", b"OggS\0\0\0\0", 1008, "DATA-0000"),
        ("?encoding=linear16&sample_rate=16000", b"wav", 1008, "DATA-0000"),
        ("?encoding=linear16&sample_rate=16000", b"boom", 1011, "NET-0000"),
    ],
)
async def test_deepgram_is_told_errors_by_its_own_codes(query, message, code, reason):
    async with staged() as stage, call(stage, f"/v1/listen{query}") as client:
        await client.send(message)
        assert [] == [said for said in await rest(client) if said["type"] == "Error"]

    assert (code, reason) == (client.close_code, client.close_reason)


async def test_an_idle_client_of_deepgram_is_closed_unless_it_keeps_alive(monkeypatch):
    quick = replace(DEEPGRAM, idle_timeout_s=0.2)
    monkeypatch.setattr(dialects, "DIALECTS", (quick,))
    now = 100.0
    async with staged(clock=lambda: now) as stage, call(stage, RAW) as client:
        for _ in range(3):
            now += 0.15
            await client.send('{"type":"KeepAlive"}')
            await (await client.ping())
        now += 0.25
        await rest(client)

    assert (1011, "NET-0001") == (client.close_code, client.close_reason)


async def test_a_query_that_cannot_be_honoured_is_an_http_400():
    async with staged() as stage:
        with pytest.raises(InvalidStatus) as caught:
            await call(stage, f"{RAW}&redact=pci")

    response = caught.value.response
    told = json.loads(response.body)
    assert (400, "Bad Request") == (response.status_code, told["err_code"])
    assert told["request_id"] == response.headers["dg-request-id"]
    assert told["err_msg"] == response.headers["dg-error"]


@pytest.mark.parametrize("scheme", ["token", "bearer"])
async def test_a_key_in_the_subprotocols_is_not_sent_back(scheme):
    offered = [scheme, "a-secret-key", "x-deepgram-session-id", "an-id"]
    async with staged() as stage, call(stage, RAW, subprotocols=offered) as client:
        assert scheme == client.subprotocol

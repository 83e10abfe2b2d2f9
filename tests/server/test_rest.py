"""HTTP with bodies on the port of the websockets."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.server import http
from tests.server.scripted import staged, until
from tests.server.talking_http import (
    LISTEN,
    SECOND,
    TRANSCRIBE,
    Caller,
    ask,
    calling,
    form,
    post,
)
from tests.server.test_fuzz import beside, thorough

UPLOAD = post(LISTEN, SECOND, content_type="audio/raw")
ASKING = post(LISTEN, content_length=str(len(SECOND)), expect="100-continue")


def text_of(answer):
    results = json.loads(answer.body)["results"]
    return results["channels"][0]["alternatives"][0]["transcript"]


# --- one port ----------------------------------------------------------------


async def test_websockets_pages_and_bodies_share_a_port():
    async with staged() as stage, stage.connect() as client:
        assert '"type":"ready"' in await client.recv()
        assert 200 == (await ask(stage, UPLOAD)).status
        page = await ask(stage, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'{"status":"alive"}\n' == page.body


async def test_a_method_is_known_by_its_first_byte():
    async with staged() as stage, calling(stage) as page, calling(stage) as upload:
        page.send(b"G")
        upload.send(b"P")
        await asyncio.sleep(0)
        page.send(b"ET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        upload.send(UPLOAD[1:])
        assert 200 == (await page.hear()).status
        assert "a" == text_of(await upload.hear())


async def test_a_connection_is_kept_for_more():
    async with staged() as stage, calling(stage) as caller:
        for _ in range(3):
            caller.send(UPLOAD)
            assert "a" == text_of(await caller.hear())
        caller.send(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
        assert 426 == (await caller.hear()).status
        assert b"" == await caller.rest()


async def test_requests_may_come_before_their_answers():
    async with staged() as stage, calling(stage) as caller:
        caller.send(UPLOAD, UPLOAD, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [200, 200, 200] == [(await caller.hear()).status for _ in range(3)]


async def test_a_body_may_come_in_chunks_of_any_size():
    head = f"POST {LISTEN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with staged() as stage, calling(stage) as caller:
        caller.send(head.encode())
        for size in (1, 2, 31_997):
            caller.send(f"{size:x}\r\n".encode(), bytes(size), b"\r\n")
            await caller.writer.drain()
        caller.send(b"0\r\n\r\n")
        answer = await caller.hear()
        [session] = stage.sessions

    assert (200, 16_000) == (answer.status, session.received)
    assert 1.0 == json.loads(answer.body)["metadata"]["duration"]


async def test_who_asks_whether_to_go_on_is_told():
    async with staged() as stage, calling(stage) as caller:
        caller.send(ASKING)
        assert 100 == (await caller.hear()).status
        caller.send(SECOND)
        assert 200 == (await caller.hear()).status


async def test_who_is_refused_need_not_send():
    async with staged(max_uploads=0) as stage, calling(stage) as caller:
        caller.send(ASKING)
        answer = await caller.hear()

    assert (503, "close") == (answer.status, answer.headers["connection"])
    assert "5" == answer.headers["retry-after"]


async def test_http_1_0_is_answered():
    async with staged() as stage, calling(stage) as caller:
        caller.send(UPLOAD.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert "a" == text_of(await caller.hear())
        assert b"" == await caller.rest()


# --- what is refused -----------------------------------------------------------


async def test_a_body_that_says_it_is_too_long_is_not_read():
    async with staged(max_body_bytes=2_000) as stage:
        answer = await ask(stage, post(LISTEN, SECOND))

    assert (413, "close") == (answer.status, answer.headers["connection"])
    assert "PAYLOAD_TOO_LARGE" == json.loads(answer.body)["err_code"]
    assert [] == stage.sessions


async def test_a_body_that_becomes_too_long_is_read_no_further():
    head = f"POST {TRANSCRIBE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    head += "Content-Type: multipart/form-data; boundary=b0\r\n\r\n"
    body, _ = form(SECOND)
    async with staged(max_body_bytes=2_000) as stage, calling(stage) as caller:
        caller.send(head.encode(), f"{len(body):x}\r\n".encode(), body)
        answer = await caller.hear()

    assert 413 == answer.status
    assert "too_big" == json.loads(answer.body)["error"]["code"]


async def test_who_goes_on_sending_still_reads_why(monkeypatch):
    monkeypatch.setattr(http, "_LINGER_IDLE_S", 10)
    size = 40_000_000
    async with staged(max_body_bytes=2_000) as stage, calling(stage) as caller:
        caller.send(post(LISTEN, content_length=str(size)))
        for _ in range(size // 400_000):
            caller.send(bytes(400_000))
            await caller.writer.drain()
        assert 413 == (await caller.hear()).status


async def test_a_body_that_stops_is_not_waited_for():
    async with staged(body_timeout_s=0.1) as stage, calling(stage) as caller:
        caller.send(UPLOAD[:-1])
        answer = await caller.hear()

    assert (408, "SLOW_UPLOAD") == (answer.status, json.loads(answer.body)["err_code"])


async def test_a_body_that_drips_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(http, "_SLOWEST_BYTES_PER_S", 1e9)
    async with staged(body_timeout_s=0.3) as stage, calling(stage) as caller:
        caller.send(UPLOAD[:-1000])
        heard = asyncio.create_task(caller.hear())
        while not heard.done():
            caller.send(b"\0")
            await asyncio.wait([heard], timeout=0.05)

    assert 408 == (await heard).status


async def test_a_head_that_stops_is_not_waited_for():
    async with staged(handshake_timeout_s=0.1) as stage:
        answer = await ask(stage, UPLOAD[:30])

    assert 408 == answer.status
    assert "handshake_timeout" == json.loads(answer.body)["code"]


async def test_a_kept_connection_is_closed_in_silence(monkeypatch):
    monkeypatch.setattr(http, "_IDLE_S", 0.05)
    async with staged() as stage, calling(stage) as caller:
        caller.send(UPLOAD)
        assert 200 == (await caller.hear()).status
        assert b"" == await caller.rest()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 400),  # without a host
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 70_000, 431),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"PUT /v1/listen HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
async def test_what_is_no_request_of_ours_is_refused_in_type(raw, status):
    async with staged() as stage:
        answer = await ask(stage, raw)

    assert status == answer.status
    assert "error" == json.loads(answer.body)["type"]


async def test_a_broken_chunk_is_refused():
    head = f"POST {LISTEN} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with staged() as stage:
        answer = await ask(stage, head.encode(), b"zz\r\n")

    assert 400 == answer.status
    assert "broken" in json.loads(answer.body)["err_msg"]


async def test_a_compressed_body_is_refused():
    async with staged() as stage:
        answer = await ask(stage, post(LISTEN, SECOND, content_encoding="gzip"))

    assert 400 == answer.status


async def test_audio_that_is_none_is_refused_in_each_dialects_words():
    body, kind = form(b"no audio at all", model="whisper-1")
    async with staged() as stage:
        openai = await ask(stage, post(TRANSCRIBE, body, content_type=kind))
        deepgram = await ask(stage, post("/v1/listen", b"no audio at all"))
        raw = await ask(stage, post(LISTEN, b"wav" + SECOND))

    why = "cannot read the recording: not a recording that libsndfile reads: expected"
    error = json.loads(openai.body)["error"]
    assert (400, "unsupported_audio") == (openai.status, error["code"])
    assert error["message"].startswith(why)
    told = json.loads(deepgram.body)
    assert told["err_msg"].startswith(why)
    assert deepgram.headers["dg-request-id"] == told["request_id"]
    assert "got a WAV header" in json.loads(raw.body)["err_msg"]


async def test_nothing_is_fetched():
    async with staged() as stage:
        answer = await ask(
            stage,
            post("/v1/listen", b'{"url":"http://x"}', content_type="application/json"),
        )

    told = json.loads(answer.body)
    assert (400, "REMOTE_CONTENT_ERROR") == (answer.status, told["err_code"])
    assert "upload only" in told["err_msg"]


async def test_a_bug_is_ours_and_tells_nothing(caplog):
    async with staged() as stage:
        answer = await ask(stage, post(LISTEN, b"boom" + SECOND))
        assert 200 == (await ask(stage, UPLOAD)).status

    assert 500 == answer.status
    assert "secret" not in answer.body.decode()
    assert "could not be heard" in caplog.text


async def test_before_it_is_warm_it_takes_no_recording():
    async with staged(warm=False) as stage:
        refused = await ask(stage, UPLOAD)
        models = await ask(stage, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        stage.server.open(stage.backend)
        assert 200 == (await ask(stage, UPLOAD)).status

    assert (503, "5") == (refused.status, refused.headers["retry-after"])
    assert 503 == models.status


async def test_recordings_have_seats_of_their_own():
    async with staged(max_uploads=1, max_streams=1) as stage:
        stage.engine.held = True
        async with calling(stage) as caller:
            caller.send(UPLOAD)
            await stage.engine.submitted.wait()
            assert 503 == (await ask(stage, UPLOAD)).status
            async with stage.connect() as live:  # which a recording takes none of
                assert '"type":"ready"' in await live.recv()
            stage.engine.held = False
            stage.engine.release(99)
            assert 200 == (await caller.hear()).status
        counted = stage.metric("recordings_total", path="/v1/listen", status="503")

    assert 1 == counted


async def test_live_streams_go_first():
    async with staged() as stage, stage.connect() as live, calling(stage) as caller:
        await live.recv()
        stage.engine.held = True
        caller.send(UPLOAD)
        await live.send(SECOND)
        await until(lambda: len({job.stream for job, _ in stage.engine.waiting}) == 2)
        jobs = [job for job, _ in stage.engine.waiting]
        recorded = min(job.deadline for job in jobs if job.stream >= 1 << 40)
        spoken = max(job.deadline for job in jobs if job.stream < 1 << 40)
        stage.engine.held = False
        stage.engine.release(99)
        assert 200 == (await caller.hear()).status

    assert recorded > spoken + 3_000


async def test_one_connection_too_many_is_refused():
    async with staged(max_connections=1) as stage, calling(stage) as first:
        first.send(UPLOAD)
        assert 200 == (await first.hear()).status
        assert 503 == (await ask(stage, UPLOAD)).status


# --- who leaves ------------------------------------------------------------------


async def test_who_closed_its_side_with_the_request_is_answered():
    async with staged() as stage, calling(stage) as caller:
        caller.send(UPLOAD)
        caller.writer.write_eof()
        assert "a" == text_of(await caller.hear())
        assert b"" == await caller.rest()


async def test_who_leaves_is_heard_no_further(monkeypatch):
    monkeypatch.setattr(http, "_TOGETHER_S", 0)
    async with staged() as stage:
        stage.engine.held = True
        async with calling(stage) as caller:
            caller.send(UPLOAD)
            await stage.engine.submitted.wait()
        await until(lambda: stage.engine.ended)
        assert [] == stage.engine.waiting
        dropped = stage.metric("audio_dropped_seconds_total", reason="lost")
        assert 0 == stage.metric("streams_open")

    assert 0.5 <= dropped <= 1.0


async def test_who_is_cut_off_while_sending_harms_nobody():
    async with staged() as stage:
        async with calling(stage) as caller:
            caller.send(UPLOAD[:-5])
            caller.writer.write_eof()
            assert 400 == (await caller.hear()).status
        async with calling(stage) as caller:
            caller.send(UPLOAD[:-5])
            await caller.writer.drain()
            caller.writer.transport.abort()
        assert 200 == (await ask(stage, UPLOAD)).status


# --- events as they come -----------------------------------------------------------


async def test_events_come_in_pieces_and_end():
    wav = _wav(SECOND)
    body, kind = form(wav, model="whisper-1", stream="true")
    async with staged() as stage, calling(stage) as caller:
        for _ in range(2):  # the connection is kept
            caller.send(post(TRANSCRIBE, body, content_type=kind))
            answer = await caller.hear()
    events = [json.loads(e[6:]) for e in answer.body.decode().split("\n\n") if e]
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert ["transcript.text.delta", "transcript.text.done"] == [
        event["type"] for event in events
    ]
    assert "a" == events[-1]["text"]


async def test_an_error_midway_is_an_event():
    body, kind = form(_wav(SECOND * 3), model="whisper-1", stream="true")
    async with staged(max_stream_s=1) as stage:
        answer = await ask(stage, post(TRANSCRIBE, body, content_type=kind))

    [event] = [json.loads(e[6:]) for e in answer.body.decode().split("\n\n") if e]
    assert (200, "error") == (answer.status, event["type"])
    assert "too_big" == event["error"]["code"]


# --- the end -------------------------------------------------------------------------


async def test_a_drain_waits_for_recordings_and_closes_kept_connections():
    async with staged(drain_s=10) as stage, calling(stage) as idle:
        idle.send(UPLOAD)
        assert 200 == (await idle.hear()).status
        stage.engine.held = True
        stage.engine.submitted.clear()
        async with calling(stage) as busy:
            busy.send(UPLOAD)
            await stage.engine.submitted.wait()
            drained = asyncio.create_task(stage.server.drain())
            assert b"" == await idle.rest()
            assert 503 == (await ask(stage, UPLOAD)).status
            assert not drained.done()
            stage.engine.held = False
            stage.engine.release(99)
            answer = await busy.hear()
            assert b"" == await busy.rest()
        await drained

    assert (200, "close") == (answer.status, answer.headers["connection"])


async def test_a_drain_that_is_over_refuses_what_is_not_done():
    async with staged(drain_s=0) as stage:
        stage.engine.held = True
        async with calling(stage) as busy:
            busy.send(UPLOAD)
            await stage.engine.submitted.wait()
            drained = asyncio.create_task(stage.server.drain())
            answer = await busy.hear()
        await drained

    assert 503 == answer.status


async def test_a_close_cuts_off_what_is_left():
    async with staged() as stage:
        stage.engine.held = True
        reader, writer = await asyncio.open_connection(*stage.address)
        Caller(reader, writer).send(UPLOAD)
        await stage.engine.submitted.wait()
        await stage.server.close()
        assert b"" == await reader.read()
        writer.close()


# --- anything ----------------------------------------------------------------------


@thorough
@given(
    st.lists(
        st.binary(max_size=200)
        | st.sampled_from(
            [
                UPLOAD[:200],
                UPLOAD,
                b"POST ",
                b"\r\n\r\n",
                b"Transfer-Encoding: chunked\r\n\r\n",
                b"5\r\nhello\r\n",
                b"0\r\n\r\n",
                post(TRANSCRIBE, *form(b"x", model="whisper-1")[:1]),
                post(
                    TRANSCRIBE,
                    form(b"x", model="whisper-1")[0],
                    content_type="multipart/form-data; boundary=b0",
                ),
            ]
        ),
        min_size=1,
        max_size=6,
    )
)
def test_arbitrary_bytes_hurt_only_their_sender(pieces):
    async def attack(stage):
        async with calling(stage) as caller:
            for piece in (b"P", *pieces):
                caller.send(piece)
                await asyncio.sleep(0)
            caller.writer.write_eof()
            said = await caller.rest()
        assert said == b"" or said.startswith(b"HTTP/1.1 ")

    asyncio.run(beside(attack))


def _wav(pcm: bytes) -> bytes:
    head = b"RIFF" + (36 + len(pcm)).to_bytes(4, "little") + b"WAVEfmt "
    head += bytes([16, 0, 0, 0, 1, 0, 1, 0, 0x80, 0x3E, 0, 0, 0, 0x7D, 0, 0])
    return head + bytes([2, 0, 16, 0]) + b"data" + len(pcm).to_bytes(4, "little") + pcm

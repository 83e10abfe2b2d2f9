"""Health, metrics and refusals, as plain HTTP on the port of the websocket."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.errors import Unauthorized
from streaming.protocols.native import NATIVE
from streaming.server import dialects
from tests.server.scripted import staged


async def ask(stage, raw):
    """Send raw bytes; return status, headers in lower case, and body."""
    reader, writer = await asyncio.open_connection(*stage.address)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body.decode()


async def get(stage, path, method="GET"):
    return await ask(stage, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def refused(stage, query="", **options):
    """The HTTP answer to a websocket that is not let in."""
    with pytest.raises(InvalidStatus) as caught:
        await stage.connect(query, **options).__aenter__()
    response = caught.value.response
    assert "application/json" == response.headers["Content-Type"]
    return response.status_code, response.headers, json.loads(response.body)


# --- pages -----------------------------------------------------------------


async def test_a_warm_server_is_alive_and_ready():
    async with staged() as stage:
        assert (200, '{"status":"alive"}\n') == (await get(stage, "/healthz"))[::2]
        assert (200, '{"status":"ready"}\n') == (await get(stage, "/readyz"))[::2]


async def test_before_it_is_warm_it_is_alive_but_not_ready_and_takes_no_stream():
    async with staged(warm=False) as stage:
        assert (await get(stage, "/healthz"))[0] == 200
        status, headers, body = await get(stage, "/readyz")
        assert (503, "warming up") == (status, json.loads(body)["status"])
        assert headers["retry-after"] == "5"

        status, _, body = await refused(stage)
        assert (503, "overloaded") == (status, body["code"])

        stage.server.open(stage.backend)
        assert (await get(stage, "/readyz"))[0] == 200


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"full": "9 s wait"}, "overloaded: 9 s wait"),
        ({"least_s": 0.7}, "slow: 700 ms is the smallest budget it can keep"),
        ({"warm": False}, "warming up"),
    ],
)
async def test_ready_means_within_the_budget(change, expected):
    async with staged() as stage:
        for name, value in change.items():
            setattr(stage.engine, name, value)
        status, _, body = await get(stage, "/readyz")

    assert (503, expected) == (status, json.loads(body)["status"])


async def test_metrics_have_a_registry_of_their_own():
    async with staged() as one, staged() as other, one.connect() as client:
        await client.recv()
        _, headers, text = await get(one, "/metrics")
        _, _, quiet = await get(other, "/metrics")

    assert "text/plain" in headers["content-type"]
    assert "wavestitch_streams_open 1.0" in text
    assert "wavestitch_streams_open 0.0" in quiet
    assert 'wavestitch_batch_size_bucket{le="2.0"} 3.0' in text
    assert "wavestitch_inference_seconds_total 0.25" in text
    assert "wavestitch_inference_stateful 1.0" in text
    assert "wavestitch_states_open 2.0" in text
    assert "wavestitch_state_bytes 3000.0" in text
    assert "wavestitch_state_bytes_most 2000.0" in text
    assert 'wavestitch_computed_samples_total{pass="stitched"} 960.0' in text
    assert 'wavestitch_decoded_samples_total{pass="full"} 640.0' in text
    assert "wavestitch_redundancy 2.5" in text


async def test_an_unknown_path_lists_the_paths():
    async with staged() as stage:
        status, _, body = await get(stage, "/v2/stream?x=1")

    assert status == 404
    expected = ["/v1/stream", "/healthz", "/readyz", "/metrics"]
    assert set(expected) <= set(json.loads(body)["paths"])


@pytest.mark.parametrize("path", ["/metrics", "/v1/stream"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "POST", "DELETE"])
async def test_a_wrong_method_is_refused(method, path):
    async with staged() as stage:
        status, headers, _ = await get(stage, path, method)

    assert (405, "get") == (status, headers["allow"])


async def test_a_method_with_a_body_is_answered_too():
    request = b"POST /v1/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd"
    async with staged() as stage:
        status, _, body = await ask(stage, request)

    assert (405, "method_not_allowed") == (status, json.loads(body)["code"])


async def test_a_stream_asked_for_without_a_websocket_is_told_to_upgrade():
    async with staged() as stage:
        status, headers, _ = await get(stage, "/v1/stream")

    assert (426, "websocket") == (status, headers["upgrade"])


async def test_who_never_asks_is_told_that_the_time_is_up():
    async with staged(handshake_timeout_s=0.1) as stage:
        status, _, body = await ask(stage, b"GET /healthz HTT")

    assert (408, "handshake_timeout") == (status, json.loads(body)["code"])


@pytest.mark.parametrize(
    "raw", [b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01" * 99]
)
async def test_garbage_instead_of_http_harms_nobody(raw, caplog):
    async with staged(handshake_timeout_s=0.2) as stage:
        _, writer = await asyncio.open_connection(*stage.address)
        writer.write(raw)
        async with stage.connect() as client:
            assert '"type":"ready"' in await client.recv()
        writer.close()

    assert [] == caplog.records


# --- who is let in ---------------------------------------------------------


async def test_a_bad_parameter_is_answered_400_and_named():
    async with staged() as stage:
        status, _, body = await refused(stage, "?sample_rate=96000")
        count = stage.metric("connections_refused_total", reason="bad_request")

    expected = {
        "type": "error",
        "code": "bad_request",
        "message": "sample_rate must be 8000 to 48000, got 96000",
    }
    assert (400, expected) == (status, body)
    assert count == 1


async def test_a_browser_is_let_in_to_be_told_and_closed():
    async with (
        staged() as stage,
        stage.connect("?channels=9", origin=stage.origin) as client,
    ):
        said = json.loads(await client.recv())
        with pytest.raises(ConnectionClosed):
            await client.recv()

    assert ("error", 0, "bad_request") == (said["type"], said["seq"], said["code"])
    assert (1008, "bad_request") == (client.close_code, client.close_reason)


async def test_one_connection_too_many_is_refused_until_one_ends():
    async with (
        staged(max_connections=2) as stage,
        stage.connect() as first,
        stage.connect() as second,
    ):
        await first.recv()
        await second.recv()
        status, headers, body = await refused(stage)
        async with stage.connect(origin=stage.origin) as browser:
            said = json.loads(await browser.recv())
            await browser.wait_closed()
        await second.send('{"type":"finish"}')
        await second.wait_closed()
        async with stage.connect() as third:
            assert '"type":"ready"' in await third.recv()

    assert (503, "overloaded", "5") == (status, body["code"], headers["Retry-After"])
    assert "all 2 connections are taken" == body["message"]
    assert ("overloaded", 1013) == (said["code"], browser.close_code)


async def test_a_failed_handshake_takes_no_seat():
    broken = b"GET /v1/stream HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
    async with staged(max_connections=1) as stage:
        for _ in range(3):
            assert (await ask(stage, broken))[0] in (400, 426)
        async with stage.connect() as client:
            assert '"type":"ready"' in await client.recv()


async def test_an_engine_that_is_behind_refuses_new_streams():
    async with staged() as stage:
        stage.engine.full = "61 s of audio wait"
        status, headers, body = await refused(stage)

    assert (503, "8") == (status, headers["Retry-After"])
    assert ("61 s of audio wait", 7.2) == (body["message"], body["retry_after_s"])


async def test_a_budget_the_model_cannot_keep_is_refused_with_the_smallest():
    async with staged() as stage:
        stage.engine.least_s = 0.1804
        status, _, body = await refused(stage, "?budget_ms=180")

    assert status == 400
    assert "budget_ms must be at least 181" in body["message"]


async def test_a_resume_without_the_sessions_token_is_refused_as_lost():
    async with staged() as stage, stage.connect() as client:
        ready = json.loads(await client.recv())
        query = f"?session={ready['session']}&token=x{ready['token']}&after=0"
        status, _, body = await refused(stage, query)
        unknown = await refused(stage, "?session=x&token=%C3%BF&after=0")

    assert (410, "session_lost") == (status, body["code"])
    assert "not held here" in unknown[2]["message"]


async def test_keys_have_their_seam(monkeypatch):
    def locked(opening, offer):  # noqa: ARG001
        raise Unauthorized("no key came")

    monkeypatch.setattr(dialects, "DIALECTS", (replace(NATIVE, open=locked),))
    async with staged() as stage:
        status, _, body = await refused(stage)

    assert (401, "unauthorized") == (status, body["code"])


async def test_a_bug_while_opening_is_ours_and_tells_nothing(caplog):
    async with staged() as stage:
        stage.engine.admit = lambda: 1 / 0
        status, _, body = await refused(stage)

    assert (500, "internal") == (status, body["code"])
    assert "zero" not in body["message"]
    assert "could not be opened" in caplog.text


async def test_no_compression_is_agreed_and_an_offered_subprotocol_is_echoed():
    async with (
        staged() as stage,
        stage.connect(compression="deflate", subprotocols=["a", "b"]) as client,
    ):
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        assert client.subprotocol == "a"


def test_the_table_of_dialects_has_each_path_once():
    paths = [dialect.path for dialect in dialects.DIALECTS]
    assert len(paths) == len(set(paths))

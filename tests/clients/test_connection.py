"""Opening a stream, and every way a server may say no."""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Response

from clients import (
    BadRequest,
    CannotConnect,
    Overloaded,
    ProtocolBroken,
    Rejected,
    Unauthorized,
    connect,
)
from clients.dialing import endpoint
from tests.clients.scripted import READY, scripted


async def silent(line):
    await line.socket.wait_closed()


@pytest.mark.parametrize(
    ("url", "parameters", "expected"),
    [
        ("ws://h:1", {}, "ws://h:1/v1/stream"),
        ("ws://h:1/", {}, "ws://h:1/v1/stream"),
        ("wss://h/asr", {}, "wss://h/asr/v1/stream"),
        ("ws://h/v1/stream", {}, "ws://h/v1/stream"),
        ("ws://h/?x=1", {"words": False}, "ws://h/v1/stream?x=1&words=false"),
        ("ws://h", {"language": None, "channels": 2}, "ws://h/v1/stream?channels=2"),
    ],
)
def test_the_address(url, parameters, expected):
    assert expected == endpoint(url, parameters)


@pytest.mark.parametrize("url", ["", "h:1", "http://h", "ws://", "/v1/stream"])
def test_what_is_no_websocket_address_is_refused_by_name(url):
    with pytest.raises(CannotConnect, match="not a websocket address"):
        endpoint(url, {})


async def test_ready_says_what_holds():
    async with scripted(silent) as url, connect(url) as stream:
        assert "bundled" == stream.ready.model
        assert READY["session"] == stream.ready.session


async def test_parameters_that_are_none_are_left_to_the_server():
    paths = []

    async def script(line):
        paths.append(line.path)
        await silent(line)

    async with (
        scripted(script) as url,
        connect(url, encoding="mulaw", sample_rate=8_000, words=False, finals="full"),
    ):
        pass

    assert {
        "encoding": ["mulaw"],
        "sample_rate": ["8000"],
        "channels": ["1"],
        "words": ["false"],
        "finals": ["full"],
    } == parse_qs(urlsplit(paths[0]).query)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequest), (401, Unauthorized), (503, Overloaded)]
)
async def test_a_refusal_over_http_is_typed(status, kind):
    said = {"type": "error", "code": "why", "message": "because"}

    def refuse(connection, _request):
        response = connection.respond(HTTPStatus(status), json.dumps(said))
        if status == 503:
            response.headers["Retry-After"] = "7"
        return response

    async with scripted(silent, process_request=refuse) as url:
        with pytest.raises(kind, match=r"^because$") as caught:
            async with connect(url):
                pass

    assert (status, "why") == (caught.value.status, caught.value.code)
    assert (7.0 if status == 503 else None) == caught.value.retry_after_s


async def test_a_stranger_on_the_port_is_told_apart():
    def refuse(_connection, _request):
        return Response(404, "Not Found", Headers(), b"<html>")

    async with scripted(silent, process_request=refuse) as url:
        with pytest.raises(Rejected, match="HTTP 404 Not Found"):
            async with connect(url):
                pass


async def test_a_refusal_as_a_message_is_typed():
    async def script(line):
        await line.say("error", code="overloaded", message="no room")

    async with scripted(script, ready=False) as url:
        with pytest.raises(Overloaded, match="no room") as caught:
            async with connect(url):
                pass

    assert "overloaded" == caught.value.code


async def test_nobody_there_is_said_in_one_line(unused_port):
    with pytest.raises(
        CannotConnect,
        match=r"cannot reach ws://127\.0\.0\.1:\d+: nothing listens there",
    ) as caught:
        async with connect(f"ws://127.0.0.1:{unused_port}"):
            pass

    assert "\n" not in str(caught.value)


async def test_a_server_that_never_gets_ready():
    async with scripted(silent, ready=False) as url:
        with pytest.raises(CannotConnect, match=r"within 0\.05 s"):
            async with connect(url, open_timeout_s=0.05):
                pass


async def test_a_server_that_begins_with_something_else():
    async def script(line):
        await line.say("ack", received=0)

    async with scripted(script, ready=False) as url:
        with pytest.raises(ProtocolBroken, match="Ack came before ready"):
            async with connect(url):
                pass

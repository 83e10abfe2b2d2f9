"""A connection by itself: readers that take nothing, and bugs of who answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from streaming.config import LimitConfig
from streaming.server.http import HttpConnection

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


class Endless:
    """Answers without end."""

    closing = False

    def __init__(self):
        self.gone = asyncio.Event()

    async def answer(self, exchange):
        await exchange.begin(200, {"X-Said": exchange.headers["host"]})
        while True:
            await exchange.send(bytes(65_536))

    def left(self, connection):  # noqa: ARG002
        self.gone.set()


class Buggy(Endless):
    """Fails in the midst."""

    async def answer(self, exchange):
        await exchange.begin(200, {})
        raise ZeroDivisionError


@asynccontextmanager
async def served(answering, **limits):
    """A server of one answerer; its client's reader and writer."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: HttpConnection(answering, LimitConfig(**limits)), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), limit=1_024
        )
        yield reader, writer
        writer.close()


@pytest.mark.parametrize("leaves", [False, True])
async def test_who_takes_nothing_is_let_go_of(leaves):
    answering = Endless()
    limits = {} if leaves else {"send_timeout_s": 0.1}
    async with served(answering, **limits) as (reader, writer):
        writer.write(REQUEST)
        assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
        if leaves:
            writer.transport.abort()
        async with asyncio.timeout(10):
            await answering.gone.wait()


async def test_a_bug_ends_one_connection(caplog):
    answering = Buggy()
    async with served(answering) as (reader, writer):
        writer.write(REQUEST)
        assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
        async with asyncio.timeout(10):
            await answering.gone.wait()

    assert "an HTTP connection failed" in caplog.text

"""Connections go where they belong, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import socket

import pytest

from streaming.cluster.inlet import Inlet
from streaming.cluster.porter import Porter, holder, mark_of
from streaming.config import ServerConfig
from streaming.server.binding import bind
from streaming.server.sessions import Sessions

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
WAIT_S = 10


class Hall:
    """A porter, and ingests of this process that only take in."""

    def __init__(self):
        (self.listening,) = bind(ServerConfig(port=0))
        self.porter = Porter([self.listening])
        self.running = asyncio.create_task(self.porter.run())
        self.ends = {}

    def add(self, ingest, *, opened=True):
        ours, theirs = socket.socketpair()
        inlet = Inlet(theirs, lambda: self.porter.left(ingest))
        self.ends[ingest] = (ours, inlet)
        self.porter.add(ingest, ours)
        if opened:
            self.porter.open(ingest)

    def remove(self, ingest):
        self.porter.remove(ingest)
        for end in self.ends.pop(ingest):
            end.close()

    async def call(self, said=GET):
        client = socket.create_connection(self.listening.getsockname())
        client.setblocking(False)
        if said:
            await asyncio.get_running_loop().sock_sendall(client, said)
        return client

    async def taken(self, ingest):
        """The next connection that this one accepts."""
        _, inlet = self.ends[ingest]
        ready = asyncio.Event()
        asyncio.get_running_loop().add_reader(inlet, ready.set)
        try:
            async with asyncio.timeout(WAIT_S):
                await ready.wait()
        finally:
            asyncio.get_running_loop().remove_reader(inlet)
        guest, _ = inlet.accept()
        return guest

    async def close(self):
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        await self.porter.close()
        for ingest in list(self.ends):
            self.remove(ingest)


@pytest.fixture
async def hall():
    hall = Hall()
    yield hall
    await hall.close()


async def test_connections_are_spread_by_how_many_there_are(hall):
    hall.add(0)
    hall.add(1)
    clients, guests = [], []
    for ingest in (0, 1, 0, 1):
        clients.append(await hall.call())
        guests.append(await hall.taken(ingest))

    guests[1].close()

    clients.append(await hall.call())
    guests.append(await hall.taken(1))
    assert {0: 2, 1: 2} == hall.porter.guests
    for each in (*clients, *guests):
        each.close()
    assert {0: 0, 1: 0} == hall.porter.guests


async def test_what_was_said_is_still_to_be_read(hall):
    hall.add(0)
    with await hall.call() as client, await hall.taken(0) as guest:
        assert GET == guest.recv(100)
        guest.sendall(b"hello")
        assert b"hello" == await asyncio.get_running_loop().sock_recv(client, 5)


async def test_who_holds_a_session_gets_its_client(hall):
    for ingest in range(3):
        hall.add(ingest)
    sessions = Sessions(mark_of(2))
    identity = sessions.open(1, None, lambda *_: None).identity
    line = f"GET /v1/stream?session={identity.session}&token=x&after=3 HTTP/1.1\r\n"

    for _ in range(2):
        with await hall.call(line.encode()), await hall.taken(2):
            pass


async def test_a_line_that_comes_in_pieces_is_waited_for(hall):
    hall.add(0)
    hall.add(1)
    line = b"GET /v1/stream?session=01" + b"a" * 16 + b"&token=x&after=3 HTTP/1.1\r\n"

    with await hall.call(line[:24]) as client:
        await asyncio.sleep(0)
        client.sendall(line[24:])
        with await hall.taken(1) as guest:
            assert line == guest.recv(200)


async def test_a_session_whose_process_is_gone_is_anybodys(hall):
    hall.add(0)
    line = b"GET /v1/stream?session=07" + b"a" * 16 + b"&token=x&after=3 HTTP/1.1\r\n"
    with await hall.call(line), await hall.taken(0):
        pass


async def test_who_says_nothing_is_handed_over_too(hall, monkeypatch):
    monkeypatch.setattr("streaming.cluster.porter._LOOK_S", 0.01)
    hall.add(0)
    with await hall.call(b""), await hall.taken(0):
        pass


async def test_a_tls_handshake_is_not_waited_for_to_become_a_line(hall, monkeypatch):
    monkeypatch.setattr("streaming.cluster.porter._LOOK_S", 3_600.0)
    hall.add(0)
    with await hall.call(b"\x16\x03\x01\x02\x00\x01"), await hall.taken(0) as guest:
        assert b"\x16" == guest.recv(1)


async def test_who_comes_while_there_is_nobody_waits(hall):
    with await hall.call() as client:
        hall.add(5)
        with await hall.taken(5):
            assert client.fileno() > 0


async def test_one_that_lets_streams_in_is_preferred(hall):
    hall.add(0, opened=False)
    hall.add(1)
    held = []
    for ingest in (1, 1, 0):
        if ingest == 0:
            hall.porter.open(0)
        held += [await hall.call(), await hall.taken(ingest)]
    for each in held:
        each.close()


async def test_one_that_died_is_passed_over(hall):
    hall.add(0)
    hall.add(1)
    hall.ends[0][1].close()

    with await hall.call() as client:
        await asyncio.sleep(0)
        hall.remove(0)
        with await hall.taken(1):
            assert client.fileno() > 0


@pytest.mark.parametrize(
    ("head", "ingest"),
    [
        (b"GET /v1/stream?session=00" + b"a" * 16 + b"&after=0 HTTP/1.1\r\n", 0),
        (b"GET /v1/stream?after=0&session=1f" + b"0" * 16 + b" HTTP/1.1\r\n", 31),
        (b"GET /v1/sessions/03" + b"b" * 16 + b"?token=x HTTP/1.1\r\n", 3),
        (b"GET /v1/stream?session=00aa HTTP/1.1\r\n", None),
        (b"GET /v1/stream?nosession=00" + b"a" * 16 + b" HTTP/1.1\r\n", None),
        (b"GET /v1/stream HTTP/1.1\r\nX: ?session=00" + b"a" * 16 + b"\r\n", None),
        (b"\x16\x03\x01", None),
        (b"", None),
    ],
)
def test_the_first_line_tells_whose_session_it_asks_for(head, ingest):
    assert ingest == holder(head)

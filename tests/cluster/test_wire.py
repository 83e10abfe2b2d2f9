"""Bytes and sockets from one end to the other, in order, to the end."""

from __future__ import annotations

import socket
import threading
from queue import Queue

import pytest

from streaming.cluster.wire import Wire, socketpair

WAIT_S = 10


class End:
    """One end, and what it heard: bytes of given sizes, or its end."""

    def __init__(self, end, sizes=(), along=0):
        self.heard = Queue()
        self.over = threading.Event()
        self.sizes = iter(sizes)
        self.along = along
        self.wire = Wire(end, "end", self.read, self.over.set)
        self.wire.start()

    def read(self, source):
        self.heard.put(bytes(source.take(next(self.sizes, 1))))
        for _ in range(self.along):
            self.heard.put(source.socket())

    def next(self):
        return self.heard.get(timeout=WAIT_S)


def test_bytes_come_in_order_however_they_were_cut():
    one, other = socketpair()
    big = bytes(range(256)) * 20_000  # more than the kernel keeps
    left, right = End(one), End(other, [3, 2, len(big), 1])

    left.wire.send(b"ab", b"", memoryview(b"cde"))
    left.wire.send(big)
    left.wire.send(bytearray(b"!"))

    assert [b"abc", b"de", big, b"!"] == [right.next() for _ in range(4)]
    left.wire.close()
    assert right.over.wait(WAIT_S)
    assert left.over.wait(WAIT_S)


def test_a_socket_goes_along_and_is_closed_where_it_was():
    one, other = socketpair()
    left, right = End(one), End(other, [1], along=1)
    mine, theirs = socket.socketpair()

    left.wire.send(b"s", sockets=(theirs,))

    assert b"s" == right.next()
    with right.next() as given, mine:
        mine.send(b"hello")
        assert b"hello" == given.recv(5)
    assert -1 == theirs.fileno()
    left.wire.close()
    assert right.over.wait(WAIT_S)


def test_what_was_sent_arrives_before_the_end():
    one, other = socketpair()
    left, right = End(one), End(other, [1] * 100)

    for number in range(100):
        left.wire.send(bytes([number]))
    left.wire.close()

    assert list(range(100)) == [right.next()[0] for _ in range(100)]
    assert right.over.wait(WAIT_S)


def test_after_the_end_nothing_is_kept_open():
    one, other = socketpair()
    left = End(one)
    other.close()
    assert left.over.wait(WAIT_S)
    mine, theirs = socket.socketpair()

    left.wire.send(b"s", sockets=(theirs,))

    assert -1 == theirs.fileno()
    mine.close()


def test_sockets_that_nobody_takes_are_closed():
    one, other = socketpair()
    left, right = End(one), End(other, [1])
    mine, theirs = socket.socketpair()

    left.wire.send(b"s", sockets=(theirs,))
    right.next()
    left.wire.close()

    assert right.over.wait(WAIT_S)
    mine.settimeout(WAIT_S)
    assert b"" == mine.recv(1)
    mine.close()


def test_bytes_that_mean_nothing_end_the_wire(caplog):
    one, other = socketpair()

    def read(source):
        raise ValueError(f"what is {source.take(1)!r}?")

    over = threading.Event()
    wire = Wire(one, "confused", read, over.set)
    wire.start()

    other.send(b"x")

    assert over.wait(WAIT_S)
    assert "confused" in caplog.text
    other.settimeout(WAIT_S)
    assert b"" == other.recv(1)
    other.close()


@pytest.mark.parametrize("first", ["one", "other"])
def test_either_end_may_close(first):
    ends = dict(zip(("one", "other"), map(End, socketpair()), strict=True))

    ends[first].wire.close()

    for end in ends.values():
        assert end.over.wait(WAIT_S)
        end.wire.join(WAIT_S)

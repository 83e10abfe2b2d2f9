"""One end of a socket between two processes: a thread that reads, one that writes.

Carries bytes and open sockets, in order; knows not what they mean. Sending never
waits: what may pile up is bounded by whoever sends (jobs by each stream's backlog).
"""

from __future__ import annotations

import array
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeAlias

__all__ = ["Bytes", "Source", "Wire", "socketpair"]

_log = logging.getLogger(__name__)

Bytes: TypeAlias = bytes | bytearray | memoryview
_Sockets: TypeAlias = Sequence[socket.socket]

_MOST_SOCKETS = 8  # that come with one piece of bytes
_ROOM = socket.CMSG_SPACE(_MOST_SOCKETS * array.array("i").itemsize)
_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_BUFFER_BYTES = 1 << 20  # of the kernel: eight windows of 2 s


class Source:
    """Reads what the other end sends."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._sockets: deque[socket.socket] = deque()

    def take(self, size: int) -> bytearray:
        """The next `size` bytes.

        Raises:
            EOFError: the other end is gone.
        """
        data = bytearray(size)
        view = memoryview(data)
        while view:
            try:
                count, extra, _, _ = self._end.recvmsg_into([view], _ROOM, _FLAGS)
            except OSError as error:
                raise EOFError(str(error)) from error
            self._keep(extra)
            if not count:
                raise EOFError("the other end closed")
            view = view[count:]
        return data

    def socket(self) -> socket.socket:
        """The next socket that came along; the caller's to close.

        Raises:
            EOFError: none did.
        """
        if not self._sockets:
            raise EOFError("no socket came along")
        return self._sockets.popleft()

    def close(self) -> None:
        """Close the sockets that nobody took."""
        while self._sockets:
            self._sockets.popleft().close()

    def _keep(self, extra: Sequence[tuple[int, int, bytes]]) -> None:
        for level, kind, data in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self._sockets += (socket.socket(fileno=each) for each in numbers)


class Wire:
    """Make one for each end, and `start` it.

    Args:
        end: a connected local socket; closed by the wire.
        name: of its threads.
        read: takes one message from the source, on the reading thread; raises
            `EOFError` at the end.
        ended: called once on that thread, after the last message.
    """

    def __init__(
        self,
        end: socket.socket,
        name: str,
        read: Callable[[Source], None],
        ended: Callable[[], None],
    ) -> None:
        end.setblocking(True)
        self._end = end
        self._read = read
        self._ended = ended
        self._outgoing: SimpleQueue[tuple[Sequence[Bytes], _Sockets] | None] = (
            SimpleQueue()
        )
        self._over = False
        self._lock = threading.Lock()  # nothing is put in after the last
        self._reader = threading.Thread(
            target=self._listen, name=f"{name}-in", daemon=True
        )
        self._writer = threading.Thread(
            target=self._speak, name=f"{name}-out", daemon=True
        )

    def start(self) -> None:
        """Begin to read and write."""
        self._writer.start()
        self._reader.start()

    def send(self, *parts: Bytes, sockets: _Sockets = ()) -> None:
        """Send bytes, and sockets along; these are closed here once they are sent.

        Where the other end is gone it is ignored: `ended` tells of that.
        """
        with self._lock:
            if not self._over:
                self._outgoing.put((parts, sockets))
                return
        _close(sockets)

    def close(self) -> None:
        """End it once everything was sent; `ended` will be called."""
        with self._lock:
            if not self._over:
                self._over = True
                self._outgoing.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait until both threads have ended; not to be called on one of them."""
        self._reader.join(timeout_s)

    def _listen(self) -> None:
        source = Source(self._end)
        try:
            while True:
                self._read(source)
        except EOFError:
            pass
        except Exception:  # a bug of ours, or bytes that mean nothing: start anew
            _log.exception("%s broke", self._reader.name)
        self.close()
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)  # the writer may be waiting
        self._writer.join()
        source.close()
        self._end.close()
        self._ended()

    def _speak(self) -> None:
        with suppress(OSError):
            while (outgoing := self._outgoing.get()) is not None:
                parts, sockets = outgoing
                try:
                    self._write(parts, sockets)
                finally:
                    _close(sockets)
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)
        self.close()
        with suppress(Empty):
            while True:
                outgoing = self._outgoing.get_nowait()
                _close(outgoing[1] if outgoing is not None else ())

    def _write(self, parts: Sequence[Bytes], sockets: _Sockets) -> None:
        views = deque(memoryview(part).cast("B") for part in parts if len(part))
        rights = array.array("i", [each.fileno() for each in sockets])
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
        while views:
            sent = self._end.sendmsg(views, extra)
            extra = []
            while views and sent >= len(views[0]):
                sent -= len(views.popleft())
            if sent:
                views[0] = views[0][sent:]


def socketpair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a local connection, with room for windows and logits."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in pair:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            with suppress(OSError):  # as much as the system allows
                end.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    return pair


def _close(sockets: _Sockets) -> None:
    for each in sockets:
        each.close()

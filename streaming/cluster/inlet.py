"""Handing accepted connections to another process, which accepts them from here.

The parent accepts, so that connections are spread evenly, reach the process that
holds their session, and are not lost with a process that dies. SO_REUSEPORT would
hash them blindly, and give them all to one process on macOS; of processes that share
a listening socket the idlest takes all that come at once.
"""

from __future__ import annotations

import array
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["Guest", "Inlet", "hand_over"]

_NUMBER = array.array("i", [0]).itemsize


class Guest(socket.socket):
    """A connection that was handed over, and says when it is closed."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it, and say so once."""
        super().close()
        call, self.on_close = self.on_close, None
        if call is not None:
            call()


class Inlet(socket.socket):
    """To asyncio a listening socket: it accepts what `hand_over` sends.

    Args:
        end: what the other end of is with the parent; taken over.
        on_close: called each time a connection is closed.
    """

    def __init__(self, end: socket.socket, on_close: Callable[[], None]) -> None:
        super().__init__(end.family, end.type, end.proto, end.detach())
        self.setblocking(False)
        self._on_close = on_close

    def listen(self, backlog: int = 0, /) -> None:
        """It does already."""

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            BlockingIOError: there is none now.
        """
        data, extra, _, _ = self.recvmsg(1, socket.CMSG_SPACE(_NUMBER))
        for level, kind, rights in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                (number,) = array.array("i", rights[:_NUMBER])
                guest = Guest(fileno=number)
                guest.on_close = self._on_close
                return guest, guest.getsockname()
        if data:  # this process can open no more: the system closed it
            self._on_close()
        # Or the parent is gone, which ends this process too.
        raise BlockingIOError(f"no connection came with {len(data)} bytes")


def hand_over(end: socket.socket, connection: socket.socket) -> None:
    """Give a connection to the process at the other end; never waits.

    Raises:
        OSError: it is gone, or has too many to take already.
    """
    socket.send_fds(end, [b"."], [connection.fileno()], socket.MSG_DONTWAIT)

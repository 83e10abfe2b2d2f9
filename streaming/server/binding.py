"""The address that a server binds: its sockets, its name, and why it cannot."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from errno import EADDRINUSE
from os import strerror

from streaming.config import ServerConfig

__all__ = ["bind", "cannot_listen", "url_of"]

_BACKLOG = 1_024


def bind(where: ServerConfig) -> list[socket.socket]:
    """Sockets that listen on every address of the host; they never block.

    Raises:
        OSError: one cannot be bound; the message names it.
    """
    with ExitStack() as undo:
        try:
            found = socket.getaddrinfo(
                where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            bound: list[socket.socket] = []
            for family, address in dict.fromkeys((each[0], each[4]) for each in found):
                port = bound[0].getsockname()[1] if bound else address[1]
                listening = socket.create_server(
                    (address[0], port), family=family, backlog=_BACKLOG
                )
                undo.push(listening)
                listening.setblocking(False)
                bound.append(listening)
        except OSError as error:
            raise cannot_listen(where, error) from error
        undo.pop_all()
    return bound


def cannot_listen(where: ServerConfig, error: OSError) -> OSError:
    """The error of binding a port, with the address and the reason."""
    # Those of asyncio say the address or not, and not always what is wrong.
    number = error.errno or 0  # of a name that is not found it is below 0
    why = strerror(number) if number > 0 else error.strerror
    if number == EADDRINUSE:
        why = f"{why}; choose another server.port, or 0 for a free one"
    return OSError(f"cannot listen on {where.host}:{where.port}: {why}")


def url_of(where: ServerConfig, port: int) -> str:
    """Where clients connect to: `ws://HOST:PORT`, or `wss` with a certificate."""
    scheme = "ws" if where.tls_certificate is None else "wss"
    return f"{scheme}://{f'[{where.host}]' if ':' in where.host else where.host}:{port}"

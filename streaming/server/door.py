"""The socket's side of a connection: the websockets library, with typed refusals.

The library closes or drops a connection whose peer breaks its rules before any
of our code sees it. Here such a peer is told why first, in the dialect's words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Response
from websockets.protocol import State

from streaming.errors import ProtocolError, TooBig, WavestitchError
from streaming.protocols.adapter import Adapter, Dialect, Opening
from streaming.server.access import Account
from streaming.server.pages import refuse
from streaming.server.sessions import Held

__all__ = ["Door"]

# What the library's parser refuses, by its close code: the error that the client
# is told, and the code that we close with.
_REFUSED: Mapping[int, tuple[type[WavestitchError], int]] = {
    1002: (ProtocolError, 1002),  # RFC 6455 wants this one kept
    1007: (ProtocolError, 1003),
    1009: (TooBig, 1009),
}


class _Gone(asyncio.Transport):
    """The transport of a door that has handed over its own."""

    def abort(self) -> None:
        """Nothing is left to end."""

    def is_closing(self) -> bool:
        """It is over for the door."""
        return True


class Door(ServerConnection):
    """A connection, and what was made of its opening request.

    Args:
        plain: makes the protocol of a connection that asks for no websocket.

    Attributes:
        dialect: the dialect of its path; None until that is known.
        opening: what the client said before its first message, its key left out.
        account: on which its stream is opened; None before it is let in.
        adapter: speaks it; None where the connection is refused.
        broken: it broke the rules of websockets, and was told so.
        held: the session that its client has come back to.
        reads: the session that it reads along with.
        refused: why, for a browser, which cannot read an HTTP refusal.
        last_words: writes an error as messages, once the stream is open.
        lost: called once when the connection is gone.
    """

    def __init__(
        self,
        protocol: Any,
        *args: Any,
        plain: Callable[[], asyncio.Protocol],
        **kwargs: Any,
    ) -> None:
        super().__init__(protocol, *args, **kwargs)
        self._plain = plain
        self._begun = False
        self.dialect: Dialect | None = None
        self.opening = Opening()
        self.account: Account | None = None
        self.adapter: Adapter | None = None
        self.broken = False
        self.held: Held | None = None
        self.reads: Held | None = None
        self.refused: Exception | None = None
        self.last_words: Callable[[Exception], Sequence[str | bytes]] | None = None
        self.lost: list[Callable[[], None]] = []
        self._fail = protocol.fail
        protocol.fail = self._fail_in_words

    def _fail_in_words(self, code: int, reason: str = "") -> None:
        """Tell the client what the parser refuses before the close frame goes."""
        if code in _REFUSED and self.protocol.state is State.OPEN and self.last_words:
            self.broken = True
            kind, code = _REFUSED[code]
            for message in self.last_words(kind(reason)):
                if isinstance(message, str):
                    self.protocol.send_text(message.encode())
        self._fail(code, reason)

    def data_received(self, data: bytes) -> None:
        """Hand over what is no websocket's: its first byte tells."""
        if not self._begun:
            self._begun = True
            if data[:1] != b"G":  # of GET, which alone can open one
                self._hand_over(data)
                return
        super().data_received(data)

    def _hand_over(self, data: bytes) -> None:
        """Let another protocol have the connection, from its first byte."""
        transport, self.transport = self.transport, _Gone()
        self.connection_lost(None)
        plain = self._plain()
        transport.set_protocol(plain)
        plain.connection_made(transport)
        plain.data_received(data)

    def _respond(self, response: Response) -> None:
        if self.protocol.state is State.CONNECTING and not self.protocol.eof_sent:
            self.protocol.send_response(response)
            self.send_data()

    async def handshake(self, *args: Any, **kwargs: Any) -> None:
        """Open; who takes too long to ask is told so."""
        try:
            await super().handshake(*args, **kwargs)
        except asyncio.CancelledError:  # the library's open_timeout
            if self.request is None:
                why = "no whole opening request came in time"
                self._respond(refuse(408, "handshake_timeout", why))
            raise

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, however far it came."""
        super().connection_lost(exc)
        # The library's parser and this hook hold each other: let go at once.
        self.protocol.__dict__.pop("fail", None)
        self.last_words = None
        for call in self.lost:
            call()
        self.lost.clear()

"""The socket's side of a connection: the websockets library, with typed refusals.

The library closes or drops a connection whose peer breaks its rules before any
of our code sees it. Here such a peer is told why first, in the dialect's words.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.protocol import State

from streaming.errors import ProtocolError, TooBig, WavestitchError
from streaming.protocols.adapter import Adapter, Dialect

__all__ = ["Door", "answer", "answer_json"]

# What the library's parser refuses, by its close code: the error that the client
# is told, and the code that we close with.
_REFUSED: Mapping[int, tuple[type[WavestitchError], int]] = {
    1002: (ProtocolError, 1002),  # RFC 6455 wants this one kept
    1007: (ProtocolError, 1003),
    1009: (TooBig, 1009),
}

_METHODS = (b"POST", b"PUT", b"PATCH", b"DELETE")


def answer(status: int, phrase: str, kind: str, text: str) -> Response:
    """A plain HTTP answer; the connection ends with it."""
    body = text.encode()
    headers = Headers(
        [
            ("Connection", "close"),
            ("Content-Length", str(len(body))),
            ("Content-Type", kind),
            ("Cache-Control", "no-store"),
        ]
    )
    return Response(status, phrase, headers, body)


def answer_json(status: int, phrase: str, body: str) -> Response:
    """A plain HTTP answer in JSON."""
    return answer(status, phrase, "application/json", body)


class Door(ServerConnection):
    """A connection, and what was made of its opening request.

    Attributes:
        dialect: the dialect of its path; None until that is known.
        adapter: speaks it; None where the connection is refused.
        refused: why, for a browser, which cannot read an HTTP refusal.
        last_words: writes an error as messages, once the stream is open.
        lost: called once when the connection is gone.
    """

    def __init__(self, protocol: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(protocol, *args, **kwargs)
        self.dialect: Dialect | None = None
        self.adapter: Adapter | None = None
        self.refused: Exception | None = None
        self.last_words: Callable[[Exception], list[str | bytes]] | None = None
        self.lost: list[Callable[[], None]] = []
        self._fail = protocol.fail
        protocol.fail = self._fail_in_words

    def _fail_in_words(self, code: int, reason: str = "") -> None:
        """Tell the client what the parser refuses before the close frame goes."""
        if code in _REFUSED and self.protocol.state is State.OPEN and self.last_words:
            kind, code = _REFUSED[code]
            for message in self.last_words(kind(reason)):
                if isinstance(message, str):
                    self.protocol.send_text(message.encode())
        self._fail(code, reason)

    def data_received(self, data: bytes) -> None:
        """Answer methods with a body, which the library drops without a word."""
        if self.request is None and data.partition(b" ")[0] in _METHODS:
            refusal = answer_json(
                405,
                "Method Not Allowed",
                json.dumps(
                    {
                        "type": "error",
                        "code": "method_not_allowed",
                        "message": "method must be GET, "
                        f"got {data.partition(b' ')[0].decode()}",
                    }
                ),
            )
            refusal.headers["Allow"] = "GET"
            self._respond(refusal)
            return
        super().data_received(data)

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
                body = {
                    "type": "error",
                    "code": "handshake_timeout",
                    "message": "no whole opening request came in time",
                }
                self._respond(answer_json(408, "Request Timeout", json.dumps(body)))
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

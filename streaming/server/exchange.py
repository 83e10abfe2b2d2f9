"""One HTTP request and the one answer to it, as those see it who answer.

Knows how h11 says a request; the waiting is the connection's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Protocol, TypeAlias

import h11

__all__ = ["Exchange", "Headers", "Wire"]

Headers: TypeAlias = list[tuple[str, str]]


class Wire(Protocol):
    """What carries the request and takes the answer."""

    def body(self, length: str | None) -> AsyncGenerator[bytes, None]:
        """See `Exchange.body`; of as many bytes as the client says."""
        ...

    async def begin(self, status: int, headers: Headers) -> None:
        """Write the head of the answer."""
        ...

    async def send(self, event: h11.Data | h11.EndOfMessage) -> None:
        """Write a piece of its body, or its end."""
        ...


class Exchange:
    """A request, and the answer to it.

    Attributes:
        method: in capitals.
        path: percent-encoded, without the query.
        query: raw, without the question mark.
        headers: names in lower case; repeated ones joined by a comma.
        begun: the answer has been begun.
    """

    def __init__(self, wire: Wire, request: h11.Request) -> None:
        self._wire = wire
        self.method = request.method.decode("latin-1")
        target = request.target.decode("latin-1")
        self.path, _, self.query = target.partition("?")
        self.headers: dict[str, str] = {}
        for name, value in request.headers:
            known, text = name.decode("latin-1"), value.decode("latin-1")
            before = self.headers.get(known)
            self.headers[known] = text if before is None else f"{before}, {text}"
        self.begun = False

    def body(self) -> AsyncGenerator[bytes, None]:
        """What the client sends, as it comes; to be read once.

        Raises:
            TooBig: it is, or says it is, longer than a body may be.
            IdleTimeout: it comes too slowly.
            ProtocolError: it is cut short, or no body at all.
        """
        return self._wire.body(self.headers.get("content-length"))

    async def answer(
        self, status: int, body: bytes, headers: Mapping[str, str]
    ) -> None:
        """Answer with all of it at once."""
        await self.begin(status, {**headers, "Content-Length": str(len(body))})
        if body and self.method != "HEAD":
            await self.send(body)
        await self.end()

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin an answer; pieces of its body and its end follow."""
        self.begun = True
        await self._wire.begin(status, list(headers.items()))

    async def send(self, piece: bytes) -> None:
        """A piece of the answer."""
        await self._wire.send(h11.Data(data=piece))

    async def end(self) -> None:
        """The answer ends here."""
        await self._wire.send(h11.EndOfMessage())

"""The seam between a wire protocol and the words of `streaming.events`.

An adapter speaks one dialect for one connection: messages in become client
events, server events become messages out. It is sans-I/O and knows no sockets,
clocks or sessions. A dialect is one file and one line in the server's table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streaming.config import StreamConfig
from streaming.events import ClientEvent, ServerEvent

__all__ = ["Adapter", "Dialect", "Offer", "Refusal", "Resume"]


@dataclass(frozen=True, slots=True)
class Offer:
    """What this server can give a new stream.

    Attributes:
        defaults: what a stream gets unless it asks otherwise.
        languages: BCP 47 tags of the model, the default first.
        smallest_budget_ms: the smallest latency budget that the model can keep
            on this machine now.
    """

    defaults: StreamConfig
    languages: tuple[str, ...]
    smallest_budget_ms: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Resume:
    """A client wants to go on with a session it held.

    Attributes:
        session: its id.
        token: the secret that `ready` gave with it.
        after: the last `seq` that arrived.
    """

    session: str
    token: str
    after: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error in a dialect's words.

    Attributes:
        code: the error's name in the dialect.
        status: HTTP status where the connection is not open yet.
        close: websocket close code where it is.
        body: HTTP body.
        message: what a websocket that carries no stream is sent.
    """

    code: str
    status: int
    close: int
    body: str
    message: str


class Adapter(Protocol):
    """One connection's side of a dialect; made from its opening parameters."""

    config: StreamConfig
    """What the client asked for, validated."""

    resume: Resume | None
    """The session it wants to go on with."""

    def receive(self, message: str | bytes) -> ClientEvent:
        """Say what a message means.

        Raises:
            BadRequest: a command asks for what we do not offer; the stream goes on.
            ProtocolError: the message breaks the protocol.
            TooBig: the command is longer than any command can be.
        """
        ...

    def send(self, event: ServerEvent) -> list[str | bytes]:
        """Write an event as messages, to be sent in the order of the calls."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a wire protocol is entered.

    Attributes:
        path: where it is served.
        open: makes the adapter of one connection from the raw query string;
            raises `BadRequest`, which names the parameter, what came and what
            is allowed.
        refusal: says an error in its codes.
    """

    path: str
    open: Callable[[str, Offer], Adapter]
    refusal: Callable[[Exception], Refusal]

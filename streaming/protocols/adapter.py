"""The seam between a wire protocol and the words of `streaming.events`.

An adapter speaks one dialect for one connection: messages in become client
events, server events become messages out. It is sans-I/O and knows no sockets,
clocks or sessions. A dialect is one file and one line in the server's table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from streaming.config import StreamConfig
from streaming.errors import BadRequest
from streaming.events import ClientEvent, ServerEvent
from streaming.protocols.opening import Opening

__all__ = [
    "Adapter",
    "Dialect",
    "Heard",
    "Note",
    "Offer",
    "Opening",
    "Refusal",
    "Resume",
    "Say",
    "Start",
    "first_offered",
]


@dataclass(frozen=True, slots=True)
class Offer:
    """What this server can give a new stream.

    Attributes:
        defaults: what a stream gets unless it asks otherwise.
        languages: BCP 47 tags of the model, the default first.
        smallest_budget_ms: the smallest latency budget that the model can keep
            on this machine now.
        model: its name.
        space: what stands between two words of its language.
    """

    defaults: StreamConfig
    languages: tuple[str, ...]
    smallest_budget_ms: Callable[[], int]
    model: str = ""
    space: str = " "


@dataclass(frozen=True, slots=True)
class Resume:
    """A client wants to go on with a session it held.

    Attributes:
        session: its id.
        token: the secret that `ready` gave with it.
        after: the last `seq` that arrived.
        asked: what else it asks for, by parameter; it must be as it was.
    """

    session: str
    token: str
    after: int
    asked: Mapping[str, object] = field(default_factory=dict)

    def insist_same(self, config: StreamConfig) -> None:
        """Compare with what the session was opened with.

        Raises:
            BadRequest: something is asked for that is not so.
        """
        sections = (config.audio, config.gate, config.decoder, config)
        for name, value in self.asked.items():
            held = next(getattr(s, name) for s in sections if hasattr(s, name))
            if value != held:
                raise BadRequest(
                    f"{name} of a resume must be that of the session, "
                    f"{_shown(held)}, got {_shown(value)}"
                )


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error in a dialect's words.

    Attributes:
        code: the error's name in the dialect; the reason of the close.
        status: HTTP status where the connection is not open yet.
        close: websocket close code where it is.
        body: HTTP body.
        message: what a websocket that carries no stream is sent; None where the
            dialect only closes.
        headers: of the HTTP answer.
    """

    code: str
    status: int
    close: int
    body: str
    message: str | None
    headers: Mapping[str, str] = field(default_factory=dict)


# --- what a message can mean, beside an event ------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """The client has said what it sends: its session can be opened, once.

    Attributes:
        config: what it asks for.
        label: what it calls the stream, for the operator's log.
    """

    config: StreamConfig
    label: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """The dialect answers by itself, in order with everything else.

    Attributes:
        messages: what to send, or what writes it when its turn has come: after
            `Adapter.send` of all events that were there before.
    """

    messages: Sequence[str | bytes] | Callable[[], Sequence[str | bytes]]

    def written(self) -> Sequence[str | bytes]:
        """The messages; to be asked once, when they are sent."""
        return self.messages() if callable(self.messages) else self.messages


@dataclass(frozen=True, slots=True)
class Note:
    """A line for the operator's log: what this dialect has no words for.

    Attributes:
        text: the line.
        routine: nothing is wrong.
    """

    text: str
    routine: bool = False


Heard: TypeAlias = ClientEvent | Start | Say | Note


class Adapter(Protocol):
    """One connection's side of a dialect; made from its opening request."""

    @property
    def config(self) -> StreamConfig | None:
        """What the client asked for, validated; None until a message says it."""
        ...

    @property
    def resume(self) -> Resume | None:
        """The session it wants to go on with."""
        ...

    def opened(self) -> Sequence[str | bytes]:
        """What the server says before anything else."""
        ...

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means.

        Where `config` was None, nothing but `Say` and `Note` comes before the one
        `Start`.

        Raises:
            BadRequest: a command asks for what we do not offer; the stream goes on.
            ProtocolError: the message breaks the protocol.
            TooBig: the command is longer than any command can be.
            UnsupportedAudio: the audio cannot be read.
        """
        ...

    def send(self, event: ServerEvent) -> Sequence[str | bytes]:
        """Write an event as messages, to be sent in the order of the calls."""
        ...


def _shown(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def first_offered(subprotocols: tuple[str, ...]) -> str | None:
    """Any of them: Chromium drops a connection whose offers are all ignored."""
    return subprotocols[0] if subprotocols else None


def _no_headers(opening: Opening) -> Mapping[str, str]:  # noqa: ARG001
    return {}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a wire protocol is entered, and what its clients expect of a server.

    Attributes:
        path: where it is served; a last segment in braces, as in `/v1/calls/{call}`,
            stands for any one segment.
        open: makes the adapter of one connection; raises `BadRequest`, which names
            the parameter, what came and what is allowed.
        refusal: says an error in its codes; the second argument is `Opening.id`.
        subprotocol: which of those offered is agreed on.
        headers: of the answer that lets a client in.
        silent: it carries no text back; what is said is read elsewhere.
        pings: whether its clients answer pings.
        resumes: whether its clients come back to a session after a cut.
        idle_timeout_s: silence on the wire that ends a stream; None: the server's.
        backlog_s: undecoded audio past which the socket is not read, where its
            clients expect answers about the audio just sent; None: the server's.
    """

    path: str
    open: Callable[[Opening, Offer], Adapter]
    refusal: Callable[[Exception, str], Refusal]
    subprotocol: Callable[[tuple[str, ...]], str | None] = first_offered
    headers: Callable[[Opening], Mapping[str, str]] = _no_headers
    silent: bool = False
    pings: bool = True
    resumes: bool = False
    idle_timeout_s: float | None = None
    backlog_s: float | None = None

    def serves(self, path: str) -> bool:
        """Whether a request for this path is meant for it."""
        stem, brace, _ = self.path.partition("{")
        if not brace:
            return path == self.path
        last = path.removeprefix(stem)
        return path.startswith(stem) and last != "" and "/" not in last

"""What parent and children say to each other about processes, never about audio.

Frozen dataclasses, pickled: both ends are ours and nothing of a client is in
them. What travels between ingest and engine is in frames.py.
"""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass
from typing import TypeAlias

from streaming.cluster.wire import Bytes, Source
from streaming.core.costs import CostModel
from streaming.core.facts import ModelFacts
from streaming.core.tally import EngineStats
from streaming.server.pages import Seen

__all__ = [
    "Ask",
    "Beat",
    "Broken",
    "Drain",
    "Hurry",
    "Left",
    "Linked",
    "Message",
    "Open",
    "Reload",
    "Report",
    "Stop",
    "Up",
    "Want",
    "Warm",
    "WholeSeen",
    "hear",
    "say",
]

_SIZE = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Linked:
    """To an ingest and an engine: here is a wire to each other, as a socket.

    Attributes:
        engine: number of the engine process.
        ingest: number of the ingest process.
        warm: what the engine said when it was warm.
    """

    engine: int
    ingest: int
    warm: Warm


@dataclass(frozen=True, slots=True)
class Ask:
    """To a child: how do you stand? Answered by a `Report` of the same number."""

    number: int


@dataclass(frozen=True, slots=True)
class Drain:
    """To an ingest: let the open streams finish, then end."""


@dataclass(frozen=True, slots=True)
class Hurry:
    """To an ingest that drains: its deadline is now."""


@dataclass(frozen=True, slots=True)
class Reload:
    """To an ingest: read keys and certificate again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """To an engine: end."""


@dataclass(frozen=True, slots=True)
class WholeSeen:
    """To an ingest: the answer to its `Want`."""

    number: int
    seen: Seen


@dataclass(frozen=True, slots=True)
class Up:
    """Of an ingest: connections can be handed over."""


@dataclass(frozen=True, slots=True)
class Open:
    """Of an ingest: streams are let in."""


@dataclass(frozen=True, slots=True)
class Left:
    """Of an ingest: a connection that was handed over is closed."""


@dataclass(frozen=True, slots=True)
class Want:
    """Of an ingest: how does the whole stand?"""

    number: int


@dataclass(frozen=True, slots=True)
class Warm:
    """Of an engine: jobs are taken.

    Attributes:
        facts: the model's.
        costs: of its passes, as measured.
        workers: passes that may run at once.
    """

    facts: ModelFacts
    costs: CostModel
    workers: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Of a child: it cannot start."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Beat:
    """Of a child, every second: it lives.

    Attributes:
        hung: why it can do nothing all the same.
    """

    hung: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Of a child: how it stands.

    Attributes:
        number: of the `Ask`.
        seen: of an ingest.
        stats: of an engine.
    """

    number: int
    seen: Seen | None = None
    stats: EngineStats | None = None


Message: TypeAlias = (
    Linked
    | Ask
    | Drain
    | Hurry
    | Reload
    | Stop
    | WholeSeen
    | Up
    | Open
    | Left
    | Want
    | Warm
    | Broken
    | Beat
    | Report
)


def say(message: Message) -> tuple[Bytes, ...]:
    """A message in bytes."""
    data = pickle.dumps(message)
    return _SIZE.pack(len(data)), data


def hear(source: Source) -> Message:
    """The next message.

    Raises:
        EOFError: there is none.
    """
    (size,) = _SIZE.unpack(source.take(_SIZE.size))
    message: Message = pickle.loads(source.take(size))
    return message

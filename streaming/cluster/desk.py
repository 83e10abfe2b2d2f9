"""An ingest process' dealings with the engine of this process.

Takes its jobs from the wire and puts the answers on it; when the ingest dies, what
it asked for is forgotten. Runs on the wire's threads and the engine's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from socket import socket
from typing import assert_never

from streaming.cluster.frames import (
    Answered,
    Asked,
    Frame,
    Pulse,
    Refusal,
    Terms,
    read_frame,
    write_frame,
)
from streaming.cluster.wire import Source, Wire
from streaming.engine import Answer, Engine
from streaming.errors import Overloaded
from streaming.events import Cancel, Job, Logits

__all__ = ["Desk", "agree", "pulse_of"]

_BITS = 40  # of a stream's number; above it stands whose stream it is


class Desk:
    """One wire to an ingest process; make one for each, each time it starts.

    Args:
        engine: what runs its jobs.
        serial: no other desk has it, so that numbers of streams do not meet.
        end: its socket.
        changed: called when its terms have changed, or it has closed.

    Attributes:
        terms: what holds for its streams.
        open: the ingest is there.
    """

    def __init__(
        self, engine: Engine, serial: int, end: socket, changed: Callable[[], None]
    ) -> None:
        self.terms = Terms(inf, full_passes=True)
        self.open = True
        self._engine = engine
        self._base = serial << _BITS
        self._streams: set[int] = set()
        self._changed = changed
        self._wire = Wire(end, f"ingest-{serial}", self._read, self._ended)
        self._wire.start()

    def send(self, frame: Frame) -> None:
        """Tell the ingest; never waits."""
        self._wire.send(*write_frame(frame))

    def close(self) -> None:
        """End it once all was sent."""
        self._wire.close()

    def _read(self, source: Source) -> None:
        frame = read_frame(source)
        match frame:
            case Asked(number, job):
                self._submit(number, replace(job, stream=self._base | job.stream))
            case Cancel(stream, utterance):
                self._engine.cancel(replace(frame, stream=self._base | stream))
                if utterance is None and frame.kind is None:
                    self._streams.discard(self._base | stream)
            case Terms():
                self.terms = frame
                self._changed()
            case Answered() | Refusal() | Pulse():
                raise ValueError(f"an ingest asks, it sent {type(frame).__name__}")
            case _:
                assert_never(frame)

    def _submit(self, number: int, job: Job) -> None:
        self._streams.add(job.stream)
        self._engine.submit(job, partial(self._answer, number))

    def _answer(self, number: int, answer: Answer) -> None:
        match answer:
            case Logits(rows=rows):
                self.send(Answered(number, rows))
            case _:
                self.send(Refusal(number, answer.error))

    def _ended(self) -> None:
        self.open = False
        for stream in self._streams:
            self._engine.cancel(Cancel(stream, None))
        self._streams.clear()
        self._changed()


def agree(engine: Engine, desks: list[Desk]) -> None:
    """Let the engine go by what every ingest asks."""
    terms = [desk.terms for desk in desks if desk.open]
    smallest = min((each.smallest_budget_s for each in terms), default=inf)
    engine.limit_passes(smallest)
    engine.allow_full_passes(all(each.full_passes for each in terms))


def pulse_of(engine: Engine) -> Pulse:
    """How an engine stands."""
    strain, costs = engine.strain, engine.costs
    try:
        engine.admit()
    except Overloaded as error:
        return Pulse(strain, costs, str(error), error.retry_after_s)
    return Pulse(strain, costs)

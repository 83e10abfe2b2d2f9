"""What an engine process does: loads the model, runs jobs, says how it stands."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue
from typing import TypeAlias

from streaming.cluster.child import Parent, obey
from streaming.cluster.desk import Desk, agree, pulse_of
from streaming.cluster.vigil import BEAT_S
from streaming.cluster.wire import Source
from streaming.cluster.words import (
    Ask,
    Beat,
    Broken,
    Linked,
    Message,
    Report,
    Stop,
    Warm,
)
from streaming.config import EngineConfig, ModelConfig, WindowConfig
from streaming.engine import Engine, facts_of
from streaming.errors import ModelError, WavestitchError
from streaming.models.model import Model

__all__ = ["EngineSetup", "Load", "run_engine"]

_log = logging.getLogger("wavestitch")

_PULSE_S = 0.1  # half as long as a load ladder waits between two looks
_FLUSH_S = 5.0

Load: TypeAlias = Callable[[ModelConfig, WindowConfig], Model]


@dataclass(frozen=True, slots=True)
class EngineSetup:
    """What an engine process is made of.

    Attributes:
        load: loads the model; a function of a module, as it is pickled.
        model: which, on which device.
        window: of its streams.
        engine: its workers.
        log_level: of its log.
    """

    load: Load
    model: ModelConfig
    window: WindowConfig
    engine: EngineConfig
    log_level: int = logging.WARNING


def run_engine(setup: EngineSetup, ends: Sequence[socket.socket]) -> None:
    """Run until the parent says to stop, or is gone."""
    heard: SimpleQueue[tuple[Message, socket.socket | None]] = SimpleQueue()

    def take(message: Message, source: Source) -> None:
        end = source.socket() if isinstance(message, Linked) else None
        heard.put((message, end))

    parent = obey(ends[0], take, setup.log_level)
    try:
        model = setup.load(setup.model, setup.window)
        engine = Engine(model, setup.engine)
        engine.start()
    except BaseException as error:
        _break(parent, error)
        return
    facts, workers = facts_of(model), engine.stats.workers
    parent.send(Warm(facts, engine.costs, workers))
    _serve(engine, parent, heard)
    engine.stop()
    model.close()


def _break(parent: Parent, error: BaseException) -> None:
    known = isinstance(error, WavestitchError)
    if not known:
        _log.error("the engine process broke", exc_info=error)
    told = error if isinstance(error, WavestitchError) else ModelError(repr(error))
    parent.send(Broken(told))
    parent.wire.close()
    parent.wire.join(_FLUSH_S)


def _serve(
    engine: Engine,
    parent: Parent,
    heard: SimpleQueue[tuple[Message, socket.socket | None]],
) -> None:
    serials = count()
    desks: list[Desk] = []

    def changed() -> None:
        agree(engine, list(desks))

    pulse_at = beat_at = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= pulse_at:
            pulse_at = now + _PULSE_S
            desks[:] = [desk for desk in desks if desk.open]
            pulse = pulse_of(engine)
            for desk in desks:
                desk.send(pulse)
            hung = engine.look()
            if now >= beat_at:
                beat_at = now + BEAT_S
                parent.send(Beat(hung))
        try:
            message, end = heard.get(timeout=max(0.0, pulse_at - now))
        except Empty:
            continue
        match message:
            case Linked() if end is not None:
                desks.append(Desk(engine, next(serials), end, changed))
            case Ask(number):
                parent.send(Report(number, stats=engine.stats))
            case Stop():
                return
            case _:
                _log.error("an engine process was told %s", message)

"""The parent: starts the processes, links them, and knows how they stand.

It holds no stream and no model, so that little can go wrong with it; where it does
its children end too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import count

from streaming.cluster.child import Child
from streaming.cluster.engine_process import EngineSetup, Load, run_engine
from streaming.cluster.ingest_process import IngestSetup, run_ingest
from streaming.cluster.keeping import AnyChild, Keeper
from streaming.cluster.porter import Porter
from streaming.cluster.whole import Books
from streaming.cluster.wire import socketpair
from streaming.cluster.words import (
    Ask,
    Broken,
    Drain,
    Hurry,
    Left,
    Linked,
    Message,
    Open,
    Reload,
    Report,
    Stop,
    Up,
    Want,
    Warm,
    WholeSeen,
)
from streaming.config import Config, EngineConfig, LimitConfig
from streaming.core.facts import ModelFacts
from streaming.errors import ModelError
from streaming.server.keyring import token_secret
from streaming.server.pages import Seen

__all__ = ["Household"]

_log = logging.getLogger("wavestitch")

_REPORT_S = 2.0  # a child that takes longer to say how it stands is told by its last
_STOP_S = 10.0  # that an engine has to end its passes
_DRAIN_MORE_S = 20.0  # that an ingest has beyond its own drain


class Household:
    """All processes of one server; make it on the event loop.

    Args:
        config: everything.
        porter: hands out the connections.
        load: loads the model, in each engine process.

    Attributes:
        warm: every process serves.
    """

    def __init__(self, config: Config, porter: Porter, load: Load) -> None:
        self.warm = asyncio.Event()
        self._config = config
        self._secret = token_secret(config.access)
        self._porter = porter
        self._load = load
        self._devices = config.model.devices or (config.model.device,)
        self._log_level = _log.getEffectiveLevel()
        self._facts: ModelFacts | None = None
        self._engines: dict[int, tuple[AnyChild, Warm]] = {}  # that are warm
        self._ingests: dict[int, AnyChild] = {}  # that take connections
        self._inlets: dict[int, socket.socket] = {}
        self._open: set[int] = set()  # ingests that let streams in
        self._books = Books()
        self._asks = count()
        self._asked: dict[tuple[int, str], asyncio.Event] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._ingest_keepers = [
            Keeper(partial(self._start_ingest, n), partial(self._no_ingest, n))
            for n in range(max(1, config.server.ingest))
        ]
        self._engine_keepers = [
            Keeper(partial(self._start_engine, n), partial(self._no_engine, n))
            for n in range(len(self._devices))
        ]

    @property
    def pids(self) -> dict[str, int]:
        """The processes that live, by name: `engine-0`, `ingest-0` and so on."""
        keepers = (*self._ingest_keepers, *self._engine_keepers)
        children = [keeper.child for keeper in keepers]
        return {child.name: child.pid for child in children if child is not None}

    async def run(self) -> None:
        """Keep them running until they have drained; cancel to end them at once.

        Raises:
            WavestitchError: one could not start.
        """
        ingests, engines = (
            [asyncio.create_task(each.keep(self.warm.is_set)) for each in keepers]
            for keepers in (self._ingest_keepers, self._engine_keepers)
        )
        every = [*ingests, *engines]
        try:
            await _all_done(ingests, every)
            self._end(self._engine_keepers, Stop(), _STOP_S)
            await _all_done(engines, engines)
        finally:
            for task in (*every, *self._answers):
                task.cancel()
            await asyncio.gather(*every, *self._answers, return_exceptions=True)

    def drain(self) -> None:
        """Let open streams finish; then `run` ends."""
        longest_s = self._config.limits.drain_s + _DRAIN_MORE_S
        self._end(self._ingest_keepers, Drain(), longest_s)

    def hurry(self) -> None:
        """Let the deadline of the drain be now."""
        self._tell_ingests(Hurry())

    def reload(self) -> None:
        """Read keys and certificate again."""
        self._tell_ingests(Reload())

    def _tell_ingests(self, message: Message) -> None:
        for keeper in self._ingest_keepers:
            if keeper.child is not None:
                keeper.child.send(message)

    def _end(self, keepers: Iterable[Keeper], message: Message, most_s: float) -> None:
        for keeper in keepers:
            keeper.let_go()
            if keeper.child is not None:
                keeper.child.send(message)
        asyncio.get_running_loop().call_later(most_s, _kill, keepers)

    # --- engines -------------------------------------------------------------

    def _start_engine(self, number: int) -> AnyChild:
        config, device = self._config, self._devices[number]
        setup = EngineSetup(
            self._load,
            replace(config.model, device=device, devices=()),
            config.stream.window,
            _workers(config.engine, device, len(self._devices)),
            self._log_level,
        )
        take = partial(self._hear_engine, number)
        return Child(f"engine-{number}", run_engine, setup, (), take)

    def _hear_engine(self, number: int, child: AnyChild, message: Message) -> None:
        match message:
            case Warm():
                self._welcome(number, child, message)
            case Broken(error):
                child.error = error
            case Report():
                self._enter(child, message)
            case _:
                _log.error("%s said %s", child.name, message)

    def _welcome(self, number: int, child: AnyChild, warm: Warm) -> None:
        self._facts = self._facts or warm.facts
        if warm.facts != self._facts:  # somebody has put another checkpoint there
            child.error = ModelError(f"it runs another model than {self._facts.name}")
            child.kill()
            return
        _log.info(
            "%s (process %d) runs %s %s on %s with %d workers",
            child.name,
            child.pid,
            warm.facts.name,
            "stateful" if warm.facts.stateful else "windowed",
            self._devices[number],
            warm.workers,
        )
        self._engines[number] = child, warm
        for ingest in self._ingests:
            self._link(number, ingest)
        self._look()

    def _no_engine(self, number: int, child: AnyChild) -> None:
        self._engines.pop(number, None)
        self._forget(child)

    # --- ingests -------------------------------------------------------------

    def _start_ingest(self, number: int) -> AnyChild:
        limits = _share(self._config.limits, number, len(self._ingest_keepers))
        config = replace(self._config, limits=limits)
        setup = IngestSetup(number, config, self._secret, self._log_level)
        self._inlets[number], theirs = socket.socketpair()
        take = partial(self._hear_ingest, number)
        try:
            return Child(f"ingest-{number}", run_ingest, setup, (theirs,), take)
        except OSError:
            self._inlets.pop(number).close()
            raise

    def _hear_ingest(self, number: int, child: AnyChild, message: Message) -> None:
        match message:
            case Up():
                _log.info("%s (process %d) takes connections", child.name, child.pid)
                self._ingests[number] = child
                self._porter.add(number, self._inlets[number])
                for engine in self._engines:
                    self._link(engine, number)
            case Open():
                self._porter.open(number)
                self._open.add(number)
                self._look()
            case Left():
                self._porter.left(number)
            case Want():
                answer = asyncio.create_task(self._answer(child, message))
                self._answers.add(answer)
                answer.add_done_callback(self._answers.discard)
            case Report():
                self._enter(child, message)
            case _:
                _log.error("%s said %s", child.name, message)

    def _no_ingest(self, number: int, child: AnyChild) -> None:
        self._ingests.pop(number, None)
        self._porter.remove(number)
        self._inlets.pop(number).close()
        self._forget(child)

    def _link(self, engine: int, ingest: int) -> None:
        """Give an engine and an ingest process a wire to each other."""
        process, warm = self._engines[engine]
        one, other = socketpair()
        linked = Linked(engine, ingest, warm)
        process.send(linked, one)
        self._ingests[ingest].send(linked, other)

    def _look(self) -> None:
        ingests = range(len(self._ingest_keepers))
        if len(self._engines) == len(self._devices) and self._open.issuperset(ingests):
            self.warm.set()

    # --- how the whole stands ------------------------------------------------

    async def seen(self) -> Seen:
        """Ask every process how it stands."""
        number = next(self._asks)
        engines = [child for child, _ in self._engines.values()]
        asked = []
        for child in (*engines, *self._ingests.values()):
            answered = self._asked[number, child.name] = asyncio.Event()
            asked.append(asyncio.create_task(answered.wait()))
            child.send(Ask(number))
        _, late = await asyncio.wait(asked, timeout=_REPORT_S) if asked else ((), ())
        for task in late:
            task.cancel()
        return self._books.seen()

    async def _answer(self, child: AnyChild, want: Want) -> None:
        child.send(WholeSeen(want.number, await self.seen()))

    def _enter(self, child: AnyChild, report: Report) -> None:
        self._books.enter(child.name, report)
        answered = self._asked.pop((report.number, child.name), None)
        if answered is not None:
            answered.set()

    def _forget(self, child: AnyChild) -> None:
        self._books.bury(child.name)
        for key in [key for key in self._asked if key[1] == child.name]:
            self._asked.pop(key).set()  # it will not answer


def _kill(keepers: Iterable[Keeper]) -> None:
    for keeper in keepers:
        if keeper.child is not None:
            _log.error("%s does not end: it is killed", keeper.child.name)
            keeper.child.kill()


def _workers(config: EngineConfig, device: str, of: int) -> EngineConfig:
    """The workers of one of several engines: on a CPU they share the cores."""
    if device != "cpu" or config.workers:
        return config
    return replace(config, workers=max(1, (os.cpu_count() or 1) // of))


def _share(limits: LimitConfig, number: int, of: int) -> LimitConfig:
    """What one of several ingest processes may let in, so that the sum holds."""

    def part(most: int) -> int:
        return max(1, most // of + (number < most % of)) if most else 0

    return replace(
        limits,
        max_connections=part(limits.max_connections),
        max_streams=part(limits.max_streams),
        max_speaking_streams=part(limits.max_speaking_streams),
        max_uploads=part(limits.max_uploads),
    )


async def _all_done(
    wanted: Iterable[asyncio.Task[None]], watched: Iterable[asyncio.Task[None]]
) -> None:
    """Wait for all of `wanted`; raise what any of `watched` raises meanwhile."""
    missing, pending = set(wanted), set(watched)
    while missing:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        missing -= done

"""The parent: starts the processes, links them, and knows how they stand.

It holds no stream and no model, so that little can go wrong with it; where it does
its children end too.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from streaming.cluster.census import Census
from streaming.cluster.child import Child
from streaming.cluster.engine_process import EngineSetup, Load, run_engine
from streaming.cluster.ingest_process import IngestSetup, run_ingest
from streaming.cluster.keeping import AnyChild, Keeper
from streaming.cluster.porter import Porter
from streaming.cluster.shares import limits_of, workers_of
from streaming.cluster.vigil import BEAT_S, Vigil
from streaming.cluster.wire import socketpair
from streaming.cluster.words import (
    Beat,
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
)
from streaming.config import Config
from streaming.core.facts import ModelFacts
from streaming.errors import ModelError
from streaming.server.keyring import token_secret
from streaming.server.pages import Seen

__all__ = ["Household"]

_log = logging.getLogger("wavestitch")

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
        self._census = Census()
        self._vigil: Vigil[AnyChild] = Vigil(config.engine.hang_s)
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
        watch = asyncio.create_task(self._watch())
        every = [*ingests, *engines]
        try:
            await _all_done(ingests, every)
            watch.cancel()  # who is told to end says nothing more
            self._end(self._engine_keepers, Stop(), _STOP_S)
            await _all_done(engines, engines)
        finally:
            for task in (*every, watch):
                task.cancel()
            await asyncio.gather(*every, watch, return_exceptions=True)
            await self._census.close()

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
            workers_of(config.engine, device, len(self._devices)),
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
            case Beat(hung):
                self._vigil.heard(child, hung)
            case Report():
                self._census.enter(child, message)
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
        self._vigil.heard(child)
        self._engines[number] = child, warm
        for ingest in self._ingests:
            self._link(number, ingest)
        self._look()

    def _no_engine(self, number: int, child: AnyChild) -> None:
        self._engines.pop(number, None)
        self._forget(child)

    # --- ingests -------------------------------------------------------------

    def _start_ingest(self, number: int) -> AnyChild:
        limits = limits_of(self._config.limits, number, len(self._ingest_keepers))
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
                self._vigil.heard(child)
                self._ingests[number] = child
                self._porter.add(number, self._inlets[number])
                for engine in self._engines:
                    self._link(engine, number)
            case Open():
                _log.info("%s lets streams in", child.name)
                self._porter.open(number)
                self._open.add(number)
                self._look()
            case Left():
                self._porter.left(number)
            case Want():
                self._census.answer(child, message, self._children)
            case Beat(hung):
                self._vigil.heard(child, hung)
            case Report():
                self._census.enter(child, message)
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
        return await self._census.seen(self._children)

    @property
    def _children(self) -> list[AnyChild]:
        engines = [child for child, _ in self._engines.values()]
        return [*engines, *self._ingests.values()]

    def _forget(self, child: AnyChild) -> None:
        self._vigil.over(child)
        self._census.forget(child)

    async def _watch(self) -> None:
        """End those that hang, so that they are started again."""
        while True:
            for child, why in self._vigil.look(time.monotonic()):
                _log.error("%s hangs: %s; it is killed", child.name, why)
                self._census.books.hung += 1
                child.kill()
            await asyncio.sleep(BEAT_S)


def _kill(keepers: Iterable[Keeper]) -> None:
    for keeper in keepers:
        if keeper.child is not None:
            _log.error("%s does not end: it is killed", keeper.child.name)
            keeper.child.kill()


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

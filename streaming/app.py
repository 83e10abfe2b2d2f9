"""The composition root: config -> model -> engine -> server.

The only place that knows them all. `serve` runs until it is told to stop;
`running` does the same for a block of code, for tests, the demo and benchmarks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from threading import Thread

from streaming.config import Config
from streaming.core.facts import ModelFacts
from streaming.engine import Engine, facts_of
from streaming.models.loading import load_model
from streaming.models.model import Model
from streaming.server.backend import Backend, session_maker
from streaming.server.server import Server
from streaming.server.signals import reload_signal, stop_signals

__all__ = ["Running", "running", "serve"]

_log = logging.getLogger("wavestitch")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is warm.

    Attributes:
        url: `ws://HOST:PORT`, or `wss` with a certificate; the native protocol is at
            its `/v1/stream`.
        http_url: `http://HOST:PORT`, for `/healthz`, `/readyz` and `/metrics`.
        server: the door.
        engine: what is behind it.
        facts: the model it runs.
    """

    url: str
    http_url: str
    server: Server
    engine: Engine
    facts: ModelFacts


async def serve(
    config: Config,
    *,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until told to stop, then drain.

    Args:
        config: everything.
        ready: called with the url once the model is warm.
        stop: set to stop; None listens for SIGTERM and SIGINT instead, a second
            of which ends the drain at once, and for SIGHUP, at which keys and
            certificate are read again.

    Raises:
        ConfigError: keys or certificate cannot be read, or others reach the port
            and need no key.
        ModelError: the model cannot be loaded.
        OSError: the address cannot be bound.
    """
    server = Server(config)
    signalled = stop is None
    stop = asyncio.Event() if stop is None else stop
    with (
        stop_signals(stop, server.hurry) if signalled else nullcontext(),
        reload_signal(server.reload, wanted=signalled and config.reloadable),
    ):
        warm = asyncio.Event()
        serving = asyncio.create_task(_serve(config, server, ready, warm, stop))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
            if warm.is_set() or serving.done():
                await serving
            else:
                _log.info("stopped before the model was warm")
        finally:
            stopped.cancel()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _serve(
    config: Config,
    server: Server,
    ready: Callable[[str], None] | None,
    warm: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    async with _serving(config, server, None) as run:
        warm.set()
        if ready is not None:
            ready(run.url)
        await stop.wait()
        await server.drain()


@asynccontextmanager
async def running(
    config: Config | None = None, *, model: Model | None = None
) -> AsyncIterator[Running]:
    """A warm server for a block of code; no drain at its end.

    Args:
        config: everything; by default any free port of this machine.
        model: used instead of the one the config names; stays the caller's.
    """
    config = config or Config()
    async with _serving(config, Server(config), model) as run:
        yield run


@asynccontextmanager
async def _serving(
    config: Config, server: Server, given: Model | None
) -> AsyncIterator[Running]:
    crossing = asyncio.get_running_loop().call_soon_threadsafe
    async with AsyncExitStack() as undo:
        undo.push_async_callback(server.close)
        await server.listen()  # a port that is taken is known before a long load
        model = given
        if model is None:
            model = await _apart(lambda: load_model(config.model, config.stream.window))
            undo.callback(model.close)
        engine = Engine(model, config.engine, crossing=crossing)
        undo.push_async_callback(asyncio.to_thread, engine.stop)
        undo.push_async_callback(server.close)  # before the engine that it uses
        await asyncio.to_thread(engine.start)
        facts = facts_of(model)
        server.open(Backend(facts, engine, session_maker(facts)))
        _log.info(
            "%s runs %s on %d workers",
            facts.name,
            "stateful" if facts.stateful else "windowed",
            engine.stats.workers,
        )
        _log.info("listening on %s", server.url)
        http_url = server.url.replace("ws", "http", 1)
        yield Running(server.url, http_url, server, engine, facts)


async def _apart(load: Callable[[], Model]) -> Model:
    """Load on a thread that nobody waits for once the caller is cancelled.

    asyncio's own threads are waited for at exit: a download of a gigabyte could not
    be interrupted.
    """
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Model] = loop.create_future()

    def settle(put: Callable[[], None]) -> None:
        if not loaded.done():
            put()

    def work() -> None:
        put: Callable[[], None]
        try:
            put = partial(loaded.set_result, load())
        except BaseException as error:  # any failure is the caller's to raise
            put = partial(loaded.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, put)

    Thread(target=work, name="loading", daemon=True).start()
    return await loaded

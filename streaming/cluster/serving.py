"""The composition root of several processes: config -> porter -> household.

As `streaming.app` is of one: `serve` runs until it is told to stop, `running` does
the same for a block of code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

from streaming.cluster.engine_process import Load
from streaming.cluster.household import Household
from streaming.cluster.porter import Porter
from streaming.config import Config
from streaming.models.loading import load_model
from streaming.server.access import Access
from streaming.server.binding import bind, url_of
from streaming.server.signals import reload_signal, stop_signals
from streaming.server.tls import Certificate

__all__ = ["Running", "running", "serve"]

_log = logging.getLogger("wavestitch")


@dataclass(frozen=True, slots=True)
class Running:
    """A warm server of several processes.

    Attributes:
        url: `ws://HOST:PORT`.
        http_url: `http://HOST:PORT`.
        household: its processes.
        porter: who hands out connections.
    """

    url: str
    http_url: str
    household: Household
    porter: Porter


async def serve(
    config: Config,
    *,
    ready: Callable[[str], None] | None = None,
    stop: asyncio.Event | None = None,
    load: Load = load_model,
) -> None:
    """Serve until told to stop, then drain every process.

    Args:
        config: everything; `server.ingest` and `model.devices` say how many.
        ready: called with the url once all are warm.
        stop: set to stop; None listens for SIGTERM and SIGINT instead, a second
            of which ends the drain at once, and for SIGHUP, at which keys and
            certificate are read again.
        load: loads the model, in each engine process.

    Raises:
        ConfigError: keys or certificate cannot be read, or others reach the port
            and need no key.
        ModelError: the model cannot be loaded.
        OSError: the address cannot be bound.
    """
    signalled = stop is None
    stop = asyncio.Event() if stop is None else stop
    async with _household(config, load) as (run, keeping):
        hurry = run.household.hurry
        reload = run.household.reload
        with (
            stop_signals(stop, hurry) if signalled else nullcontext(),
            reload_signal(reload, wanted=signalled and config.reloadable),
        ):
            told = asyncio.create_task(stop.wait())
            warm = asyncio.create_task(run.household.warm.wait())
            try:
                await _either(keeping, told, warm)
                if stop.is_set():
                    _log.info("stopped before every process was warm")
                    return
                _log.info("listening on %s", run.url)
                if ready is not None:
                    ready(run.url)
                await _either(keeping, told)
                run.household.drain()
                await keeping
            finally:
                told.cancel()
                warm.cancel()


@asynccontextmanager
async def running(config: Config, *, load: Load = load_model) -> AsyncIterator[Running]:
    """A warm server for a block of code; no drain at its end."""
    async with _household(config, load) as (run, keeping):
        warm = asyncio.create_task(run.household.warm.wait())
        try:
            await _either(keeping, warm)
        finally:
            warm.cancel()
        yield run


@asynccontextmanager
async def _household(
    config: Config, load: Load
) -> AsyncIterator[tuple[Running, asyncio.Task[None]]]:
    where = config.server
    Access(config)  # what ingest processes would only die of is told here
    Certificate(where.tls_certificate, where.tls_key)
    listening = bind(where)
    porter = Porter(listening)
    url = url_of(where, listening[0].getsockname()[1])
    household = Household(config, porter, load)
    keeping = asyncio.create_task(household.run(), name="household")
    accepting = asyncio.create_task(porter.run(), name="porter")
    run = Running(url, url.replace("ws", "http", 1), household, porter)
    try:
        yield run, keeping
    finally:
        for task in (keeping, accepting):
            task.cancel()
        await asyncio.gather(keeping, accepting, return_exceptions=True)
        await porter.close()


async def _either(keeping: asyncio.Task[None], *others: asyncio.Task[object]) -> None:
    """Wait for one of the others; raise what ends the household before."""
    await asyncio.wait((keeping, *others), return_when=asyncio.FIRST_COMPLETED)
    if keeping.done():
        keeping.result()

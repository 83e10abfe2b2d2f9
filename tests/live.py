"""A live server beside the tests, with the bundled model: one start for many tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from streaming.app import running
from streaming.config import Config, ServerConfig


@contextmanager
def serving(config: Config | None = None) -> Iterator[str]:
    """Serve on a free port in a thread; its address."""
    config = replace(config or Config(), server=ServerConfig(port=0))
    warm = threading.Event()
    url, loop, over = "", asyncio.new_event_loop(), asyncio.Event()
    failure: list[BaseException] = []

    async def serve() -> None:
        nonlocal url
        async with running(config) as server:
            url = server.url
            warm.set()
            await over.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as error:
            failure.append(error)
        finally:
            warm.set()

    thread = threading.Thread(target=run, name="live server")
    thread.start()
    try:
        warm.wait()
        if failure:
            raise failure[0]
        yield url
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(over.set)
        thread.join()

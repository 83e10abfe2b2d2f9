"""A server that follows a script: what a client is tested against."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import ServerConnection, serve

READY = {
    "session": "s1",
    "token": "t1",
    "protocol": 1,
    "model": "bundled",
    "language": "en",
    "encoding": "pcm_s16le",
    "sample_rate": 16_000,
    "channels": 1,
    "budget_ms": 500,
    "hop_ms": 320,
    "right_ms": 320,
    "idle_timeout_s": 60,
    "received": 0,
    "state": "open",
}
FINISHED = {"received": 0, "decoded": 0, "gated": 0, "dropped": 0, "concealed": 0}


class Line:
    """One connection, seen from the server: numbers what it says."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.path = socket.request.path
        self.audio = bytearray()
        self._seq = 0

    async def say(self, kind: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": kind, "seq": self._seq, **fields}))
        self._seq += 1

    async def command(self) -> dict[str, object]:
        """The next command; the audio before it is collected."""
        while True:
            message = await self.socket.recv()
            if isinstance(message, str):
                return json.loads(message)
            self.audio += message

    async def until_finish(self, **totals: object) -> None:
        """Take audio until `finish`, answer it and close."""
        while (await self.command())["type"] != "finish":
            pass
        await self.finish(**totals)

    async def finish(self, **totals: object) -> None:
        """Answer a `finish` and close."""
        await self.say("finished", **FINISHED | totals)
        await self.socket.close(1000)


@asynccontextmanager
async def scripted(
    script: Callable[[Line], Awaitable[None]], *, ready: bool = True, **options: object
) -> AsyncIterator[str]:
    """A server on a free port that runs `script` for each connection; its url."""

    async def connected(socket: ServerConnection) -> None:
        line = Line(socket)
        if ready:
            await line.say("ready", **READY)
        await script(line)

    async with serve(connected, "127.0.0.1", 0, compression=None, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}"

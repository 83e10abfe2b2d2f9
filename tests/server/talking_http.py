"""A plain HTTP client that sends what a test says, byte for byte."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

LISTEN = "/v1/listen?encoding=linear16&sample_rate=16000"
TRANSCRIBE = "/v1/audio/transcriptions"
SECOND = bytes(32_000)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Caller:
    """One connection; answers are read one after the other."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, *pieces: bytes):
        self.writer.write(b"".join(pieces))

    async def hear(self) -> Answer:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            body = b""
            if "content-length" in headers:
                body = await self.reader.readexactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readline(), 16):
                    body += (await self.reader.readexactly(size + 2))[:-2]
                await self.reader.readline()
            return Answer(int(status.split()[1]), headers, body)

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()


@asynccontextmanager
async def calling(stage, **options):
    reader, writer = await asyncio.open_connection(*stage.address, **options)
    try:
        yield Caller(reader, writer)
    finally:
        writer.close()


def post(path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request; header names with _ for -."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    said = {"host": "x", "content-length": str(len(body)), **said}
    lines = [f"{name}: {value}" for name, value in said.items()]
    return "\r\n".join([f"POST {path} HTTP/1.1", *lines, "\r\n"]).encode() + body


def form(file: bytes | None = b"", **fields: str) -> tuple[bytes, str]:
    """A form's body and its content type; `__` in a name for brackets."""
    parts = [
        f'--b0\r\nContent-Disposition: form-data; name="{name.replace("__", "[]")}"'
        f"\r\n\r\n{value}\r\n".encode()
        for name, value in fields.items()
    ]
    if file is not None:
        parts.append(
            b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.wav"'
            b"\r\nContent-Type: audio/wav\r\n\r\n" + file + b"\r\n"
        )
    return b"".join(parts) + b"--b0--\r\n", "multipart/form-data; boundary=b0"


async def ask(stage, *raw: bytes) -> Answer:
    """Send a request on a connection of its own."""
    async with calling(stage) as caller:
        caller.send(*raw)
        return await caller.hear()

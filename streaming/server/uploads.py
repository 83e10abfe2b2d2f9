"""A recording on its way in: what a body carries, kept in a file of its own.

The file has no name and goes with its last user; it is written and hashed on
threads. Knows forms and bare bodies, not what is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import IO

from streaming.protocols.form import Fields, Form

__all__ = ["Upload", "uploading"]

_WRITE_BYTES = 512 * 1024


class Upload:
    """A recording that came.

    Attributes:
        file: its bytes.
        fields: of the form around it, in their order.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.fields: Fields = ()
        self._hash = hashlib.sha256()
        self._begun: list[bytes] = []
        self._size = 0

    @property
    def sha256(self) -> str:
        """Of the recording's bytes, in hexadecimal."""
        return self._hash.hexdigest()

    async def take(self, body: AsyncGenerator[bytes, None], form: Form | None) -> None:
        """Take all of a body in.

        Args:
            body: as it comes.
            form: what it is; None where it is the recording itself.

        Raises:
            ProtocolError, TooBig: the body is no such form.
        """
        async with aclosing(body) as pieces:
            async for piece in pieces:
                for kept in (piece,) if form is None else form.push(piece):
                    self._begun.append(kept)
                    self._size += len(kept)
                if self._size >= _WRITE_BYTES:
                    await self._write()
        if form is not None:
            self.fields = form.close()
        await self._write()
        self.file.seek(0)

    async def _write(self) -> None:
        data, self._begun, self._size = b"".join(self._begun), [], 0

        def write() -> None:
            self.file.write(data)
            self._hash.update(data)

        await asyncio.to_thread(write)


@contextmanager
def uploading() -> Iterator[Upload]:
    """A place for a recording, for a block of code."""
    with tempfile.TemporaryFile() as file:
        yield Upload(file)

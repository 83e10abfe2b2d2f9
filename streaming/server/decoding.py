"""A recording's bytes as a stream would carry them, read and decoded on threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from itertools import islice
from typing import IO

from streaming.config import AudioFormat, Encoding
from streaming.numeric.pcm import PcmDecoder
from streaming.numeric.recordings import Recording, pcm16

__all__ = ["decoded"]

_READ_BYTES = 32_768

# A thread is woken for as many blocks of 0.1 s.
_TOGETHER = 16


async def decoded(
    file: IO[bytes], raw: AudioFormat | None, *, rate: int, mixed: bool
) -> tuple[AudioFormat, AsyncGenerator[bytes, None]]:
    """Open a file and decode it.

    Args:
        file: a recording, or bare samples.
        raw: what bare samples mean; None where a container says it.
        rate: of the model.
        mixed: two channels become one.

    Returns:
        What the pieces mean, and the pieces; these raise `UnsupportedAudio` where
        it is damaged.

    Raises:
        UnsupportedAudio: it cannot be read at all.
    """
    if raw is None:
        audio, blocks = await asyncio.to_thread(
            lambda: Recording(file, "the recording").pcm(rate, mixed=mixed)
        )
    elif mixed and raw.channels > 1:
        audio = AudioFormat(Encoding.PCM_S16LE, raw.sample_rate)
        blocks = _mixed(file, PcmDecoder(raw))
    else:
        audio, blocks = raw, _read(file)
    return audio, _on_threads(blocks)


def _read(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_READ_BYTES), b"")


def _mixed(file: IO[bytes], decoder: PcmDecoder) -> Iterator[bytes]:
    for piece in _read(file):
        yield pcm16(decoder.push(piece).mean(axis=1))


async def _on_threads(blocks: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    while some := await asyncio.to_thread(lambda: list(islice(blocks, _TOGETHER))):
        yield b"".join(some)

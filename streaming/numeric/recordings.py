"""Recordings, on disk or sent to us, to blocks of samples at their rate or another.

Knows libsndfile, what headers promise, and how its errors are told in a line;
nothing of models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import soundfile

from streaming.config import AudioFormat, Encoding
from streaming.errors import UnsupportedAudio
from streaming.events import Samples
from streaming.numeric.resample import Resampler

__all__ = ["Recording", "pcm16", "read_samples"]

_PIECE_S = 0.1
# libsndfile mends such a header silently; only its log tells. Sizes of 2 GiB and
# more are what programs write into a pipe, where nobody knows the length.
_MENDED = re.compile(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
_UNKNOWN_BYTES = 0x7FFF_0000
# Samples a second that headers may promise; a forged one must not cost memory.
_SLOWEST, _FASTEST = 1_000, 768_000
_LOWEST, _HIGHEST = 8_000, 48_000  # those that a stream may have


class Recording:
    """An open recording, read once.

    Args:
        source: anything that libsndfile reads, one or two channels: its path, or a
            file that can be sought in, which stays the caller's.
        name: what errors call it; by default the path.

    Attributes:
        sample_rate: samples a second and channel.
        channels: 1 or 2.
        announced: seconds that its header promises.

    Raises:
        UnsupportedAudio: it cannot be read.
    """

    def __init__(self, source: Path | IO[bytes], name: str | None = None) -> None:
        self._source = source
        self._name = str(source) if name is None else name
        try:
            sound = soundfile.SoundFile(source)
        except (OSError, soundfile.SoundFileError) as error:
            raise self._unreadable(_why(source, error)) from None
        if sound.channels > 2:
            channels = sound.channels
            sound.close()
            raise self._unreadable(f"{channels} channels, at most 2")
        if not _SLOWEST <= sound.samplerate <= _FASTEST:
            rate = sound.samplerate
            sound.close()
            raise self._unreadable(
                f"{rate} samples a second, {_SLOWEST} to {_FASTEST} are"
            )
        self._sound = sound
        self.sample_rate: int = sound.samplerate
        self.channels: int = sound.channels
        self.announced = _announced(sound)

    def pcm(
        self, model_rate: int, *, mixed: bool = False
    ) -> tuple[AudioFormat, Iterator[bytes]]:
        """As a client would stream it: 16 bits a sample, at its own rate if it may.

        Args:
            model_rate: taken where its own is no rate that a stream may have.
            mixed: two channels become one.
        """
        rate = self.sample_rate
        sent = rate if _LOWEST <= rate <= _HIGHEST else model_rate
        channels = 1 if mixed else self.channels
        blocks = self.blocks(sent)
        if channels < self.channels:
            blocks = (block.mean(axis=1, keepdims=True) for block in blocks)
        return AudioFormat(Encoding.PCM_S16LE, sent, channels), map(pcm16, blocks)

    def blocks(self, rate: int) -> Iterator[npt.NDArray[np.float32]]:
        """What it holds, `(n, channels)` at a time, at `rate`; closes it.

        Raises:
            UnsupportedAudio: it is damaged from here on.
        """
        resamplers = [Resampler(self.sample_rate, rate) for _ in range(self.channels)]
        for block in self._blocks():
            columns = zip(resamplers, block.T, strict=True)
            yield np.stack([each.push(np.array(column)) for each, column in columns], 1)
        yield np.stack([each.drain() for each in resamplers], axis=1)

    def _blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        size = max(1, int(self.sample_rate * _PIECE_S))
        with self._sound as sound:
            while True:
                try:
                    block = sound.read(size, "float32", always_2d=True)
                except soundfile.SoundFileError as error:
                    raise self._unreadable(_why(self._source, error)) from None
                if not len(block):
                    return
                yield block

    def _unreadable(self, why: str) -> UnsupportedAudio:
        return UnsupportedAudio(f"cannot read {self._name}: {why}")


def read_samples(path: Path, rate: int) -> Samples:
    """A recording as `(n,)` at `rate`, its channels mixed.

    Raises:
        UnsupportedAudio: it cannot be read.
    """
    blocks = list(Recording(path).blocks(rate))
    mixed: Samples = np.concatenate(blocks).mean(axis=1, dtype=np.float32)
    return mixed


def _announced(sound: soundfile.SoundFile) -> float:
    """Seconds that the header promises, which may be more than there are."""
    frames = float(sound.frames)
    if mended := _MENDED.search(sound.extra_info):
        promised, held = map(int, mended.groups())
        if held and promised < _UNKNOWN_BYTES:
            frames *= promised / held
    return frames / float(sound.samplerate)


def pcm16(block: npt.NDArray[np.float32]) -> bytes:
    """Samples in -1..1 as 16-bit integers, channels interleaved."""
    whole = np.clip(np.rint(block * 32_768.0), -32_768, 32_767)
    return bytes(whole.astype("<i2").tobytes())


def _why(source: Path | IO[bytes], error: Exception) -> str:
    """The error without the path, which libsndfile says once more."""
    if not isinstance(source, Path):
        if not source.seek(0, 2):
            return "the file is empty"
    elif not source.exists():
        return "no such file"
    elif source.is_dir():
        return "is a folder"
    elif source.is_file() and not source.stat().st_size:
        return "the file is empty"
    why = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    if why == "Format not recognised":
        return (
            "not a recording that libsndfile reads: expected WAV, FLAC, Ogg, MP3, ..."
        )
    return why

"""Recordings on disk to blocks of samples, at their own rate or another.

Knows libsndfile, what headers promise, and how its errors are told in a line;
nothing of streams or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from streaming.errors import UnsupportedAudio
from streaming.events import Samples
from streaming.numeric.resample import Resampler

__all__ = ["Recording", "read_samples"]

_PIECE_S = 0.1
# libsndfile mends such a header silently; only its log tells. Sizes of 2 GiB and
# more are what programs write into a pipe, where nobody knows the length.
_MENDED = re.compile(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
_UNKNOWN_BYTES = 0x7FFF_0000


class Recording:
    """An open recording, read once.

    Args:
        path: anything that libsndfile reads, one or two channels.

    Attributes:
        sample_rate: samples a second and channel.
        channels: 1 or 2.
        announced: seconds that its header promises.

    Raises:
        UnsupportedAudio: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            sound = soundfile.SoundFile(path)
        except (OSError, soundfile.SoundFileError) as error:
            raise UnsupportedAudio(f"cannot read {path}: {_why(path, error)}") from None
        if sound.channels > 2:
            channels = sound.channels
            sound.close()
            raise UnsupportedAudio(
                f"cannot read {path}: {channels} channels, at most 2"
            )
        self._path = path
        self._sound = sound
        self.sample_rate: int = sound.samplerate
        self.channels: int = sound.channels
        self.announced = _announced(sound)

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
                    why = _why(self._path, error)
                    raise UnsupportedAudio(f"cannot read {self._path}: {why}") from None
                if not len(block):
                    return
                yield block


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


def _why(path: Path, error: Exception) -> str:
    """The error without the path, which libsndfile says once more."""
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a folder"
    if path.is_file() and not path.stat().st_size:
        return "the file is empty"
    why = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    if why == "Format not recognised":
        return (
            "not a recording that libsndfile reads: expected WAV, FLAC, Ogg, MP3, ..."
        )
    return why

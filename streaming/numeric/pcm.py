"""Bytes of a stream to float samples, whatever the message borders.

Knows how five encodings write a sample; does not know whether the bytes are
what they were said to be, nor at which rate they were taken.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
import numpy.typing as npt

from streaming.config import AudioFormat, Encoding
from streaming.events import Samples

__all__ = ["FULL_SCALE", "PcmDecoder", "decode"]


def _mulaw() -> Samples:
    """ITU-T G.711 table 2: code to linear value; the largest is 8031 of 8192."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = ((2 * mantissa + 33) << exponent) - 33
    return np.where(code & 128, -magnitude, magnitude).astype(np.float32) / np.float32(
        8192
    )


def _alaw() -> Samples:
    """ITU-T G.711 table 1: code to linear value; the largest is 4032 of 4096."""
    code = np.arange(256, dtype=np.uint8) ^ np.uint8(0x55)
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    normal = (2 * mantissa + 33) << np.maximum(exponent - 1, 0)
    magnitude = np.where(exponent > 0, normal, 2 * mantissa + 1)
    return np.where(code & 128, magnitude, -magnitude).astype(np.float32) / np.float32(
        4096
    )


_MULAW, _ALAW = _mulaw(), _alaw()

# The largest magnitude that each encoding can write on both sides of zero.
FULL_SCALE: dict[Encoding, float] = {
    Encoding.PCM_S16LE: 32_767 / 32_768,
    Encoding.PCM_S24LE: 8_388_607 / 8_388_608,
    Encoding.PCM_F32LE: 1.0,
    Encoding.MULAW: float(_MULAW.max()),
    Encoding.ALAW: float(_ALAW.max()),
}


def decode(encoding: Encoding, data: bytes) -> Samples:
    """Whole samples as they are written, `(n,)`; channels stay interleaved.

    Integers and companded codes come out in -1..1. Floats come out as they came:
    possibly beyond -1..1, infinite or not a number.

    Args:
        encoding: how a sample is written.
        data: `n * encoding.width` bytes.
    """
    match encoding:
        case Encoding.PCM_S16LE:
            return np.frombuffer(data, "<i2") * np.float32(1 / (1 << 15))  # exact
        case Encoding.PCM_S24LE:
            wide: npt.NDArray[np.uint8] = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(1 << 31)
        case Encoding.PCM_F32LE:
            return np.frombuffer(data, "<f4").astype(np.float32)
        case Encoding.MULAW:
            return _MULAW[np.frombuffer(data, np.uint8)]
        case Encoding.ALAW:
            return _ALAW[np.frombuffer(data, np.uint8)]
        case _:
            assert_never(encoding)


class PcmDecoder:
    """Bytes of any length in, whole frames of samples out.

    A frame is one sample of each channel; the bytes of an unfinished one wait
    for the next message. Floats that are not numbers become 0 and those beyond
    -1..1 are clipped, so that nothing downstream meets them: one NaN would stay
    in a resampler or a running mean for good. (The inspector says so.)
    """

    def __init__(self, format: AudioFormat) -> None:  # noqa: A002  the word for it
        self._encoding = format.encoding
        self._channels = format.channels
        self._frame = format.encoding.width * format.channels
        self._odd = b""

    @property
    def odd_bytes(self) -> int:
        """Bytes of an unfinished frame that wait for the rest of it."""
        return len(self._odd)

    def push(self, data: bytes) -> npt.NDArray[np.float32]:
        """Decode the next bytes.

        Args:
            data: bytes in the stream's encoding; any number, none included.

        Returns:
            `(frames, channels)`, finite, in -1..1.
        """
        if self._odd:
            data = self._odd + data
        whole = len(data) - len(data) % self._frame
        self._odd = bytes(data[whole:])
        samples = decode(self._encoding, data[:whole])
        if self._encoding is Encoding.PCM_F32LE:
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
            samples = np.clip(samples, -1.0, 1.0)
        return samples.reshape(-1, self._channels)

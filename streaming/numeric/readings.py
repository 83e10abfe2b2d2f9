"""What bytes look like when they are read in one way or another.

Three statistics that tell encodings apart: how jumpy the samples are, how
alike the bytes of a word are, and whether words have the exponents of floats.
Knows no encoding by name and draws no conclusion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Lanes", "floats_share", "lanes_of", "reads_as_floats", "roughness"]

Numbers = npt.NDArray[np.floating] | npt.NDArray[np.integer]


def roughness(values: Numbers, channels: int = 1) -> float:
    """Mean step over mean magnitude, per channel: 0 for a constant.

    Speech has 0.1 to 0.9 (16 kHz) or 1.1 (8 kHz), white noise 1.2 to 1.4, bytes read
    wrongly 1.2 to 2. The magnitude is taken from the median, so an offset does
    not count.

    Args:
        values: `(n,)`, interleaved, finite.
        channels: how many are interleaved.
    """
    frames = values[: len(values) // channels * channels].reshape(-1, channels)
    if len(frames) < 2:
        return 0.0
    centred = frames.astype(np.float64)
    centred -= np.median(centred, axis=0)
    magnitude = np.abs(centred).mean()
    step = np.abs(np.diff(centred, axis=0)).mean()
    return float(step / magnitude) if magnitude > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """The first and the last byte of each word, compared.

    Attributes:
        words: how many were looked at; words of zeros say nothing and are left out.
        apart: total variation distance of the two histograms, 0 (alike) to 1.
        first: entropy of the first byte in bits.
        last: entropy of the last byte in bits.
    """

    words: int
    apart: float
    first: float
    last: float


def _entropy(counts: npt.NDArray[np.integer]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())


def lanes_of(data: bytes, width: int) -> Lanes:
    """Compare the first and last bytes of words of `width` bytes.

    Little-endian PCM has a nearly random first byte and a predictable last one;
    one-byte codes taken for words have two of a kind.
    """
    words = np.frombuffer(data[: len(data) // width * width], np.uint8)
    words = words.reshape(-1, width)
    words = words[words.any(axis=1)]
    if not len(words):
        return Lanes(0, 0.0, 0.0, 0.0)
    first = np.bincount(words[:, 0], minlength=256)
    last = np.bincount(words[:, -1], minlength=256)
    apart = float(np.abs(first - last).sum() / (2 * len(words)))
    return Lanes(len(words), apart, _entropy(first), _entropy(last))


def _nonzero(data: bytes, dtype: str) -> npt.NDArray[np.float64]:
    size = np.dtype(dtype).itemsize
    with np.errstate(invalid="ignore"):
        words = np.frombuffer(data[: len(data) // size * size], dtype)
        values: npt.NDArray[np.float64] = words[words != 0].astype(np.float64)
        return values


def floats_share(data: bytes, low: float, high: float, dtype: str = "<f4") -> float:
    """Share of the words other than 0 whose magnitude lies in `low..high`.

    What is no number lies nowhere. 0 where there are no such words.
    """
    magnitude = np.abs(_nonzero(data, dtype))
    if not len(magnitude):
        return 0.0
    return float(((magnitude >= low) & (magnitude <= high)).mean())


def reads_as_floats(data: bytes, dtype: str) -> bool:
    """Whether nearly all words have the exponents of audio kept as floats.

    98 % within 2**-30..2**17 (integer scale included), of both signs, with at
    least five different exponents: 16-bit speech read so has under 50 %, and a
    square wave at half scale, which passes the first two, has one exponent.
    """
    values = _nonzero(data, dtype)
    if len(values) < 100:
        return False
    magnitude = np.abs(values)
    plausible = (magnitude >= 2.0**-30) & (magnitude <= 2.0**17)
    if plausible.mean() < 0.98 or not ((values > 0).any() and (values < 0).any()):
        return False
    return len(np.unique(np.frexp(magnitude[plausible])[1])) >= 5

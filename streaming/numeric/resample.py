"""One channel from the rate it came at to the rate the model takes.

soxr does the work; this file knows its delay, and says how many samples come
out in total. Does not know what the samples are for.
"""

from __future__ import annotations

import numpy as np
import soxr

from streaming.events import Samples

__all__ = ["Resampler", "resampled_length"]


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """Samples that `samples` samples become: the nearest integer, halves up."""
    return (2 * samples * target_rate + source_rate) // (2 * source_rate)


class Resampler:
    """Resamples a stream piece by piece; the pieces' borders never show.

    The output is bit-identical however the input was cut, and equal to
    `soxr.resample` of the whole: libsoxr gathers its input into blocks of its own
    (measured with soxr 1.1, pieces of 1 sample to all, ten pairs of rates).

    Those blocks hold samples back, quality "HQ" to 16 kHz, mean and most: 64 and
    115 ms from 8 kHz, 23 and 40 ms from 44.1 kHz, 21 and 37 ms from 48 kHz. "MQ"
    holds back as much; "LQ" half of it, but cuts an 8 kHz stream off at 2.7 kHz.
    soxr's variable-rate mode holds back half too; it is marked experimental and
    loses up to three samples of a short input.

    Where both rates are equal the samples pass through untouched.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._source_rate = source_rate
        self._target_rate = target_rate
        self._soxr = self._fresh()
        self._received = 0
        self._delivered = 0

    def _fresh(self) -> soxr.ResampleStream | None:
        if self._source_rate == self._target_rate:
            return None
        return soxr.ResampleStream(
            self._source_rate, self._target_rate, 1, dtype="float32", quality="HQ"
        )

    def push(self, samples: Samples) -> Samples:
        """Take samples in, give those that are ready.

        Args:
            samples: `(n,)` at the source rate, finite: a NaN would spread.

        Returns:
            `(m,)` at the target rate; m may be 0.
        """
        if self._soxr is None:
            return samples
        ready: Samples = self._soxr.resample_chunk(np.ascontiguousarray(samples))
        self._received += len(samples)
        self._delivered += len(ready)
        return ready

    def drain(self) -> Samples:
        """Give all that is held back; the next push begins a new signal.

        Since the last drain, n samples in have then become exactly
        `resampled_length(n, source_rate, target_rate)` samples out.
        """
        if self._soxr is None:
            return np.zeros(0, np.float32)
        rest = self._soxr.resample_chunk(np.zeros(0, np.float32), last=True)
        total = resampled_length(self._received, self._source_rate, self._target_rate)
        # soxr rounds the same sum in doubles; integers make it hold for any length.
        exact = np.zeros(total - self._delivered, np.float32)
        exact[: len(rest)] = rest[: len(exact)]
        self._soxr = self._fresh()
        self._received = self._delivered = 0
        return exact

"""One channel from the rate it came at to the rate the model takes.

A windowed sinc of our own, for its delay: libsoxr transforms blocks, which holds
back 64 ms of an 8 kHz stream on average and 115 at most, at every quality worth
its name (the log in `benchmarks/` has them all); this holds back 3 ms. Costs 25
to 45 us more for 20 ms of audio. Does not know what the samples are for.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from streaming.events import Samples

__all__ = ["Resampler", "resampled_length"]

# Samples of the lower rate that the filter reaches to either side, and the shape of
# its Kaiser window (Kaiser and Schafer 1980): 80 dB down from 1.12 of the lower
# Nyquist frequency on, flat up to 0.88. A telephone's band ends at 0.85.
_REACH = 24
_BETA = 8.0
# Rates whose ratio is no small fraction take the nearest of so many phases, which
# is noise 56 dB down at most; those that devices have need 640 at most.
_PHASES = 1_024
_FEW = 4


def resampled_length(samples: int, source_rate: int, target_rate: int) -> int:
    """Samples that `samples` samples become: the nearest integer, halves up."""
    return (2 * samples * target_rate + source_rate) // (2 * source_rate)


class Resampler:
    """Resamples a stream piece by piece; the pieces' borders never show.

    The output is bit-identical however the input was cut: each sample is one sum
    of as many products, in one order. It is ready once `delay` samples
    after its place are in.

    Where both rates are equal the samples pass through untouched.

    Attributes:
        delay: samples of the source rate that are held back, and a begun one of
            the target rate.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._source_rate = source_rate
        self._target_rate = target_rate
        common = gcd(source_rate, target_rate)
        self._up, self._down = target_rate // common, source_rate // common
        self._same = source_rate == target_rate
        self._bank = _bank(1, 1) if self._same else _bank(self._up, self._down)
        self._taps = self._bank.shape[1]
        self.delay = 0 if self._same else self._taps // 2
        self._begin()

    def _begin(self) -> None:
        # What came before the signal is silence; the first output lies on its first
        # sample.
        self._held: Samples = np.zeros(self._taps // 2 - 1, np.float32)
        self._first = -len(self._held)  # position of the first sample held
        self._received = 0
        self._delivered = 0

    def push(self, samples: Samples) -> Samples:
        """Take samples in, give those that are ready.

        Args:
            samples: `(n,)` at the source rate, finite: a NaN would spread.

        Returns:
            `(m,)` at the target rate; m may be 0.
        """
        if self._same:
            return samples
        self._received += len(samples)
        return self._take(samples)

    def drain(self) -> Samples:
        """Give all that is held back; the next push begins a new signal.

        Since the last drain, n samples in have then become exactly
        `resampled_length(n, source_rate, target_rate)` samples out.
        """
        total = resampled_length(self._received, self._source_rate, self._target_rate)
        rest = total - self._delivered
        silence = np.zeros(self._taps // 2 + self._down // self._up + 1, np.float32)
        tail = self._take(silence)[:rest] if rest else np.zeros(0, np.float32)
        self._begin()
        return tail

    def _take(self, samples: Samples) -> Samples:
        self._held = np.concatenate((self._held, samples))
        whole = len(self._held) - self._taps + 1  # places where the filter fits
        if whole <= 0:
            return np.zeros(0, np.float32)
        before = self._taps // 2 - 1
        # Output k lies k * down / up samples after the first.
        last = self._first + before + whole
        end = (last * self._up - 1) // self._down + 1
        places = np.arange(self._delivered, max(end, self._delivered)) * self._down
        starts = places // self._up - before - self._first
        ready = self._filter(starts, places % self._up)
        self._delivered += len(ready)
        needed = self._delivered * self._down // self._up - before
        self._held = self._held[max(0, needed - self._first) :]
        self._first = max(self._first, needed)
        return ready

    def _filter(
        self, starts: npt.NDArray[np.int64], fractions: npt.NDArray[np.int64]
    ) -> Samples:
        """One sum for each output: `(n,)` first samples, and where between two."""
        phases = len(self._bank) - 1
        rows = (2 * fractions * phases + self._up) // (2 * self._up)
        spans = sliding_window_view(self._held, self._taps)
        if self._up > _FEW:
            some: Samples = np.einsum("ij,ij->i", spans[starts], self._bank[rows])
            return some
        # Few phases come round in turn: nothing need be copied.
        ready = np.empty(len(starts), np.float32)
        for turn in range(min(self._up, len(starts))):
            count = len(ready[turn :: self._up])
            chosen = spans[starts[turn] :: self._down][:count]
            ready[turn :: self._up] = np.einsum(
                "ij,j->i", chosen, self._bank[rows[turn]]
            )
        return ready


@lru_cache(maxsize=16)
def _bank(up: int, down: int) -> npt.NDArray[np.float32]:
    """Filters for each phase between two samples, `(phases + 1, taps)`, gain 1."""
    phases = min(up, _PHASES)
    stretch = max(1.0, down / up)
    half = ceil(_REACH * stretch)
    away = np.arange(1 - half, half + 1) - np.arange(phases + 1)[:, None] / phases
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (away / half) ** 2, 0, 1)))
    taps = np.sinc(away / stretch) * window
    even: npt.NDArray[np.float32] = taps / taps.sum(axis=1, keepdims=True)
    return even.astype(np.float32)

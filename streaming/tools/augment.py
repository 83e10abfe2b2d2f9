"""Distort training speech the way rooms, phones and people do.

Pure: samples and a random generator in, samples out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from streaming.tools.recipe import Augmentation

__all__ = ["Augmenter", "change_speed", "cut_soft_ends"]

Samples: TypeAlias = npt.NDArray[np.float32]  # (n,), -1..1

SAMPLE_RATE = 16_000
_FRAME = 320
_SHORT_FRAME = 160
_QUIETEST = 10 ** (-40 / 20)  # of the loudest; what is softer is moved as much


def change_speed(samples: Samples, factor: float) -> Samples:
    """Play faster (`factor` over 1) or slower; pitch and formants move along."""
    count = max(1, int(len(samples) / factor))
    places = np.arange(count, dtype=np.float32) * np.float32(factor)
    heard: Samples = np.interp(places, np.arange(len(samples)), samples).astype(
        np.float32
    )
    return heard


def cut_soft_ends(samples: Samples, decibels: float) -> Samples:
    """What lies between the first and the last frame that is loud enough.

    Args:
        samples: `(n,)`.
        decibels: a frame of 20 ms is loud enough if it is not farther than this under
            the loudest.
    """
    frames = len(samples) // _FRAME
    if frames < 2:
        return samples
    power = (samples[: frames * _FRAME].reshape(frames, _FRAME) ** 2).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-decibels / 10))
    return samples[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]


class Augmenter:
    """Applies each distortion by chance.

    Args:
        chances: how often and how strongly.
        noises: background recordings, at least one second each.
        rooms: impulse responses.
        dice: source of randomness.
    """

    def __init__(
        self,
        chances: Augmentation,
        noises: Sequence[Samples],
        rooms: Sequence[Samples],
        dice: np.random.Generator,
    ) -> None:
        self._chances = chances
        self._noises = noises
        self._rooms = [room / (np.sqrt((room**2).sum()) + 1e-9) for room in rooms]
        self._dice = dice

    def __call__(self, samples: Samples, strength: float = 1.0) -> Samples:
        """A distorted copy of the same length; `strength` scales every chance."""
        chances, dice = self._chances, self._dice
        if self._rooms and dice.random() < chances.room_chance * strength:
            samples = self._reverberate(samples)
        if dice.random() < chances.tilt_chance * strength:
            samples = self._tilt(samples)
        if dice.random() < chances.dynamics_chance * strength:
            samples = self._stretch_dynamics(samples)
        if dice.random() < chances.low_cut_chance * strength:
            samples = self._cut_low(samples)
        if self._noises and dice.random() < chances.noise_chance * strength:
            samples = self._add_noise(samples)
        if dice.random() < chances.coding_chance * strength:
            samples = self._code(samples)
        if dice.random() < chances.telephone_chance * strength:
            samples = self._telephone(samples)
        return samples

    def background(self, count: int) -> Samples:
        """`count` samples of noise alone, at a random level."""
        if not self._noises:
            return np.zeros(count, np.float32)
        noise = self._excerpt(count)
        return noise * np.float32(10 ** self._dice.uniform(-3, 0))

    def _excerpt(self, count: int) -> Samples:
        noise = self._noises[int(self._dice.integers(len(self._noises)))]
        start = int(self._dice.integers(len(noise)))
        return np.take(noise, np.arange(start, start + count), mode="wrap")

    def _reverberate(self, samples: Samples) -> Samples:
        room = self._rooms[self._dice.integers(len(self._rooms))]
        size = _fast_length(len(samples) + len(room))
        wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(room, size), size)
        start = int(np.abs(room).argmax())
        return wet[start : start + len(samples)].astype(np.float32)

    def _tilt(self, samples: Samples) -> Samples:
        size = _fast_length(len(samples))
        spectrum = np.fft.rfft(samples, size)
        knots = self._dice.uniform(-1, 1, 6) * self._chances.tilt_db
        decibels = np.interp(np.linspace(0, 5, len(spectrum)), np.arange(6), knots)
        gains = (10 ** (decibels / 20)).astype(np.float32)
        return np.fft.irfft(spectrum * gains, size)[: len(samples)].astype(np.float32)

    def _stretch_dynamics(self, samples: Samples) -> Samples:
        count = len(samples) // _SHORT_FRAME
        if count < 3:
            return samples
        frames = samples[: count * _SHORT_FRAME].reshape(count, _SHORT_FRAME)
        power = np.convolve((frames**2).mean(axis=1), np.ones(3) / 3, "same")
        level = np.sqrt(power / (power.max() + 1e-20))
        ratio = self._dice.uniform(*self._chances.dynamics)
        gains = np.maximum(level, _QUIETEST) ** (ratio - 1)
        middles = (np.arange(count) + 0.5) * _SHORT_FRAME
        follows = np.interp(np.arange(len(samples)), middles, gains)
        moved: Samples = (samples * follows).astype(np.float32)
        return moved

    def _cut_low(self, samples: Samples) -> Samples:
        size = _fast_length(len(samples))
        spectrum = np.fft.rfft(samples, size)
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum)) + 1e-3
        corner = self._dice.uniform(*self._chances.low_cut_hz)
        order = int(self._dice.integers(1, 3))
        gains = (1 + (corner / hertz) ** (2 * order)) ** -0.5  # Butterworth's
        return np.fft.irfft(spectrum * gains, size)[: len(samples)].astype(np.float32)

    def _add_noise(self, samples: Samples) -> Samples:
        noise = self._excerpt(len(samples))
        ratio = 10 ** (self._dice.uniform(*self._chances.snr_db) / 20)
        loudness = np.sqrt((samples**2).mean() / ((noise**2).mean() + 1e-12))
        return samples + noise * np.float32(loudness / ratio)

    def _code(self, samples: Samples) -> Samples:
        ratio = 10 ** (-self._dice.uniform(*self._chances.coding_db) / 20)
        noise = self._dice.standard_normal(len(samples), np.float32)
        return samples * (1 + np.float32(ratio) * noise)

    def _telephone(self, samples: Samples) -> Samples:
        size = _fast_length(len(samples))
        spectrum = np.fft.rfft(samples, size)
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
        low, high = self._dice.uniform(50, 350), self._dice.uniform(3_200, 4_000)
        spectrum[(hertz < low) | (hertz > high)] = 0
        band = np.fft.irfft(spectrum, size)[: len(samples)]
        peak = np.abs(band).max() + 1e-9
        coded = np.sign(band) * np.log1p(255 * np.abs(band) / peak) / np.log(256)
        coded = np.round(coded * 127) / 127
        heard: Samples = (
            np.sign(coded) * (256 ** np.abs(coded) - 1) / 255 * peak
        ).astype(np.float32)
        return heard


def _fast_length(count: int) -> int:
    """The next length that a Fourier transform likes: 2**n or 3 * 2**n."""
    power = 1 << (count - 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= count else power

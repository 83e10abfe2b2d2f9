"""Scale audio to zero mean and unit variance, as a checkpoint may ask.

A stream cannot know the whole utterance, so a window is scaled by the
statistics of everything the utterance has held so far; at its end they are
those of the whole utterance. Knows nothing of windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streaming.events import Samples

__all__ = ["Normaliser", "normalised"]


@dataclass(frozen=True, slots=True)
class Normaliser:
    """Running mean and variance of an utterance; the identity unless `on`.

    A value, not a machine: `after` gives the statistics with more samples, so a
    look ahead into right context is undone by forgetting it. Sums are float64
    and merged by Chan, Golub and LeVeque's pairwise update (1979); the result
    equals offline statistics to about 1e-12 relative.

    How far early statistics are off the whole utterance's, as the ratio of the
    standard deviations, 5th, 50th and 95th percentile of 224 gated utterances of
    2 s and more (LibriSpeech and speechocean762 test clips, default gate): 0.10,
    0.83, 1.50 at the end of the first default window (0.64 s, half of it
    pre-roll); 0.66, 1.10, 1.45 after 1 s; 0.91, 1.12, 1.30 after 2 s.

    Attributes:
        on: whether the checkpoint asks for it.
        count: samples seen.
        mean: their mean.
        squares: their summed squared deviations from the mean.
    """

    on: bool = True
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def variance(self) -> float:
        """Population variance of the samples seen; 0 before the first."""
        return self.squares / self.count if self.count else 0.0

    def after(self, samples: Samples) -> Normaliser:
        """Return the statistics with `samples`, `(n,)`, seen as well."""
        n = len(samples)
        if not (self.on and n):
            return self
        exact = samples.astype(np.float64)
        mean = float(exact.mean())
        exact -= mean
        # Not a dot product: BLAS may split it over threads, and its sum with them.
        squares = float(np.square(exact, out=exact).sum())
        count = self.count + n
        shift = mean - self.mean
        return Normaliser(
            True,
            count,
            self.mean + shift * n / count,
            self.squares + squares + shift * shift * self.count * n / count,
        )

    def apply(self, samples: Samples) -> Samples:
        """Return `samples`, `(n,)`, scaled: `(x - mean) / sqrt(variance + 1e-7)`.

        The formula is that of transformers' `Wav2Vec2FeatureExtractor`.
        """
        if not self.on:
            return samples
        scale = 1.0 / float(np.sqrt(self.variance + 1e-7))
        return ((samples - self.mean) * scale).astype(np.float32, copy=False)


def normalised(samples: Samples, on: bool = True) -> Samples:
    """Return a whole utterance, `(n,)`, scaled by its own statistics."""
    return Normaliser(on).after(samples).apply(samples)

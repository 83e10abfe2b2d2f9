"""Samples in order, of which any span can be had without a copy.

What is added is copied once; what is forgotten goes a block at a time. Knows
positions, not what the samples are.
"""

from __future__ import annotations

import numpy as np

from streaming.events import Samples

__all__ = ["Track"]

_LEAST = 8_192  # samples of a block


class Track:
    """The samples of `[start, end)`; make one per channel.

    Args:
        start: position of the first sample to come.

    Attributes:
        start: position of the oldest sample that may be asked for.
        end: position after the newest.
    """

    def __init__(self, start: int = 0) -> None:
        self.start = start
        self.end = start
        self._base = start  # position of the block's first sample
        self._block: Samples = np.empty(0, np.float32)

    def add(self, samples: Samples) -> None:
        """Take a copy of samples, `(n,)`."""
        filled = self.end - self._base
        end = filled + len(samples)
        if end > len(self._block):
            # Never written twice: spans that were given out stay as they were.
            kept = self.between(self.start, self.end)
            block = np.empty(max(_LEAST, 2 * (len(kept) + len(samples))), np.float32)
            block[: len(kept)] = kept
            self._block, self._base = block, self.start
            filled, end = len(kept), len(kept) + len(samples)
        self._block[filled:end] = samples
        self.end += len(samples)

    def between(self, start: int, end: int) -> Samples:
        """The samples of `[start, end)`, which must be kept still; do not write."""
        return self._block[start - self._base : end - self._base]

    def forget(self, before: int) -> None:
        """Nothing before this position will be asked for again."""
        self.start = max(self.start, min(before, self.end))

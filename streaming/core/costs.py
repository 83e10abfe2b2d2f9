"""How long a pass takes, as a function of its length: fitted to measurements.

Inference cannot be interrupted, so the length of a pass is decided before it is
begun. Knows seconds and samples; not what was measured, nor when.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import floor, sqrt
from statistics import median

import numpy as np

__all__ = ["UNBOUNDED", "Costs", "Measured"]

UNBOUNDED = 1 << 62
"""More samples than any pass has."""

_TERMS = 3  # fixed, linear, square
# Attention tells only at length: from shorter spans, noise would be taken for it and
# squared (0.5 to 2 s on a busy machine foretold 43 s for a pass of 3 s).
_SPAN = 16
# A pass in 50 decides: slow enough for one hiccup, and a machine that became busy
# is believed within seconds.
_WEIGHT = 0.02
_MOST = 10.0  # one pass counts as at most this many times as slow or as fast


@dataclass(frozen=True, slots=True)
class Measured:
    """One pass that was timed: `batch` windows of `samples` each."""

    samples: int
    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Costs:
    """`factor * (fixed + batch * (linear * n + square * n^2))` seconds a pass.

    The linear term is the convolutions and the feed-forward layers, the square
    term attention, the fixed one what a batch shares. None is negative, so a longer
    pass never costs less.

    Attributes:
        fixed_s: seconds of any pass.
        linear_s: seconds a sample.
        square_s: seconds a sample squared.
        factor: how much slower than measured passes are now.
    """

    fixed_s: float = 0.0
    linear_s: float = 0.0
    square_s: float = 0.0
    factor: float = 1.0

    @classmethod
    def fit(cls, measured: Sequence[Measured]) -> Costs:
        """Fit by least squares of the relative error, no term negative.

        Of the passes of one kind the median counts: on a busy machine the same
        pass was seen to take from 12 to 320 ms, and one fast one would rule.
        """
        if not measured:
            return cls()
        alike: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        for each in measured:
            alike[each.samples, each.batch].append(each.seconds)
        seconds = np.array([max(median(times), 1e-9) for times in alike.values()])
        terms = np.array([(1.0, batch * n, batch * n**2) for n, batch in alike])
        # Columns differ by ten orders of magnitude: scale each to its largest.
        scale = np.maximum(terms.max(axis=0), 1.0)
        scaled = terms / scale / seconds[:, None]
        lengths = [samples for samples, _ in alike]
        fitted = _TERMS if max(lengths) >= _SPAN * min(lengths) else _TERMS - 1
        best, least = np.zeros(_TERMS), float("inf")
        for count in range(1, fitted + 1):
            for chosen in combinations(range(fitted), count):
                found = np.linalg.lstsq(scaled[:, chosen], np.ones(len(seconds)))[0]
                error = float(np.sum((scaled[:, chosen] @ found - 1.0) ** 2))
                if (found >= 0).all() and error < least - 1e-12:
                    least = error
                    best = np.zeros(_TERMS)
                    best[list(chosen)] = found
        fixed, linear, square = (float(term) for term in best / scale)
        return cls(fixed, linear, square)

    def seconds(self, samples: int, batch: int = 1) -> float:
        """Return how long a pass over `batch` windows of `samples` takes."""
        each = self.linear_s * samples + self.square_s * samples**2
        return self.factor * (self.fixed_s + batch * each)

    def longest(self, seconds: float) -> int:
        """Return the most samples that one pass does in `seconds`.

        0 where even an empty pass takes longer, `UNBOUNDED` where length costs
        nothing.
        """
        left = seconds / self.factor - self.fixed_s
        if left <= 0:
            return 0
        if self.square_s == 0:
            most = left / self.linear_s if self.linear_s else UNBOUNDED
        else:
            root = sqrt(self.linear_s**2 + 4 * self.square_s * left)
            # The other form of the root, which does not cancel for a small square.
            most = 2 * left / (self.linear_s + root)
        return floor(min(most, UNBOUNDED))

    def observed(self, done: Measured) -> Costs:
        """Return the costs after a pass that took `done.seconds`."""
        expected = replace(self, factor=1.0).seconds(done.samples, done.batch)
        if expected <= 0:
            return self
        ratio = min(
            max(done.seconds / expected, self.factor / _MOST), self.factor * _MOST
        )
        return replace(self, factor=self.factor + _WEIGHT * (ratio - self.factor))

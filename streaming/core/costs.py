"""How long a pass takes, by its length and batch: fitted to measurements.

Inference cannot be interrupted, so the length of a pass is decided before it is
begun, and how many windows share it. Knows seconds and samples; not what was
measured, nor when.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, pairwise
from math import floor, inf, sqrt
from statistics import median

import numpy as np

from streaming.events import Pass

__all__ = ["UNBOUNDED", "CostModel", "Costs", "Measured"]

UNBOUNDED = 1 << 62
"""More samples than any pass has."""

_TERMS = 4  # fixed, of each window, linear, square
# Attention tells only at length: from shorter spans, noise would be taken for it and
# squared (0.5 to 2 s on a busy machine foretold 43 s for a pass of 3 s).
_SPAN = 16
# A pass in 50 decides: slow enough for one hiccup, and a machine that became busy
# is believed within seconds.
_WEIGHT = 0.02
_MOST = 10.0  # one pass counts as at most this many times as slow or as fast
# A fuller batch makes everybody in it wait: one within this of the best will do.
_NEAR = 0.05
# One pass in so many may take longer than `surely`. What does raises the spread by
# this share of itself, and the others lower it by as much together, so that one
# hiccup means little and a machine that became restless is believed within a dozen.
_SURE = 200
_RAISE = 0.3
_LEAST_SPREAD = 0.01


@dataclass(frozen=True, slots=True)
class Measured:
    """One pass that was timed: `batch` windows of `samples` each."""

    samples: int
    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Costs:
    """`factor * gain * (fixed + batch * (window + linear * n + square * n^2))`.

    In seconds a pass. The linear term is the convolutions and the feed-forward
    layers, the square term attention, the term of each window what its state costs,
    the fixed one what a batch shares. None is negative, so a longer pass never costs
    less.

    Attributes:
        fixed_s: seconds of any pass.
        linear_s: seconds a sample.
        square_s: seconds a sample squared.
        factor: how much slower than measured passes are now.
        window_s: seconds a window, however long.
        gains: `(batch, gain)` of the sizes measured, rising: by how much the terms
            fall short there. Devices do not go by a straight line.
        spread: all but one pass in 200 take at most so many times what is expected.
    """

    fixed_s: float = 0.0
    linear_s: float = 0.0
    square_s: float = 0.0
    factor: float = 1.0
    window_s: float = 0.0
    gains: tuple[tuple[int, float], ...] = ()
    spread: float = 1.0

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
        terms = np.array([(1.0, b, b * n, b * n**2) for n, b in alike])
        # Columns differ by ten orders of magnitude: scale each to its largest.
        scale = np.maximum(terms.max(axis=0), 1.0)
        scaled = terms / scale / seconds[:, None]
        fitted = _told_apart([n for n, _ in alike], [b for _, b in alike])
        best, least = np.zeros(_TERMS), inf
        for count in range(1, len(fitted) + 1):
            for chosen in combinations(fitted, count):
                found = np.linalg.lstsq(scaled[:, chosen], np.ones(len(seconds)))[0]
                error = float(np.sum((scaled[:, chosen] @ found - 1.0) ** 2))
                if (found >= 0).all() and error < least - 1e-12:
                    least = error
                    best = np.zeros(_TERMS)
                    best[list(chosen)] = found
        fixed, window, linear, square = (float(term) for term in best / scale)
        line = cls(fixed, linear, square, window_s=window)
        gains: defaultdict[int, list[float]] = defaultdict(list)
        for (samples, batch), times in alike.items():
            expected = line.seconds(samples, batch)
            took = max(median(times), 1e-9)
            gains[batch].append(took / expected if expected > 0 else 1.0)
        found = replace(
            line, gains=tuple((size, median(gains[size])) for size in sorted(gains))
        )
        return replace(found, spread=found._spread_of(measured))

    def seconds(self, samples: int, batch: int = 1) -> float:
        """Return how long a pass over `batch` windows of `samples` takes."""
        line_s = self.fixed_s + batch * self._each(samples)
        return self.factor * self._gain(batch) * line_s

    def surely(self, samples: int, batch: int = 1) -> float:
        """Return how long such a pass takes at most, but for one in 200."""
        return self.spread * self.seconds(samples, batch)

    def longest(self, seconds: float) -> int:
        """Return the most samples that one pass does in `seconds`.

        0 where even an empty pass takes longer, `UNBOUNDED` where length costs
        nothing.
        """
        left = seconds / (self.factor * self._gain(1)) - self.fixed_s - self.window_s
        if left <= 0:
            return 0
        if left == inf:
            return UNBOUNDED
        if self.square_s == 0:
            most = left / self.linear_s if self.linear_s else UNBOUNDED
        else:
            root = sqrt(self.linear_s**2 + 4 * self.square_s * left)
            # The other form of the root, which does not cancel for a small square.
            rising = self.linear_s + root
            most = 2 * left / rising if rising else UNBOUNDED
        return floor(min(most, UNBOUNDED))

    def batch(self, samples: int, most: int) -> int:
        """Return how many windows of `samples` are worth one pass.

        As few as possible with which a window takes as little time as it can in a
        pass of up to `most`, or nearly: 1 where windows share nothing, as on a CPU.
        Sizes larger than any that was measured are not chosen.
        """
        if self.gains:
            most = min(most, self.gains[-1][0])
        if most == 1:
            return 1
        terms = (self.fixed_s, self.linear_s, self.square_s, self.window_s)
        return _worth(terms, self.gains, samples, most)

    def observed(self, done: Measured) -> Costs:
        """Return the costs after a pass that took `done.seconds`."""
        usual_s = self.seconds(done.samples, done.batch) / self.factor
        if usual_s <= 0:
            return self
        taken = min(
            max(done.seconds / usual_s, self.factor / _MOST), self.factor * _MOST
        )
        over = taken > self.factor * self.spread
        step = 1 + _RAISE if over else 1 - _RAISE / (_SURE - 1)
        return Costs(  # each pass comes by here: `replace` takes six times as long
            self.fixed_s,
            self.linear_s,
            self.square_s,
            self.factor + _WEIGHT * (taken - self.factor),
            self.window_s,
            self.gains,
            _spread(step * (self.spread - 1)),
        )

    def _gain(self, batch: int) -> float:
        """Of a size between two measured ones what lies between."""
        if not self.gains:
            return 1.0
        for (low, gain), (high, next_gain) in pairwise(self.gains):
            if batch < high:
                part = max(0, batch - low) / (high - low)
                return gain + part * (next_gain - gain)
        return self.gains[-1][1]

    def _spread_of(self, measured: Sequence[Measured]) -> float:
        """What a pass in ten took more: observing finds the one in 200."""
        ratios = sorted(
            each.seconds / max(self.seconds(each.samples, each.batch), 1e-9)
            for each in measured
        )
        return _spread(ratios[(len(ratios) * 9) // 10] - 1)

    def _each(self, samples: int) -> float:
        """Seconds of one window beside what its batch shares, as measured."""
        return self.window_s + self.linear_s * samples + self.square_s * samples**2


@lru_cache(maxsize=4_096)
def _worth(
    terms: tuple[float, float, float, float],
    gains: tuple[tuple[int, float], ...],
    samples: int,
    most: int,
) -> int:
    """The smallest batch with which a window costs nearly as little as it can."""
    fixed_s, linear_s, square_s, window_s = terms
    costs = Costs(fixed_s, linear_s, square_s, window_s=window_s, gains=gains)
    each = [costs.seconds(samples, size) / size for size in range(1, most + 1)]
    least = min(each)
    if least <= 0:  # nothing was measured, so that nothing is known
        return most
    near = (1 + _NEAR) * least * (1 + 1e-9)
    return next(size for size, seconds in enumerate(each, 1) if seconds <= near)


def _spread(excess: float) -> float:
    return 1 + min(max(excess, _LEAST_SPREAD), _MOST - 1)


def _told_apart(lengths: Sequence[int], batches: Sequence[int]) -> list[int]:
    """The terms that these measurements can tell from one another."""
    fixed, window, linear, square = range(_TERMS)
    terms = [fixed, linear]
    if max(batches) > min(batches):
        terms.append(window)
    if max(lengths) >= _SPAN * min(lengths):
        terms.append(square)
    return terms


@dataclass(frozen=True, slots=True)
class CostModel:
    """What passes cost by their kind.

    Attributes:
        windows: passes over windows, or steps where the model keeps a state.
        full: full passes; None where they are computed as windows are.
    """

    windows: Costs = Costs()
    full: Costs | None = None

    def of(self, kind: Pass) -> Costs:
        """Return the costs of passes of one kind."""
        if kind is Pass.FULL and self.full is not None:
            return self.full
        return self.windows

    def least_budget_s(self, samples: int) -> float:
        """Return the least budget that windows of `samples` can keep.

        Twice their pass: a window waits for one that has begun, then for its own.
        """
        return 2 * self.windows.seconds(samples)

    def window_limit(self, budget_s: float) -> int:
        """Return the most samples of a window that is run within half a budget."""
        return self.windows.longest(budget_s / 2)

    def observed(self, kind: Pass, done: Measured) -> CostModel:
        """Return the costs after a pass that took `done.seconds`."""
        after = self.of(kind).observed(done)
        if kind is Pass.FULL and self.full is not None:
            return CostModel(self.windows, after)
        return CostModel(after, self.full)

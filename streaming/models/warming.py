"""Real passes before the first stream: they warm a model up, and are timed.

Knows lengths and a clock; not what the times are used for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streaming.models.model import Model
from streaming.models.passes import forward

__all__ = ["time_passes"]

_LENGTHS_MS = (500, 1_000, 2_000, 4_000, 8_000, 16_000)
_TIMED = 3  # passes at each length, after one that is not timed
_ENOUGH_S = 0.5  # a pass this long is the last: start soon, extrapolate the rest
_BATCH_MS = 4_000  # longest windows that are tried as a whole batch


def time_passes(
    model: Model, max_batch: int, clock: Callable[[], float]
) -> list[tuple[int, int, float]]:
    """Run windows of growing length, alone and in whole batches.

    Args:
        model: what to run.
        max_batch: windows in a whole batch.
        clock: seconds.

    Returns:
        `(samples of each window, windows, seconds)` of each timed pass.

    Raises:
        ModelError: what the model says does not fit its windows; whatever else it
            raises comes through.
    """
    noise = np.random.default_rng(0)
    timed: list[tuple[int, int, float]] = []
    for length in _LENGTHS_MS:
        samples = model.geometry.samples_of_ms(length)
        window = noise.standard_normal(samples).astype(np.float32)
        longest = 0.0
        for batch in sorted({1, max_batch if length <= _BATCH_MS else 1}):
            forward(model, [window] * batch)  # allocates: its time says little
            for _ in range(_TIMED):
                began = clock()
                forward(model, [window] * batch)
                seconds = clock() - began
                timed.append((samples, batch, seconds))
                longest = max(longest, seconds)
        if longest > _ENOUGH_S:
            break
    return timed

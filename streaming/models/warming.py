"""Real passes before the first stream: they warm a model up, and are timed.

Knows lengths, batches and a clock; not what the times are used for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from math import inf
from statistics import median

import numpy as np

from streaming.errors import ModelError
from streaming.events import Samples
from streaming.models.model import Model, State, Step
from streaming.models.passes import forward, step
from streaming.models.states import Room

__all__ = ["time_passes", "time_steps"]

_LENGTHS_MS = (500, 1_000, 2_000, 4_000, 8_000, 16_000)
_STEPS_MS = (240, 480, 960, 1_920)  # hop + right context: shorter than windows
_TIMED = 3  # passes at each length, after one that is not timed
_ENOUGH_S = 0.5  # a pass this long is the last: start soon, extrapolate the rest
_BATCH_MS = 4_000  # longest windows that are tried in batches
# A batch pays that takes this share less for each window than smaller ones. Two sizes
# in a row that do not are the last: on a CPU, where none does, 2 and 4.
_PAYS = 0.05
_IN_VAIN = 2
_FILL_MS = 1_920  # states are filled by steps of this
_USUAL_MS = 5_120  # up to the usual left context, and on while they grow
_LONGEST_MS = 32_000


def time_passes(
    model: Model, max_batch: int, clock: Callable[[], float]
) -> list[tuple[int, int, float]]:
    """Run windows of growing length, alone and in growing batches while these pay.

    Args:
        model: what to run.
        max_batch: most windows in a batch.
        clock: seconds.

    Returns:
        `(samples of each window, windows, seconds)` of each timed pass.

    Raises:
        ModelError: what the model says does not fit its windows; whatever else it
            raises comes through.
    """
    noise = _Noise(model)

    def run(samples: int, batch: int) -> None:
        forward(model, [noise.of(samples)] * batch)

    def batches(length_ms: int) -> list[int]:
        return _sizes(max_batch) if length_ms <= _BATCH_MS else [1]

    return _time(model, run, _LENGTHS_MS, batches, clock)


def time_steps(
    model: Model,
    max_batch: int,
    clock: Callable[[], float],
    learn: Callable[[Room], None] = lambda _: None,
) -> list[tuple[int, int, float]]:
    """Take steps of growing length with all of their left context, as `time_passes`.

    Where the model has no room for `max_batch` states, batches are as large as it has
    at most.

    Args:
        model: what to run.
        max_batch: most windows in a batch.
        clock: seconds.
        learn: is told what states take, and how many there is room for.

    Returns:
        As `time_passes`.

    Raises:
        ModelError: there is no room for one state, and as `time_passes`.
    """
    noise = _Noise(model)
    with ExitStack() as opened:
        states: list[State] = []
        for _ in range(max_batch):
            try:
                states.append(model.open())
            except ModelError:
                if not states:
                    raise
                break
            opened.callback(states[-1].close)

        def run(samples: int, batch: int) -> None:
            hop = model.geometry.steps(samples) // 2 * model.geometry.stride or samples
            window = noise.of(samples)
            step(model, [Step(state, window, hop) for state in states[:batch]])

        _fill(model, states, noise)
        learn(Room(states[0].bytes, len(states) if len(states) < max_batch else None))
        sizes = _sizes(len(states))
        return _time(model, run, _STEPS_MS, lambda _: sizes, clock)


def _fill(model: Model, states: list[State], noise: _Noise) -> None:
    """Take steps until the left context is whole: until then they cost less."""
    window = noise.of(model.geometry.samples_of_ms(_FILL_MS))
    for filled_ms in range(_FILL_MS, _LONGEST_MS, _FILL_MS):
        before = states[0].bytes
        step(model, [Step(state, window, len(window)) for state in states])
        if filled_ms >= _USUAL_MS and states[0].bytes <= before:
            return


def _time(
    model: Model,
    run: Callable[[int, int], None],
    lengths_ms: Iterable[int],
    batches: Callable[[int], list[int]],
    clock: Callable[[], float],
) -> list[tuple[int, int, float]]:
    timed: list[tuple[int, int, float]] = []
    for length_ms in lengths_ms:
        samples = model.geometry.samples_of_ms(length_ms)
        longest, least, in_vain = 0.0, inf, 0
        for batch in batches(length_ms):
            run(samples, batch)  # allocates: its time says little
            for _ in range(_TIMED):
                began = clock()
                run(samples, batch)
                seconds = clock() - began
                timed.append((samples, batch, seconds))
                longest = max(longest, seconds)
            each = median(seconds for *_, seconds in timed[-_TIMED:]) / batch
            in_vain = in_vain + 1 if each > (1 - _PAYS) * least else 0
            least = min(least, each)
            if in_vain == _IN_VAIN or longest > _ENOUGH_S:
                break
        if longest > _ENOUGH_S:
            break
    return timed


def _sizes(most: int) -> list[int]:
    """Batches to try, each twice the one before, as long as that pays."""
    return sorted({most, *(1 << power for power in range(most.bit_length()))})


class _Noise:
    """Windows that look like sound."""

    def __init__(self, model: Model) -> None:
        longest = model.geometry.samples_of_ms(max(*_LENGTHS_MS, _FILL_MS))
        noise = np.random.default_rng(0).standard_normal(longest)
        self._noise = noise.astype(np.float32)

    def of(self, samples: int) -> Samples:
        """`(samples,)`."""
        return self._noise[:samples]

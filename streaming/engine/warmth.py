"""What all workers measure before the first stream, and the costs that follow.

Workers measure at the same time, as busy as they will be; knows no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streaming.core.costs import CostModel, Costs, Measured
from streaming.events import Pass
from streaming.models.model import Model
from streaming.models.states import Room, States
from streaming.models.warming import time_passes, time_steps

__all__ = ["Timed", "Warmth", "measure"]

Timed = dict[Pass, list[tuple[int, int, float]]]


def measure(
    model: Model,
    max_batch: int,
    clock: Callable[[], float],
    learn: Callable[[Room], None],
) -> Timed:
    """Warm one worker's model up; what its passes take, by kind."""
    timed = {Pass.FULL: time_passes(model, max_batch, clock)}
    if model.stateful:
        timed[Pass.STITCHED] = time_steps(model, max_batch, clock, learn)
    return timed


class Warmth:
    """Make one per engine.

    Args:
        workers: that measure.
        stateful: windows cost what steps do.
        states: learn what one takes.
    """

    def __init__(self, workers: int, *, stateful: bool, states: States) -> None:
        self._missing = workers
        self._alone = workers == 1
        self._stateful = stateful
        self._states = states
        self._measured: dict[Pass, list[Measured]] = {kind: [] for kind in Pass}

    def learn(self, room: Room) -> None:
        """Of states; beside others that measure, one finds less room than there is."""
        self._states.learn(room if self._alone else replace(room, most_states=None))

    def add(self, timed: Timed) -> CostModel | None:
        """One worker has measured; the costs once all have."""
        for kind, passes in timed.items():
            self._measured[kind] += (Measured(*each) for each in passes)
        self._missing -= 1
        if self._missing:
            return None
        full = Costs.fit(self._measured[Pass.FULL])
        if not self._stateful:
            return CostModel(windows=full)
        return CostModel(Costs.fit(self._measured[Pass.STITCHED]), full)

"""What the steps of an utterance leave behind for a graph's next step.

Keys and values of a bounded left context, in numpy: the graph takes them as they
lie, so that nothing is copied on the way in. Knows the inputs and outputs of a
graph that takes steps; neither runs it nor knows samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streaming.models.held_onnx import Hold, held
from streaming.models.horizon import Horizon
from streaming.models.metadata import StepShape
from streaming.models.model import State

__all__ = ["CACHE_PRECISIONS", "OnnxState", "StatefulOnnx", "inputs", "outputs"]

Rows = npt.NDArray[np.float32]
Kept = npt.NDArray[Any]  # as CACHE_PRECISIONS says

# How keys and values are kept; numpy has no bf16, so its bits are kept.
CACHE_PRECISIONS = {"fp32": np.float32, "fp16": np.float16, "bf16": np.uint16}

_FIRST_PLACES = 64


@dataclass(frozen=True, slots=True, eq=False)
class StatefulOnnx:
    """What a model and its clones keep for their utterances, and how.

    Attributes:
        shape: of the graph.
        horizon: bounds what is kept.
        cache: one of `CACHE_PRECISIONS`.
    """

    shape: StepShape
    horizon: Horizon
    cache: str = "fp32"

    def open(self) -> OnnxState:
        """A state without a past."""
        return OnnxState(self)

    def held(
        self, states: Sequence[State]
    ) -> AbstractContextManager[Sequence[OnnxState]]:
        """Hold states for a step; see `held_onnx.held`."""
        return held(states, OnnxState, self)

    def room(self, places: int, precision: str) -> Kept:
        """For as many places: `(layers, keys or values, places, batch, hidden)`."""
        shape = (self.shape.layers, 2, places, 1, self.shape.hidden)
        return np.empty(shape, CACHE_PRECISIONS[precision])

    def scratch(self) -> Rows | None:
        """Where a worker widens a past to fp32; None where it is."""
        if self.cache == "fp32":
            return None
        return self.room(self.horizon.places, "fp32")


class OnnxState:
    """The left context of one utterance; see `model.State`.

    Args:
        owner: the models that may take its steps.

    Attributes:
        ready: rows ahead whose frames are known, whatever follows.
        hold: who takes its step.
    """

    def __init__(self, owner: StatefulOnnx) -> None:
        self.owner = owner
        self.ready = 0
        shape = owner.shape
        self._past = 0  # rows that the steps have moved on by
        self._frames: Rows = np.zeros((shape.padding, 1, shape.hidden), np.float32)
        self._kept = owner.room(0, owner.cache)
        self.hold = Hold(self._free)

    @property
    def bytes(self) -> int:
        """See `State.bytes`: what was allocated."""
        return self._frames.nbytes + self._kept.nbytes

    def close(self) -> None:
        """See `State.close`; waits for the step that is being taken."""
        self.hold.close()

    def _free(self) -> None:
        self._frames = np.empty((0, 1, 0), np.float32)
        self._kept = np.empty((0, 2, 0, 1, 0), self._kept.dtype)

    def feeds(self, ready: int, scratch: Rows | None) -> dict[str, Rows]:
        """What the graph takes besides the samples.

        Args:
            ready: rows whose frames are taken over.
            scratch: `StatefulOnnx.scratch`.
        """
        filled = self.owner.horizon.filled(self._past)
        past = self._kept[:, :, :filled]
        if scratch is not None:
            _widen(past, scratch[:, :, :filled])
            past = scratch[:, :, :filled]
        return inputs(self._frames[: self.owner.shape.padding + ready], past)

    def move(
        self, hop: int, ready: int, outputs: Mapping[str, Rows], *, ended: bool
    ) -> None:
        """Take a step's hop into the left context.

        Args:
            hop: rows of it.
            ready: rows after it whose frames are known.
            outputs: of the graph, by name.
            ended: nothing may follow.
        """
        padding, horizon = self.owner.shape.padding, self.owner.horizon
        row, place = horizon.written(self._past, hop)
        self._grow(horizon.filled(self._past + hop))
        for i, (keys, values) in enumerate(self._kept):
            keys[place] = _narrow(outputs[f"keys.{i}"][row], keys.dtype)
            values[place] = _narrow(outputs[f"values.{i}"][row], values.dtype)
        self.ready = min(ready, horizon.right)
        frames = np.concatenate((self._frames[:padding], outputs["frames"]))
        self._frames = frames[hop : hop + padding + self.ready].copy()
        self._past += hop
        if ended:
            self.hold.ended = self._past

    def _grow(self, places: int) -> None:
        """Most utterances are far shorter than the bound: double up to it."""
        before = self._kept.shape[2]
        if places > before:
            room = max(places, min(2 * before, self.owner.horizon.places))
            room = max(room, min(_FIRST_PLACES, self.owner.horizon.places))
            kept = self.owner.room(room, self.owner.cache)
            kept[:, :, :before] = self._kept
            self._kept = kept


def inputs(frames: Rows, past: Rows) -> dict[str, Rows]:
    """What a graph that takes steps is fed besides samples, by name.

    Args:
        frames: `(padding + ready, batch, hidden)`.
        past: `(layers, keys or values, places, batch, hidden)`.
    """
    found = {"past.frames": frames}
    for i, (keys, values) in enumerate(past):
        found |= {f"past.keys.{i}": keys, f"past.values.{i}": values}
    return found


def outputs(shape: StepShape) -> list[str]:
    """What a step needs of the graph, logits first."""
    kinds = [f"{kind}.{i}" for i in range(shape.layers) for kind in ("keys", "values")]
    return ["logits", "frames", *kinds]


def _narrow(rows: Rows, dtype: np.dtype[Any]) -> Kept:
    if dtype != np.uint16:
        return rows.astype(dtype, copy=False)
    bits = rows.view(np.uint32)  # to the nearest, ties to even
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _widen(kept: Kept, into: Rows) -> None:
    if kept.dtype == np.uint16:
        np.left_shift(kept, 16, out=into.view(np.uint32), dtype=np.uint32)
    else:
        np.copyto(into, kept)

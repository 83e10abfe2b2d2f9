"""Left contexts that stay on the device of an ONNX Runtime session.

A step's keys and values never leave it: they are bound as outputs, joined to those
of the left context by a small graph, and bound as inputs of the next step. What
differs between a GPU and a CPU is the device's name. Knows the inputs and outputs of
a graph that takes steps, and ONNX Runtime's bindings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime

from streaming.events import Samples
from streaming.models.held_onnx import Hold, held
from streaming.models.horizon import Horizon
from streaming.models.metadata import StepShape
from streaming.models.model import State
from streaming.models.stateful_onnx import inputs, outputs

__all__ = ["KEEP", "BoundOnnx", "BoundState", "kept_rows"]

KEEP = Path(__file__).with_name("keep.onnx")

Values: TypeAlias = Mapping[str, Any]  # OrtValues by the names of the graph


@dataclass(frozen=True, slots=True, eq=False)
class BoundOnnx:
    """What a model and its clones keep for their utterances on a device.

    Attributes:
        shape: of the graph.
        horizon: bounds what is kept.
        device: `cuda` or `cpu`, as ONNX Runtime calls it.
        number: of the device.
        mover: a session of `keep.onnx` there.
    """

    shape: StepShape
    horizon: Horizon
    device: str
    number: int
    mover: Any

    def open(self) -> BoundState:
        """A state without a past."""
        return BoundState(self)

    def held(
        self, states: Sequence[State]
    ) -> AbstractContextManager[Sequence[BoundState]]:
        """Hold states for a step; see `held_onnx.held`."""
        return held(states, BoundState, self)

    def run(
        self, session: Any, samples: Samples, past: Values
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Run a step.

        Args:
            session: of the graph that takes steps.
            samples: `(1, n)`.
            past: its other inputs.

        Returns:
            Logits `(1, rows, labels)` here, and the other outputs there.
        """
        binding = session.io_binding()
        binding.bind_cpu_input("samples", samples)
        for name, value in past.items():
            binding.bind_ortvalue_input(name, value)
        names = outputs(self.shape)
        binding.bind_output("logits", "cpu")
        for name in names[1:]:
            binding.bind_output(name, self.device, self.number)
        session.run_with_iobinding(binding)
        found = dict(zip(names, binding.get_outputs(), strict=True))
        logits: npt.NDArray[np.float32] = found.pop("logits").numpy()
        return logits, found

    def moved(self, past: Any, rows: Any, pick: npt.NDArray[np.int64]) -> Any:
        """Rows `pick` of a left context and what is new behind it."""
        binding = self.mover.io_binding()
        binding.bind_ortvalue_input("past", past)
        binding.bind_ortvalue_input("rows", rows)
        binding.bind_cpu_input("pick", pick)
        binding.bind_output("kept", self.device, self.number)
        self.mover.run_with_iobinding(binding)
        [kept] = binding.get_outputs()
        return kept


class BoundState:
    """The left context of one utterance; see `model.State`.

    Args:
        owner: the models that may take its steps.

    Attributes:
        ready: rows ahead whose frames are known, whatever follows.
        hold: who takes its step.
    """

    def __init__(self, owner: BoundOnnx) -> None:
        self.owner = owner
        self.ready = 0
        self.hold = Hold(self._free)
        self._past = 0  # rows that the steps have moved on by
        shape = owner.shape
        frames = np.zeros((shape.padding, 1, shape.hidden), np.float32)
        past = np.zeros((shape.layers, 2, 0, 1, shape.hidden), np.float32)
        # On the CPU until the first step has been taken: ONNX Runtime copies them.
        self._values: dict[str, Any] = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(rows))
            for name, rows in inputs(frames, past).items()
        }

    @property
    def bytes(self) -> int:
        """See `State.bytes`."""
        return sum(value.tensor_size_in_bytes() for value in self._values.values())

    def close(self) -> None:
        """See `State.close`; waits for the step that is being taken."""
        self.hold.close()

    def _free(self) -> None:
        self._values = {}

    def take(
        self, session: Any, samples: Samples, ready: int, hop: int, next_ready: int
    ) -> dict[str, Any]:
        """Compute a step, and what would be kept of it; the state stays as it is.

        Args:
            session: of the graph.
            samples: `(1, n)`, those of the `ready` rows left out.
            ready: rows ahead whose frames are taken over.
            hop: rows of the hop.
            next_ready: rows after it whose frames are then known.

        Returns:
            `logits (1, rows, labels)`, and what `move` takes.
        """
        owner, padding = self.owner, self.owner.shape.padding
        past = dict(self._values)
        if ready < self.ready:  # the utterance ended before its right context did
            frames = past["past.frames"]
            fewer = np.arange(padding + ready)
            past["past.frames"] = owner.moved(frames, frames, fewer)
        logits, found = owner.run(session, samples, past)
        known = min(next_ready, owner.horizon.right)
        at = np.arange(hop, hop + padding + known)
        # All rows are in the frames that come out; only the padding is behind them.
        pick = np.where(at < padding, at, at + ready)
        frames = owner.moved(past["past.frames"], found["frames"], pick)
        kept = {"past.frames": frames}
        pick = kept_rows(owner.horizon, self._past, hop)
        for name in outputs(owner.shape)[2:]:
            kept[f"past.{name}"] = owner.moved(past[f"past.{name}"], found[name], pick)
        return {"logits": logits, **kept}

    def move(self, hop: int, ready: int, taken: Values, *, ended: bool) -> None:
        """Take a step's hop into the left context.

        Args:
            hop: rows of it.
            ready: rows after it whose frames are known.
            taken: of `take`.
            ended: nothing may follow.
        """
        self._values = {name: taken[name] for name in self._values}
        self.ready = min(ready, self.owner.horizon.right)
        self._past += hop
        if ended:
            self.hold.ended = self._past


def kept_rows(horizon: Horizon, past: int, hop: int) -> npt.NDArray[np.int64]:
    """Which rows of a left context, and of a step behind it, are kept.

    Args:
        horizon: what is kept.
        past: rows of the utterance before the hop.
        hop: rows of it.
    """

    def held(rows: int) -> npt.NDArray[np.int64]:
        first = np.arange(min(horizon.sink, rows))
        last = np.arange(max(horizon.sink, rows - horizon.left), rows)
        return np.concatenate((first, last))

    before, after = held(past), held(past + hop)
    return np.where(
        after < past, np.searchsorted(before, after), len(before) + after - past
    )

"""Run an exported graph with ONNX Runtime: all that the base install needs.

Input `samples (batch, n)`, output `logits (batch, rows, labels)`; a graph that takes
steps has the left context of `stateful_onnx.py` besides. Knows ONNX Runtime; does
not know how the graph was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias, cast

import numpy as np

from streaming.errors import ConfigError, ModelError
from streaming.events import LogitRows, Samples
from streaming.models.bound_onnx import KEEP, BoundOnnx, BoundState
from streaming.models.checkpoint import Checkpoint
from streaming.models.horizon import Horizon
from streaming.models.metadata import METADATA
from streaming.models.model import State, Step, Windowed
from streaming.models.onnx_opening import open_beside, open_chosen
from streaming.models.stateful_onnx import (
    OnnxState,
    Rows,
    StatefulOnnx,
    inputs,
    outputs,
)

__all__ = ["OnnxModel", "load_onnx"]

_CUDA_BATCH = 32

_States: TypeAlias = AbstractContextManager[Sequence[OnnxState | BoundState]]


class OnnxModel(Windowed):
    """A graph behind the seam of `model.py`.

    Args:
        checkpoint: what its files say.
        session: runs the graph; safe to call from several threads, so clones
            share it and the weights are held once.
        device: `cpu` or `cuda`, where it really runs.
        precision: `int8` or `fp32`.
        keeps: what steps leave behind; None runs whole windows only.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        session: Any,
        device: str,
        precision: str,
        keeps: StatefulOnnx | BoundOnnx | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self.language = checkpoint.language
        self.geometry = checkpoint.geometry
        self.vocabulary = checkpoint.vocabulary
        self.normalise = checkpoint.normalise
        self.temperature = checkpoint.temperature
        self.bias = checkpoint.bias
        self.device = device
        self.precision = precision
        self.pads = False  # the graph has no mask
        self.max_batch = 1 if device == "cpu" else _CUDA_BATCH
        self.stateful = keeps is not None
        self._keeps = keeps
        self._scratch = keeps.scratch() if isinstance(keeps, StatefulOnnx) else None
        self._session = session

    def forward(self, batch: Sequence[Samples]) -> list[LogitRows]:
        """See `Model.forward`."""
        padded = [self._padded(window) for window in batch]
        if self.max_batch == 1:
            # One window a pass: batches gain nothing on a CPU, and dynamic int8
            # takes one scale a tensor, so a loud neighbour would change a text.
            return [self._logits(window[None])[0] for window in padded]
        if len({len(window) for window in padded}) > 1:
            raise ModelError(
                "windows of one batch must be equally long here, got "
                f"{', '.join(str(len(window)) for window in batch)} samples"
            )
        return list(self._logits(np.stack(padded)))

    def open(self) -> State:
        """See `Model.open`."""
        return self._keeps.open() if self._keeps else super().open()

    def step(self, batch: Sequence[Step]) -> list[LogitRows]:
        """See `Model.step`; as in `forward` each is a pass of its own."""
        if self._keeps is None:
            return super().step(batch)
        holding = self._keeps.held([step.state for step in batch])
        with cast(_States, holding) as states:
            taken = [self._take(*each) for each in zip(states, batch, strict=True)]
            for state, step, found in zip(states, batch, taken, strict=True):
                hop = self.geometry.steps(step.hop)
                ended = bool(step.hop % self.geometry.stride)
                state.move(hop, self._next_ready(step), found, ended=ended)
        return [found["logits"][0] for found in taken]

    def _take(self, state: OnnxState | BoundState, step: Step) -> Mapping[str, Any]:
        samples, hop, stride = step.samples, step.hop, self.geometry.stride
        padded = self._padded(samples)
        if not 0 <= hop <= len(samples) or (hop < len(samples) and hop % stride):
            raise ModelError(
                f"a hop must be whole strides of {stride} samples, or all "
                f"{len(samples)} of the step, got {hop}"
            )
        # An utterance may end before samples that were right context.
        ready = min(state.ready, self._known(len(samples)))
        fresh = padded[None, ready * stride :]
        if isinstance(state, BoundState):
            rows, session = self.geometry.steps(hop), self._open_session()
            next_ready = self._next_ready(step)
            with self._telling():
                return state.take(session, fresh, ready, rows, next_ready)
        past = state.feeds(ready, self._scratch)
        names = outputs(state.owner.shape)
        found = self._run(names, {"samples": fresh, **past})
        return dict(zip(names, found, strict=True))

    def _next_ready(self, step: Step) -> int:
        """Rows after the hop that will be known, whatever follows."""
        return max(0, self._known(len(step.samples)) - self.geometry.steps(step.hop))

    def _known(self, samples: int) -> int:
        """Rows that do not change when more follows; at least one row is not."""
        geometry = self.geometry
        whole = (samples - geometry.receptive_field) // geometry.stride + 1
        return max(0, min(whole, geometry.steps(samples) - 1))

    def _padded(self, window: Samples) -> Samples:
        if window.ndim != 1 or len(window) == 0:
            raise ModelError(f"a window must be (n,), n > 0, got {window.shape}")
        padding = self.geometry.padded(len(window)) - len(window)
        return np.pad(window.astype(np.float32, copy=False), (0, padding))

    def _logits(self, samples: Rows) -> Rows:
        """`(batch, rows, labels)` of windows that have no past."""
        feeds = {"samples": samples}
        shape = self.checkpoint.steps
        if shape is not None:
            batch, hidden = len(samples), shape.hidden
            frames = np.zeros((shape.padding, batch, hidden), np.float32)
            past = np.empty((shape.layers, 2, 0, batch, hidden), np.float32)
            feeds |= inputs(frames, past)
        return self._run(["logits"], feeds)[0]

    def _run(self, names: Sequence[str], feeds: Mapping[str, Rows]) -> list[Rows]:
        session = self._open_session()
        with self._telling():
            found: list[Rows] = session.run(names, feeds)
        return found

    def _open_session(self) -> Any:
        if self._session is None:
            raise ModelError(f"{self.name} was closed")
        return self._session

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # its exceptions have no common base
            raise ModelError(f"{self.name}: ONNX Runtime failed: {error}") from error

    def clone(self) -> OnnxModel:
        """One more worker's model around the same session."""
        return OnnxModel(
            self.checkpoint, self._session, self.device, self.precision, self._keeps
        )

    def close(self) -> None:
        """Let go of the session; clones keep it."""
        self._session = None


def load_onnx(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str,
    inference: str = "windowed",
    horizon: Horizon | None = None,
    cache: str = "auto",
    bound: bool = False,
) -> OnnxModel:
    """Open the graph of the wished precision.

    Args:
        checkpoint: has at least one graph.
        device: `cpu`, `cuda`, `cuda:1` or `auto` (a GPU where this ONNX Runtime
            has one that works, else the CPU; steps run on a GPU only where it is
            named).
        precision: `int8`, `fp32`, or `auto`: int8 on a CPU, fp32 on a GPU.
        inference: `windowed`, `stateful`, or `auto`: stateful where the checkpoint
            was trained for it, the graph can and it runs on a CPU.
        horizon: of a stateful model.
        cache: precision of the states: `fp32` (`auto`), on a CPU `fp16` or `bf16`.
        bound: states stay with ONNX Runtime, as they always do on a GPU.

    Raises:
        ConfigError: no such graph, precision, device or inference.
        ModelError: ONNX Runtime cannot read the graph, would run it on another
            device than was asked for, or it is not as its folder says.
    """
    asked = inference == "stateful"
    if asked and checkpoint.steps is None:
        raise ConfigError(
            f"inference stateful: the ONNX graph of {checkpoint.folder} runs whole "
            "windows only (exported plain, by an older version, or with the group "
            "norm of wav2vec2-base); take backend torch, or export it again"
        )
    if asked and device == "auto":
        device = "cpu"
    number = int(device.partition(":")[2] or 0)
    session, device, precision = open_chosen(checkpoint, device, precision)
    _insist_as_described(checkpoint, session)
    trained = inference == "auto" and checkpoint.streaming and device == "cpu"
    if checkpoint.steps is None or not (asked or trained):
        return OnnxModel(checkpoint, session, device, precision)
    if horizon is None:
        raise ConfigError("stateful inference needs a horizon")
    kept = "fp32" if cache == "auto" else cache
    keeps: StatefulOnnx | BoundOnnx
    if bound or device != "cpu":
        if kept != "fp32":
            raise ConfigError(
                f"cache_precision {kept} on {device}: ONNX Runtime keeps states as "
                "fp32 there; take backend torch"
            )
        mover = open_beside(KEEP, session)
        keeps = BoundOnnx(checkpoint.steps, horizon, device, number, mover)
    else:
        keeps = StatefulOnnx(checkpoint.steps, horizon, kept)
    return OnnxModel(checkpoint, session, device, precision, keeps)


def _insist_as_described(checkpoint: Checkpoint, session: Any) -> None:
    """A folder whose files do not belong together is told before the first stream."""
    shape = checkpoint.steps
    wanted: dict[str, int | None] = {"samples": None}
    if shape is not None:
        frames = np.empty((0, 1, shape.hidden), np.float32)
        past = np.empty((shape.layers, 2, 0, 1, shape.hidden), np.float32)
        wanted |= {name: rows.shape[2] for name, rows in inputs(frames, past).items()}
    found = {
        each.name: each.shape[2] if len(each.shape) > 2 else None
        for each in session.get_inputs()
    }
    if found != wanted:
        raise ModelError(
            f"{checkpoint.folder}: the graph's inputs {', '.join(found)} are not those "
            f"that its {METADATA} describes; export it again"
        )

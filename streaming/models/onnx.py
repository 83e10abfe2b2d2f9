"""Run an exported graph with ONNX Runtime: all that the base install needs.

Input `samples (batch, n)`, output `logits (batch, rows, labels)`; a graph that takes
steps has the left context of `stateful_onnx.py` besides. Knows ONNX Runtime; does
not know how the graph was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
import onnxruntime

from streaming.errors import ConfigError, ModelError
from streaming.events import LogitRows, Samples
from streaming.models.checkpoint import METADATA, Checkpoint
from streaming.models.horizon import Horizon
from streaming.models.model import State, Step, Windowed
from streaming.models.stateful_onnx import (
    OnnxState,
    Rows,
    StatefulOnnx,
    inputs,
    outputs,
)

__all__ = ["OnnxModel", "load_onnx"]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_CUDA_BATCH = 32


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
        keeps: StatefulOnnx | None = None,
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
        self._scratch = keeps.scratch() if keeps else None
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
        with self._keeps.held([step.state for step in batch]) as states:
            taken = [self._take(*each) for each in zip(states, batch, strict=True)]
            for state, step, found in zip(states, batch, taken, strict=True):
                hop = self.geometry.steps(step.hop)
                ready = max(0, self._known(len(step.samples)) - hop)
                ended = bool(step.hop % self.geometry.stride)
                state.move(hop, ready, found, ended=ended)
        return [found["logits"][0] for found in taken]

    def _take(self, state: OnnxState, step: Step) -> Mapping[str, Rows]:
        samples, hop, stride = step.samples, step.hop, self.geometry.stride
        padded = self._padded(samples)
        if not 0 <= hop <= len(samples) or (hop < len(samples) and hop % stride):
            raise ModelError(
                f"a hop must be whole strides of {stride} samples, or all "
                f"{len(samples)} of the step, got {hop}"
            )
        # An utterance may end before samples that were right context.
        ready = min(state.ready, self._known(len(samples)))
        past = state.feeds(ready, self._scratch)
        names = outputs(state.owner.shape)
        found = self._run(names, {"samples": padded[None, ready * stride :], **past})
        return dict(zip(names, found, strict=True))

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
        if self._session is None:
            raise ModelError(f"{self.name} was closed")
        try:
            found: list[Rows] = self._session.run(names, feeds)
        except Exception as error:  # its exceptions have no common base
            raise ModelError(f"{self.name}: ONNX Runtime failed: {error}") from error
        return found

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
) -> OnnxModel:
    """Open the graph of the wished precision.

    Args:
        checkpoint: has at least one graph.
        device: `cpu`, `cuda`, `cuda:1` or `auto` (a GPU where this ONNX Runtime
            has one that works, else the CPU).
        precision: `int8`, `fp32`, or `auto`: int8 on a CPU, fp32 on a GPU.
        inference: `windowed`, `stateful` (on a CPU), or `auto`: stateful where the
            checkpoint was trained for it, the graph can and it runs on a CPU.
        horizon: of a stateful model.
        cache: precision of the states: `fp32` (`auto`), `fp16` or `bf16`.

    Raises:
        ConfigError: no such graph, precision, device or inference.
        ModelError: ONNX Runtime cannot read the graph, would run it on another
            device than was asked for, or it is not as its folder says.
    """
    if inference == "stateful":
        device = _device_of_steps(checkpoint, device)
    session, device, precision = _open_chosen(checkpoint, device, precision)
    _insist_as_described(checkpoint, session)
    steps = checkpoint.steps if device == "cpu" else None
    keeps = None
    if steps and (
        inference == "stateful" or (inference, checkpoint.streaming) == ("auto", True)
    ):
        if horizon is None:
            raise ConfigError("stateful inference needs a horizon")
        keeps = StatefulOnnx(steps, horizon, "fp32" if cache == "auto" else cache)
    return OnnxModel(checkpoint, session, device, precision, keeps)


def _device_of_steps(checkpoint: Checkpoint, device: str) -> str:
    """Where the user insists on steps.

    Raises:
        ConfigError: there are none, or not on this device.
    """
    if checkpoint.steps is None:
        raise ConfigError(
            f"inference stateful: the ONNX graph of {checkpoint.folder} runs whole "
            "windows only (exported plain, by an older version, or with the group "
            "norm of wav2vec2-base); take backend torch, or export it again"
        )
    if device.partition(":")[0] == "cuda":
        raise ConfigError(
            f"inference stateful on {device}: ONNX Runtime takes steps on a CPU only, "
            "as it would copy the state to the GPU and back; take backend torch"
        )
    return "cpu"


def _open_chosen(
    checkpoint: Checkpoint, device: str, precision: str
) -> tuple[Any, str, str]:
    """A session, the device that it runs on, and its precision."""
    wants_cuda = device == "auto" or device.partition(":")[0] == "cuda"
    if not wants_cuda and device != "cpu":
        raise ConfigError(f"device must be cpu, cuda, cuda:N or auto, got {device!r}")
    if wants_cuda and _CUDA not in onnxruntime.get_available_providers():
        if device != "auto":
            raise ConfigError(
                f"device {device}: this ONNX Runtime has no CUDA; "
                f"{_remedy()}, or use the torch backend"
            )
        wants_cuda = False
    # The int8 operators exist on the CPU only: a GPU would copy back and forth.
    order = {"auto": ("fp32",) if wants_cuda else ("int8", "fp32")}
    chosen = next(
        (p for p in order.get(precision, (precision,)) if p in checkpoint.onnx), None
    )
    if chosen is None and wants_cuda and device == "auto":
        return _open_chosen(checkpoint, "cpu", precision)
    if chosen is None or (wants_cuda and chosen == "int8" and device != "auto"):
        raise ConfigError(
            f"precision {precision} on {device}: {checkpoint.folder} has graphs for "
            f"{', '.join(checkpoint.onnx) or 'none'}, of which int8 needs a CPU"
        )
    if chosen == "int8":
        wants_cuda = False
    session = _open(checkpoint, chosen, device if wants_cuda else "cpu")
    runs_on = session.get_providers()[0]
    if wants_cuda and runs_on != _CUDA and device != "auto":
        # It falls back to the CPU without a word where CUDA does not start.
        raise ModelError(f"device {device}: ONNX Runtime fell back to {runs_on}")
    return session, "cuda" if runs_on == _CUDA else "cpu", chosen


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


def _remedy() -> str:
    """What to install: two distributions write the module `onnxruntime`.

    The one installed last wins, and removing either breaks the other.
    """
    if not _installed("onnxruntime-gpu"):
        return 'pip install "wavestitch[gpu]"'
    if not _installed("onnxruntime"):
        return "the installed onnxruntime-gpu has no CUDA on this platform"
    return (
        "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _open(checkpoint: Checkpoint, precision: str, device: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    # One thread a worker: two workers of one thread beat one of two by 1.3-1.8x.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # It would keep a memory plan for every length that was ever seen.
    options.enable_mem_pattern = False
    providers: list[Any] = [_CPU]
    if device != "cpu":
        number = int(device.partition(":")[2] or 0)
        providers.insert(0, (_CUDA, {"device_id": number}))
    path = checkpoint.onnx[precision]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its exceptions have no common base
        raise ModelError(f"{path}: ONNX Runtime cannot open it: {error}") from error

"""Run an exported graph with ONNX Runtime: all that the base install needs.

One input `samples (batch, n)`, one output `logits (batch, steps, labels)`. Knows
ONNX Runtime; does not know how the graph was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import numpy as np
import onnxruntime

from streaming.errors import ConfigError, ModelError
from streaming.events import LogitRows, Samples
from streaming.models.checkpoint import Checkpoint
from streaming.models.model import Windowed

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
    """

    def __init__(
        self, checkpoint: Checkpoint, session: Any, device: str, precision: str
    ) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self.language = checkpoint.language
        self.geometry = checkpoint.geometry
        self.vocabulary = checkpoint.vocabulary
        self.normalise = checkpoint.normalise
        self.temperature = checkpoint.temperature
        self.device = device
        self.precision = precision
        self.pads = False  # the graph has no mask
        self.max_batch = 1 if device == "cpu" else _CUDA_BATCH
        self._session = session

    def forward(self, batch: Sequence[Samples]) -> list[LogitRows]:
        """See `Model.forward`."""
        padded = [self._padded(window) for window in batch]
        if self.max_batch == 1:
            # One window a pass: batches gain nothing on a CPU, and dynamic int8
            # takes one scale a tensor, so a loud neighbour would change a text.
            return [self._run(window[None])[0] for window in padded]
        if len({len(window) for window in padded}) > 1:
            raise ModelError(
                "windows of one batch must be equally long here, got "
                f"{', '.join(str(len(window)) for window in batch)} samples"
            )
        return list(self._run(np.stack(padded)))

    def _padded(self, window: Samples) -> Samples:
        if window.ndim != 1 or len(window) == 0:
            raise ModelError(f"a window must be (n,), n > 0, got {window.shape}")
        padding = self.geometry.padded(len(window)) - len(window)
        return np.pad(window.astype(np.float32, copy=False), (0, padding))

    def _run(self, samples: Samples) -> LogitRows:
        if self._session is None:
            raise ModelError(f"{self.name} was closed")
        try:
            logits: LogitRows = self._session.run(["logits"], {"samples": samples})[0]
        except Exception as error:  # its exceptions have no common base
            raise ModelError(f"{self.name}: ONNX Runtime failed: {error}") from error
        return logits

    def clone(self) -> OnnxModel:
        """One more worker's model around the same session."""
        return OnnxModel(self.checkpoint, self._session, self.device, self.precision)

    def close(self) -> None:
        """Let go of the session; clones keep it."""
        self._session = None


def load_onnx(checkpoint: Checkpoint, *, device: str, precision: str) -> OnnxModel:
    """Open the graph of the wished precision.

    Args:
        checkpoint: has at least one graph.
        device: `cpu`, `cuda`, `cuda:1` or `auto` (a GPU where this ONNX Runtime
            has one that works, else the CPU).
        precision: `int8`, `fp32`, or `auto`: int8 on a CPU, fp32 on a GPU.

    Raises:
        ConfigError: no such graph, precision or device.
        ModelError: ONNX Runtime cannot read the graph, or would run it on
            another device than was asked for.
    """
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
        return load_onnx(checkpoint, device="cpu", precision=precision)
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
    return OnnxModel(checkpoint, session, "cuda" if runs_on == _CUDA else "cpu", chosen)


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

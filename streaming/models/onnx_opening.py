"""A session of ONNX Runtime on the device that was asked for, or an error.

Knows which providers and precisions there are, and what to install; neither what a
graph is fed nor what it says.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import onnxruntime

from streaming.errors import ConfigError, ModelError
from streaming.models.checkpoint import Checkpoint

__all__ = ["open_beside", "open_chosen"]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"


def open_chosen(
    checkpoint: Checkpoint, device: str, precision: str
) -> tuple[Any, str, str]:
    """Open the graph of the wished precision.

    Args:
        checkpoint: has at least one graph.
        device: `cpu`, `cuda`, `cuda:1` or `auto`.
        precision: `int8`, `fp32` or `auto`.

    Returns:
        A session, the device that it really runs on, and its precision.

    Raises:
        ConfigError: no such graph, precision or device.
        ModelError: it cannot be read, or would run on another device.
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
        return open_chosen(checkpoint, "cpu", precision)
    if chosen is None or (wants_cuda and chosen == "int8" and device != "auto"):
        raise ConfigError(
            f"precision {precision} on {device}: {checkpoint.folder} has graphs for "
            f"{', '.join(checkpoint.onnx) or 'none'}, of which int8 needs a CPU"
        )
    if chosen == "int8":
        wants_cuda = False
    session = _open(
        checkpoint.onnx[chosen], _providers(device if wants_cuda else "cpu")
    )
    runs_on = session.get_providers()[0]
    if wants_cuda and runs_on != _CUDA and device != "auto":
        # It falls back to the CPU without a word where CUDA does not start.
        raise ModelError(f"device {device}: ONNX Runtime fell back to {runs_on}")
    return session, "cuda" if runs_on == _CUDA else "cpu", chosen


def open_beside(path: Path, session: Any) -> Any:
    """Open a graph where another runs.

    Args:
        path: of the graph.
        session: of the other.

    Raises:
        ModelError: it cannot be read, or would run elsewhere.
    """
    there, *_ = session.get_providers()
    options = session.get_provider_options()[there] if there == _CUDA else {}
    opened = _open(path, [(there, options)] if options else [there])
    if opened.get_providers()[0] != there:
        raise ModelError(f"{path}: ONNX Runtime fell back from {there}")
    return opened


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return [_CPU]
    return [(_CUDA, {"device_id": int(device.partition(":")[2] or 0)}), _CPU]


def _open(path: Path, providers: list[Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    # One thread a worker: two workers of one thread beat one of two by 1.3-1.8x.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # It would keep a memory plan for every length that was ever seen.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its exceptions have no common base
        raise ModelError(f"{path}: ONNX Runtime cannot open it: {error}") from error


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

"""What `gpu.py` measures, a part at a time.

Each takes what it is to measure and the seconds it has, and returns rows of a table.
Knows torch and our models; neither processes nor tables.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from benchmarks.shapes import CACHE, weights_of
from benchmarks.work import Shape, flops
from streaming.config import (
    Config,
    EngineConfig,
    ModelConfig,
    StreamConfig,
    WindowConfig,
)
from streaming.models.checkpoint import read_checkpoint
from streaming.models.horizon import Horizon
from streaming.models.model import Model, Step

__all__ = ["PARTS", "WINDOWS", "Asked", "Part", "Row"]

Row: TypeAlias = dict[str, Any]
Part: TypeAlias = Callable[["Asked"], list[Row]]

LEFT_MS = 5_120
WINDOWS = (WindowConfig(LEFT_MS, 960, 320), WindowConfig(LEFT_MS, 640, 320))
BUDGET_MS = 1_000
BATCHES = (1, 8, 32, 64, 128)
_PASSES_S = (2.0, 8.0)
_SETTLE_S = 4.0
_TRIAL_S = 6.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a part is to measure.

    Attributes:
        shape: of `shapes.py`.
        device: `cuda`, `cuda:1` or `cpu`.
        seconds: that it has, loading included.
        began: on the monotonic clock.
        most: largest batch.
    """

    shape: str
    device: str
    seconds: float
    began: float
    most: int = BATCHES[-1]

    @property
    def cpu(self) -> bool:
        """No GPU: one window a pass."""
        return self.device == "cpu"

    @property
    def batches(self) -> tuple[int, ...]:
        """Sizes that are measured."""
        return (1,) if self.cpu else tuple(b for b in BATCHES if b <= self.most)

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that are measured, the usual one first."""
        return ("fp32", "bf16") if self.cpu else ("bf16", "fp16", "fp32")

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.began + self.seconds - time.monotonic()


# --- bare passes --------------------------------------------------------------


def bare(asked: Asked) -> list[Row]:
    """Single passes and steps, batches full, nobody waiting; by precision."""
    architecture = _architecture(asked)
    rows: list[Row] = []
    cells = len(asked.precisions) * len(asked.batches) * (len(_PASSES_S) + 1)
    for precision in asked.precisions:
        model = _load(asked, precision, WINDOWS[0])
        rate = model.geometry.sample_rate
        for length_s in _PASSES_S:
            sound = _noise(int(length_s * rate))
            work = flops(architecture, len(sound))
            for batch in _while_it_lasts(asked):
                one = partial(model.forward, [sound] * batch)
                seconds = _seconds(one, asked.seconds / 2 / cells)
                rows.append(
                    {
                        "what": f"pass over {length_s:g} s",
                        "precision": precision,
                        "batch": batch,
                        "ms": seconds * 1_000,
                        "streams": batch * length_s / seconds,
                        "tflops": work * batch / seconds / 1e12,
                    }
                )
        work = _step_work(architecture, model, WINDOWS[0])
        for batch in _while_it_lasts(asked):
            with _steps(model, batch, WINDOWS[0]) as call:
                seconds = _seconds(call, asked.seconds / 2 / cells)
            rows.append(
                {
                    "what": "step",
                    "precision": precision,
                    "batch": batch,
                    "ms": seconds * 1_000,
                    "streams": batch * WINDOWS[0].hop_ms / 1_000 / seconds,
                    "tflops": work * batch / seconds / 1e12,
                }
            )
        model.close()
        _empty(asked)
    return rows


# --- ways to take steps -------------------------------------------------------


def steps(asked: Asked) -> list[Row]:
    """Eager steps beside recorded ones, and what of a step the device computes."""
    from streaming.models.stateful_torch import HowSteps  # noqa: PLC0415

    rows: list[Row] = []
    expected: dict[int, Any] = {}
    precision = asked.precisions[0]
    hows = {"eager": HowSteps(graphs=False), "CUDA graphs": HowSteps()}
    if asked.cpu:  # the same buffers, computed again: what padding and copies cost
        hows = {"eager": HowSteps(), "fixed sizes": HowSteps(record=lambda run: run)}
    for way, how in hows.items():
        model = _load(asked, precision, WINDOWS[0], how)
        for batch in _while_it_lasts(asked):
            with _steps(model, batch, WINDOWS[0]) as call:
                first = call()
                seconds = _seconds(call, asked.seconds / 8 / len(asked.batches))
            expected.setdefault(batch, first)
            pairs = zip(first, expected[batch], strict=True)
            rows.append(
                {
                    "way": way,
                    "precision": precision,
                    "batch": batch,
                    "ms": seconds * 1_000,
                    "streams": batch * WINDOWS[0].hop_ms / 1_000 / seconds,
                    "recorded": model._stepper.recorded,
                    "unlike_eager": max(float(np.abs(a - b).max()) for a, b in pairs),
                }
            )
        model.close()
        _empty(asked)
    return rows


def compiled(asked: Asked) -> list[Row]:
    """One recorded step as it is and through `torch.compile`: what the device takes."""
    import torch  # noqa: PLC0415

    from streaming.models.stateful_torch import HowSteps  # noqa: PLC0415
    from streaming.models.torch_batch import StepSize  # noqa: PLC0415
    from streaming.models.torch_graphs import FixedStep, cuda_graphs  # noqa: PLC0415

    model = _load(asked, asked.precisions[0], WINDOWS[0], HowSteps(graphs=False))
    stepper, geometry = model._stepper, model.geometry
    function, shape = stepper._function, stepper._slots.shape
    usual = WINDOWS[0].hop_ms + WINDOWS[0].right_ms
    rows_of = geometry.steps(geometry.samples_of_ms(usual))
    batch = asked.batches[-1] if asked.cpu else 64
    samples = geometry.padded(rows_of * geometry.stride)
    size = StepSize(batch, rows_of, samples, shape.places)
    laid = (2 * shape.layers, batch, shape.places + rows_of, shape.hidden)
    device = torch.device(asked.device)
    record = (lambda run: run) if asked.cpu else cuda_graphs(device)
    rows: list[Row] = []
    ways: dict[str, Any] = {"as it is": function}
    # Without a GPU only what it is traced to: compiling for a CPU takes minutes.
    backend = "eager" if asked.cpu else "inductor"
    ways["torch.compile"] = torch.compile(function, dynamic=False, backend=backend)
    with torch.inference_mode():
        past = torch.zeros(laid, dtype=shape.dtype, device=device)
        for way, compute in ways.items():
            began = time.monotonic()
            fixed = FixedStep(size, function, compute, shape, rows_of, past, record)
            fixed.repeat()
            ready_s = time.monotonic() - began
            seconds = _seconds_of_many(fixed.repeat, asked)
            rows.append(
                {
                    "way": way,
                    "batch": batch,
                    "device_ms": seconds * 1_000,
                    "ready_s": ready_s,
                    "streams": batch * WINDOWS[0].hop_ms / 1_000 / seconds,
                }
            )
    return rows


# --- ONNX Runtime -------------------------------------------------------------


def onnx(asked: Asked) -> list[Row]:
    """The second way: the CUDA provider, whole windows and steps bound to it."""
    import onnxruntime  # noqa: PLC0415

    from streaming.models.onnx import load_onnx  # noqa: PLC0415
    from streaming.tools.export import export_checkpoint  # noqa: PLC0415

    there = onnxruntime.get_available_providers()
    if not asked.cpu and "CUDAExecutionProvider" not in there:
        said = f"skipped: this ONNX Runtime has {', '.join(there)}, but no CUDA"
        return [{"what": said}]
    folder = CACHE / f"{asked.shape}.fp32"
    if not (folder / "wavestitch.json").is_file():
        source = weights_of(asked.shape)
        options = {"int8": False, "fp32": True, "fp16_safetensors": False}
        export_checkpoint(source, folder, name=asked.shape, language="und", **options)
    checkpoint, window = read_checkpoint(folder), WINDOWS[0]
    horizon = Horizon.from_config(window, ModelConfig(), checkpoint.geometry)
    rows: list[Row] = []
    for inference in ("windowed", "stateful"):
        model: Any = load_onnx(
            checkpoint,
            device=asked.device,
            precision="fp32",
            inference=inference,
            horizon=horizon,
            bound=inference == "stateful",
        )
        provider = model._session.get_providers()[0]
        for batch in _while_it_lasts(asked):
            if model.stateful and batch > 1:
                break  # a step each: more of them take as long each
            if model.stateful:
                with _steps(model, batch, window) as call:
                    seconds = _seconds(call, asked.seconds / 16)
                audio_s = window.hop_ms / 1_000
            else:
                audio_s = _PASSES_S[0]
                sound = _noise(int(audio_s * model.geometry.sample_rate))
                call = partial(model.forward, [sound] * batch)
                seconds = _seconds(call, asked.seconds / 16)
            rows.append(
                {
                    "what": "step" if model.stateful else f"pass over {audio_s:g} s",
                    "precision": "fp32",
                    "provider": provider,
                    "batch": batch,
                    "ms": seconds * 1_000,
                    "streams": batch * audio_s / seconds,
                }
            )
        model.close()
    return rows


# --- the engine ---------------------------------------------------------------


def capacity(asked: Asked) -> list[Row]:
    """Streams that the engine carries at their own pace, within the budget."""
    from benchmarks.gpu_capacity import carried  # noqa: PLC0415

    rows: list[Row] = []
    for number, window in enumerate(WINDOWS):
        share_s = asked.left_s / (len(WINDOWS) - number)
        until = time.monotonic() + share_s
        model = _load(asked, asked.precisions[0], window)
        config = Config(
            engine=EngineConfig(max_batch=asked.most),
            stream=StreamConfig(window=window, budget_ms=BUDGET_MS),
        )
        trial_s = min(_TRIAL_S, share_s / 8), min(_SETTLE_S, share_s / 12)
        row = carried(model, config, _architecture(asked), until, *trial_s)
        rows.append({"precision": asked.precisions[0], **row, **_memory(asked)})
        model.close()
        _empty(asked)
    return rows


# --- what they share ----------------------------------------------------------


def _load(asked: Asked, precision: str, window: WindowConfig, how: Any = None) -> Any:
    from streaming.models.pytorch import load_pytorch  # noqa: PLC0415
    from streaming.models.stateful_torch import HowSteps  # noqa: PLC0415

    checkpoint = read_checkpoint(weights_of(asked.shape))
    return load_pytorch(
        checkpoint,
        device=asked.device,
        precision=precision,
        horizon=Horizon.from_config(window, ModelConfig(), checkpoint.geometry),
        steps=how or HowSteps(),
    )


def _architecture(asked: Asked) -> Mapping[str, Any]:
    text = (weights_of(asked.shape) / "config.json").read_text(encoding="utf-8")
    architecture: Mapping[str, Any] = json.loads(text)
    return architecture


def _step_work(
    architecture: Mapping[str, Any], model: Model, window: WindowConfig
) -> float:
    """Operations of one step with all of its left context."""
    shape = Shape.of(architecture)
    assert shape is not None
    geometry = model.geometry
    rows, hop, left = (
        geometry.steps(geometry.samples_of_ms(ms))
        for ms in (window.hop_ms + window.right_ms, window.hop_ms, LEFT_MS)
    )
    return shape.front(hop) + shape.back(rows, left)


@contextmanager
def _steps(
    model: Any, batch: int, window: WindowConfig
) -> Iterator[Callable[[], list[Any]]]:
    """A call that takes a step of each of as many streams, their past filled."""
    geometry = model.geometry
    hop = geometry.samples_of_ms(window.hop_ms)
    sound = _noise(hop + geometry.samples_of_ms(window.right_ms))
    states = [model.open() for _ in range(batch)]
    try:
        batched = [Step(state, sound, hop) for state in states]
        for _ in range(LEFT_MS // window.hop_ms + 1):
            model.step(batched)
        yield lambda: list(model.step(batched))
    finally:
        for state in states:
            state.close()


def _while_it_lasts(asked: Asked) -> Iterator[int]:
    """Batches, larger and larger, as long as there is time; the first whatever is."""
    for batch in asked.batches:
        if batch > asked.batches[0] and asked.left_s <= 0:
            return
        yield batch


def _seconds(call: Callable[[], object], seconds: float) -> float:
    """Seconds of a call, the median of as many as there is time for; two at least."""
    call()  # allocates
    took: list[float] = []
    began = time.monotonic()
    while len(took) < 2 or time.monotonic() - began < seconds:
        at = time.monotonic()
        call()
        took.append(time.monotonic() - at)
    return float(np.median(took))


def _seconds_of_many(call: Callable[[], object], asked: Asked, many: int = 20) -> float:
    """Seconds of a call whose results nobody waits for but the last."""
    import torch  # noqa: PLC0415

    def wait() -> None:
        if not asked.cpu:
            torch.cuda.synchronize(asked.device)

    call()
    wait()
    began = time.monotonic()
    for _ in range(2 if asked.cpu else many):
        call()
    wait()
    return (time.monotonic() - began) / (2 if asked.cpu else many)


def _noise(samples: int) -> Any:
    noise = np.random.default_rng(0).standard_normal(samples)
    return noise.astype(np.float32)


def _memory(asked: Asked) -> Row:
    """What the device had to hold at most, and what it has."""
    import torch  # noqa: PLC0415

    if asked.cpu:
        return {}
    peak = torch.cuda.max_memory_allocated(asked.device)
    torch.cuda.reset_peak_memory_stats(asked.device)
    whole = torch.cuda.get_device_properties(asked.device).total_memory
    return {"peak_gb": peak / 1e9, "device_gb": whole / 1e9}


def _empty(asked: Asked) -> None:
    """Give memory back that a model held."""
    import gc  # noqa: PLC0415

    import torch  # noqa: PLC0415

    gc.collect()
    if not asked.cpu:
        torch.cuda.empty_cache()


# By name: the share of the time, and what it measures.
PARTS: Mapping[str, tuple[float, Part]] = {
    "bare": (0.24, bare),
    "steps": (0.13, steps),
    "compiled": (0.16, compiled),
    "onnx": (0.12, onnx),
    "capacity": (0.35, capacity),
}

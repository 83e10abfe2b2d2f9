"""What a part of `gpu.py` is asked for, and how it loads, steps and times.

Knows torch and our models; not what the numbers are for.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, TypeAlias

import numpy as np

from benchmarks.shapes import weights_of
from benchmarks.work import Shape
from streaming.config import ModelConfig, WindowConfig
from streaming.errors import ModelError
from streaming.events import Samples
from streaming.models.checkpoint import read_checkpoint
from streaming.models.horizon import Horizon
from streaming.models.model import Model, Step

__all__ = [
    "BATCHES",
    "Asked",
    "Row",
    "architecture_of",
    "empty",
    "load",
    "memory",
    "noise",
    "rate_of",
    "seconds_of",
    "seconds_of_many",
    "step_work",
    "stepping",
    "while_it_lasts",
]

Row: TypeAlias = dict[str, Any]

BATCHES = (1, 8, 32, 64, 128)


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


def load(asked: Asked, precision: str, window: WindowConfig, how: Any = None) -> Any:
    """The torch model, which takes steps.

    Args:
        asked: its shape and device.
        precision: of it.
        window: bounds its left context.
        how: `HowSteps`; None for the usual.
    """
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


def architecture_of(asked: Asked) -> Mapping[str, Any]:
    """The `config.json` of the shape."""
    text = (weights_of(asked.shape) / "config.json").read_text(encoding="utf-8")
    architecture: Mapping[str, Any] = json.loads(text)
    return architecture


def step_work(
    architecture: Mapping[str, Any], model: Model, window: WindowConfig
) -> float:
    """Operations of one step with all of its left context."""
    shape = Shape.of(architecture)
    assert shape is not None
    geometry = model.geometry
    rows, hop, left = (
        geometry.steps(geometry.samples_of_ms(ms))
        for ms in (
            window.hop_ms + window.right_ms,
            window.hop_ms,
            window.left(stateful=True),
        )
    )
    return shape.front(hop) + shape.back(rows, left)


@contextmanager
def stepping(
    model: Any, batch: int, window: WindowConfig
) -> Iterator[Callable[[], list[Any]]]:
    """A call that takes a step of each of as many streams, their past filled."""
    geometry = model.geometry
    hop = geometry.samples_of_ms(window.hop_ms)
    sound = noise(hop + geometry.samples_of_ms(window.right_ms))
    states = [model.open() for _ in range(batch)]
    try:
        batched = [Step(state, sound, hop) for state in states]
        for _ in range(window.left(stateful=True) // window.hop_ms + 1):
            model.step(batched)
        yield lambda: list(model.step(batched))
    finally:
        for state in states:
            state.close()


def while_it_lasts(asked: Asked) -> Iterator[int]:
    """Batches, larger and larger, as long as there is time; the first whatever is."""
    for batch in asked.batches:
        if batch > asked.batches[0] and asked.left_s <= 0:
            return
        yield batch


def rate_of(seconds: float, audio_s: float, work: float) -> Row:
    """What so many seconds for so much audio and so many operations are."""
    if seconds == inf:
        return {"ms": "out of memory", "streams": 0.0, "tflops": 0.0}
    return {
        "ms": seconds * 1_000,
        "streams": audio_s / seconds,
        "tflops": work / seconds / 1e12,
    }


def seconds_of(call: Callable[[], object], seconds: float) -> float:
    """Seconds of a call, the median of as many as there is time for; two at least.

    Infinite where the device has no memory for it.
    """
    try:
        call()  # allocates
    except ModelError as error:
        if "out of memory" not in str(error):
            raise
        return inf
    took: list[float] = []
    began = time.monotonic()
    while len(took) < 2 or time.monotonic() - began < seconds:
        at = time.monotonic()
        call()
        took.append(time.monotonic() - at)
    return float(np.median(took))


def seconds_of_many(call: Callable[[], object], asked: Asked, many: int = 20) -> float:
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


def noise(samples: int) -> Samples:
    """So many samples, `(n,)`."""
    return np.random.default_rng(0).standard_normal(samples).astype(np.float32)


def memory(asked: Asked) -> Row:
    """What the device had to hold at most, and what it has."""
    import torch  # noqa: PLC0415

    if asked.cpu:
        return {}
    peak = torch.cuda.max_memory_allocated(asked.device)
    torch.cuda.reset_peak_memory_stats(asked.device)
    whole = torch.cuda.get_device_properties(asked.device).total_memory
    return {"peak_gb": peak / 1e9, "device_gb": whole / 1e9}


def empty(asked: Asked) -> None:
    """Give memory back that a model held."""
    import torch  # noqa: PLC0415

    gc.collect()
    if not asked.cpu:
        torch.cuda.empty_cache()

"""What `gpu.py` measures, a part at a time.

Each takes what it is asked for and returns rows of a table. Knows torch, ONNX Runtime
and our models; neither processes nor tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from benchmarks.gpu_asked import (
    Asked,
    Row,
    architecture_of,
    empty,
    load,
    memory,
    noise,
    rate_of,
    seconds_of,
    seconds_of_many,
    step_work,
    stepping,
    while_it_lasts,
)
from benchmarks.shapes import CACHE, weights_of
from benchmarks.work import flops
from streaming.config import (
    Config,
    EngineConfig,
    ModelConfig,
    StreamConfig,
    WindowConfig,
)
from streaming.models.checkpoint import read_checkpoint
from streaming.models.horizon import Horizon

__all__ = ["PARTS", "WINDOWS", "Part"]

Part: TypeAlias = Callable[[Asked], list[Row]]

WINDOWS = (WindowConfig(5_120, 960, 320), WindowConfig(5_120, 640, 320))
BUDGET_MS = 1_000
_PASSES_S = (2.0, 8.0)
_SETTLE_S = 4.0
_TRIAL_S = 6.0
_LEAST_S = 8.0


# --- bare passes --------------------------------------------------------------


def bare(asked: Asked) -> list[Row]:
    """Single passes and steps, batches full, nobody waiting; by precision."""
    architecture = architecture_of(asked)
    rows: list[Row] = []
    cells = len(asked.precisions) * len(asked.batches) * (len(_PASSES_S) + 1)
    for precision in asked.precisions:
        model = load(asked, precision, WINDOWS[0])
        rate = model.geometry.sample_rate
        for length_s in _PASSES_S:
            sound = noise(int(length_s * rate))
            work = flops(architecture, len(sound))
            for batch in while_it_lasts(asked):
                one = partial(model.forward, [sound] * batch)
                seconds = seconds_of(one, asked.seconds / 2 / cells)
                rows.append(
                    {
                        "what": f"pass over {length_s:g} s",
                        "precision": precision,
                        "batch": batch,
                        **rate_of(seconds, batch * length_s, batch * work),
                    }
                )
        work = step_work(architecture, model, WINDOWS[0])
        for batch in while_it_lasts(asked):
            with stepping(model, batch, WINDOWS[0]) as call:
                seconds = seconds_of(call, asked.seconds / 2 / cells)
            audio_s = batch * WINDOWS[0].hop_ms / 1_000
            rows.append(
                {
                    "what": "step",
                    "precision": precision,
                    "batch": batch,
                    **rate_of(seconds, audio_s, batch * work),
                }
            )
        model.close()
        empty(asked)
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
        model = load(asked, precision, WINDOWS[0], how)
        for batch in while_it_lasts(asked):
            with stepping(model, batch, WINDOWS[0]) as call:
                first = call()
                seconds = seconds_of(call, asked.seconds / 8 / len(asked.batches))
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
        empty(asked)
    return rows


def compiled(asked: Asked) -> list[Row]:
    """One recorded step as it is and through `torch.compile`: what the device takes."""
    import torch  # noqa: PLC0415

    from streaming.models.stateful_torch import HowSteps  # noqa: PLC0415
    from streaming.models.torch_batch import StepSize  # noqa: PLC0415
    from streaming.models.torch_graphs import FixedStep, cuda_graphs  # noqa: PLC0415

    model = load(asked, asked.precisions[0], WINDOWS[0], HowSteps(graphs=False))
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
            seconds = seconds_of_many(fixed.repeat, asked)
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
        for batch in while_it_lasts(asked):
            if model.stateful and batch > 1:
                break  # a step each: more of them take as long each
            if model.stateful:
                with stepping(model, batch, window) as call:
                    seconds = seconds_of(call, asked.seconds / 16)
                audio_s = window.hop_ms / 1_000
            else:
                audio_s = _PASSES_S[0]
                sound = noise(int(audio_s * model.geometry.sample_rate))
                call = partial(model.forward, [sound] * batch)
                seconds = seconds_of(call, asked.seconds / 16)
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
    ways = [(window, 0) for window in WINDOWS]
    if not asked.cpu:  # one prepares the next step while the other's is computed
        ways.append((WINDOWS[0], 2))
    for number, (window, workers) in enumerate(ways):
        # One crowd is heard anyway, also where the parts before took their time.
        share_s = max(_LEAST_S, asked.left_s / (len(ways) - number))
        until = time.monotonic() + share_s
        model = load(asked, asked.precisions[0], window)
        config = Config(
            engine=EngineConfig(workers=workers, max_batch=asked.most),
            stream=StreamConfig(window=window, budget_ms=BUDGET_MS),
        )
        trial_s = min(_TRIAL_S, share_s / 8), min(_SETTLE_S, share_s / 12)
        row = carried(model, config, architecture_of(asked), until, *trial_s)
        rows.append({"precision": asked.precisions[0], **row, **memory(asked)})
        model.close()
        empty(asked)
    return rows


# By name: the share of the time, and what it measures.
PARTS: Mapping[str, tuple[float, Part]] = {
    "bare": (0.18, bare),
    "steps": (0.09, steps),
    "compiled": (0.12, compiled),
    "onnx": (0.11, onnx),
    "capacity": (0.5, capacity),
}

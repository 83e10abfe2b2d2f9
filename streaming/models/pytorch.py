"""Run a transformers checkpoint with torch, on a CPU or a GPU.

Serves every architecture of `checkpoint.py` as transformers computes it, and takes
the steps of `stateful_torch.py`. Knows torch and transformers; imported only when a
checkpoint is to run on them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from torch.nn.utils import parametrize
from transformers.utils import logging as transformers_logging

from streaming.errors import ConfigError, ModelError
from streaming.events import LogitRows, Samples
from streaming.models.checkpoint import ARCHITECTURES, Checkpoint
from streaming.models.horizon import Horizon
from streaming.models.mel import MelFeatures
from streaming.models.model import State, Step, Windowed
from streaming.models.stateful_torch import HowSteps, Stepper
from streaming.models.torch_batch import fetch, send

__all__ = ["PytorchModel", "fold_weights", "load_module", "load_pytorch"]

_reports: Any = transformers_logging

_GPU_BATCH = 128
_PRECISIONS = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class PytorchModel(Windowed):
    """A transformers module behind the seam of `model.py`.

    Args:
        checkpoint: what its files say.
        module: a `...ForCTC` in eval mode, on its device and in its precision.
        features: for checkpoints that take log-mel features.
        stepper: takes the module's steps; None runs whole windows only.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        module: Any,
        features: MelFeatures | None = None,
        stepper: Stepper | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self.name = checkpoint.name
        self.language = checkpoint.language
        self.geometry = checkpoint.geometry
        self.vocabulary = checkpoint.vocabulary
        self.normalise = checkpoint.normalise
        self.temperature = checkpoint.temperature
        self.bias = checkpoint.bias
        self.pads = checkpoint.pads
        self.device = module.device.type
        self.precision = str(module.dtype).removeprefix("torch.")
        self.max_batch = 1 if self.device == "cpu" else _GPU_BATCH
        self._module = module
        self._features = features
        self._stepper = stepper
        self.stateful = stepper is not None

    @torch.inference_mode()
    def forward(self, batch: Sequence[Samples]) -> list[LogitRows]:
        """See `Model.forward`."""
        if self._module is None:
            raise ModelError(f"{self.name} was closed")
        for window in batch:
            if window.ndim != 1 or len(window) == 0:
                raise ModelError(f"a window must be (n,), n > 0, got {window.shape}")
        steps = [self.geometry.steps(len(window)) for window in batch]
        if not self.pads and len(set(steps)) > 1:
            raise ModelError(
                "this checkpoint's group norm forbids padding: windows of one batch "
                "must be equally long, got "
                f"{', '.join(str(len(window)) for window in batch)} samples"
            )
        padded = [self.geometry.padded(len(window)) for window in batch]
        samples = np.zeros((len(batch), max(padded)), np.float32)
        for row, window in zip(samples, batch, strict=True):
            row[: len(window)] = window
        try:
            rows = self._logits(samples, [len(w) for w in batch], padded)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self.name}: torch failed: {error}") from error
        return [row[:count].copy() for row, count in zip(rows, steps, strict=True)]

    def _logits(
        self, samples: Samples, lengths: Sequence[int], padded: Sequence[int]
    ) -> LogitRows:
        """`(batch, most steps, labels)`; rows past a window's own are rubbish."""
        device, dtype = self._module.device, self._module.dtype
        inputs = send(samples, device)
        ends = padded
        if self._features is not None:
            inputs = self._features(inputs, send(np.array(lengths), device))
            # Features a row: the stacked frames, halved again by an adapter.
            a_row = self.geometry.stride // (160 * self._features.stacked)
            ends = [self.geometry.steps(n) * a_row for n in lengths]
        mask = None
        if len(set(padded)) > 1:
            last = send(np.array(ends), device)[:, None]
            mask = torch.arange(inputs.shape[1], device=device)[None] < last
            mask = mask.long()
        logits = self._module(inputs.to(dtype), attention_mask=mask).logits
        rows: LogitRows = fetch(logits.float())
        return rows

    def open(self) -> State:
        """See `Model.open`."""
        return super().open() if self._stepper is None else self._stepper.open()

    def step(self, batch: Sequence[Step]) -> list[LogitRows]:
        """See `Model.step`."""
        if self._module is None:
            raise ModelError(f"{self.name} was closed")
        if self._stepper is None:
            return super().step(batch)
        try:
            return self._stepper.step(batch)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{self.name}: torch failed: {error}") from error

    def clone(self) -> PytorchModel:
        """One more worker's model; the weights are the same tensors."""
        # Some modules keep what they computed last (rotary positions), so each
        # worker has modules of its own.
        tensors = [*self._module.parameters(), *self._module.buffers()]
        module = copy.deepcopy(self._module, {id(t): t for t in tensors})
        stepper = self._stepper and self._stepper.clone(module)
        return PytorchModel(self.checkpoint, module, self._features, stepper)

    def close(self) -> None:
        """Let go of the module; clones keep the weights and the states."""
        self._module = self._stepper = None


def load_pytorch(
    checkpoint: Checkpoint,
    *,
    device: str,
    precision: str,
    trust_pickle: bool = False,
    horizon: Horizon | None = None,
    cache: str = "auto",
    steps: HowSteps = HowSteps(),  # noqa: B008 (frozen)
) -> PytorchModel:
    """Load the weights onto a device.

    On a CPU torch is set to one thread for the whole process: an engine runs one
    worker a core.

    Args:
        checkpoint: what to load.
        device: `cpu`, `cuda`, `cuda:1` or `auto`.
        precision: `fp32`, `bf16`, `fp16` (a GPU only), or `auto`: fp32 on a CPU,
            bf16 on a GPU.
        trust_pickle: read `pytorch_model.bin` where there is no safetensors.
        horizon: of a stateful model; None loads a windowed one.
        cache: precision of the states' keys and values: `fp32`, `bf16`, `fp16`, or
            `auto`, that of the model.
        steps: how steps are run, `cache` apart.

    Raises:
        ConfigError: the device, the precision or stateful inference is not to be
            had.
        ModelError: the weights cannot be read.
    """
    place = _device(device)
    if precision == "auto":
        precision = "fp32" if place.type == "cpu" else "bf16"
    if precision not in _PRECISIONS:
        raise ConfigError(
            f"precision {precision} needs an ONNX graph: run wavestitch export, or "
            f"choose one of {', '.join(_PRECISIONS)}"
        )
    if precision == "fp16" and place.type == "cpu":
        raise ConfigError("precision fp16 is 4x slower than fp32 on a CPU: take bf16")
    if place.type == "cpu":
        torch.set_num_threads(1)
    module = fold_weights(load_module(checkpoint, trust_pickle=trust_pickle))
    module = module.to(place, _PRECISIONS[precision])
    features = None
    if ARCHITECTURES[checkpoint.architecture] == "mel":
        extractors: Any = transformers.AutoFeatureExtractor
        extractor = extractors.from_pretrained(checkpoint.folder, local_files_only=True)
        features = MelFeatures(extractor, place)
    stepper = None
    if horizon is not None:
        kept = None if cache == "auto" else _PRECISIONS[cache]
        how = replace(steps, cache=kept)
        stepper = Stepper(module, checkpoint.geometry, horizon, how)
    return PytorchModel(checkpoint, module, features, stepper)


def load_module(checkpoint: Checkpoint, *, trust_pickle: bool = False) -> Any:
    """The `...ForCTC` of a checkpoint, fp32 on the CPU, its language adapter loaded.

    Raises:
        ModelError: there are no weights that may be read, or they do not fit.
    """
    safe = bool(checkpoint.weights)
    if not safe and not (trust_pickle and checkpoint.pickles):
        there = ", ".join(p.name for p in checkpoint.pickles) or "no weights"
        raise ModelError(
            f"{checkpoint.folder} has {there} but no .safetensors; a pickle runs code "
            "when it is read: convert it, or set trust_pickle=True if you trust it"
        )
    try:
        with _quiet():
            module, info = transformers.AutoModelForCTC.from_pretrained(
                checkpoint.folder,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=safe,
                output_loading_info=True,
            )
            if checkpoint.adapter is not None:
                module.load_adapter(
                    checkpoint.adapter,
                    local_files_only=True,
                    use_safetensors=None if trust_pickle else True,
                )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{checkpoint.folder}: cannot be loaded: {error}") from error
    # transformers fills what is missing with random numbers.
    missing = [k for k in info["missing_keys"] if "masked_spec_embed" not in k]
    if missing:
        raise ModelError(
            f"{checkpoint.folder}: {len(missing)} weights are missing, among them "
            f"{', '.join(sorted(missing)[:3])}"
        )
    return module.eval()


def fold_weights(module: Any) -> Any:
    """Weight norms as plain weights: computed once, not in every pass."""
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            parametrize.remove_parametrizations(part, "weight")
    return module.requires_grad_(False)


def _device(device: str) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device {device!r} is unknown: {error}") from error
    if place.type not in ("cpu", "cuda"):
        raise ConfigError(f"device must be cpu, cuda, cuda:N or auto, got {device!r}")
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device {device}: torch sees {torch.cuda.device_count()} GPUs"
        )
    return place


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and reports on standard error."""
    bars = _reports.is_progress_bar_enabled()
    verbosity = _reports.get_verbosity()
    _reports.disable_progress_bar()
    _reports.set_verbosity_error()
    try:
        yield
    finally:
        _reports.set_verbosity(verbosity)
        if bars:
            _reports.enable_progress_bar()

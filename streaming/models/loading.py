"""From a name to a model: a folder, a hub id, or the bundled checkpoint.

Chooses the backend; torch and transformers are imported only when they are to
run. `describe` reads what a folder holds without loading it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path

from streaming.config import BUNDLED_MODEL, ModelConfig, WindowConfig
from streaming.errors import ConfigError, ModelError
from streaming.models.checkpoint import (
    Checkpoint,
    read_checkpoint,
)
from streaming.models.horizon import Horizon
from streaming.models.hub import fetch, is_hub_id
from streaming.models.metadata import METADATA, read_json
from streaming.models.model import Model
from streaming.numeric.geometry import Geometry

__all__ = ["ModelCard", "describe", "load_model", "locate"]

_TORCH_NEEDS = ("torch", "transformers", "safetensors")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a checkpoint is, for people.

    Attributes:
        name: what clients are told.
        folder: where it is.
        architecture: `wav2vec2` or `wav2vec2-bert`.
        parameters: numbers in the weights; None where nothing says.
        geometry: samples to rows.
        labels: size of the vocabulary.
        language: BCP 47 tag or the checkpoint's own code.
        languages: every language with an adapter, else only `language`.
        normalise: samples are wanted with zero mean and unit variance.
        bytes: size on disk.
        precisions: of its ONNX graphs.
        backends: those that could run it here and now.
        inference: `stateful` or `windowed`, as it runs unless told otherwise.
    """

    name: str
    folder: Path
    architecture: str
    parameters: int | None
    geometry: Geometry
    labels: int
    language: str
    languages: tuple[str, ...]
    normalise: bool
    bytes: int
    precisions: tuple[str, ...]
    backends: tuple[str, ...]
    inference: str


def load_model(config: ModelConfig, window: WindowConfig | None = None) -> Model:
    """Load what the settings name.

    Args:
        config: which checkpoint, and what runs it.
        window: bounds the left context that a stateful model keeps.

    Raises:
        ConfigError: a hub id without a revision; a backend, a device or stateful
            inference that is not to be had.
        ModelError: the checkpoint cannot be read or run.
    """
    checkpoint = locate(config)
    stateful = _stateful(config, checkpoint)
    horizon = Horizon.from_config(window or WindowConfig(), config, checkpoint.geometry)
    match _backend(config, checkpoint):
        case "onnx":
            from streaming.models.onnx import load_onnx  # noqa: PLC0415

            return load_onnx(
                checkpoint,
                device=config.device,
                precision=config.precision,
                inference=config.inference,
                horizon=horizon,
                cache=config.cache_precision,
            )
        case _:
            from streaming.models.pytorch import load_pytorch  # noqa: PLC0415

            return load_pytorch(
                checkpoint,
                device=config.device,
                precision=config.precision,
                trust_pickle=config.trust_pickle,
                horizon=horizon if stateful else None,
                cache=config.cache_precision,
            )


def locate(config: ModelConfig) -> Checkpoint:
    """Find the folder, fetching it where the name is a hub id, and read it.

    Raises:
        ConfigError: there is no such folder, or a hub id has no revision.
        ModelError: it cannot be fetched or read.
    """
    if config.name is None:
        return read_checkpoint(BUNDLED_MODEL, language=config.language)
    folder = Path(config.name).expanduser()
    if config.name and folder.is_dir():
        return read_checkpoint(folder, language=config.language)
    if not is_hub_id(config.name):
        raise ConfigError(
            f"model {config.name!r} is neither a folder here nor a hub id (owner/name)"
        )
    folder = fetch(
        config.name,
        config.revision,
        language=config.language,
        trust_pickle=config.trust_pickle,
    )
    return read_checkpoint(folder, name=config.name, language=config.language)


def _stateful(config: ModelConfig, checkpoint: Checkpoint) -> bool:
    """Whether steps are asked for; `auto` asks where the checkpoint is made for them.

    Raises:
        ConfigError: they are insisted on, and its architecture has none.
    """
    if config.inference == "auto":
        return checkpoint.streaming
    if config.inference == "stateful" and checkpoint.architecture != "wav2vec2":
        raise ConfigError(
            "inference stateful is for wav2vec2 checkpoints (base, large, XLSR, XLS-R, "
            f"MMS): {checkpoint.name} is {checkpoint.architecture}; take inference "
            "windowed"
        )
    return config.inference == "stateful"


def _backend(config: ModelConfig, checkpoint: Checkpoint) -> str:
    """`onnx` or `torch`: the graph where there is one and it can do what is asked."""
    weights = bool(checkpoint.weights or checkpoint.pickles)
    if not checkpoint.onnx and not weights:
        raise ModelError(
            f"{checkpoint.folder} has no weights: expected .safetensors, or an .onnx "
            f"graph that its {METADATA} names"
        )
    if config.backend == "onnx" and not checkpoint.onnx:
        raise ConfigError(
            f"backend onnx: {checkpoint.folder} has no ONNX graph; make one with "
            "wavestitch export, or take backend torch"
        )
    missing = [name for name in _TORCH_NEEDS if find_spec(name) is None]
    backend = config.backend
    if backend == "auto":
        graph = not weights or (
            config.precision in ("auto", "int8", *checkpoint.onnx)
            and (config.inference != "stateful" or checkpoint.steps is not None)
        )
        # Torch masks the padding of a batch away, which a graph cannot.
        gpu = config.device.startswith("cuda") and weights and not missing
        backend = "onnx" if checkpoint.onnx and graph and not gpu else "torch"
    if backend == "torch" and missing:
        raise ConfigError(
            f"{checkpoint.name} needs torch, and {', '.join(missing)} is missing: "
            'pip install "wavestitch[models]"'
        )
    return backend


def describe(source: Path | ModelConfig) -> ModelCard:
    """What a checkpoint is, without loading its weights.

    Raises:
        ConfigError: there is no such checkpoint.
        ModelError: its files cannot be read.
    """
    if isinstance(source, Path):
        source = ModelConfig(name=str(source))
    checkpoint = locate(source)
    backends = ["onnx"] if checkpoint.onnx else []
    if checkpoint.weights and all(find_spec(name) for name in _TORCH_NEEDS):
        backends.append("torch")
    adapters = sorted(checkpoint.folder.glob("adapter.*.safetensors"))
    return ModelCard(
        name=checkpoint.name,
        folder=checkpoint.folder,
        architecture=checkpoint.architecture,
        parameters=_parameters(checkpoint),
        geometry=checkpoint.geometry,
        labels=len(checkpoint.vocabulary),
        language=checkpoint.language,
        languages=tuple(path.name.split(".")[1] for path in adapters)
        or (checkpoint.language,),
        normalise=checkpoint.normalise,
        bytes=sum(p.stat().st_size for p in checkpoint.folder.iterdir() if p.is_file()),
        precisions=tuple(checkpoint.onnx),
        backends=tuple(backends),
        inference="stateful" if _stateful(source, checkpoint) else "windowed",
    )


def _parameters(checkpoint: Checkpoint) -> int | None:
    if checkpoint.weights:
        return sum(_count(path) for path in checkpoint.weights)
    counted = read_json(checkpoint.folder / METADATA, needed=False).get("parameters")
    return counted if isinstance(counted, int) else None


def _count(path: Path) -> int:
    """Numbers in a safetensors file, from its header.

    Eight bytes little-endian: the length of a JSON object that gives the shape of
    each tensor (https://huggingface.co/docs/safetensors, "Format").
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(file.read(length))
        return sum(
            prod(tensor["shape"])
            for name, tensor in header.items()
            if name != "__metadata__"
        )
    except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
        raise ModelError(f"{path} is no safetensors file: {error}") from error

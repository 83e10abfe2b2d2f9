"""A transformers checkpoint to a folder that is served without torch.

Graph (int8, fp32 or both), the checkpoint's JSON files, `wavestitch.json`, and
the weights in half precision for those who do have torch. Knows torch, onnx and
the checkpoint's files; the graph itself is written in `graph.py`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streaming.errors import ConfigError
from streaming.models.checkpoint import (
    Checkpoint,
    read_checkpoint,
)
from streaming.models.metadata import METADATA, StepShape
from streaming.tools.quantize import quantize

__all__ = ["export_checkpoint", "set_calibration"]

_JSON = (
    "vocab.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_INT8 = "model.int8.onnx"
_FP32 = "model.onnx"


def export_checkpoint(
    source: Path,
    target: Path,
    *,
    name: str,
    language: str,
    temperature: float = 1.0,
    int8: bool = True,
    fp32: bool = False,
    fp16_safetensors: bool = True,
    plain: bool = False,
    streaming: bool | None = None,
) -> Checkpoint:
    """Write a folder that `load_model` serves on ONNX Runtime alone.

    Args:
        source: a wav2vec2 checkpoint in transformers' format.
        target: the folder to write; files of the same names are replaced.
        name: what clients are told.
        language: BCP 47 tag; the adapter's code for an MMS checkpoint.
        temperature: what logits are divided by for calibrated confidences.
        int8: write `model.int8.onnx`.
        fp32: write `model.onnx`; done anyway without int8.
        fp16_safetensors: write `model.safetensors` in half precision.
        plain: write a graph of samples to logits and nothing else, for other
            servers; it takes no steps.
        streaming: whether it was trained for steps; None asks the source.

    Returns:
        The checkpoint that was written.

    Raises:
        ConfigError: torch, transformers or onnx is not installed.
        ModelError: the checkpoint cannot be read, or has a part that cannot be
            exported.
    """
    try:
        import onnx  # noqa: PLC0415

        from streaming.models.pytorch import (  # noqa: PLC0415
            fold_weights,
            load_module,
        )
        from streaming.tools.graph import (  # noqa: PLC0415
            FIRST_PRODUCT,
            HEAD_PRODUCT,
            build_graph,
            can_step,
        )
    except ImportError as error:
        raise ConfigError(
            f'exporting needs pip install "wavestitch[models]": {error}'
        ) from error
    checkpoint = read_checkpoint(source, name=name)
    if checkpoint.adapter is not None:
        checkpoint = read_checkpoint(source, name=name, language=language)
    module = load_module(checkpoint)
    parameters = sum(p.numel() for p in module.parameters())
    target.mkdir(parents=True, exist_ok=True)
    if fp16_safetensors:
        _save_half(module, target / "model.safetensors")
    graphs = {}
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        graph = Path(scratch) / _FP32
        onnx.save_model(build_graph(fold_weights(module), plain=plain), graph)
        if int8:
            # The loudest sample would set the scale of a whole window's samples,
            # and the head is small and decides.
            keep = (FIRST_PRODUCT, HEAD_PRODUCT)
            quantize(graph, target / _INT8, keep=keep)
            graphs["int8"] = _INT8
        if fp32 or not int8:
            graph.replace(target / _FP32)
            graphs["fp32"] = _FP32
    # Not a copy: the head's size changes with a language adapter.
    module.config.to_json_file(target / "config.json")
    _copy_descriptions(checkpoint, target)
    geometry = checkpoint.geometry
    metadata: dict[str, Any] = {
        "format": 1,
        "name": name,
        "language": language,
        "architecture": checkpoint.architecture,
        "parameters": parameters,
        "geometry": {
            "sample_rate": geometry.sample_rate,
            "stride": geometry.stride,
            "receptive_field": geometry.receptive_field,
        },
        "normalise": checkpoint.normalise,
        "temperature": temperature,
        "streaming": checkpoint.streaming if streaming is None else streaming,
        "onnx": graphs,
    }
    if can_step(module) and not plain:
        positions = module.wav2vec2.encoder.pos_conv_embed.conv
        shape = StepShape(
            layers=module.config.num_hidden_layers,
            hidden=module.config.hidden_size,
            padding=positions.padding[0],
        )
        metadata["steps"] = asdict(shape)
    _write_json(target / METADATA, metadata)
    return read_checkpoint(target)


def _copy_descriptions(checkpoint: Checkpoint, target: Path) -> None:
    for name in _JSON:
        found = checkpoint.folder / name
        if found.is_file() and found.resolve() != (target / name).resolve():
            shutil.copyfile(found, target / name)
    if not (target / "preprocessor_config.json").exists():
        extractor: Mapping[str, Any] = {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "sampling_rate": checkpoint.geometry.sample_rate,
            "padding_side": "right",
            "padding_value": 0.0,
            "do_normalize": checkpoint.normalise,
            "return_attention_mask": checkpoint.pads,
        }
        _write_json(target / "preprocessor_config.json", extractor)


def _save_half(module: Any, path: Path) -> None:
    """The weights as transformers reads them, 2 bytes a number."""
    from safetensors.torch import save_file  # noqa: PLC0415

    state = {k: v.half().contiguous() for k, v in module.state_dict().items()}
    save_file(state, path, metadata={"format": "pt"})
    path.chmod(0o644)  # it writes 0600, and a wheel would keep that


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def set_calibration(folder: Path, temperature: float, bias: float) -> None:
    """Store what confidences are calibrated by.

    Args:
        folder: one that `export_checkpoint` wrote.
        temperature: divides the logits; above 0.
        bias: added to the log odds of a confidence, in nats.
    """
    path = folder / METADATA
    facts = json.loads(path.read_text())
    calibration = {"temperature": round(temperature, 4), "bias": round(bias, 4)}
    _write_json(path, {**facts, **calibration})

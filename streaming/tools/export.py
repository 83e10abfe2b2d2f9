"""A transformers checkpoint to a folder that is served without torch.

Graph (int8, fp32 or both), the checkpoint's JSON files, `wavestitch.json`, and
the weights in half precision for those who do have torch. Knows torch, onnx and
the checkpoint's files; the network itself is written in `network.py`.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streaming.errors import ConfigError, ModelError
from streaming.models.checkpoint import METADATA, Checkpoint, read_checkpoint
from streaming.tools.quantize import quantize

__all__ = ["export_checkpoint", "export_graph"]

_OPSET = 20  # the first with Gelu
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

    Returns:
        The checkpoint that was written.

    Raises:
        ConfigError: torch, transformers or onnx is not installed.
        ModelError: the checkpoint cannot be read, or has a part that cannot be
            exported.
    """
    try:
        import onnx  # noqa: F401, PLC0415
        import onnxscript  # noqa: F401, PLC0415

        from streaming.models.pytorch import (  # noqa: PLC0415
            fold_weights,
            load_module,
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
        keep = export_graph(fold_weights(module), graph)
        if int8:
            quantize(graph, target / _INT8, keep=keep)
            graphs["int8"] = _INT8
        if fp32 or not int8:
            graph.replace(target / _FP32)
            graphs["fp32"] = _FP32
    # Not a copy: the head's size changes with a language adapter.
    module.config.to_json_file(target / "config.json")
    _copy_descriptions(checkpoint, target)
    geometry = checkpoint.geometry
    metadata = {
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
        "onnx": graphs,
    }
    _write_json(target / METADATA, metadata)
    return read_checkpoint(target)


def export_graph(module: Any, target: Path) -> tuple[str, ...]:
    """Write the fp32 graph of a `Wav2Vec2ForCTC`.

    Input `samples (batch, n)`, output `logits (batch, steps, labels)`; the labels
    are a static axis, batch and n are free.

    Args:
        module: as `load_module` gives it, its weights folded.
        target: the file.

    Returns:
        Names of the products that quantization leaves alone: the first
        convolution, for the loudest sample would set the scale of the whole
        window, and the head, which is small and decides.

    Raises:
        ModelError: the module has a part that `network.py` does not write.
    """
    import torch  # noqa: PLC0415

    from streaming.tools.network import Network  # noqa: PLC0415

    network = Network(module).eval()
    free = torch.export.Dim.DYNAMIC
    example = torch.zeros(2, 16_000)  # a batch of 1 would be taken for a constant
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        # torch's exporter warns of its own use of what torch deprecates.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=["samples"],
            output_names=["logits"],
            dynamic_shapes={"samples": {0: free, 1: free}},
            verbose=False,
        )
    if program is None:
        raise ModelError("torch.onnx.export gave nothing")
    products = [str(n.name) for n in program.model.graph if n.op_type == "MatMul"]
    program.save(str(target), external_data=False)
    return (products[0], products[-1])


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


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without the warnings of a logger: torchvision is not wanted here."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")

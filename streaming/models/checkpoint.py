"""What a checkpoint folder's own files say, read as JSON.

Geometry, vocabulary, normalisation and which weights there are. Knows the files
of transformers and our `wavestitch.json`; knows no runtime and loads no weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streaming.errors import ConfigError, ModelError
from streaming.models import metadata
from streaming.models.metadata import METADATA, StepShape, read_json
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

__all__ = [
    "ARCHITECTURES",
    "UNKNOWN_LANGUAGE",
    "Checkpoint",
    "adapter_of",
    "read_checkpoint",
]

UNKNOWN_LANGUAGE = "und"  # BCP 47: undetermined

# model_type of config.json -> what its CTC class takes.
ARCHITECTURES = {"wav2vec2": "samples", "wav2vec2-bert": "mel"}

# Kaldi's frames, which w2v-BERT 2.0 was trained on: 25 ms every 10 ms.
_MEL_FRAME = 400
_MEL_HOP = 160


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that can be served.

    Attributes:
        folder: where it is.
        name: what clients are told.
        architecture: `model_type` of its `config.json`.
        language: BCP 47 tag or the checkpoint's own code.
        adapter: language adapter to load (MMS), None without adapters.
        geometry: samples to rows.
        vocabulary: labels to text.
        normalise: samples are wanted with zero mean and unit variance.
        temperature: calibrates confidences.
        bias: calibrates them too.
        pads: padding inside a batch can be masked away.
        streaming: trained for steps: their text is as good as that of whole passes.
        onnx: graphs by precision, `int8` or `fp32`.
        steps: what those graphs take for a left context; None where they run whole
            windows only.
        weights: safetensors files.
        pickles: weights that run code when they are read.
    """

    folder: Path
    name: str
    architecture: str
    language: str
    adapter: str | None
    geometry: Geometry
    vocabulary: Vocabulary
    normalise: bool
    temperature: float = 1.0
    bias: float = 0.0
    pads: bool = True
    streaming: bool = False
    onnx: Mapping[str, Path] = field(default_factory=dict)
    steps: StepShape | None = None
    weights: tuple[Path, ...] = ()
    pickles: tuple[Path, ...] = ()


def read_checkpoint(
    folder: Path, *, name: str | None = None, language: str | None = None
) -> Checkpoint:
    """Read a folder.

    Args:
        folder: a transformers checkpoint, or what `wavestitch export` wrote.
        name: what clients are told; None takes `wavestitch.json`'s, else the
            folder's.
        language: which adapter or vocabulary of a multilingual checkpoint.

    Raises:
        ModelError: a file is missing or broken, or the architecture is not served.
        ConfigError: it has no such language.
    """
    config = read_json(folder / "config.json")
    ours = read_json(folder / METADATA, needed=False)
    architecture = str(config.get("model_type"))
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"{folder / 'config.json'}: model_type is {architecture!r}, "
            f"served are {', '.join(ARCHITECTURES)}"
        )
    frontend = _frontend(folder)
    adapter = adapter_of(folder, config, language)
    mel = ARCHITECTURES[architecture] == "mel"
    return Checkpoint(
        folder=folder,
        name=name or str(ours.get("name", folder.resolve().name)),
        architecture=architecture,
        language=language or adapter or _language(folder, ours),
        adapter=adapter,
        geometry=_geometry(folder, config, frontend),
        vocabulary=Vocabulary.from_files(
            folder, adapter or language or ours.get("language")
        ),
        # Mel features are normalised band by band, after they are computed.
        normalise=not mel and bool(frontend.get("do_normalize", True)),
        temperature=metadata.temperature(folder, ours),
        bias=metadata.bias(folder, ours),
        # The group norm of wav2vec2-base takes its statistics over the padding.
        pads=mel or config.get("feat_extract_norm") == "layer",
        streaming=metadata.streaming(folder, ours),
        onnx=metadata.graphs(folder, ours),
        steps=metadata.steps(folder, ours),
        weights=tuple(
            path
            for path in sorted(folder.glob("*.safetensors"))
            if not path.name.startswith("adapter.")
        ),
        pickles=tuple(sorted(folder.glob("pytorch_model*.bin"))),
    )


def adapter_of(
    folder: Path, config: Mapping[str, Any], language: str | None
) -> str | None:
    """The language adapter to load, None where the checkpoint has none.

    MMS keeps one `adapter.<lang>.safetensors` a language (ISO 639-3); without a
    wish it is the tokenizer's `target_lang`, else `eng` as in transformers.

    Raises:
        ConfigError: there are adapters, but not for this language.
    """
    if config.get("adapter_attn_dim") is None:
        return None
    there = {
        path.name.split(".")[1]
        for pattern in ("adapter.*.safetensors", "adapter.*.bin")
        for path in folder.glob(pattern)
    }
    if not there:  # fine-tuned for one language: the adapter is in the weights
        return None
    default = read_json(folder / "tokenizer_config.json", needed=False)
    wanted = language or str(default.get("target_lang") or "eng")
    if wanted not in there:
        raise ConfigError(
            f"language {wanted!r} has no adapter in {folder}; "
            f"it has {', '.join(sorted(there)[:20])}"
        )
    return wanted


def _frontend(folder: Path) -> Mapping[str, Any]:
    """The feature extractor's settings, from the older file or the newer."""
    found = read_json(folder / "preprocessor_config.json", needed=False)
    if not found:
        both = read_json(folder / "processor_config.json", needed=False)
        nested = both.get("feature_extractor")
        found = nested if isinstance(nested, dict) else {}
    return found


def _geometry(
    folder: Path, config: Mapping[str, Any], frontend: Mapping[str, Any]
) -> Geometry:
    rate = frontend.get("sampling_rate", 16_000)
    try:
        if ARCHITECTURES[config["model_type"]] == "mel":
            stacked = int(frontend.get("stride", 2))
            stride = _MEL_HOP * stacked
            field_ = _MEL_FRAME + stride - _MEL_HOP
        else:
            stride, field_ = 1, 1
            for kernel, step in zip(
                config["conv_kernel"], config["conv_stride"], strict=True
            ):
                field_ += (kernel - 1) * stride
                stride *= step
        if config.get("add_adapter"):
            # Each of its convolutions halves the rows, a begun pair counting.
            times = config.get("adapter_stride", 2) ** config["num_adapter_layers"]
            field_ += (times - 1) * stride
            stride *= times
        return Geometry(int(rate), stride, field_)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder}: no geometry can be read from config.json: {error!r}"
        ) from error


def _language(folder: Path, ours: Mapping[str, Any]) -> str:
    """Our metadata's, else the model card's first."""
    if "language" in ours:
        return str(ours["language"])
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return UNKNOWN_LANGUAGE
    head = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = head and re.search(
        r"^language:\s*(?:\n\s*-\s*)?['\"]?([A-Za-z-]{2,20})['\"]?\s*$",
        head[1],
        re.MULTILINE,
    )
    return found[1] if found else UNKNOWN_LANGUAGE

"""Tiny random checkpoints with the true architectures, made once a test run."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from streaming.events import Samples

LETTERS = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "B": 6, "C": 7}
LANGUAGES = {
    "eng": {"<pad>": 0, "|": 1, "a": 2, "b": 3, "c": 4},
    "deu": {"<pad>": 0, "|": 1, "ä": 2, "ö": 3, "ü": 4, "ß": 5, "z": 6},
}

_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "mask_time_prob": 0.0,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.3,  # so that the layers matter to the logits
}

# The differences that decide: norms, biases, kernels, adapters.
SHAPES: dict[str, dict[str, Any]] = {
    "base": {  # facebook/wav2vec2-base-960h
        "feat_extract_norm": "group",
        "do_stable_layer_norm": False,
        "conv_bias": False,
        "conv_dim": [24] * 7,
    },
    "xlsr": {  # facebook/wav2vec2-large-xlsr-53
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "conv_dim": [24] * 7,
    },
    "mms": {  # facebook/mms-1b-all
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "conv_dim": [24] * 7,
        "adapter_attn_dim": 8,
    },
    "bundled": {  # ours
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "conv_dim": [24] * 3,
        "conv_kernel": [400, 4, 4],
        "conv_stride": [80, 2, 2],
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 32,
    },
    "bert": {  # facebook/w2v-bert-2.0
        "position_embeddings_type": "relative_key",
        "conv_depthwise_kernel_size": 31,
        "add_adapter": False,
    },
    "bert-adapter": {  # as most of its fine-tunings
        "position_embeddings_type": "relative_key",
        "conv_depthwise_kernel_size": 31,
        "add_adapter": True,
        "num_adapter_layers": 1,
        "output_hidden_size": 32,
    },
}


@cache
def scratch() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wavestitch-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def checkpoint(kind: str) -> Path:
    """A folder as `save_pretrained` writes it, with the tokenizer's files."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    torch.manual_seed(7)
    folder = scratch() / kind
    shape = {**_SMALL, **SHAPES[kind]}
    vocabulary: dict[str, Any] = LETTERS
    labels = len(LETTERS)
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": True,
        "sampling_rate": 16_000,
        "feature_size": 1,
    }
    if kind.startswith("bert"):
        config = transformers.Wav2Vec2BertConfig(vocab_size=labels, **shape)
        model = transformers.Wav2Vec2BertForCTC(config)
        extractor |= {
            "feature_extractor_type": "SeamlessM4TFeatureExtractor",
            "feature_size": 80,
            "num_mel_bins": 80,
            "padding_value": 1,
            "stride": 2,
        }
    else:
        if kind == "mms":
            vocabulary, labels = LANGUAGES, len(LANGUAGES["eng"])
        config = transformers.Wav2Vec2Config(vocab_size=labels, **shape)
        model = transformers.Wav2Vec2ForCTC(config)
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    write(folder / "vocab.json", vocabulary)
    write(folder / "preprocessor_config.json", extractor)
    if kind == "mms":
        write(folder / "tokenizer_config.json", {"target_lang": "eng"})
        for language, letters in LANGUAGES.items():
            _save_adapter(model, folder, language, len(letters))
    return folder


def _save_adapter(model: Any, folder: Path, language: str, labels: int) -> None:
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    state = {
        name: torch.randn_like(value) * 0.3
        for name, value in model._get_adapters().items()
        if not name.startswith("lm_head")
    }
    state["lm_head.weight"] = torch.randn(labels, model.config.hidden_size)
    state["lm_head.bias"] = torch.randn(labels)
    save_file(state, folder / f"adapter.{language}.safetensors", {"format": "pt"})


@cache
def exported(kind: str) -> Path:
    """The same checkpoint, exported in both precisions."""
    from streaming.tools.export import export_checkpoint  # noqa: PLC0415

    folder = scratch() / f"{kind}-exported"
    language = "deu" if kind == "mms" else "en"
    export_checkpoint(
        checkpoint(kind),
        folder,
        name=f"tiny-{kind}",
        language=language,
        temperature=1.5,
        fp32=True,
    )
    return folder


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def noise(samples: int, seed: int = 0, gain: float = 1.0) -> Samples:
    """Normalised sound: noise that swells and fades."""
    generator = np.random.default_rng(seed)
    swell = 1 + np.sin(np.arange(samples) / (700 + 100 * seed))
    return (gain * swell * generator.standard_normal(samples)).astype(np.float32)

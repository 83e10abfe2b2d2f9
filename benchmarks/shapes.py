"""Checkpoints of the true shapes with random weights, made once and kept on disk.

How long a pass takes does not depend on what was learnt. They hear only blanks:
random letters would end utterances where nobody does. Knows shapes; not what they
are measured for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streaming.config import BUNDLED_MODEL

__all__ = ["CACHE", "SHAPES", "shape_of", "weights_of"]

CACHE = Path(__file__).parent / ".cache" / "shapes"

_LABELS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINHSRDLUMWCFGYPBVK'XJQZ")
_BLANK = 10.0

# As in the config.json of each checkpoint on the hub; the rest is the default of
# transformers, which is wav2vec2-base.
SHAPES: dict[str, Mapping[str, Any]] = {
    "bundled": {},  # read from the bundled folder
    "base": {"feat_extract_norm": "group", "do_stable_layer_norm": False},
    "xlsr": {  # facebook/wav2vec2-large-xlsr-53
        "hidden_size": 1_024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4_096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
}


def shape_of(name: str, folder: Path = CACHE) -> Path:
    """Return the folder of a checkpoint, exported as `wavestitch export` does it.

    Makes it where it is not there: XLSR takes minutes, 6 GB of memory and 1 GB of
    disk.

    Args:
        name: one of `SHAPES`.
        folder: where they are kept.
    """
    made = folder / name
    if (made / "wavestitch.json").is_file():
        return made
    from streaming.tools.export import export_checkpoint  # noqa: PLC0415

    source = folder / f"{name}.source"
    _write(name, source)
    export_checkpoint(source, made, name=f"{name}-shape", language="und")
    shutil.rmtree(source)
    return made


def weights_of(name: str, folder: Path = CACHE) -> Path:
    """Return the folder of a checkpoint that torch runs; makes no graph.

    Args:
        name: one of `SHAPES`.
        folder: where they are kept.
    """
    exported, made = folder / name, folder / f"{name}.weights"
    if (exported / "wavestitch.json").is_file():
        return exported
    if not (made / "vocab.json").is_file():
        _write(name, made)
    return made


def _write(name: str, source: Path) -> None:
    """A checkpoint as transformers writes it."""
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    shape = dict(SHAPES[name])
    if name == "bundled":
        held = json.loads((BUNDLED_MODEL / "config.json").read_text(encoding="utf-8"))
        names = transformers.Wav2Vec2Config().to_dict()
        shape = {key: value for key, value in held.items() if key in names}
        for key in ("architectures", "model_type", "vocab_size", "dtype"):
            shape.pop(key, None)
    torch.manual_seed(7)
    config = transformers.Wav2Vec2Config(
        **{"vocab_size": len(_LABELS), "pad_token_id": 0} | shape
    )
    module = transformers.Wav2Vec2ForCTC(config)
    with torch.no_grad():
        module.lm_head.weight.zero_()
        module.lm_head.bias.zero_()
        module.lm_head.bias[config.pad_token_id] = _BLANK
    source.mkdir(parents=True, exist_ok=True)
    module.save_pretrained(source)
    vocabulary = {label: number for number, label in enumerate(_LABELS)}
    (source / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")

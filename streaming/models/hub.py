"""Fetch a checkpoint from the Hugging Face hub at a revision that was named.

Small files first; they say which weights are needed. Knows huggingface_hub,
imported only when a hub id is asked for.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from streaming.errors import ConfigError, ModelError
from streaming.models.metadata import METADATA, read_json
from streaming.numeric.vocabulary import Vocabulary

__all__ = ["fetch", "is_hub_id"]

_log = logging.getLogger(__name__)

_DESCRIPTIONS = ["*.json", "README.md"]
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_id(name: str) -> bool:
    """Whether it reads `owner/name`."""
    return _HUB_ID.fullmatch(name) is not None


def fetch(
    name: str,
    revision: str | None,
    *,
    language: str | None = None,
    trust_pickle: bool = False,
) -> Path:
    """Download what is not in the local cache yet.

    `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` are honoured.

    Args:
        name: `owner/name`.
        revision: commit, tag or branch; a commit is what cannot change.
        language: language adapter to bring along (MMS).
        trust_pickle: bring `pytorch_model.bin` where there is no safetensors.

    Returns:
        The folder of the snapshot.

    Raises:
        ConfigError: no revision, or huggingface_hub is not installed.
        ModelError: the hub does not have it, or cannot be reached.
    """
    if not revision:
        raise ConfigError(
            f"model {name}: a hub checkpoint needs a revision, so that it cannot "
            "change under a running server: set revision to a commit hash "
            f"(https://huggingface.co/{name}/commits/main), as in "
            f"--model {name} --revision <commit>"
        )
    try:
        import huggingface_hub  # noqa: PLC0415
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f'model {name}: hub checkpoints need pip install "wavestitch[models]"'
        ) from error
    if not _COMMIT.fullmatch(revision):
        _log.warning(
            "model %s: revision %s is a name that can move; a commit cannot",
            name,
            revision,
        )

    def snapshot(patterns: list[str]) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=patterns
            )
        )

    try:
        folder = snapshot(_DESCRIPTIONS)
        config = read_json(folder / "config.json")
        wanted = ["model*.safetensors"]
        graphs = read_json(folder / METADATA, needed=False).get("onnx", {})
        if isinstance(graphs, dict):
            wanted += [str(graph) for graph in graphs.values()]
        if config.get("adapter_attn_dim") is not None:
            tokenizer = read_json(folder / "tokenizer_config.json", needed=False)
            chosen = language or str(tokenizer.get("target_lang") or "eng")
            # Before the weights: it names the languages where this is none of them.
            Vocabulary.from_files(folder, chosen)
            wanted.append(f"adapter.{chosen}.safetensors")
        folder = snapshot(wanted)
        if trust_pickle and not list(folder.glob("*.safetensors")):
            folder = snapshot(["pytorch_model*.bin", "adapter.*.bin"])
    except (OSError, ValueError, HFValidationError) as error:
        # The hub's own errors are OSErrors: not found, gated, unreachable.
        raise ModelError(
            f"model {name} at {revision} cannot be fetched: {error}"
        ) from error
    return folder

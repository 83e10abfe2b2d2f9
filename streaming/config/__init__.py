"""Settings as frozen dataclasses, one for each room, units in the names.

Validated when made; `replace` from dataclasses validates again. Files, the
environment and flags are merged by the command line only.
"""

from __future__ import annotations

from pathlib import Path

from streaming.config.serving import (
    AccessConfig,
    Config,
    EngineConfig,
    LimitConfig,
    ModelConfig,
    ServerConfig,
)
from streaming.config.streams import (
    AudioFormat,
    DecoderConfig,
    Encoding,
    Finals,
    GateConfig,
    StreamConfig,
    WindowConfig,
)

__all__ = [
    "BUNDLED_MODEL",
    "AccessConfig",
    "AudioFormat",
    "Config",
    "DecoderConfig",
    "Encoding",
    "EngineConfig",
    "Finals",
    "GateConfig",
    "LimitConfig",
    "ModelConfig",
    "ServerConfig",
    "StreamConfig",
    "WindowConfig",
]

BUNDLED_MODEL = Path(__file__).parent.parent / "models" / "bundled"

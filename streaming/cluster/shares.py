"""What each of several processes gets of what is configured for the whole."""

from __future__ import annotations

import os
from dataclasses import replace

from streaming.config import EngineConfig, LimitConfig

__all__ = ["limits_of", "workers_of"]


def workers_of(config: EngineConfig, device: str, of: int) -> EngineConfig:
    """The workers of one of several engines: on a CPU they share the cores."""
    if device != "cpu" or config.workers:
        return config
    return replace(config, workers=max(1, (os.cpu_count() or 1) // of))


def limits_of(limits: LimitConfig, number: int, of: int) -> LimitConfig:
    """What one of several ingest processes may let in, so that the sum holds."""

    def part(most: int) -> int:
        return max(1, most // of + (number < most % of)) if most else 0

    return replace(
        limits,
        max_connections=part(limits.max_connections),
        max_streams=part(limits.max_streams),
        max_speaking_streams=part(limits.max_speaking_streams),
        max_uploads=part(limits.max_uploads),
    )

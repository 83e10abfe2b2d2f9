"""The limits that `wavestitch capacity` measured, as settings under all others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streaming.cli.settings import Layer, Setting
from streaming.errors import ConfigError, WavestitchError

if TYPE_CHECKING:
    from streaming.config import Config

__all__ = ["measured_limits"]


def measured_limits(config: Config, path: Path | None) -> tuple[Layer, str]:
    """What was measured for these very settings, here.

    Args:
        config: the settings without them.
        path: a file that must hold such limits; None means the user's own, which
            may be absent or hold others.

    Returns:
        The settings, empty where there are none, and a word of warning or "".

    Raises:
        ConfigError: `path` holds none for this machine, model and settings.
    """
    if config.several:
        if path is not None:
            raise ConfigError(
                f"limits of {path} are one process': for several set "
                "limits.max_streams, which their ingest processes share"
            )
        return {}, ""
    from streaming.tools.limits import (  # noqa: PLC0415
        default_path,
        described,
        differences,
        limits_for,
        read_limits,
    )

    where = path or default_path()
    if path is None and not where.is_file():
        return {}, ""
    try:
        here = described(config)
        held = limits_for(where, here)
        if held is None:
            others = [differences(each.holds_for, here) for each in read_limits(where)]
            nearest = min(others, key=len, default="it is empty")
            raise ConfigError(f"limits of {where} do not hold here: {nearest}")
    except WavestitchError as error:
        if path is not None:
            raise
        return {}, f"{error}; run wavestitch capacity for ones that do"
    origin = f"wavestitch capacity on {held.measured_on}, {where}"
    return {
        ("limits", "max_streams"): Setting(held.max_streams, origin),
        ("limits", "max_speaking_streams"): Setting(held.max_speaking_streams, origin),
    }, ""

"""The options that several commands share, and the settings they make."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from streaming.cli import settings
from streaming.config import Config
from streaming.errors import ConfigError

__all__ = [
    "Assignments",
    "ConfigFile",
    "LimitsFile",
    "ModelName",
    "ModelRevision",
    "WrongUsage",
    "gather",
]

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="WAVESTITCH_CONFIG",
        help="TOML file with settings (see serve --print-config).",
    ),
]
LimitsFile = Annotated[
    Path | None,
    typer.Option(
        "--limits",
        envvar="WAVESTITCH_LIMITS",
        help="File of limits measured by `wavestitch capacity`; the user's own by "
        "default (~/.config/wavestitch/limits.json).",
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="Folder or hub id; the bundled model by default."),
]
ModelRevision = Annotated[
    str | None,
    typer.Option("--revision", help="Commit, tag or branch of a hub id."),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting, such as stream.gate.hangover_ms=600. Repeatable.",
    ),
]


class WrongUsage(ConfigError):
    """What was asked for on the command line cannot be."""


def gather(
    file: Path | None,
    assignments: Sequence[str] | None,
    flags: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
    *,
    beneath: settings.Layer | None = None,
) -> Config:
    """The settings: file, then environment, then `--set`, then named flags.

    Args:
        file: TOML.
        assignments: of `--set`.
        flags: named ones, by dotted key.
        environ: the environment.
        beneath: what holds where none of these says anything.

    Raises:
        WrongUsage: one of them cannot hold.
    """
    try:
        return settings.merge(
            beneath or {},
            settings.from_toml(_text(file), str(file)) if file else {},
            settings.from_environment(environ),
            settings.from_assignments(assignments or ()),
            settings.from_flags(flags),
        )
    except ConfigError as error:
        raise WrongUsage(str(error)) from None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"cannot read {file}: {why}") from None

"""Admission limits that were measured: a file, and what they are good for.

Limits hold for the machine, the model, the settings and the software that they were
measured with, and for nothing else. Knows neither how they are measured nor who is
refused by them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from streaming import __version__
from streaming.config import BUNDLED_MODEL, Config, ModelConfig
from streaming.errors import ConfigError
from streaming.models.hub import is_hub_id
from streaming.tools.machine import Machine, this_machine

__all__ = [
    "Limits",
    "default_path",
    "described",
    "differences",
    "limits_for",
    "read_limits",
    "write_limits",
]

_FORMAT = 1
_WEIGHTS = (".json", ".safetensors", ".onnx", ".bin", ".data")
_ENDS = 1 << 20  # of a file of gigabytes its first and last bytes tell it from others
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "torch")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many streams a server may let in.

    Attributes:
        holds_for: what they were measured with; see `described`.
        measured_on: the day, as ISO 8601 says it.
        max_streams: open audio channels.
        max_speaking_streams: those of them in which somebody may be speaking.
    """

    holds_for: Mapping[str, str]
    measured_on: str
    max_streams: int
    max_speaking_streams: int


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where limits are kept: the user's folder for settings."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(base) / "wavestitch" / "limits.json"


def described(config: Config, machine: Machine | None = None) -> dict[str, str]:
    """Tell what decides how many streams are carried, each in words.

    Fetches nothing: a hub id is known by its revision, a folder by its files.

    Args:
        config: what the server runs with.
        machine: what it runs on; None means this one.

    Raises:
        ConfigError: the model's files cannot be read.
    """
    machine = machine or this_machine()
    model, engine, stream = config.model, config.engine, config.stream
    window = stream.window
    left = "auto" if window.left_ms is None else window.left_ms
    return {
        "machine": ", ".join(
            (machine.processor, f"{machine.cores} cores", *machine.gpus)
        ),
        "model": _identity(model),
        "inference": " ".join(
            (
                model.backend,
                model.device,
                model.precision,
                model.inference,
                f"cache {model.cache_precision}",
                f"sink {model.sink_ms} ms",
                f"workers {engine.workers}",
                f"batch {engine.max_batch}",
            )
        ),
        "streams": (
            f"window {left}/{window.hop_ms}/{window.right_ms} ms, "
            f"budget {stream.budget_ms} ms, finals {stream.decoder.finals.value}, "
            f"vad {stream.gate.vad}"
        ),
        "software": ", ".join((f"wavestitch {__version__}", *_runtimes())),
    }


def differences(holds_for: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Say in what two descriptions differ; empty where they are equal."""
    return "; ".join(
        f"{name} is {here.get(name)!r}, measured was {holds_for.get(name)!r}"
        for name in dict.fromkeys((*here, *holds_for))
        if here.get(name) != holds_for.get(name)
    )


def limits_for(path: Path, here: Mapping[str, str]) -> Limits | None:
    """Return the limits of a file that hold here, if there are any.

    Raises:
        ConfigError: the file cannot be read.
    """
    found = (limits for limits in read_limits(path) if limits.holds_for == here)
    return next(found, None)


def read_limits(path: Path) -> list[Limits]:
    """Return everything that was written to a file, the latest first.

    Raises:
        ConfigError: it is absent, or was not written by `write_limits`.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["format"] != _FORMAT:
            raise ValueError(f"format {held['format']!r}, expected {_FORMAT}")
        return [
            Limits(
                {str(name): str(said) for name, said in each["holds_for"].items()},
                str(each["measured_on"]),
                int(each["max_streams"]),
                int(each["max_speaking_streams"]),
            )
            for each in held["limits"]
        ]
    except OSError as error:
        raise ConfigError(f"cannot read limits {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path} holds no limits of wavestitch capacity: {error!r}"
        ) from None


def write_limits(path: Path, limits: Limits) -> None:
    """Write limits beside those of other models; earlier ones of the same go.

    Raises:
        ConfigError: the file that is there is none of ours, or cannot be written.
    """
    others = read_limits(path) if path.exists() else []
    kept = [limits, *(o for o in others if o.holds_for != limits.holds_for)]
    text = json.dumps(
        {"format": _FORMAT, "limits": [asdict(each) for each in kept]},
        indent=2,
        ensure_ascii=False,
    )
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(path)  # a server that starts meanwhile reads one or the other
    except OSError as error:
        raise ConfigError(f"cannot write limits {path}: {error.strerror}") from None


def _identity(model: ModelConfig) -> str:
    """Return a name that no other model has."""
    language = f" {model.language}" if model.language else ""
    folder = BUNDLED_MODEL if model.name is None else Path(model.name).expanduser()
    if model.name and not folder.is_dir() and is_hub_id(model.name):
        return f"{model.name}@{model.revision}{language}"
    digest = sha256()
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix in _WEIGHTS:
                digest.update(f"{path.name} {path.stat().st_size} ".encode())
                digest.update(_ends(path))
    except OSError as error:
        raise ConfigError(f"model {model.name!r}: {error.strerror}") from None
    name = "bundled" if model.name is None else folder.resolve().name
    return f"{name} {digest.hexdigest()[:16]}{language}"


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        first = file.read(_ENDS)
        file.seek(max(len(first), path.stat().st_size - _ENDS))
        return first + file.read()


def _runtimes() -> list[str]:
    found = []
    for name in _RUNTIMES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found

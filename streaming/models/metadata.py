"""What our own `wavestitch.json` beside a checkpoint says, each entry checked.

Every reader takes the folder, for its errors, and the object. Knows the file; not
the checkpoint's other files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from streaming.errors import ModelError

__all__ = [
    "METADATA",
    "StepShape",
    "bias",
    "graphs",
    "read_json",
    "steps",
    "streaming",
    "temperature",
]

METADATA = "wavestitch.json"


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a graph that takes steps is fed besides samples.

    Attributes:
        layers: each takes keys and values of the left context.
        hidden: numbers in a key, a value or a frame.
        padding: frames that the positional convolution sees to its left.
    """

    layers: int
    hidden: int
    padding: int


def read_json(path: Path, *, needed: bool = True) -> dict[str, Any]:
    """A JSON object; `{}` for an absent file that is not needed.

    Raises:
        ModelError: it is absent, or no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if needed:
            raise ModelError(
                f"{path} is missing: {path.parent} is no checkpoint folder"
            ) from None
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} must be a JSON object, got a {type(found).__name__}")
    return found


def temperature(folder: Path, ours: Mapping[str, Any]) -> float:
    """What logits are divided by; 1 where nothing is said."""
    found = ours.get("temperature", 1.0)
    if not isinstance(found, int | float) or not found > 0:
        raise ModelError(
            f"{folder / METADATA}: temperature must be above 0, got {found!r}"
        )
    return float(found)


def bias(folder: Path, ours: Mapping[str, Any]) -> float:
    """What is added to the log odds of a confidence, in nats."""
    found = ours.get("bias", 0.0)
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if not number or abs(found) > 100:
        raise ModelError(
            f"{folder / METADATA}: bias must be a number of nats, got {found!r}"
        )
    return float(found)


def streaming(folder: Path, ours: Mapping[str, Any]) -> bool:
    """Whether it was trained for steps."""
    found = ours.get("streaming", False)
    if not isinstance(found, bool):
        raise ModelError(
            f"{folder / METADATA}: streaming must be true or false, got {found!r}"
        )
    return found


def graphs(folder: Path, ours: Mapping[str, Any]) -> dict[str, Path]:
    """ONNX graphs by precision; only what our own export described is trusted."""
    written = ours.get("onnx", {})
    if not isinstance(written, dict):
        raise ModelError(f"{folder / METADATA}: onnx must map precisions to files")
    found = {}
    for precision, name in written.items():
        path = folder / str(name)
        if precision not in ("int8", "fp32") or path.name != name:
            raise ModelError(
                f"{folder / METADATA}: onnx must map int8 or fp32 to a file beside "
                f"it, got {precision!r}: {name!r}"
            )
        if path.is_file():
            found[precision] = path
    return found


def steps(folder: Path, ours: Mapping[str, Any]) -> StepShape | None:
    """Absent from folders that were exported before graphs took steps."""
    found = ours.get("steps")
    if found is None:
        return None
    names = {field.name for field in fields(StepShape)}
    if (
        not isinstance(found, dict)
        or found.keys() != names
        or not all(type(number) is int and number > 0 for number in found.values())
    ):
        raise ModelError(
            f"{folder / METADATA}: steps must map {', '.join(sorted(names))} to whole "
            f"numbers above 0, got {found!r}"
        )
    return StepShape(**found)

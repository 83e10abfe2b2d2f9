"""Of which code, packages and day a result is, and where results are kept."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from streaming.tools.machine import this_machine

__all__ = ["RESULTS", "provenance", "save"]

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "torch", "transformers", "numpy")


def provenance() -> dict[str, Any]:
    """Machine, load, versions, commit and day, for a result's object."""
    return {
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": asdict(this_machine()),
        "load_average": os.getloadavg(),
        "versions": _versions(),
        "commit": _commit(),
    }


def save(kind: str, found: Mapping[str, Any]) -> Path:
    """Keep a result that holds its provenance; one of a kind and day."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{kind}-{found['measured_on']}.json"
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return path


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

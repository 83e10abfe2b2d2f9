"""Environments of real clients: a venv or a folder of npm packages for each.

Kept in `.cache/clients`, built once; where the packages cannot be fetched the tests
that need them skip and say so. The server's own environment is never touched.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["CACHE", "node_modules", "python_of"]

CACHE = Path(__file__).parents[2] / ".cache" / "clients"
_PATIENCE_S = 240


def python_of(name: str, *packages: str) -> Path:
    """The Python of a venv that holds these packages, built unless it is there."""
    folder = _folder(name, sys.version.partition(" ")[0], *packages)
    python = folder / "bin" / "python"
    if not _whole(folder):
        _run(name, sys.executable, "-m", "venv", "--clear", folder)
        _run(name, python, "-m", "pip", "install", "--no-input", "--quiet", *packages)
        _seal(folder)
    return python


def node_modules(name: str, *packages: str) -> Path:
    """A folder whose `node_modules` holds these packages, built unless it is there."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip(f"the {name} client needs node and npm")
    folder = _folder(name, *packages)
    if not _whole(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True}))
        quiet = ("--no-audit", "--no-fund", "--silent")
        _run(name, "npm", "install", *quiet, "--prefix", folder, *packages)
        _seal(folder)
    return folder


def _folder(name: str, *what: str) -> Path:
    mark = hashlib.sha256("\n".join(what).encode()).hexdigest()[:8]
    return CACHE / f"{name}-{mark}"


def _whole(folder: Path) -> bool:
    return (folder / "whole").is_file()


def _seal(folder: Path) -> None:
    (folder / "whole").touch()


def _run(name: str, *command: str | Path) -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            check=False,
            text=True,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"the {name} client could not be fetched in {_PATIENCE_S} s")
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        why = lines[-1] if lines else f"exit code {done.returncode}"
        pytest.skip(f"the {name} client could not be fetched: {why}")

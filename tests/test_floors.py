"""The house stays a house: floors, lint and types hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "command",
    [
        [
            "-c",
            "import sys; from importlinter.cli import lint_imports_command as c; c()",
        ],
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "mypy"],
    ],
    ids=["floors", "ruff-check", "ruff-format", "mypy"],
)
def test_the_house_is_in_order(command):
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr

"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
SPEECH = ROOT.parent / "shared" / "speech"

# No test is judged by its time on a machine that is busy with something else.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Limits and keys of whoever runs the tests are none of theirs."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="session")
def speech_folder() -> Path:
    """Real speech with transcripts, where this machine has it."""
    if not (SPEECH / "test" / "manifest.jsonl").is_file():
        pytest.skip(f"no speech corpora at {SPEECH}")
    return SPEECH

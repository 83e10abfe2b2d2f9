"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SPEECH = ROOT.parent / "shared" / "speech"


@pytest.fixture(scope="session")
def speech_folder() -> Path:
    """Real speech with transcripts, where this machine has it."""
    if not (SPEECH / "test" / "manifest.jsonl").is_file():
        pytest.skip(f"no speech corpora at {SPEECH}")
    return SPEECH

"""The examples of the protocols' pages run as they stand, but for the address."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from streaming import protocols
from tests.compatibility.environments import python_of
from tests.compatibility.test_deepgram import PYTHON
from tests.compatibility.test_vosk import PACKAGES

PAGES = Path(protocols.__file__).parent


@pytest.mark.parametrize(
    ("page", "number", "name", "packages"),
    [
        ("vosk.md", 0, "vosk", PACKAGES),
        ("deepgram.md", 0, "deepgram", (PYTHON,)),
        ("deepgram.md", 1, "deepgram", (PYTHON,)),
    ],
)
def test_the_example_prints_the_words(
    page, number, name, packages, live, recording, native
):
    text = (PAGES / page).read_text()
    example = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]
    example = example.replace("ws://127.0.0.1:8770", live.url)
    example = example.replace("http://127.0.0.1:8770", live.http)
    done = subprocess.run(
        [str(python_of(name, *packages)), "-c", example, str(recording)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )

    assert 0 == done.returncode, done.stderr
    assert all(said in done.stdout for said in native)

"""A live server with the bundled model, and the recording that clients send to it.

Finals are stitched: what a client is told then follows from the samples alone, at
any load of the machine that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest
import soundfile

from streaming.cli.demo import RECORDING

PROGRAMS = Path(__file__).parent / "programs"
_PATIENCE_S = 120

_SETTINGS = {
    "stream.decoder.finals": "stitched",
    "stream.budget_ms": "10000",
    "limits.max_streams": "0",
    "limits.max_speaking_streams": "0",
}


def pytest_collection_modifyitems(items):
    """Everything here runs real clients."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("compatibility")


@dataclass(frozen=True)
class Live:
    """A server that runs.

    Attributes:
        url: `ws://HOST:PORT`.
        log: its lines so far.
    """

    url: str
    log: list[str]

    @property
    def http(self) -> str:
        return self.url.replace("ws://", "http://")


@contextmanager
def serving(*options: object) -> Iterator[Live]:
    """A server as its own process."""
    sets = [f"--set={name}={value}" for name, value in _SETTINGS.items()]
    command = [sys.executable, "-m", "streaming", "serve", "--port", "0", *sets]
    process = subprocess.Popen(
        [*command, *map(str, options)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    log: list[str] = []
    with process:
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"listening on (wss?://\S+)", line):
                break
        else:
            pytest.fail("the server did not come up:\n" + "".join(log))
        # Read on: a full pipe would stop it.
        reading = Thread(target=log.extend, args=(process.stderr,))
        reading.start()
        try:
            yield Live(found[1], log)
        finally:
            process.terminate()
            reading.join()


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """The server that all of them share."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled recording as a WAV, 16 kHz."""
    samples, rate = soundfile.read(RECORDING, dtype="int16")
    path = tmp_path_factory.mktemp("recording") / "demo.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="session")
def meant() -> list[str]:
    """The words that were spoken in it, an utterance each."""
    about = json.loads(RECORDING.with_suffix(".json").read_text())
    return [utterance["text"] for utterance in about["utterances"]]


def messages_of(*command: object, **environment: str) -> list[dict]:
    """Run a program that prints the messages it was sent, a line of JSON each."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
        text=True,
        timeout=_PATIENCE_S,
    )
    assert 0 == done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


Run = Callable[..., list[dict]]


@pytest.fixture(scope="session")
def run(live: Live, recording: Path) -> Run:
    """Run one of the programs on the recording; the messages that it was sent."""

    def run(interpreter, program, *args, path=recording):
        return messages_of(interpreter, PROGRAMS / program, live.url, path, *args)

    return run


@pytest.fixture(scope="session")
def native(run: Run) -> list[str]:
    """Texts of the finals that the native protocol gives for the same samples."""
    said = run(sys.executable, "native.py")
    return [final["text"] for final in said if final["type"] == "final"]

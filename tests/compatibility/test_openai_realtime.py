"""OpenAI's own packages against a live server: Realtime transcription."""

from __future__ import annotations

import re
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

from streaming.numeric.resample import Resampler
from streaming.protocols import openai_realtime
from tests.compatibility.conftest import PROGRAMS, messages_of, serving
from tests.compatibility.environments import node_modules, python_of
from tests.protocols.calls import mulaw as as_mulaw

PYTHON = "openai[realtime]==3.54.0"
NPM = ("openai@6.49.0", "ws@8.18.3")
COMPLETED = "conversation.item.input_audio_transcription.completed"


@pytest.fixture(scope="module")
def python():
    return python_of("openai-realtime", PYTHON)


@pytest.fixture(scope="module")
def by_sync(run, python, native):
    return run(python, "openai_realtime_sync.py", str(len(native)))


@pytest.fixture(scope="module")
def mulaw(recording, tmp_path_factory):
    """The recording in G.711 at 8 kHz, without a header."""
    with wave.open(str(recording)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        resampler = Resampler(file.getframerate(), 8_000)
    pieces = resampler.push(samples.astype(np.float32) / 32_768), resampler.drain()
    path = tmp_path_factory.mktemp("mulaw") / "demo.ul"
    path.write_bytes(as_mulaw(np.concatenate(pieces)))
    return path


def transcripts(said):
    return [e["transcript"] for e in said if e.get("transcript")]


def test_the_transcripts_are_the_finals_of_the_native_protocol(by_sync, native):
    assert native == transcripts(by_sync)


def test_the_server_speaks_first_and_confirms_the_settings(by_sync):
    created, updated = by_sync[:2]

    assert ["session.created", "session.updated"] == [created["type"], updated["type"]]
    settings = updated["session"]["audio"]["input"]
    assert {"type": "audio/pcm", "rate": 16_000} == settings["format"]


def test_the_deltas_of_an_item_are_its_transcript(by_sync):
    completed = [e for e in by_sync if e["type"] == COMPLETED and e["transcript"]]
    for each in completed:
        deltas = [
            e["delta"]
            for e in by_sync
            if "delta" in e and e["item_id"] == each["item_id"]
        ]
        assert len(deltas) > 1
        assert each["transcript"] == "".join(deltas)


def test_no_error_is_told(by_sync):
    assert "error" not in {e["type"] for e in by_sync}


def test_the_example_of_the_page_prints_what_was_said(live, python, recording, native):
    page = Path(openai_realtime.__file__).with_name("openai.md").read_text()
    (example,) = re.findall(r"```python\n([^`]*AsyncOpenAI.*?)```", page, re.DOTALL)
    here = example.replace("http://127.0.0.1:8770", live.http)

    done = subprocess.run(
        [python, "-c", here, recording],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )

    assert 0 == done.returncode, done.stderr
    assert " ".join(native) == done.stdout.strip()


def test_the_beta_interface_is_answered_in_its_spelling(run, python, mulaw, meant):
    said = run(python, "openai_realtime_beta.py", str(len(meant)), path=mulaw)

    kinds = {e["type"] for e in said}
    assert {"transcription_session.updated", "conversation.item.created"} <= kinds
    assert len(meant) == len(transcripts(said))
    assert meant[0] == transcripts(said)[0]


def test_npm_speaks_over_tls(recording, native, tmp_path):
    folder = node_modules("openai-realtime", *NPM)
    if shutil.which("openssl") is None:
        pytest.skip("a certificate needs openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )

    with serving("--tls-certificate", certificate, "--tls-key", key) as server:
        assert server.url.startswith("wss://")
        said = messages_of(
            "node",
            PROGRAMS / "openai_realtime.mjs",
            server.url,
            recording,
            len(native),
            folder,
            NODE_EXTRA_CA_CERTS=str(certificate),
        )

    assert native == transcripts(said)

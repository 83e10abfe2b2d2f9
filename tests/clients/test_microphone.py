"""The microphone client with the real sounddevice, on a virtual microphone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.clients.scripted import scripted
from tests.conftest import ROOT

DEMO = ROOT / "streaming" / "cli" / "demo.flac"
FINAL = {
    "channel": 0,
    "utterance": 0,
    "text": "zero four",
    "start": 0.0,
    "end": 2.0,
    "confidence": 0.9,
    "pass": "full",
}


@contextlib.asynccontextmanager
async def mic(microphone, url, *options, stdin=subprocess.DEVNULL):
    """The client as a program; ended at the end of the block if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clients.microphone", "--url", url, *options),
        cwd=ROOT,
        env=microphone.environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Server:
    """A script that takes audio and knows when it came."""

    def __init__(self):
        self.heard = bytearray()
        self.commands = asyncio.Queue()
        self.path = ""
        self._grown = asyncio.Event()

    async def script(self, line):
        self.path = line.path
        while True:
            message = await line.socket.recv()
            if isinstance(message, bytes):
                self.heard += message
                self._grown.set()
                continue
            self.commands.put_nowait(message)
            if "flush" in message:
                await line.say("flushed", received=len(self.heard) // 2)
            if "finish" in message:
                await line.say("final", **FINAL)
                await line.finish()
                return

    async def until(self, samples):
        """Wait until so many samples have come in all."""
        while len(self.heard) < samples * 2:
            self._grown.clear()
            await self._grown.wait()


@pytest.fixture
def spoken(tmp_path):
    """The first utterance of the demo: its path and its samples."""
    samples, rate = soundfile.read(DEMO, dtype="int16", stop=round(3.6 * 16_000))
    path = tmp_path / "spoken.wav"
    soundfile.write(path, samples, rate)
    return path, samples


def share_heard(spoken, heard):
    """Share of the samples that were heard as they were, at the place they fit best.

    Not the first half second, which PulseAudio may swallow while it wakes up.
    """
    spoken = spoken[8_000:].astype(float)
    size = 1 << (len(spoken) + len(heard)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(spoken, size))
    place = int(np.fft.irfft(product, size)[: len(heard) - len(spoken)].argmax())
    return np.mean(heard[place : place + len(spoken)] == spoken)


async def test_what_is_spoken_is_sent_and_what_is_heard_is_shown(microphone, spoken):
    path, samples = spoken
    server = Server()
    async with (
        asyncio.timeout(60),
        scripted(server.script) as url,
        mic(microphone, url) as process,
    ):
        await server.until(1)
        playing = await asyncio.to_thread(lambda: microphone.play(path).wait())
        await server.until(len(server.heard) // 2 + 8_000)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()

    heard = np.frombuffer(bytes(server.heard), "<i2").astype(float)
    assert (0, 0) == (playing, process.returncode), err
    assert "sample_rate=16000" in server.path
    assert "    2.00 s     zero four\n" == out.decode()
    assert "listening to 'default' at 16000 Hz" in err.decode()
    assert 0.99 < share_heard(samples, heard)


async def test_keys_mute_unmute_and_end(microphone):
    server = Server()
    keyboard, stdin = pty.openpty()
    try:
        async with (
            asyncio.timeout(60),
            scripted(server.script) as url,
            mic(microphone, url, stdin=stdin) as process,
        ):
            await server.until(1_600)
            os.write(keyboard, b"m")
            assert "flush" in await server.commands.get()
            muted_at = len(server.heard) // 2
            os.write(keyboard, b"m")
            await server.until(muted_at + 1_600)
            os.write(keyboard, b"q")
            assert "finish" in await server.commands.get()
            _, err = await process.communicate()
    finally:
        os.close(keyboard)
        os.close(stdin)

    assert 0 == process.returncode, err


async def test_it_stops_after_so_many_seconds(microphone):
    server = Server()
    async with (
        asyncio.timeout(60),
        scripted(server.script) as url,
        mic(microphone, url, "--seconds", "0.5", "--rate", "8000") as process,
    ):
        _, err = await process.communicate()

    assert 0 == process.returncode, err
    assert "sample_rate=8000" in server.path
    assert 4_000 == len(server.heard) // 2


async def test_a_server_that_goes_away_is_said_in_one_line(microphone):
    async def script(line):
        await line.socket.recv()
        await line.say("error", code="overloaded", message="no room left")
        await line.socket.close(1013)

    async with (
        asyncio.timeout(60),
        scripted(script) as url,
        mic(microphone, url) as process,
    ):
        _, err = await process.communicate()

    assert 1 == process.returncode
    assert "clients.microphone: no room left" == err.decode().splitlines()[-1]


def program(code="", *arguments, environment=None):
    """The client as a program, after some code that changes its surroundings."""
    run = "import sys; from clients.microphone import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", f"{code}\n{run}", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_devices_are_listed(microphone):
    done = program("", "--list", environment=microphone.environment)

    assert (0, "") == (done.returncode, done.stderr)
    assert any(
        line.startswith("* ") and "default" in line for line in done.stdout.splitlines()
    )


def test_a_device_that_is_not_there_is_named_with_those_that_are(microphone):
    done = program("", "--device", "studio", environment=microphone.environment)

    assert 1 == done.returncode
    assert done.stderr.startswith("clients.microphone: no microphone 'studio'; there")
    assert "default" in done.stderr
    assert 1 == done.stderr.count("\n")


NO_PACKAGE = "import sys; sys.modules['sounddevice'] = None"
NO_PORTAUDIO = "import ctypes.util; ctypes.util.find_library = lambda name: None"
NO_DEVICE = "import sounddevice; sounddevice.query_devices = lambda: []"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (NO_PACKAGE, "pip install 'wavestitch[mic]'"),
        (NO_PORTAUDIO, "apt install libportaudio2"),
        (NO_DEVICE, "apt install libasound2-plugins"),
    ],
)
def test_what_is_missing_is_said_in_one_line(code, words):
    if code == NO_DEVICE:
        pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))

    done = program(code)

    assert (1, "") == (done.returncode, done.stdout)
    assert words in done.stderr
    assert 1 == done.stderr.count("\n")

"""A microphone without hardware: PulseAudio's null sink, heard through ALSA.

A PulseAudio daemon of our own, in a private home and runtime folder, so that no
sound system of the machine is touched. What is played into its null sink comes
out of PortAudio's default device.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

PLUGIN = "libasound_module_pcm_pulse.so"
NEEDED = (
    "a virtual microphone needs: apt install libportaudio2 libasound2-plugins "
    "pulseaudio pulseaudio-utils"
)
ALSA = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"


@dataclass(frozen=True)
class VirtualMicrophone:
    """Attributes: environment in which a process hears it."""

    environment: dict[str, str]

    def play(self, recording: Path) -> subprocess.Popen[bytes]:
        """Speak into it; returns the process that does."""
        # A second of buffer: a busy machine must not tear holes into what is said.
        command = ["paplay", "--device=speaker", "--latency-msec=1000", str(recording)]
        return subprocess.Popen(command, env=self.environment)


@contextlib.contextmanager
def virtual_microphone() -> Iterator[VirtualMicrophone]:
    """Run the daemon for the block; skips where something is not installed."""
    missing = [program for program in ("pulseaudio", "paplay") if not which(program)]
    plugins = [*Path("/usr/lib").glob(f"*/alsa-lib/{PLUGIN}")]
    plugins += Path("/usr/lib").glob(f"alsa-lib/{PLUGIN}")
    missing += [] if plugins else [PLUGIN]
    missing += [] if ctypes.util.find_library("portaudio") else ["libportaudio"]
    missing += [] if find_spec("sounddevice") else ["sounddevice"]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found; {NEEDED}")
    # Not pytest's folder: the path of a socket is at most some 100 bytes long.
    with tempfile.TemporaryDirectory(prefix="mic-") as name:
        folder = Path(name)
        socket = folder / "socket"  # PulseAudio makes a folder named pulse beside it
        (folder / ".asoundrc").write_text(ALSA)
        environment = os.environ | {
            "HOME": name,
            "XDG_RUNTIME_DIR": name,
            "XDG_CONFIG_HOME": name,
            "PULSE_SERVER": f"unix:{socket}",
            "PULSE_SOURCE": "speaker.monitor",
        }
        command = [
            *("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no"),
            *("--exit-idle-time=-1", "--log-target=stderr", "--log-level=info"),
            *("-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1"),
            *("-L", "module-null-sink sink_name=speaker rate=16000 channels=1"),
        ]
        with subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True
        ) as daemon:
            try:
                said = _until_started(daemon)
                assert daemon.poll() is None, said
                reading = threading.Thread(target=daemon.stderr.read)
                reading.start()
                yield VirtualMicrophone(environment)
            finally:
                daemon.terminate()
                daemon.wait()
            reading.join()


def which(program: str) -> bool:
    return shutil.which(program) is not None


def _until_started(daemon: subprocess.Popen[str]) -> str:
    said = ""
    for line in daemon.stderr:
        said += line
        if "startup complete" in line:
            break
    return said

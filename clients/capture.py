"""Record from a microphone with PortAudio.

PortAudio's thread only hands samples over; everything else is on the event loop.
Knows sounddevice (on Linux its PortAudio comes with the system); nothing of
servers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import numpy as np

from clients.errors import AudioUnavailable

__all__ = ["Device", "Microphone", "devices"]

# What is kept while the server takes nothing; the oldest goes first, and it is said.
MOST_WAITING_S = 30.0
NO_PACKAGE = (
    "the microphone needs the Python package sounddevice: pip install 'wavestitch[mic]'"
)
NO_PORTAUDIO = (
    "the microphone needs PortAudio: apt install libportaudio2 (Debian, Ubuntu), "
    "dnf install portaudio (Fedora), brew install portaudio (macOS)"
)
NO_DEVICE = (
    "no microphone found; with PulseAudio or PipeWire on Debian or Ubuntu: "
    "apt install libasound2-plugins"
)


@dataclass(frozen=True, slots=True)
class Device:
    """A device that records.

    Attributes:
        number: PortAudio's.
        channels: most that it records.
        sample_rate: the one it runs at by itself.
        default: it is taken unless another is named.
    """

    number: int
    name: str
    channels: int
    sample_rate: int
    default: bool


def devices() -> list[Device]:
    """The devices that record.

    Raises:
        AudioUnavailable: no sounddevice, no PortAudio, or no such device.
    """
    sound = _sounddevice()
    default = sound.default.device[0]
    found = [
        Device(
            number,
            str(row["name"]),
            int(row["max_input_channels"]),
            int(row["default_samplerate"]),
            number == default,
        )
        for number, row in enumerate(sound.query_devices())
        if row["max_input_channels"] > 0
    ]
    if not found:
        raise AudioUnavailable(NO_DEVICE)
    return found


class Microphone:
    """A microphone: 16-bit mono pieces, in order.

    Args:
        device: number, or a part of the name; None means the default one.
        sample_rate: None means 16000 where the device does it, else its own.
        piece_ms: audio a piece.

    Attributes:
        name: the device's.
        sample_rate: what it runs at.
        level: loudest sample of the last piece, 0 to 1.
        lost_s: seconds of audio dropped because nobody took them.

    Raises:
        AudioUnavailable: nothing to record with.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int | None = None,
        piece_ms: int = 20,
    ) -> None:
        self._sound = _sounddevice()
        self._device = _choose(devices(), device)
        self.name = self._device.name
        self.sample_rate = sample_rate or self._rate()
        self.level = 0.0
        self.lost_s = 0.0
        self._piece = self.sample_rate * piece_ms // 1_000
        self._pieces: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._stopped = False

    def stop(self) -> None:
        """Record no more; `pieces` ends with what has been recorded."""
        self._stopped = True
        self._news.set()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Record until `stop`.

        Raises:
            AudioUnavailable: the device does not record at this rate.
        """
        loop = asyncio.get_running_loop()

        def recorded(data: Any, _frames: int, _time: Any, status: Any) -> None:
            # PortAudio's thread: copy, hand over, go; the loop may be closed by now.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(
                    self._take, bytes(data), bool(status.input_overflow)
                )

        with self._open(recorded):
            while not self._stopped:
                while self._pieces:
                    yield self._pieces.popleft()
                self._news.clear()
                if not self._stopped:
                    await self._news.wait()
        await asyncio.sleep(0)  # what the thread has handed over is taken
        while self._pieces:
            yield self._pieces.popleft()

    def _open(self, recorded: Any) -> Any:
        try:
            return self._sound.RawInputStream(
                device=self._device.number,
                samplerate=self.sample_rate,
                blocksize=self._piece,
                channels=1,
                dtype="int16",
                callback=recorded,
            )
        except self._sound.PortAudioError as error:
            why = " ".join(str(error).split())
            raise AudioUnavailable(
                f"{self.name!r} does not record at {self.sample_rate} Hz: {why}"
            ) from None

    def _take(self, piece: bytes, overflowed: bool) -> None:
        seconds = self._piece / self.sample_rate
        if overflowed:
            # PortAudio lost samples before us and does not say how many.
            self.lost_s += seconds
        if len(self._pieces) * seconds >= MOST_WAITING_S:
            self._pieces.popleft()
            self.lost_s += seconds
        # int32: the loudest negative sample has no positive twin in int16.
        samples = np.abs(np.frombuffer(piece, "<i2").astype(np.int32))
        self.level = float(samples.max(initial=0)) / 32_768
        self._pieces.append(piece)
        self._news.set()

    def _rate(self) -> int:
        try:
            self._sound.check_input_settings(
                device=self._device.number,
                samplerate=16_000,
                channels=1,
                dtype="int16",
            )
        except self._sound.PortAudioError:
            return self._device.sample_rate
        return 16_000


def _sounddevice() -> Any:
    try:
        import sounddevice  # noqa: PLC0415  (looks for PortAudio when imported)
    except ImportError:
        raise AudioUnavailable(NO_PACKAGE) from None
    except OSError:
        raise AudioUnavailable(NO_PORTAUDIO) from None
    return sounddevice


def _choose(found: list[Device], wanted: int | str | None) -> Device:
    if wanted is None:
        return next((device for device in found if device.default), found[0])
    if isinstance(wanted, int) or wanted.isdecimal():
        fitting = [device for device in found if device.number == int(wanted)]
    else:
        fitting = [d for d in found if wanted.lower() in d.name.lower()]
    if not fitting:
        names = ", ".join(f"{device.number} {device.name}" for device in found)
        raise AudioUnavailable(f"no microphone {wanted!r}; there is: {names}")
    return fitting[0]

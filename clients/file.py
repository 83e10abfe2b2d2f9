"""Play a recording into a server, in real time or faster, and print what it hears.

    python -m clients.file recording.flac
    python -m clients.file --speed 0 talk.ogg          (as fast as the server takes it)

Sends 16-bit samples at the recording's own rate. The pace is kept against one
absolute clock, so that it does not drift: a piece leaves when its last sample
would have been spoken. Knows soundfile; nothing of servers beyond `Stream`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from clients.connection import connect
from clients.errors import AudioUnavailable, ClientError
from clients.stream import Stream, exchange

__all__ = ["Recording", "main", "open_recording", "play"]


@dataclass(frozen=True, slots=True)
class Recording:
    """An open recording.

    Attributes:
        sample_rate: samples per second and channel.
        channels: as they will be sent.
        frames: length in samples a channel, as the file has it or promises it.
        announced: the length that its header promises.
        path: where it is from.
    """

    sample_rate: int
    channels: int
    frames: int
    announced: int
    path: Path
    _sound: soundfile.SoundFile

    def pieces(self, samples: int) -> Iterator[tuple[int, bytes]]:
        """The recording from here on, `samples` a piece.

        Yields:
            How many samples the piece has, and the piece as 16-bit little endian.

        Raises:
            AudioUnavailable: the recording is damaged from here on.
        """
        while len(block := self._read(samples)):
            if self.channels < block.shape[1]:
                block = block.mean(axis=1, keepdims=True)
            # Back to the very integers that 16-bit recordings are made of.
            whole = np.clip(np.rint(block * 32_768.0), -32_768, 32_767)
            yield len(block), whole.astype("<i2").tobytes()

    def _read(self, samples: int) -> npt.NDArray[np.float32]:
        """The next samples, `(n, channels)`; empty at the end."""
        block: npt.NDArray[np.float32]
        try:
            block = self._sound.read(samples, "float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioUnavailable(
                f"cannot read {self.path}: {_why(self.path, error)}"
            ) from None
        return block


@contextmanager
def open_recording(path: Path, *, mono: bool = False) -> Iterator[Recording]:
    """Open anything that libsndfile reads: WAV, FLAC, Ogg, MP3, ...

    Args:
        path: the recording.
        mono: mix all channels into one.

    Raises:
        AudioUnavailable: no such file, not a recording, or more than two channels.
    """
    try:
        sound = soundfile.SoundFile(path)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioUnavailable(f"cannot read {path}: {_why(path, error)}") from None
    with sound:
        if sound.channels > 2 and not mono:
            raise AudioUnavailable(
                f"{path} has {sound.channels} channels, a stream has 1 or 2: "
                "mix them into one (--mono)"
            )
        channels = 1 if mono else sound.channels
        yield Recording(
            sound.samplerate, channels, sound.frames, _announced(sound), path, sound
        )


async def play(
    stream: Stream,
    recording: Recording,
    *,
    speed: float = 1.0,
    piece_ms: int = 20,
    sent: Callable[[int, float], None] = lambda _samples, _now: None,
) -> None:
    """Send a recording; flushing and finishing is the caller's.

    Args:
        stream: opened with the recording's rate and channels.
        recording: what to play.
        speed: 1 is real time, 2 twice as fast, 0 as fast as the server takes it.
        piece_ms: audio a message.
        sent: told the samples sent so far and the loop's time, a piece at a time.
    """
    clock = asyncio.get_running_loop().time
    rate = recording.sample_rate
    began, samples = clock(), 0
    for count, piece in recording.pieces(max(1, rate * piece_ms // 1_000)):
        samples += count
        if speed:
            await asyncio.sleep(began + samples / rate / speed - clock())
        await stream.send(piece)
        sent(samples, clock())


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; returns its exit status."""
    options = _options().parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except ClientError as error:
        print(f"clients.file: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _run(options: argparse.Namespace) -> None:
    # Here, so that the functions above need no terminal.
    from rich.console import Console  # noqa: PLC0415

    from clients.screen import Screen  # noqa: PLC0415

    with open_recording(options.file, mono=options.mono) as recording:
        async with connect(
            options.url,
            sample_rate=recording.sample_rate,
            channels=recording.channels,
            language=options.language,
        ) as stream:
            screen = Screen(
                Console(highlight=False),
                notes=Console(stderr=True, highlight=False),
                channels=recording.channels,
            )

            async def send() -> None:
                played = 0

                def count(samples: int, _now: float) -> None:
                    nonlocal played
                    played = samples

                await play(stream, recording, speed=options.speed, sent=count)
                if missing := _missing(recording, played):
                    screen.note(missing)
                await stream.finish()

            with screen:
                await exchange(stream, send(), screen.show)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clients.file",
        description="Play a recording into a wavestitch server.",
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="ws://127.0.0.1:8770")
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        help="1 is real time, 0 as fast as the server takes it",
    )
    parser.add_argument("--mono", action="store_true", help="mix channels into one")
    parser.add_argument("--language", help="BCP 47 tag; the model's by default")
    return parser


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number, 0 or more, got {text!r}")
    return speed


# libsndfile mends a header that promises too much silently; only its log tells. Sizes
# of 2 GiB and more are what programs write into a pipe, where the length is not known.
_MENDED = re.compile(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)")
_UNKNOWN_BYTES = 0x7FFF_0000


def _announced(sound: soundfile.SoundFile) -> int:
    """Samples a channel that the header promises; there may be fewer."""
    frames: int = sound.frames
    if mended := _MENDED.search(sound.extra_info):
        promised, held = map(int, mended.groups())
        if held and promised < _UNKNOWN_BYTES:
            frames = frames * promised // held
    return frames


def _missing(recording: Recording, played: int) -> str | None:
    """What to say of a recording that was cut short; headers may estimate."""
    rate, announced = recording.sample_rate, recording.announced
    if announced - played <= max(rate // 10, announced // 100):
        return None
    return (
        f"{recording.path}: cut short, {played / rate:.2f} s of the "
        f"{announced / rate:.2f} s that its header promises"
    )


def _why(path: Path, error: Exception) -> str:
    """The error without the path, which libsndfile says once more."""
    if not path.exists():
        return "no such file"
    if path.is_dir():
        return "is a folder"
    if path.is_file() and not path.stat().st_size:
        return "the file is empty"
    why = str(error).rpartition(": ")[2].rstrip(".") or type(error).__name__
    if why == "Format not recognised":
        return (
            "not a recording that libsndfile reads: expected WAV, FLAC, Ogg, MP3, ..."
        )
    return why


if __name__ == "__main__":
    sys.exit(main())

"""Speak into a microphone and read along.

    python -m clients.microphone                (or: wavestitch mic)
    python -m clients.microphone --list

Keys on a terminal: m mutes and unmutes (what was said before becomes final at
once, nothing is sent while muted), q or Ctrl-C ends and waits for the last words.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.text import Text

from clients.capture import Microphone, devices
from clients.connection import connect
from clients.controls import Controls
from clients.errors import ClientError
from clients.screen import Screen
from clients.stream import Stream, exchange

__all__ = ["Settings", "listen", "main", "show_devices"]

SERVER = "ws://127.0.0.1:8770"


@dataclass(frozen=True, slots=True)
class Settings:
    """What to record and where to send it.

    Attributes:
        url: the server.
        device: number, or a part of the name; None means the default one.
        sample_rate: None means 16000 where the device does it, else its own.
        language: BCP 47 tag; None means the model's.
        seconds: stop after so much audio; None means go on.
    """

    url: str = SERVER
    device: int | str | None = None
    sample_rate: int | None = None
    language: str | None = None
    seconds: float | None = None


async def listen(settings: Settings, console: Console, notes: Console) -> None:
    """Send the microphone to the server and show what it hears, until told to end.

    Args:
        settings: what to record and where to send it.
        console: receives the transcript.
        notes: receives what is no part of it.

    Raises:
        AudioUnavailable: nothing to record with.
        ClientError: the server cannot be reached, or the stream failed.
    """
    microphone = Microphone(settings.device, settings.sample_rate)
    async with connect(
        settings.url,
        sample_rate=microphone.sample_rate,
        language=settings.language,
    ) as stream:
        notes.print(
            f"listening to {microphone.name!r} at {microphone.sample_rate} Hz; "
            "m mutes, q ends",
            style="dim",
            soft_wrap=True,
        )
        controls = Controls(microphone.stop)
        screen = Screen(console, notes=notes)
        with controls.watching(), screen:
            sending = _send(stream, microphone, controls, screen, settings.seconds)
            await exchange(stream, sending, screen.show)


def show_devices(console: Console) -> None:
    """Print a line for each device that records; * marks the default one.

    Raises:
        AudioUnavailable: there is none.
    """
    for device in devices():
        mark = "*" if device.default else " "
        console.print(
            f"{mark} {device.number:2d}  {device.name}  "
            f"({device.channels} in, {device.sample_rate} Hz)",
            soft_wrap=True,
            markup=False,
        )


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; returns its exit status."""
    options = _options().parse_args(arguments)
    console = Console(highlight=False)
    notes = Console(stderr=True, highlight=False)
    try:
        if options.list:
            show_devices(console)
        else:
            settings = Settings(
                options.url,
                options.device,
                options.rate,
                options.language,
                options.seconds,
            )
            asyncio.run(listen(settings, console, notes))
    except ClientError as error:
        print(f"clients.microphone: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _send(
    stream: Stream,
    microphone: Microphone,
    controls: Controls,
    screen: Screen,
    seconds: float | None,
) -> None:
    """Send pieces as they are recorded, then finish."""
    clock = asyncio.get_running_loop().time
    left = float("inf") if seconds is None else seconds * microphone.sample_rate
    lost, muted_at = 0.0, None
    async with contextlib.aclosing(microphone.pieces()) as pieces:
        async for piece in pieces:
            screen.status(_meter(microphone.level, controls.muted))
            if microphone.lost_s > lost:
                lost = microphone.lost_s
                screen.note(f"{lost:.2f} s of audio lost: it was not taken in time")
            if not controls.muted:
                muted_at = None
                await stream.send(piece)
            elif muted_at is None:
                muted_at = clock()
                await stream.flush()
            elif clock() - muted_at > stream.ready.idle_timeout_s / 3:
                muted_at = clock()
                await stream.keepalive()
            left -= len(piece) // 2
            if left <= 0:
                break
    await stream.finish()


def _meter(level: float, muted: bool) -> Text:
    """A bar over the upper 60 dB."""
    if muted:
        return Text("muted; m unmutes", style="red")
    decibels = 20 * float(np.log10(max(level, 1e-3)))
    filled = round((decibels + 60) / 60 * 30)
    style = "red" if level >= 0.99 else "green"
    return Text.assemble(("#" * filled, style), ("." * (30 - filled), "dim"))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clients.microphone",
        description="Speak into a wavestitch server.",
    )
    parser.add_argument("--url", default=SERVER)
    parser.add_argument("--device", help="number, or a part of its name")
    parser.add_argument("--list", action="store_true", help="list microphones")
    parser.add_argument("--rate", type=int, help="samples per second")
    parser.add_argument("--language", help="BCP 47 tag; the model's by default")
    parser.add_argument("--seconds", type=float, help="stop after so much audio")
    return parser


if __name__ == "__main__":
    sys.exit(main())

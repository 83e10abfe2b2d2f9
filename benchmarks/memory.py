"""Memory over time: a server at work while connections come and go.

    python -m benchmarks.memory --streams 20 --seconds 3600 --plot benchmarks/memory.svg

Callers that always talk, each for a while of its own; one in ten is cut off in the
midst of a word, and as soon as one is gone the next one calls. Flat means that the
last quarter of the time needs no more than the second one (README.md).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from benchmarks.callers import Call, call, measure
from benchmarks.latency import Served, serving
from benchmarks.overload import speech
from benchmarks.plots import line_plot
from clients.errors import ClientError
from streaming.config import Config
from streaming.tools.talk import Pcm

__all__ = ["Memory", "growth", "main"]

_CALL_S = (5.0, 45.0)
_CUT_OFF = 0.1
_GROWN = 0.02  # of what a server needs, and
_GROWN_MB = 4.0  # what an allocator may keep in reserve


@dataclass(slots=True)
class Memory:
    """What was seen.

    Attributes:
        points: seconds since the beginning, and the server's resident memory in MB.
        calls: that ended as they should, and `cut` off, and `failed` otherwise.
        finals: of the calls that ended well, and `finals_missing`.
        audio_loss: samples, of the same.
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    calls: int = 0
    cut: int = 0
    failed: int = 0
    finals: int = 0
    finals_missing: int = 0
    audio_loss: int = 0


def growth(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Mean megabytes of the second quarter of the time, and of the last.

    The first one is warming up.
    """
    end = points[-1][0]
    quarters = [
        [mb for at, mb in points if low * end / 4 <= at <= (low + 1) * end / 4]
        for low in (1, 3)
    ]
    second, last = (fmean(mbs) if mbs else points[-1][1] for mbs in quarters)
    return second, last


class _CutOffError(Exception):
    """A caller is gone without a word."""


async def _soak(served: Served, options: argparse.Namespace) -> Memory:
    memory = Memory()
    began = time.monotonic()
    hangover_s = Config().stream.gate.hangover_ms / 1_000

    async def seat(number: int) -> None:
        dice = random.Random(options.seed * 1_000 + number)
        await asyncio.sleep(dice.uniform(0, 2))
        turn = 0
        while (left_s := options.seconds - (time.monotonic() - began)) > 1:
            turn += 1
            seconds = min(left_s, dice.uniform(*_CALL_S))
            said = speech(number * 10_000 + turn, seconds)
            if dice.random() < _CUT_OFF:
                said = _broken(said)
            try:
                _count(memory, await call(served.url, said), hangover_s)
            except* _CutOffError:
                memory.cut += 1
            except* ClientError:
                memory.failed += 1

    async def watch() -> None:
        while True:
            memory.points.append((time.monotonic() - began, served.megabytes))
            await asyncio.sleep(options.every)

    watching = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as together:
        for number in range(options.streams):
            together.create_task(seat(number))
    watching.cancel()
    return memory


def _broken(said: Iterator[tuple[Pcm, str]]) -> Iterator[tuple[Pcm, str]]:
    """Two thirds of it, and then nothing."""
    pieces = list(said)
    yield from pieces[: 2 * len(pieces) // 3]
    raise _CutOffError


def _count(memory: Memory, done: Call, hangover_s: float) -> None:
    found = measure([done], hangover_s)
    memory.calls += 1
    memory.finals += found.finals
    memory.finals_missing += found.finals_missing
    memory.audio_loss += found.audio_loss


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--model", help="folder or hub id; the bundled one")
    parser.add_argument("--streams", type=int, default=20, help="callers at a time")
    parser.add_argument("--seconds", type=float, default=3_600.0)
    parser.add_argument("--every", type=float, default=1.0, help="seconds; a look")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--serve", nargs="*", default=[], help="options of serve")
    parser.add_argument("--plot", type=Path, help="an SVG to write")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; 1 where memory grew, or audio or a final is missing."""
    options = _options(arguments)
    model = ["--model", options.model] if options.model else []
    with serving([*model, *options.serve]) as served:
        memory = asyncio.run(_soak(served, options))
    second, last = growth(memory.points)
    found: dict[str, Any] = {
        "streams": options.streams,
        "seconds": options.seconds,
        "calls": memory.calls,
        "cut_off": memory.cut,
        "failed": memory.failed,
        "finals": memory.finals,
        "finals_missing": memory.finals_missing,
        "audio_loss": memory.audio_loss,
        "second_quarter_mb": second,
        "last_quarter_mb": last,
        "points": memory.points,
    }
    if options.json:
        options.json.write_text(json.dumps(found) + "\n", encoding="utf-8")
    if options.plot:
        title = f"{options.streams} callers that come and go, {memory.calls} calls"
        minutes = [(at / 60, mb) for at, mb in memory.points]
        plot = line_plot(title, "minutes", "MB", minutes)
        options.plot.write_text(plot, encoding="utf-8")
    Console(highlight=False, soft_wrap=True).print(
        f"{memory.calls} calls, {memory.cut} cut off, {memory.failed} failed; "
        f"{memory.finals} finals, {memory.finals_missing} missing, audio loss "
        f"{memory.audio_loss}; {second:.1f} MB in the second quarter of the time, "
        f"{last:.1f} in the last"
    )
    grew = last - second > _GROWN_MB + _GROWN * second
    return int(grew or bool(memory.finals_missing or memory.audio_loss))


if __name__ == "__main__":
    sys.exit(main())

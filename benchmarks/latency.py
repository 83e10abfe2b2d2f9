"""How long listeners wait: paced streams over a websocket, from another process.

    python -m benchmarks.latency --streams 1 4 16 --seconds 60 --json latency.json

Starts `wavestitch serve`, calls it, and measures every partial, word and final of
every stream; then hears the same audio alone, without a clock, and counts the
finals that came out otherwise. `--streams 4 --seconds 3600` is a soak: memory and
accounting are told too. Definitions: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.callers import LATENCIES, Call, call, measure, playlist
from benchmarks.measures import summary
from benchmarks.samples import RATE, SETS, SPEECH, Sample, load
from benchmarks.tables import latency_tables
from clients import Final
from streaming.config import Config, Finals, ModelConfig
from streaming.numeric.wer import WordErrors
from streaming.tools.playing import Take, play
from streaming.tools.workbench import open_workbench

__all__ = ["main"]

# What the bundled model is good for: digits, letters, commands.
DEFAULT_SETS = ("fsdd strings", "grid_s1 (seen speaker)", "demo (synthetic)")
_LISTENING = re.compile(r"listening on (ws://\S+)")
_WARM_S = 300.0  # a large model on a busy machine
_SETTLE_S = 1.0  # between two runs


@dataclass(slots=True)
class Served:
    """A server in a process of its own.

    Attributes:
        url: where it listens.
        process: what it runs in.
    """

    url: str
    process: subprocess.Popen[str]

    @property
    def megabytes(self) -> float:
        """Resident memory; 0 where /proc does not say."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0.0
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) / 1_024 if found else 0.0

    @property
    def cpu_s(self) -> float:
        """Processor seconds used so far; 0 where /proc does not say."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().split()
        except OSError:
            return 0.0
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(arguments: Sequence[str]) -> Iterator[Served]:
    """A warm server for a block of code.

    Args:
        arguments: of `wavestitch serve`, the port apart.

    Raises:
        RuntimeError: it ended, or did not get warm in time.
    """
    command = [sys.executable, "-m", "streaming", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    listening = threading.Event()

    def read() -> None:
        for line in process.stderr or ():
            lines.append(line)
            if _LISTENING.search(line):
                listening.set()
        listening.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        listening.wait(_WARM_S)
        found = _LISTENING.search("".join(lines))
        if found is None:
            raise RuntimeError(f"the server does not listen: {''.join(lines)[-2_000:]}")
        yield Served(found[1], process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for line in lines:
            if " INFO " not in line:
                print(line, end="", file=sys.stderr)


async def _calls(
    url: str, samples: Sequence[Sample], options: argparse.Namespace, streams: int
) -> list[Call]:
    """Call from so many streams at once, each from a phase of its own."""
    dice = random.Random(options.seed + streams)

    async def one(number: int) -> Call:
        await asyncio.sleep(dice.uniform(0, 1))
        seed = options.seed + 1_000 * streams + number
        pieces = playlist(samples, seed, options.seconds)
        return await call(url, pieces, finals=options.finals)

    async with asyncio.TaskGroup() as together:
        tasks = [together.create_task(one(number)) for number in range(streams)]
    return [task.result() for task in tasks]


def _run(
    served: Served,
    samples: Sequence[Sample],
    options: argparse.Namespace,
    streams: int,
) -> tuple[dict[str, Any], list[Call]]:
    before_mb, before_s, began = served.megabytes, served.cpu_s, time.monotonic()
    calls = asyncio.run(_calls(served.url, samples, options, streams))
    took = time.monotonic() - began
    found = measure(calls, Config().stream.gate.hangover_ms / 1_000)
    errors = WordErrors()
    for done in calls:
        heard = " ".join(each.text for each in _finals(done))
        errors.add(" ".join(done.said), heard)
    late = [late for done in calls for late in done.late]
    run = {
        "streams": streams,
        "latency_s": {name: summary(getattr(found, name)) for name in LATENCIES},
        "pacing_late_s": summary(late),
        "finals": found.finals,
        "finals_full": found.finals_full,
        "finals_missing": found.finals_missing,
        "finals_unlike": None,
        "calls_unfinished": found.calls_unfinished,
        "audio_loss": found.audio_loss,
        "dropped": found.dropped,
        "upwr": found.churn.upwr,
        "growth": found.churn.growth,
        "flicker_per_s": found.churn.flicker,
        "wer": errors.wer(np.random.default_rng(7)).rate,
        "server_cpu": (served.cpu_s - before_s) / took,
        "server_mb": (before_mb, served.megabytes),
    }
    return run, calls


def _finals(done: Call) -> list[Final]:
    return [event for _, event in done.events if isinstance(event, Final)]


def _unlike(
    config: Config,
    samples: Sequence[Sample],
    options: argparse.Namespace,
    runs: Sequence[tuple[int, Sequence[Call]]],
) -> list[int]:
    """Finals of each run that differ from those of the same audio heard alone."""
    counts = []
    with open_workbench(config) as bench:
        for streams, calls in runs:
            made = {final.made_by for done in calls for final in _finals(done)}
            alone: dict[str, list[dict[tuple[float, float], str]]] = {}
            for kind in sorted(made):
                decoder = replace(config.stream.decoder, finals=Finals(kind))
                stream = replace(config.stream, decoder=decoder, partials=False)
                takes = (
                    _take(samples, options, options.seed + 1_000 * streams + number)
                    for number in range(streams)
                )
                alone[kind] = [
                    {
                        (round(f.start, 3), round(f.end, 3)): f.text
                        for f in heard.finals
                        if heard.error is None
                    }
                    for heard in play(bench, takes, stream)
                ]
            counts.append(
                sum(
                    alone[final.made_by][number].get((final.start, final.end))
                    != final.text
                    for number, done in enumerate(calls)
                    for final in _finals(done)
                )
            )
    return counts


def _take(samples: Sequence[Sample], options: argparse.Namespace, seed: int) -> Take:
    whole = [piece for piece, _ in playlist(samples, seed, options.seconds)]
    sent = np.concatenate(whole).astype(np.float32) / np.float32(32_768)
    return Take.of(sent, RATE)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("--model", help="folder or hub id; the bundled one")
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="audio a stream; hours for a soak"
    )
    parser.add_argument("--finals", default="auto", choices=[f.value for f in Finals])
    parser.add_argument("--speech", type=Path, default=SPEECH, help="the corpora")
    parser.add_argument(
        "--corpora",
        nargs="+",
        choices=list(SETS),
        default=list(DEFAULT_SETS),
        metavar="SET",
    )
    parser.add_argument("--limit", type=int, help="most recordings of each corpus")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--no-alone", action="store_true", help="do not hear the audio again alone"
    )
    parser.add_argument("--json", type=Path, help="write everything to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; 1 where audio or a final is missing."""
    options = _options(arguments)
    config = Config(model=ModelConfig(options.model))
    samples = load(options.corpora, options.speech, options.limit)
    window = config.stream.window
    progress = Console(stderr=True)
    runs, calls = [], []
    with serving(["--model", options.model] if options.model else []) as served:
        for streams in options.streams:
            progress.print(f"{streams} streams, {options.seconds:g} s each")
            run, made = _run(served, samples, options, streams)
            runs.append(run)
            calls.append((streams, made))
            time.sleep(_SETTLE_S)
    if not options.no_alone:
        progress.print("the same audio alone")
        unlike = _unlike(config, samples, options, calls)
        for run, count in zip(runs, unlike, strict=True):
            run["finals_unlike"] = count
    found = {
        "model": options.model or "bundled",
        "seconds": options.seconds,
        "window": f"hop {window.hop_ms} ms, right {window.right_ms} ms",
        "hangover_ms": config.stream.gate.hangover_ms,
        "budget_ms": config.stream.budget_ms,
        "cores": os.cpu_count(),
        "runs": runs,
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    latency_tables(Console(width=200), found)
    bad = any(
        run["audio_loss"] or run["finals_missing"] or run["calls_unfinished"]
        for run in runs
    )
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())

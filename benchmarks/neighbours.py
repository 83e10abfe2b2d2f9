"""What bad company costs: the latency of callers beside one that floods, lies or sulks.

    python -m benchmarks.neighbours --streams 8 --seconds 20 --rounds 3

Callers that always talk are measured alone and, in turns within one run, beside
somebody in another process who sends an hour of audio as fast as the socket takes it,
who sends what no protocol knows, or who never reads what is sent to him.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from benchmarks.callers import call, measure
from benchmarks.latency import serving
from benchmarks.measures import percentiles
from benchmarks.overload import speech
from benchmarks.provenance import provenance, save
from streaming.config import Config

__all__ = ["COMPANY", "main", "told"]

_PATH = "/v1/stream"
_FORMAT = "?encoding=pcm_s16le&sample_rate=16000"
_HOUR_S = 3_600
_GONE = (OSError, WebSocketException, InvalidHandshake, TimeoutError)


async def _flood(url: str, dice: random.Random) -> None:
    """An hour of speech at once."""
    async with connect(f"{url}{_PATH}{_FORMAT}", compression=None) as line:
        reading = asyncio.create_task(_read(line))
        for piece, _ in speech(dice.randrange(1_000), _HOUR_S):
            await line.send(piece.tobytes())
        reading.cancel()


async def _lie(url: str, dice: random.Random) -> None:
    """Bytes that are no audio, commands that are none, requests that are neither."""
    host, _, port = url.removeprefix("ws://").partition(":")
    with suppress(*_GONE), socket.create_connection((host, int(port)), 2) as bare:
        bare.sendall(dice.randbytes(200))
    said: list[str | bytes] = [
        dice.randbytes(16_000),
        "{" * dice.randrange(1, 2_000),
        '{"type":"configure","hangover_ms":-1}',
        b"RIFF\0\0\0\0WAVEfmt " + dice.randbytes(100),
    ]
    dice.shuffle(said)
    async with connect(f"{url}{_PATH}{_FORMAT}", compression=None) as line:
        for message in said:
            await line.send(message)
            await asyncio.sleep(0.02)


async def _sulk(url: str, dice: random.Random) -> None:
    """Speech at its pace, and nothing of the answers is taken."""
    async with connect(
        f"{url}{_PATH}{_FORMAT}", compression=None, max_queue=1, ping_interval=None
    ) as line:
        for piece, _ in speech(dice.randrange(1_000), _HOUR_S):
            await line.send(piece.tobytes())
            await asyncio.sleep(0.2)


async def _read(line: Any) -> None:
    async for _ in line:
        pass


COMPANY: Mapping[str, Callable[[str, random.Random], Awaitable[None]]] = {
    "flood": _flood,
    "garbage": _lie,
    "slow reader": _sulk,
}


async def _keep_company(kind: str, url: str) -> None:
    """Again and again, whatever comes of it, until killed."""
    dice = random.Random(7)
    while True:
        with suppress(*_GONE):
            await COMPANY[kind](url, dice)
        await asyncio.sleep(0.05)


# --- measured ------------------------------------------------------------------


def _phase(url: str, options: argparse.Namespace, kind: str, seed: int) -> list[float]:
    """Partial latencies of the callers beside somebody, or alone."""
    company = None
    if kind in COMPANY:
        command = [sys.executable, "-m", "benchmarks.neighbours", "--be", kind, url]
        company = subprocess.Popen(command)
    try:
        return asyncio.run(_calls(url, options, seed))
    finally:
        if company is not None:
            company.kill()
            company.wait()


async def _calls(url: str, options: argparse.Namespace, seed: int) -> list[float]:
    await asyncio.sleep(1.0)  # the company arrives
    calls = await asyncio.gather(
        *(
            call(url, speech(seed * 1_000 + number, options.seconds))
            for number in range(options.streams)
        )
    )
    found = measure(calls, Config().stream.gate.hangover_ms / 1_000)
    if found.finals_missing or found.audio_loss or found.calls_unfinished:
        raise RuntimeError(
            f"{found.finals_missing} finals missing, {found.audio_loss} samples lost, "
            f"{found.calls_unfinished} calls unfinished"
        )
    return found.partial


def told(partials: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """A row for each company: percentiles, and the p95 over that of the lone ones."""
    lone = percentiles(partials["alone"])[1]
    rows = []
    for kind, latencies in partials.items():
        p50, p95, p99 = percentiles(latencies)
        ratio = p95 / lone if p95 is not None and lone else None
        rows.append(
            {
                "beside": kind,
                "partials": len(latencies),
                "p50_s": p50,
                "p95_s": p95,
                "p99_s": p99,
                "p95_over_alone": ratio,
            }
        )
    return rows


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.MARKDOWN)
    for head in ("beside", "partials", "p50", "p95", "p99", "p95 over alone"):
        table.add_column(head, justify="left" if head == "beside" else "right")
    for row in rows:
        waits = (row["p50_s"], row["p95_s"], row["p99_s"])
        ratio = row["p95_over_alone"]
        table.add_row(
            row["beside"],
            str(row["partials"]),
            *("-" if wait is None else f"{wait * 1_000:.1f} ms" for wait in waits),
            "-" if ratio is None else f"{ratio:.2f}",
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0, help="of a phase")
    parser.add_argument("--rounds", type=int, default=3, help="in turns")
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--save", action="store_true", help="keep it in results/")
    parser.add_argument("--be", nargs=2, metavar=("KIND", "URL"), help="the company")
    options = parser.parse_args(arguments)
    if options.be:
        # Machines with few cores: who disturbs must not be disturbed by his own work.
        os.nice(10)
        asyncio.run(_keep_company(*options.be))
    kinds = ["alone", *COMPANY]
    partials: dict[str, list[float]] = {kind: [] for kind in kinds}
    with serving([]) as served:
        for number in range(options.rounds):
            for kind in kinds:
                partials[kind] += _phase(served.url, options, kind, number)
    rows = told(partials)
    found = {**provenance(), "streams": options.streams, "rows": rows}
    if options.save:
        save("neighbours", found)
    if options.json:
        print(json.dumps(found))
    else:
        Console(width=120).print(_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

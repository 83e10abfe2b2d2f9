"""Telephone calls over a bad network: eight at once, both sides, as a call centre has.

    python -m benchmarks.calls --calls 8 --seconds 60 --json calls.json

Starts `wavestitch serve`; every side is recorded speech as G.711 in RTP over UDP,
20 ms a packet, of which some are lost, delayed, doubled. `clients.rtp_tap` hears them.
Told are words, latencies, and whether what was lost is what was counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.latency import DEFAULT_SETS, serving
from benchmarks.markdown import print_table
from benchmarks.measures import summary
from benchmarks.samples import SETS, SPEECH, load
from benchmarks.telephones import (
    PACKET,
    WIRE_RATE,
    Network,
    Script,
    converse,
    speak,
)
from clients.call import SPEAKERS, Call
from clients.delivery import Record
from clients.rtp_tap import Follow, listen_rtp
from clients.side import Asked
from streaming.config import Config
from streaming.numeric.wer import WordErrors
from streaming.protocols.datagram import Address

__all__ = ["Heard", "call", "main", "measure"]

_FLOW_S = 0.5  # the last packets' time to arrive


@dataclass(slots=True)
class Heard:
    """One call as it was heard.

    Attributes:
        sides: caller and agent.
        records: each with the loop's time at which it was told.
    """

    sides: tuple[Script, Script]
    records: list[tuple[float, Record]] = field(default_factory=list)

    def of(self, kind: str, speaker: str) -> list[tuple[float, Record]]:
        """Records of a type and a side."""
        return [
            (at, record)
            for at, record in self.records
            if record["type"] == kind and record["speaker"] == speaker
        ]


async def call(url: str, heard: Heard, network: Network, chance: random.Random) -> None:
    """Hold one call: send both sides at the pace of speech, and tap them."""
    loop = asyncio.get_running_loop()
    bound: asyncio.Future[Sequence[Address]] = loop.create_future()
    ended = asyncio.Event()

    def tell(record: Record) -> None:
        heard.records.append((loop.time(), record))

    tapping = asyncio.create_task(
        listen_rtp(
            [("127.0.0.1", 0)] * 2,
            Follow(),
            lambda at: Call("call", Asked(url), at, tell),
            ended,
            bound.set_result,
        )
    )
    sides = zip(heard.sides, await bound, strict=True)
    async with asyncio.TaskGroup() as both:
        for side, port in sides:
            both.create_task(speak(side, port, network, chance))
    await asyncio.sleep(_FLOW_S)
    ended.set()
    await tapping


async def _run(url: str, calls: Sequence[Heard], network: Network, seed: int) -> None:
    async with asyncio.TaskGroup() as together:
        for number, each in enumerate(calls):
            chance = random.Random(seed + number)
            await asyncio.sleep(chance.uniform(0, 0.3))
            together.create_task(call(url, each, network, chance))


# --- what came of it -------------------------------------------------------


def measure(calls: Sequence[Heard]) -> dict[str, Any]:
    """Words, latencies, losses of each side of each call."""
    errors = {speaker: WordErrors() for speaker in SPEAKERS}
    latency: dict[str, list[float]] = {"partial": [], "final": [], "turn": []}
    rows = []
    for number, heard in enumerate(calls):
        for side, speaker in zip(heard.sides, SPEAKERS, strict=True):
            text = " ".join(record["text"] for _, record in heard.of("turn", speaker))
            errors[speaker].add(" ".join(side.said), text)
            rows.append(_side(number, heard, side, speaker, text))
            (_, began), *_ = heard.of("side_started", speaker)
            for kind, found in latency.items():
                found += [
                    at - (side.began + record["end"] - began["at"])
                    for at, record in heard.of(kind, speaker)
                ]
    chance = np.random.default_rng(7)
    return {
        "latency_s": {kind: summary(found) for kind, found in latency.items()},
        "wer": {speaker: each.wer(chance).rate for speaker, each in errors.items()},
        "sides": rows,
        "warnings": [
            record["message"]
            for heard in calls
            for _, record in heard.records
            if record["type"] == "warning"
        ],
    }


def _side(
    number: int, heard: Heard, side: Script, speaker: str, text: str
) -> dict[str, Any]:
    (_, end), *_ = heard.of("side_ended", speaker)
    ends = [record for _, record in heard.records if record["type"] == "call_ended"]
    counted = ends[0]["packets"][speaker]
    return {
        "call": number,
        "speaker": speaker,
        "said": " ".join(side.said),
        "heard": text,
        "finals": len(heard.of("final", speaker)),
        "packets": len(side.payload) // PACKET,
        "lost": side.lost,
        "late": counted["late"],
        "counted": counted["lost"],
        "reordered": counted["reordered"],
        "doubled": counted["duplicates"],
        "concealed_ms": 1_000 * counted["concealed"] / WIRE_RATE,
        "samples": len(side.payload),
        "sent": end["sent"],
        "dropped": end.get("dropped", -1) + end["unsent"],
    }


def _sound(side: dict[str, Any]) -> bool:
    """Every sample is there, and what was lost is what was counted."""
    return bool(
        side["sent"] == side["samples"]
        and side["lost"] + side["late"] == side["counted"]
        and side["concealed_ms"] == 20 * side["counted"]
        and side["dropped"] == 0
    )


def _tables(console: Console, found: dict[str, Any]) -> None:
    for side in found["sides"]:
        console.print(f"{side['call']} {side['speaker']:7} said  {side['said']}")
        console.print(f"{side['call']} {side['speaker']:7} heard {side['heard']}")
    heads = ["ms after it was spoken", "of", "p50", "p95", "p99"]
    print_table(
        console,
        heads,
        [
            [kind, *(_cell(name, values[name]) for name in heads[1:])]
            for kind, values in found["latency_s"].items()
        ],
    )
    names = [
        "packets",
        "lost",
        "late",
        "counted",
        "reordered",
        "doubled",
        "concealed_ms",
    ]
    print_table(
        console,
        ["side", "WER", *names, "dropped", "all there"],
        [
            [
                speaker,
                f"{100 * found['wer'][speaker]:.1f} %",
                *(f"{sum(s[name] for s in sides):g}" for name in names),
                str(sum(side["dropped"] for side in sides)),
                "yes" if all(map(_sound, sides)) else "NO",
            ]
            for speaker in SPEAKERS
            if (sides := [s for s in found["sides"] if s["speaker"] == speaker])
        ],
    )


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if name == "of" else f"{1_000 * value:.0f}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls")
    parser.add_argument("--model", help="folder or hub id; the bundled one")
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a call")
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--jitter-ms", type=float, default=60.0)
    parser.add_argument("--speech", type=Path, default=SPEECH, help="the corpora")
    parser.add_argument(
        "--corpora", nargs="+", choices=list(SETS), default=list(DEFAULT_SETS)
    )
    parser.add_argument("--limit", type=int, help="most recordings of each corpus")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write everything to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; 1 where audio is missing or losses were not counted."""
    options = _options(arguments)
    samples = load(options.corpora, options.speech, options.limit)
    network = Network(options.loss, options.jitter_ms / 1_000)
    calls = [
        Heard(converse(samples, options.seed + number, options.seconds))
        for number in range(options.calls)
    ]
    with serving(["--model", options.model] if options.model else []) as served:
        asyncio.run(_run(served.url, calls, network, options.seed))
    stream = Config().stream
    found = {
        "model": options.model or "bundled",
        "calls": options.calls,
        "seconds": options.seconds,
        "loss": network.loss,
        "jitter_ms": options.jitter_ms,
        "hangover_ms": stream.gate.hangover_ms,
        "budget_ms": stream.budget_ms,
        **measure(calls),
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    _tables(Console(width=200, highlight=False), found)
    return int(not all(map(_sound, found["sides"])))


if __name__ == "__main__":
    sys.exit(main())

"""Load without a machine: an hour of calls before the server's own schedule.

    python -m benchmarks.simulate --streams 2500 5000 10000

Time is virtual: the schedule, the load ladder, the pacing and the cost model are the
server's, what a pass takes is given. So it answers in seconds what capacity, budget
and ladder do under loads that would need a room of machines. Definitions:
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.hours import Found, Machine, Talk
from benchmarks.simulation_tables import simulation_tables
from benchmarks.virtual import simulate
from streaming.core.costs import CostModel, Costs
from streaming.core.ladder import LADDER
from streaming.core.windows import WindowShape

__all__ = ["main"]

_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A machine and a model, as measured (the logs in README.md, and measures).

    Attributes:
        workers: passes at once.
        max_batch: most windows in one.
        fixed_ms: of each pass.
        audio_ms: for each second of audio in it.
        budget_ms: latency budget.
        window: left context, hop and right context in milliseconds.
    """

    workers: int
    max_batch: int
    fixed_ms: float
    audio_ms: float
    budget_ms: int
    window: tuple[int, int, int]


KINDS = {
    # 6.9 ms for 1.92 s, int8, one thread a worker
    "bundled": Kind(2, 1, 0.0, 3.6, 500, (1_280, 320, 320)),
    # 255 ms for 2 s, int8 with matrix-product convolutions; steps of a stateful model
    "xlsr-large": Kind(2, 1, 0.0, 127.0, 1_000, (0, 960, 320)),
    # 36 GFLOP a second of audio at half of an H200's 790 TFLOP/s, stateful
    "gpu": Kind(1, 64, 8.0, 0.09, 1_000, (0, 640, 320)),
}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.simulate",
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--streams",
        type=int,
        nargs="+",
        default=[10_000],
        help="calls that come within the time, a run each",
    )
    parser.add_argument("--seconds", type=float, default=3_600.0, help="virtual")
    parser.add_argument("--call-s", type=float, default=180.0, help="mean call")
    parser.add_argument("--duty", type=float, default=0.4, help="share of speech")
    parser.add_argument("--max-streams", type=int, default=0, help="admission limit")
    parser.add_argument("--machine", choices=list(KINDS), default="bundled")
    parser.add_argument("--workers", type=int, help="instead of the machine's")
    parser.add_argument("--max-batch", type=int, help="instead of the machine's")
    parser.add_argument("--fixed-ms", type=float, help="of each pass")
    parser.add_argument("--audio-ms", type=float, help="for each second of audio")
    parser.add_argument("--budget-ms", type=int, help="latency budget")
    parser.add_argument(
        "--window", type=int, nargs=3, metavar=("LEFT", "HOP", "RIGHT"), help="in ms"
    )
    parser.add_argument("--jitter", type=float, default=0.1, help="of a pass's time")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write everything to this file")
    return parser.parse_args(arguments)


def _kind(options: argparse.Namespace) -> Kind:
    given = {
        name: value
        for name in Kind.__dataclass_fields__
        if (value := getattr(options, name)) is not None
    }
    return Kind(**{**asdict(KINDS[options.machine]), **given})


def _run(kind: Kind, options: argparse.Namespace, streams: int) -> dict[str, Any]:
    costs = Costs(kind.fixed_ms / 1_000, kind.audio_ms / 1_000 / _RATE)
    machine = Machine(CostModel(costs), kind.workers, kind.max_batch, options.jitter)
    left, hop, right = (ms * _RATE // 1_000 for ms in kind.window)
    talk = Talk(
        calls=streams,
        seconds=options.seconds,
        call_s=options.call_s,
        duty=options.duty,
        budget_s=kind.budget_ms / 1_000,
        shape=WindowShape(left, hop, right),
        max_streams=options.max_streams,
        seed=options.seed,
    )
    began = time.process_time()
    found = simulate(machine, talk)
    took_s = time.process_time() - began
    return {"streams": streams, "offered": talk.offered, **_told(found, took_s)}


def _told(found: Found, took_s: float) -> dict[str, Any]:
    spreads = {
        name: {
            "of": spread.count,
            "late": spread.late,
            **{f"p{100 * q:g}": spread.quantile(q) for q in (0.5, 0.95, 0.99)},
        }
        for name, spread in (("partials", found.partials), ("finals", found.finals))
    }
    return {
        "admitted": found.admitted,
        "refused": found.refused,
        "most_open": found.most_open,
        "utilisation": found.utilisation,
        "windows": found.windows,
        "passes": found.passes,
        **spreads,
        "finals_full": found.full,
        "finals_missing": found.owed,
        "rungs": {rung.level: found.rungs.get(rung.level, 0.0) for rung in LADDER},
        "transitions": len(found.transitions),
        "level_after": found.level_after,
        "cpu_s": took_s,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; 1 where a final is missing."""
    options = _options(arguments)
    kind = _kind(options)
    progress = Console(stderr=True)
    runs = []
    for streams in options.streams:
        progress.print(f"{streams} streams in {options.seconds:g} s")
        runs.append(_run(kind, options, streams))
    found = {
        "machine": options.machine,
        **asdict(kind),
        "seconds": options.seconds,
        "call_s": options.call_s,
        "duty": options.duty,
        "max_streams": options.max_streams,
        "jitter": options.jitter,
        "seed": options.seed,
        "runs": runs,
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    simulation_tables(Console(width=200), found)
    return int(any(run["finals_missing"] for run in runs))


if __name__ == "__main__":
    sys.exit(main())

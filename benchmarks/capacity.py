"""How many live streams a machine carries, beside what it could and what others do.

    python -m benchmarks.capacity --quick --json
    python -m benchmarks.capacity --save

Every way of running a model (`WAYS`) is measured in one run, several rounds in turns:
the most streams that always talk, found as `wavestitch capacity` finds them; those
that the engine carries alone; bare single passes of the same model; the transformers
pipeline on the same windows. Then half as many again are offered to a server over
sockets. Definitions: README.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.carried import capacity_tables
from benchmarks.contenders import QUICK, WAYS, Way
from benchmarks.overload import Offered, offer
from benchmarks.pipelines import pipeline_streams
from benchmarks.provenance import RESULTS, provenance, save
from benchmarks.sherpa import sherpa_streams
from benchmarks.work import Shape, Streaming
from streaming.config import Finals, WindowConfig
from streaming.errors import ConfigError
from streaming.events import Pass
from streaming.models.loading import locate
from streaming.tools.capacity import (
    Capacity,
    Venue,
    bare_streams,
    foretold,
    measure_capacity,
)
from streaming.tools.crowd import Hall, open_hall
from streaming.tools.machine import cores
from streaming.tools.outcome import Outcome
from streaming.tools.paced import PacedHall

__all__ = ["main", "redundancy"]

OFFERED = 1.5
_BARE_S = 2.0
_PIPELINE_S = 4.0
_TALK_S = 10.0  # longer than callers take to come


def redundancy(architecture: Mapping[str, Any], outcome: Outcome, way: Way) -> float:
    """Operations spent over those of one pass over each utterance.

    Passes over windows and full passes, contexts and the attention to a kept left
    context included; utterances as many as were begun, all of the mean length.

    Args:
        architecture: the checkpoint's `config.json`.
        outcome: what was run.
        way: how.
    """
    shape = Shape.of(architecture)
    if shape is None:
        raise ConfigError("the work of an architecture but wav2vec2 is not known")
    geometry, left, right = shape.geometry, None, 0
    if way.inference == "stateful":
        left_ms = way.window.left(stateful=True)
        left = geometry.samples_of_ms(left_ms) // geometry.stride
        right = geometry.samples_of_ms(way.window.right_ms) // geometry.stride
    streaming = Streaming(architecture, left, right)
    windows = [ran for ran in chain(*outcome.passes) if ran.kind is Pass.STITCHED]
    begun = max(1, sum(ran.start == 0 for ran in windows))
    decoded = sum(ran.hop for ran in windows)
    spent = sum(map(streaming.spent, outcome.passes))
    return spent / max(1.0, begun * streaming.one_pass(decoded // begun))


# --- one way -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """What one round found of a way.

    Attributes:
        bare: streams that bare passes would carry, before and after the rest.
        engine: streams that the engine carries alone, and with sessions before it.
        sessions: what became of so many.
        redundancy: of that.
        state_mb: of a stream at most; None without states.
    """

    bare: float
    engine: int
    streams: int
    sessions: Outcome
    redundancy: float
    state_mb: float | None


def _measured(way: Way, options: argparse.Namespace, progress: Console) -> Round:
    """Bare passes, the engine alone, sessions before it, and bare passes again."""
    config = way.config(Finals(options.finals))
    folder = locate(config.model).folder
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def search(venue: Venue, guess: int, what: str) -> Capacity:
        return measure_capacity(
            venue,
            1.0,
            guess,
            seconds=options.seconds,
            settle_s=options.settle,
            message_ms=options.message_ms,
            tell=lambda words: progress.print(f"  {what}: {words}", style="dim"),
        )

    with open_hall(config) as hall:
        workers = hall.engine.stats.workers
        before = bare_streams(hall.model, workers, _BARE_S)
        alone = search(PacedHall(hall), foretold(hall), "engine alone")
        found = search(hall, max(1, alone.streams), "with sessions")
        after = bare_streams(hall.model, workers, _BARE_S)
        outcome = found.outcome or Outcome(0)
        spent = redundancy(architecture, outcome, way) if outcome.passes else 0.0
        return Round(
            (before + after) / 2,
            alone.streams,
            found.streams,
            outcome,
            spent,
            _state(hall, outcome),
        )


def _state(hall: Hall, outcome: Outcome) -> float | None:
    return outcome.state_bytes / 1e6 if hall.facts.stateful else None


def _row(way: Way, rounds: Sequence[Round]) -> dict[str, Any]:
    middle = sorted(rounds, key=lambda each: each.streams)[len(rounds) // 2]
    best = middle.sessions
    return {
        "way": way.name,
        "shape": way.shape or "bundled, trained",
        "inference": way.inference,
        "backend": way.backend,
        "precision": way.precision,
        "window_ms": [
            way.window.left(stateful=way.inference == "stateful"),
            way.window.hop_ms,
            way.window.right_ms,
        ],
        "budget_ms": way.budget_ms,
        "streams": median(each.streams for each in rounds),
        "streams_by_round": [each.streams for each in rounds],
        "engine_streams": median(each.engine for each in rounds),
        "bare_streams": median(each.bare for each in rounds),
        "efficiency": median(each.engine / each.bare for each in rounds),
        "redundancy": middle.redundancy,
        "redundancy_in_samples": best.computed,
        "wait_s": {
            name: best.wait_s(share)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99.9", 0.999))
        },
        "windows": len(best.waits),
        "final_p95_s": best.final_s(0.95),
        "finals": best.finals,
        "finals_full": best.full,
        "finals_missing": best.utterances - best.finals,
        "audio_loss": best.lost,
        "utilisation": best.busy,
        "front_end_cores": best.front,
        "decoded_share": best.decoded / max(1, best.received),
        "ladder": best.lowest[1],
        "state_mb_a_stream": middle.state_mb,
        "elsewhere": asdict(best.elsewhere),
    }


# --- what others do, and what comes in excess --------------------------------


def _others(
    ways: Sequence[Way], peers: str | None, progress: Console
) -> dict[str, dict[str, float]]:
    """For each shape what the transformers pipeline carries, by precision.

    And what sherpa-onnx does, where there is an interpreter that has it.
    """
    found: dict[str, dict[str, float]] = {}
    for way in ways:
        shape = way.shape or "bundled, trained"
        if shape in found:
            continue
        # The cheaper window is the pipeline's: it keeps no left context.
        window = WindowConfig(1_280, way.window.hop_ms, way.window.right_ms)
        folder = locate(way.config(Finals.AUTO).model).folder
        found[shape] = {}
        for precision in ("fp32", "bf16", "int8"):
            progress.print(f"transformers pipeline, {shape}, {precision}")
            found[shape][precision] = pipeline_streams(
                folder, window, precision, cores(), _PIPELINE_S
            )
        if peers is not None:
            progress.print(f"sherpa-onnx, {shape}, int8")
            found[shape]["sherpa-onnx"] = sherpa_streams(
                peers, folder, window, cores(), _PIPELINE_S
            )
    return found


def _beside(rows: Sequence[dict[str, Any]], others: Mapping[str, Any]) -> None:
    """To each row what others carry with the same weights."""
    for row in rows:
        held = others.get(row["shape"], {})
        usual, equal = held.get("fp32"), held.get(row["precision"])
        row["pipeline_streams"] = usual
        row["pipeline_streams_equal_precision"] = equal
        row["sherpa_streams"] = held.get("sherpa-onnx")
        row["ratio"] = row["streams"] / usual if usual else None
        row["ratio_equal_precision"] = row["streams"] / equal if equal else None


def _overload(
    rows: Sequence[Mapping[str, Any]], options: argparse.Namespace, progress: Console
) -> Offered | None:
    """Half as many streams again as the trained model carries, over sockets."""
    for row in rows:
        if row["shape"] == "bundled, trained" and row["streams"]:
            let_in = max(1, int(0.9 * row["streams"]))
            offered = round(OFFERED * row["streams"])
            progress.print(f"{offered} offered to a server that lets {let_in} in")
            way = next(way for way in WAYS if way.name == row["way"])
            config = way.config(Finals(options.finals))
            return offer(config, let_in, offered, max(_TALK_S, options.seconds))
    return None


# --- the program -------------------------------------------------------------


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity")
    names = [way.name for way in WAYS]
    parser.add_argument("--ways", nargs="+", choices=names, metavar="WAY")
    parser.add_argument("--quick", action="store_true", help="XLSR-large alone")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a trial")
    parser.add_argument("--settle", type=float, default=8.0, help="before it")
    parser.add_argument("--rounds", type=int, default=1, help="in turns")
    parser.add_argument("--message-ms", type=int, default=20)
    parser.add_argument("--finals", default="auto", choices=[f.value for f in Finals])
    parser.add_argument("--no-pipelines", action="store_true")
    parser.add_argument(
        "--peers", metavar="PYTHON", help="an interpreter that has sherpa-onnx"
    )
    parser.add_argument("--no-overload", action="store_true")
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--save", action="store_true", help=f"keep it in {RESULTS}")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; 1 where audio or a final is missing."""
    options = _options(arguments)
    names = options.ways or (QUICK if options.quick else [way.name for way in WAYS])
    ways = [way for way in WAYS if way.name in names]
    progress = Console(stderr=True, highlight=False)
    rounds: dict[str, list[Round]] = {way.name: [] for way in ways}
    for number in range(options.rounds):
        for way in ways:
            progress.print(f"{way.name}, round {number + 1} of {options.rounds}")
            rounds[way.name].append(_measured(way, options, progress))
    rows = [_row(way, rounds[way.name]) for way in ways]
    if not options.no_pipelines:
        _beside(rows, _others(ways, options.peers, progress))
    offered = None if options.no_overload else _overload(rows, options, progress)
    found = _told(rows, offered, options)
    if options.save:
        save("capacity", found)
    if options.json:
        print(json.dumps(found))
    else:
        capacity_tables(Console(width=200), found)
    bad = any(row["audio_loss"] or row["finals_missing"] for row in rows)
    bad |= offered is not None and bool(offered.audio_loss or offered.finals_missing)
    return int(bad)


def _told(
    rows: Sequence[Mapping[str, Any]],
    offered: Offered | None,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Everything; the first row's numbers stand at the top as well."""
    head = ("streams", "pipeline_streams", "ratio", "efficiency", "redundancy")
    return {
        **{name: rows[0].get(name) for name in (*head, "audio_loss")},
        **provenance(),
        "seconds": options.seconds,
        "message_ms": options.message_ms,
        "finals": options.finals,
        "rows": list(rows),
        "overload": offered and asdict(offered),
    }


if __name__ == "__main__":
    sys.exit(main())

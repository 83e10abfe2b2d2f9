"""Results as Markdown tables, to be read in a terminal and pasted into a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from benchmarks.markdown import print_table

__all__ = ["latency_tables"]


def latency_tables(console: Console, found: Mapping[str, Any]) -> None:
    """What `latency.py` found: a row for each number of streams."""
    console.print(
        f"model {found['model']}, {found['seconds']:g} s a stream, "
        f"window {found['window']}, hangover {found['hangover_ms']} ms\n"
    )
    names = list(found["runs"][0]["latency_s"])
    rows = [
        [
            str(run["streams"]),
            name,
            str(run["latency_s"][name]["of"]),
            *(_ms(run["latency_s"][name][share]) for share in ("p50", "p95", "p99")),
        ]
        for run in found["runs"]
        for name in names
    ]
    print_table(console, ["streams", "latency", "of", "p50", "p95", "p99"], rows)
    print_table(
        console,
        [
            "streams",
            "audio loss",
            "finals missing",
            "finals",
            "made full",
            "unlike alone",
            "UPWR",
            "grown",
            "WER",
            "server CPU",
            "server MB",
        ],
        [_run(run) for run in found["runs"]],
    )


def _run(run: Mapping[str, Any]) -> list[str]:
    first, last = run["server_mb"]
    return [
        str(run["streams"]),
        str(run["audio_loss"]),
        str(run["finals_missing"]),
        str(run["finals"]),
        str(run["finals_full"]),
        "-" if run["finals_unlike"] is None else str(run["finals_unlike"]),
        f"{run['upwr']:.3f}",
        f"{run['growth']:.3f}",
        _percent(run["wer"]),
        f"{run['server_cpu']:.2f}",
        f"{first:.0f} to {last:.0f}",
    ]


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1_000:.0f} ms"

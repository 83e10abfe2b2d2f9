"""Results as Markdown tables, to be read in a terminal and pasted into a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["accuracy_tables", "latency_tables"]


def accuracy_tables(console: Console, found: Mapping[str, Any]) -> None:
    """What `accuracy.py` found: WER by corpus, then a row for each way of streaming."""
    console.print(f"model {found['model']}, {found['audio_s'] / 60:.1f} min of audio\n")
    ways = found["shapes"]
    heads = [f"{way['shape']} {way['finals']}" for way in ways]
    rows = [
        [
            corpus,
            str(offline["words"]),
            _rate(offline),
            *(_percent(way["by_corpus"][corpus]["wer"]) for way in ways),
        ]
        for corpus, offline in found["offline"]["by_corpus"].items()
    ]
    pooled = found["offline"]["wer"]
    rows.append(
        [
            "all, pooled",
            str(pooled["words"]),
            _rate(pooled),
            *(_percent(way["wer"]["wer"]) for way in ways),
        ]
    )
    _print(console, ["WER", "words", "offline (95 %)", *heads], rows)
    _print(
        console,
        [
            "window, finals",
            "redundancy",
            "WER",
            "gap, same spans (95 %)",
            "gap, whole files (95 %)",
            "UPWR",
            "grown",
            "flicker /s",
            "emission p50",
            "p95",
            "p95 with finals",
            "lost",
            "doubled",
            "changed",
            "calibration",
        ],
        [_way(way) for way in ways],
    )


def _way(way: Mapping[str, Any]) -> list[str]:
    borders = way["borders"]
    return [
        f"{way['shape']} {way['finals']}",
        f"{way['redundancy']:.2f}",
        _percent(way["wer"]["wer"]),
        _gap(way["gap_spans"]),
        _gap(way["gap_whole"]),
        f"{way['upwr']:.3f}",
        f"{way['growth']:.3f}",
        f"{way['flicker_per_s']:.2f}",
        _seconds(way["emission_s"]["p50"]),
        _seconds(way["emission_s"]["p95"]),
        _seconds(way["emission_with_finals_s"]["p95"]),
        _percent(borders["lost"]),
        _percent(borders["doubled"]),
        _percent(borders["changed"]),
        "-" if way["calibration_error"] is None else _percent(way["calibration_error"]),
    ]


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
    _print(console, ["streams", "latency", "of", "p50", "p95", "p99"], rows)
    _print(
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


def _print(
    console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    table = Table(box=box.MARKDOWN, show_edge=True)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as it is: a page wraps it, a pasted table must not be cut.
    wide = Console(file=console.file, width=400, highlight=False)
    wide.print(table)


def _rate(rate: Mapping[str, Any]) -> str:
    return f"{_percent(rate['wer'])} ({rate['low']:.1%} to {rate['high']:.1%})"


def _gap(gap: Sequence[float]) -> str:
    value, low, high = (100 * each for each in gap)
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1_000:.0f} ms"

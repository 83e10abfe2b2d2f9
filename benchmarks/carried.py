"""What `capacity.py` found as Markdown tables, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["capacity_tables"]


def capacity_tables(console: Console, found: Mapping[str, Any]) -> None:
    """What `capacity.py` found: a row for each way of running a model."""
    machine = found["machine"]
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, commit {found['commit']}, "
        f"{found['seconds']:g} s a trial, finals {found['finals']}\n"
    )
    table = Table(box=box.MARKDOWN, show_edge=True)
    for head in (
        "way",
        "window",
        "budget",
        "streams",
        "p50",
        "p95",
        "p99.9",
        "engine alone",
        "bare",
        "efficiency",
        "redundancy",
        "busy",
        "full finals",
        "state a stream",
        "pipeline fp32",
        "times",
        "equal precision",
        "times",
        "sherpa-onnx",
    ):
        table.add_column(head, justify="left" if head == "way" else "right")
    for row in found["rows"]:
        table.add_row(*_carried(row))
    # As wide as it is: a page wraps it, a pasted table must not be cut.
    Console(file=console.file, width=400, highlight=False).print(table)
    offered = found["overload"]
    if offered is not None:
        console.print(
            f"{offered['offered']} offered: {offered['admitted']} admitted, "
            f"{offered['refused']} refused, {offered['failed']} failed; partials p95 "
            f"{_ms(offered['p95_s'])}, p99.9 {_ms(offered['p999_s'])} of a budget of "
            f"{offered['budget_ms']} ms; finals missing {offered['finals_missing']} of "
            f"{offered['finals']}, audio loss {offered['audio_loss']}"
        )


def _carried(row: Mapping[str, Any]) -> list[str]:
    waits, state = row["wait_s"], row["state_mb_a_stream"]
    return [
        f"{row['way']} ({row['backend']} {row['precision']})",
        "/".join(map(str, row["window_ms"])),
        f"{row['budget_ms']} ms",
        f"{row['streams']:g}",
        *(_ms(waits[share]) for share in ("p50", "p95", "p99.9")),
        f"{row['engine_streams']:g}",
        f"{row['bare_streams']:.1f}",
        f"{row['efficiency']:.2f}",
        f"{row['redundancy']:.2f}",
        f"{row['utilisation']:.0%}",
        f"{row['finals_full']}/{row['finals']}",
        "-" if state is None else f"{state:.1f} MB",
        _times(row.get("pipeline_streams"), ""),
        _times(row.get("ratio"), "x"),
        _times(row.get("pipeline_streams_equal_precision"), ""),
        _times(row.get("ratio_equal_precision"), "x"),
        _times(row.get("sherpa_streams"), ""),
    ]


def _times(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.1f}{unit}"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1_000:.0f} ms"

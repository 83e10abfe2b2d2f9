"""What `simulate.py` found, as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["simulation_tables"]


def simulation_tables(console: Console, found: Mapping[str, Any]) -> None:
    """What `simulate.py` found: load and latency, then where the ladder stood."""
    left, hop, right = found["window"]
    console.print(
        f"{found['machine']}: {found['workers']} workers, batches of "
        f"{found['max_batch']}, {found['fixed_ms']:g} ms a pass and "
        f"{found['audio_ms']:g} ms a second of audio; window {left}/{hop}/{right}, "
        f"budget {found['budget_ms']} ms; calls of {found['call_s']:g} s, speech "
        f"{found['duty']:.0%}, {found['seconds'] / 3_600:g} h\n"
    )
    quantiles = [f"{what} p{q}" for what in ("partial", "final") for q in (50, 95, 99)]
    _print(
        console,
        [
            "streams",
            "at a time",
            "most",
            "refused",
            "utilisation",
            *quantiles,
            "partials late",
            "finals late",
            "missing",
            "full",
            "CPU",
        ],
        [_simulated(run) for run in found["runs"]],
    )
    levels = list(found["runs"][0]["rungs"])
    _print(
        console,
        ["streams", *levels, "changes", "afterwards"],
        [
            [
                str(run["streams"]),
                *(f"{run['rungs'][level]:.1%}" for level in levels),
                str(run["transitions"]),
                run["level_after"],
            ]
            for run in found["runs"]
        ],
    )


def _simulated(run: Mapping[str, Any]) -> list[str]:
    partials, finals = run["partials"], run["finals"]
    return [
        str(run["streams"]),
        f"{run['offered']:.0f}",
        str(run["most_open"]),
        str(run["refused"]),
        _percent(run["utilisation"]),
        *(_ms(each[q]) for each in (partials, finals) for q in ("p50", "p95", "p99")),
        _percent(partials["late"] / max(1, partials["of"])),
        _percent(finals["late"] / max(1, finals["of"])),
        str(run["finals_missing"]),
        _percent(run["finals_full"] / max(1, finals["of"])),
        f"{run['cpu_s']:.0f} s",
    ]


def _print(
    console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    table = Table(box=box.MARKDOWN, show_edge=True)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(file=console.file, width=400, highlight=False).print(table)


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _ms(value: float) -> str:
    return f"{value * 1_000:.0f} ms"

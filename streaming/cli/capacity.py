"""`wavestitch capacity`: how many live streams this machine carries."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streaming.cli.options import (
    Assignments,
    ConfigFile,
    LimitsFile,
    ModelName,
    ModelRevision,
    gather,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from streaming.config import Config
    from streaming.tools.capacity import Capacity
    from streaming.tools.crowd import Hall
    from streaming.tools.limits import Limits
    from streaming.tools.machine import Elsewhere

__all__ = ["capacity"]

DUTIES = (1.0, 0.4)
# Of what was measured, sockets and a machine that is not always itself get a tenth.
LET_IN = 0.9
_LOOK_S = 1.0
_SETTLE_S = 4.0


def capacity(
    *,
    budget_ms: Annotated[
        int | None, typer.Option(help="Latency budget of a partial; 500 by default.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="Measured in each trial; longer is surer.", min=0.2)
    ] = 8.0,
    most: Annotated[
        int, typer.Option(help="Try no more streams than these.", min=1)
    ] = 100_000,
    message_ms: Annotated[
        int, typer.Option(help="Audio in a message.", min=10, max=1_000)
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    limits: LimitsFile = None,
    write: Annotated[
        bool, typer.Option(help="Write the limits that serve goes by.")
    ] = True,
    model: ModelName = None,
    revision: ModelRevision = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Measure how many live streams this machine carries.

    Callers that are played a recording at the pace of speech, with the server's own
    sessions and engine and without sockets: as many as partials of 95 % of the
    windows come within the budget, and all but a thousandth within twice of it. Takes
    two minutes or so; the machine should have nothing else to do. Writes the limits
    that `wavestitch serve` then lets streams in by.
    """
    from rich.console import Console  # noqa: PLC0415

    from streaming.tools.limits import (  # noqa: PLC0415
        default_path,
        described,
        write_limits,
    )

    flags = {
        "model.name": model,
        "model.revision": revision,
        "stream.budget_ms": budget_ms,
    }
    chosen = gather(config, assignments, flags)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    found = _measured(chosen, progress, seconds, message_ms, most)
    held = _limits(found, described(chosen), most)
    path = limits or default_path()
    if write and held is not None:
        write_limits(path, held)
        found["limits"] = {
            "path": str(path),
            "max_streams": held.max_streams,
            "max_speaking_streams": held.max_speaking_streams,
        }
    if as_json:
        print(json.dumps(found))
    else:
        _show(Console(highlight=False, soft_wrap=True), found)


def _measured(
    config: Config, progress: Console, seconds: float, message_ms: int, most: int
) -> dict[str, Any]:
    from streaming.tools.capacity import (  # noqa: PLC0415
        bare_streams,
        foretold,
        measure_capacity,
    )
    from streaming.tools.crowd import open_hall  # noqa: PLC0415
    from streaming.tools.machine import BusyWatch  # noqa: PLC0415

    def tell(words: str) -> None:
        progress.print(words, style="dim")

    before = BusyWatch()
    time.sleep(min(_LOOK_S, seconds))
    busy = before.elsewhere()
    _warn(busy, progress)
    tell("loading the model and measuring what its passes cost")
    with open_hall(config) as hall:
        workers = hall.engine.stats.workers
        tell(f"bare single passes on {workers} workers")
        bare = bare_streams(hall.model, workers, min(1.0, seconds / 4))
        guess = foretold(hall)
        rows = []
        for duty in DUTIES:
            tell(
                f"{hall.facts.name}, somebody talks {duty:.0%} of the time, "
                f"budget {config.stream.budget_ms} ms, {seconds:g} s a trial"
            )
            found = measure_capacity(
                hall,
                duty,
                guess,
                seconds=seconds,
                settle_s=min(_SETTLE_S, seconds / 2),
                message_ms=message_ms,
                most=most,
                tell=lambda words: tell(f"  {words}"),
            )
            rows.append(_row(found, bare))
            guess = max(1, round(found.streams * duty / DUTIES[-1]))
            if found.outcome is not None:
                _warn(found.outcome.elsewhere, progress)
        return _about(hall, seconds, message_ms, busy) | {
            "bare_streams": bare,
            "rows": rows,
            "limits": None,
        }


def _about(
    hall: Hall, seconds: float, message_ms: int, busy: Elsewhere
) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    from streaming.tools.machine import this_machine  # noqa: PLC0415

    window = hall.config.stream.window
    return {
        "model": hall.facts.name,
        "inference": "stateful" if hall.facts.stateful else "windowed",
        "workers": hall.engine.stats.workers,
        "states_most": hall.engine.stats.states_most or None,
        "window_ms": [
            window.left(stateful=hall.facts.stateful),
            window.hop_ms,
            window.right_ms,
        ],
        "budget_ms": hall.config.stream.budget_ms,
        "message_ms": message_ms,
        "seconds": seconds,
        "measured_on": _today(),
        "machine": asdict(this_machine()),
        "elsewhere_before": asdict(busy),
    }


def _row(found: Capacity, bare: float) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    from streaming.tools.outcome import Outcome  # noqa: PLC0415

    best = found.outcome or Outcome(0)
    return {
        "duty": found.duty,
        "streams": found.streams,
        "efficiency": found.streams * found.duty / bare,
        "wait_s": {
            name: best.wait_s(share)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99.9", 0.999))
        },
        "windows": len(best.waits),
        "final_p95_s": best.final_s(0.95),
        "redundancy": best.computed,
        "utilisation": best.busy,
        "front_end_cores": best.front,
        "decoded_share": best.decoded / max(1, best.received),
        "finals": best.finals,
        "finals_full": best.full,
        "finals_missing": best.utterances - best.finals,
        "audio_loss": best.lost,
        "ladder": best.lowest[1],
        "state_bytes_a_stream": best.state_bytes,
        "elsewhere": asdict(best.elsewhere),
        "trials": [
            {"streams": streams, "failed": list(wrong)}
            for streams, wrong in found.trials
        ],
    }


def _limits(
    found: Mapping[str, Any], holds_for: Mapping[str, str], most: int
) -> Limits | None:
    """None where the machine does not carry a single stream."""
    from streaming.tools.limits import Limits  # noqa: PLC0415

    streams = [row["streams"] for row in found["rows"]]
    if not all(streams):
        return None
    # Where no more were tried, the machine has room beside them.
    speaking, some = (
        each if each == most else max(1, int(LET_IN * each)) for each in streams
    )
    return Limits(holds_for, found["measured_on"], max(some, speaking), speaking)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _warn(elsewhere: Elsewhere, progress: Console) -> None:
    if elsewhere.much:
        progress.print(
            f"the machine is busy with something else: {elsewhere.others:.2f} cores "
            f"taken by other processes, {elsewhere.stolen:.2f} by its host; what is "
            "measured now is too low",
            style="yellow",
        )


# --- what is shown -----------------------------------------------------------

_COLUMNS: Sequence[tuple[str, Callable[[Mapping[str, Any]], str]]] = (
    ("talks", lambda row: f"{row['duty']:.0%}"),
    ("streams", lambda row: str(row["streams"])),
    ("p50", lambda row: _ms(row["wait_s"]["p50"])),
    ("p95", lambda row: _ms(row["wait_s"]["p95"])),
    ("p99.9", lambda row: _ms(row["wait_s"]["p99.9"])),
    ("redundancy", lambda row: f"{row['redundancy']:.2f}"),
    ("busy", lambda row: f"{row['utilisation']:.0%}"),
    ("efficiency", lambda row: f"{row['efficiency']:.2f}"),
)


def _show(console: Console, found: Mapping[str, Any]) -> None:
    from rich.table import Table  # noqa: PLC0415

    left, hop, right = found["window_ms"]
    console.print(
        f"{found['model']}, {found['inference']}, window {left}/{hop}/{right} ms, "
        f"budget {found['budget_ms']} ms, {found['workers']} workers"
    )
    table = Table()
    for head, _ in _COLUMNS:
        table.add_column(head, justify="right")
    for row in found["rows"]:
        table.add_row(*(cell(row) for _, cell in _COLUMNS))
    console.print(table)
    console.print(
        f"bare single passes without an overlap would carry {found['bare_streams']:.1f}"
        " streams that always talk"
    )
    state_mb = max(row["state_bytes_a_stream"] for row in found["rows"]) / 1e6
    if state_mb:
        most = found["states_most"]
        room = f", there is room for {most}" if most else ""
        console.print(f"a stream's state takes {state_mb:.1f} MB at most{room}")
    match found["limits"]:
        case None:
            pass
        case held:
            console.print(
                f"serve lets in {held['max_streams']} streams, as long as not more "
                f"than {held['max_speaking_streams']} speak: {held['path']}"
            )


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1_000:.0f} ms"

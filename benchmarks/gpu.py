"""What a GPU carries: the whole table in one run of under eight minutes.

    python -m benchmarks.gpu --save
    python -m benchmarks.gpu --device cpu --shape bundled --minutes 0.5

Bare passes and steps, ways to take steps, ONNX Runtime, and streams at the engine,
each (on a GPU) in a process of its own: where one fails or takes too long, its error
stands in the table and the others are measured. Weights are random and made here, so
that no network is needed. Definitions: README.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_asked import BATCHES, Asked
from benchmarks.gpu_parts import PARTS
from benchmarks.provenance import RESULTS, provenance, save
from benchmarks.shapes import SHAPES, weights_of

__all__ = ["main"]

_LATE = 1.3  # times its share that a part may take before it is ended
_AHEAD_S = 15.0  # loading libraries, which its share does not count
_SIGNS = 3


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--shape", default="xlsr", choices=list(SHAPES))
    parser.add_argument("--minutes", type=float, default=7.0, help="for all parts")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument(
        "--most", type=int, default=BATCHES[-1], help="steps in a batch"
    )
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--save", action="store_true", help=f"keep it in {RESULTS}")
    parser.add_argument("--share", type=float, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; 1 where a part failed."""
    options = _options(arguments)
    if options.share is not None:  # a part in its own process
        print(json.dumps(_here(options.parts[0], options, options.share)))
        return 0
    progress = Console(stderr=True, highlight=False)
    until = time.monotonic() + 60 * options.minutes
    progress.print(f"weights of the {options.shape} shape")
    weights_of(options.shape)
    found: dict[str, Any] = {}
    for number, name in enumerate(options.parts):
        left = options.parts[number:]
        share = PARTS[name][0] / sum(PARTS[each][0] for each in left)
        seconds = max(1.0, share * (until - time.monotonic()))
        progress.print(f"{name}: {seconds:.0f} s")
        # What a CPU computes cannot leave it broken.
        run = _here if options.device == "cpu" else _apart
        found[name] = run(name, options, seconds)
        if "error" in found[name]:
            progress.print(f"  {found[name]['error']}", style="red", markup=False)
    result = {
        **provenance(),
        "device": options.device,
        "shape": options.shape,
        "minutes": options.minutes,
        "parts": found,
        **_summary(found),
    }
    if options.save:
        save("gpu", result)
    if options.json:
        print(json.dumps(result))
    else:
        _print(Console(width=200), result)
    return int(any("error" in part for part in found.values()))


# --- a part ---------------------------------------------------------------------


def _apart(name: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """A part in a process of its own: a GPU that failed in one is well in the next."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--parts", name]
    command += ["--share", f"{max(1.0, seconds - _AHEAD_S):g}"]
    for option in ("device", "shape", "most"):
        command += [f"--{option}", str(getattr(options, option))]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LATE * seconds + _AHEAD_S,
        )
    except subprocess.TimeoutExpired as expired:
        return {"error": f"not done after {expired.timeout:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no word"])[-_SIGNS:]
        return {"error": f"exit {done.returncode}: {' | '.join(last)}"}
    told: dict[str, Any] = json.loads(lines[-1])
    return told


def _here(name: str, options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """The rows of a part, or its error."""
    began = time.monotonic()
    asked = Asked(options.shape, options.device, seconds, began, options.most)
    try:
        rows = PARTS[name][1](asked)
    except Exception as error:  # whatever it is, the other parts are to run
        return {"error": f"{type(error).__name__}: {error}"}
    return {"rows": rows, "seconds": time.monotonic() - began, **_device(options)}


def _device(options: argparse.Namespace) -> dict[str, str]:
    import torch  # noqa: PLC0415

    if options.device == "cpu":
        return {}
    return {"name": torch.cuda.get_device_name(options.device)}


# --- what it says ---------------------------------------------------------------


def _summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """The streams that were carried, beside what bare passes would carry."""
    passes = [row for row in _rows(found, "bare") if row["what"].startswith("pass")]
    rows = _rows(found, "capacity")
    best = max(rows, key=lambda row: row["streams"], default=None)
    if best is None:
        return {"streams": None, "bare_streams": None, "efficiency": None}
    same = [row["streams"] for row in passes if row["precision"] == best["precision"]]
    bare = max(same, default=None)
    return {
        "streams": best["streams"],
        "bare_streams": bare,
        "efficiency": bare and best["streams"] / bare,
        "binds": best["binds"],
    }


def _rows(found: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = found.get(part, {}).get("rows", [])
    return rows


def _print(console: Console, result: Mapping[str, Any]) -> None:
    machine, parts = result["machine"], result["parts"]
    names = {part["name"] for part in parts.values() if "name" in part}
    console.print(
        f"{', '.join(names) or machine['processor']}, {result['shape']} shape, "
        f"commit {result['commit']}, {result['minutes']:g} min\n"
    )
    for name, part in parts.items():
        if "error" in part:
            console.print(f"{name}: failed: {part['error']}\n", markup=False)
            continue
        for heads in dict.fromkeys(tuple(row) for row in part["rows"]):
            table = Table(*heads, title=name, box=box.MARKDOWN)
            for row in part["rows"]:
                if tuple(row) == heads:
                    table.add_row(*(_cell(row[head]) for head in heads))
            Console(file=console.file, width=400, highlight=False).print(table)
    if result["streams"] is not None:
        bare, efficiency = result["bare_streams"], result["efficiency"]
        beside = "" if bare is None else f"; bare passes {bare:.0f} ({efficiency:.2f})"
        console.print(f"{result['streams']} streams{beside}; binds: {result['binds']}")


def _cell(value: Any) -> str:
    match value:
        case float():
            return f"{value:.4g}"
        case dict():
            return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
        case list():
            return "; ".join(map(_cell, value))
        case _:
            return str(value)


if __name__ == "__main__":
    sys.exit(main())

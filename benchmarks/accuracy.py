"""What streaming costs in words: WER, streaming gap, stability, latency of words.

    python -m benchmarks.accuracy --json accuracy.json
    python -m benchmarks.accuracy --sweep --json sweep.json
    python -m benchmarks.accuracy --model BEFORE --against AFTER

Every recording is decoded by one full-context pass over the whole of it, and
streamed in each way asked for (inference, window shape, finals), through the
session and the engine that the server runs, without sockets and without a clock:
latencies here are places in the audio. Definitions: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.accuracy_tables import accuracy_tables
from benchmarks.counting import Counted, Recordings
from benchmarks.samples import DOMAIN, SETS, SPEECH, Sample, load
from benchmarks.telling import compared, told_errors, told_way
from benchmarks.ways import COMPARED, SHAPES, Way, by_model, shape, swept, ways
from benchmarks.work import Streaming
from streaming.config import Config, Finals, ModelConfig, WindowConfig
from streaming.errors import WavestitchError
from streaming.models.loading import describe, locate
from streaming.numeric.geometry import Geometry
from streaming.numeric.wer import WordErrors
from streaming.tools.workbench import open_workbench

__all__ = ["main"]

LONGEST_PASS_S = 60.0  # so that no test recording is cut


@dataclass(slots=True)
class Found:
    """What one checkpoint did.

    Attributes:
        name: of the checkpoint.
        offline: errors of one full-context pass over each recording, by test set.
        ways: counts by test set, in the order asked for.
    """

    name: str = ""
    offline: dict[str, WordErrors] = field(default_factory=dict)
    ways: dict[Way, dict[str, Counted]] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """The numbers with their names."""
        return {
            "model": self.name,
            "offline": told_errors(self.offline),
            "ways": [told_way(way, counted) for way, counted in self.ways.items()],
        }


def measure(
    model: ModelConfig, asked: Sequence[Way], samples: Sequence[Sample]
) -> Found:
    """Hear recordings with one checkpoint in every way.

    Raises:
        ConfigError, ModelError: it cannot be loaded or run in one of the ways.
    """
    found = Found()
    config = json.loads((locate(model).folder / "config.json").read_text("utf-8"))
    recordings = Recordings(samples, Path(model.name or "bundled").name)
    counted: dict[Way, dict[str, Counted]] = {}
    for group in by_model(asked):
        first = group[0]
        opened = replace(
            Config(),
            model=replace(model, inference=first.inference),
            stream=replace(Config().stream, window=first.window),
        )
        with open_workbench(opened, longest_pass_s=LONGEST_PASS_S) as bench:
            found.name = bench.facts.name
            found.offline = recordings.wholes(bench)
            for way in group:
                decoder = replace(opened.stream.decoder, finals=way.finals)
                stream = replace(opened.stream, window=way.window, decoder=decoder)
                work = _work(config, way, bench.facts.geometry)
                counted[way] = recordings.streamed(bench, stream, work, way.name)
    found.ways = {way: counted[way] for way in asked}
    return found


def _work(config: dict[str, Any], way: Way, geometry: Geometry) -> Streaming:
    if way.inference == "windowed":
        return Streaming(config)
    lengths = map(geometry.samples_of_ms, (way.left_ms, way.window.right_ms))
    return Streaming(config, *(samples // geometry.stride for samples in lengths))


def _differences(before: Found, after: Found) -> dict[str, Any]:
    def errors(counted: dict[str, Counted]) -> dict[str, WordErrors]:
        return {corpus: each.streamed for corpus, each in counted.items()}

    return {
        "offline": compared(before.offline, after.offline),
        "ways": [
            compared(errors(counted), errors(after.ways[way]))
            for way, counted in before.ways.items()
        ],
    }


# --- the program -------------------------------------------------------------


def _shape(text: str) -> WindowConfig:
    try:
        return shape(text)
    except (ValueError, WavestitchError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--model", help="folder or hub id; the bundled one")
    parser.add_argument("--against", help="another, to compare with: what it is after")
    parser.add_argument("--precision", default="auto", help="int8, fp32, ...")
    parser.add_argument("--backend", default="auto", help="onnx or torch")
    parser.add_argument("--speech", type=Path, default=SPEECH, help="the corpora")
    parser.add_argument(
        "--corpora",
        nargs="+",
        choices=["domain", *SETS],
        metavar="SET",
        help="test sets; domain is those that the bundled model is for",
    )
    parser.add_argument("--limit", type=int, help="most recordings of each corpus")
    parser.add_argument(
        "--inference",
        nargs="+",
        choices=list(SHAPES),
        help="windowed, stateful or both; as the model runs by itself",
    )
    parser.add_argument("--shapes", nargs="+", type=_shape, metavar="LEFT/HOP/RIGHT")
    parser.add_argument("--sweep", action="store_true", help="a grid of shapes")
    parser.add_argument(
        "--finals",
        nargs="+",
        type=Finals,
        choices=[Finals.FULL, Finals.STITCHED],
        metavar="KIND",
        help="full, stitched or both",
    )
    parser.add_argument("--json", type=Path, help="write everything to this file")
    options = parser.parse_args(arguments)
    if options.sweep and (options.shapes or options.finals or options.against):
        parser.error("--sweep brings its own shapes and finals, for one model")
    return options


def _asked(options: argparse.Namespace, model: ModelConfig) -> list[Way]:
    """The ways that the options name."""
    both = options.sweep or (options.against and not options.shapes)
    kinds = options.inference or (list(SHAPES) if both else [describe(model).inference])
    if options.sweep:
        return [way for kind in kinds for way in swept(kind)]
    usual = COMPARED if options.against else SHAPES
    finals = options.finals or [Finals.FULL, Finals.STITCHED][bool(options.against) :]
    return [
        way
        for kind in kinds
        for way in ways(kind, options.shapes or map(shape, usual[kind].split()), finals)
    ]


def _settled(models: Sequence[ModelConfig], asked: Sequence[Way]) -> list[ModelConfig]:
    """Models of one backend, so that the ways of a run differ in nothing else.

    A checkpoint whose graph takes no steps would run stateful through torch, and
    windowed through ONNX Runtime in another precision.
    """
    stateful = any(way.inference == "stateful" for way in asked)
    lacking = any(locate(model).steps is None for model in models)
    if models[0].backend == "auto" and stateful and lacking:
        return [replace(model, backend="torch") for model in models]
    return list(models)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a program."""
    options = _options(arguments)
    backend, precision = options.backend, options.precision
    names = [options.model, *([options.against] if options.against else [])]
    models = [ModelConfig(name, backend=backend, precision=precision) for name in names]
    asked = _asked(options, models[0])
    narrow = options.sweep or options.against
    corpora = options.corpora or (["domain"] if narrow else list(SETS))
    chosen = dict.fromkeys(
        each
        for corpus in corpora
        for each in (DOMAIN if corpus == "domain" else [corpus])
    )
    samples = load(list(chosen), options.speech, options.limit)
    first, *others = (
        measure(model, asked, samples) for model in _settled(models, asked)
    )
    found = {"audio_s": sum(sample.seconds for sample in samples)} | first.told()
    if others:
        found["against"] = others[0].told()
        found["differences"] = _differences(first, others[0])
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    accuracy_tables(Console(width=200), found)


if __name__ == "__main__":
    main()

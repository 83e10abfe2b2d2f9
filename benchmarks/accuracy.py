"""What streaming costs in words: WER, streaming gap, stability, latency of words.

    python -m benchmarks.accuracy --json accuracy.json

Every recording is decoded by one full-context pass over the whole of it, and
streamed with `full` and with `stitched` finals for each window shape, through the
session and the engine that the server runs, without sockets and without a clock:
latencies here are places in the audio. Definitions: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.measures import Churn, churn, first_kept, flops, shown, summary
from benchmarks.samples import RATE, SETS, SPEECH, Sample, load
from benchmarks.tables import accuracy_tables
from streaming.config import Config, Finals, ModelConfig, StreamConfig, WindowConfig
from streaming.core.decoder import Decoded
from streaming.events import Final
from streaming.models.loading import locate
from streaming.numeric.calibration import judged, reliability
from streaming.numeric.wer import BorderErrors, WordErrors, border_errors
from streaming.tools.onepass import Whole, one_passes, spans_decoded
from streaming.tools.playing import Heard, Take, play
from streaming.tools.workbench import Workbench, open_workbench

__all__ = ["SHAPES", "main"]

SHAPES = (
    "1280/320/320 960/480/480 1280/640/320 640/320/320 1280/320/640 1600/160/240"
).split()
LONGEST_PASS_S = 60.0  # so that no test recording is cut
_SEED = 7

_Span = tuple[int, int, int]  # sample, first and last place


@dataclass(slots=True)
class Counted:
    """What one way of streaming did, over all recordings."""

    streamed: dict[str, WordErrors] = field(default_factory=dict)
    spans: dict[str, WordErrors] = field(default_factory=dict)
    churn: Churn = field(default_factory=Churn)
    emission: list[float] = field(default_factory=list)
    by_final: list[float] = field(default_factory=list)
    never_kept: int = 0
    borders: BorderErrors = field(default_factory=BorderErrors)
    sure: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    work: float = 0.0
    least_work: float = 0.0
    made_by: dict[str, int] = field(default_factory=dict)
    lost_samples: int = 0


class Measuring:
    """The recordings on an open workbench, decoded once in each way asked for.

    Args:
        bench: where.
        samples: the recordings.
        architecture: the checkpoint's `config.json`, for the work of a pass.
    """

    def __init__(
        self, bench: Workbench, samples: Sequence[Sample], architecture: dict[str, Any]
    ) -> None:
        self._bench = bench
        self._samples = samples
        self._architecture = architecture
        self._spans: dict[_Span, Decoded] = {}
        self._work: dict[int, float] = {}

    def wholes(self) -> list[Whole]:
        """One full-context pass over each recording."""
        recordings = (sample.samples for sample in self._samples)
        return list(self._tracked(one_passes(self._bench, recordings), "whole files"))

    def streamed(self, config: StreamConfig, label: str) -> Counted:
        """Stream every recording, and count."""
        takes = (Take.of(sample.samples, RATE) for sample in self._samples)
        heard = list(self._tracked(play(self._bench, takes, config), label))
        self._decode_spans(heard)
        counted = Counted()
        for place, (sample, told) in enumerate(zip(self._samples, heard, strict=True)):
            if told.error is not None:
                raise told.error
            self._count(counted, place, sample, told)
        return counted

    def _tracked(self, work: Iterator[Any], label: str) -> Iterator[Any]:
        yield from track(
            work,
            description=label,
            total=len(self._samples),
            console=Console(stderr=True),
        )

    def _decode_spans(self, heard: Sequence[Heard]) -> None:
        """One full-context pass over each final's audio, unless it was done before."""
        wanted = dict.fromkeys(
            _span(place, final)
            for place, told in enumerate(heard)
            for final in told.finals
        )
        new = [span for span in wanted if span not in self._spans]
        audio = ((self._samples[n].samples[a:b], a) for n, a, b in new)
        self._spans |= zip(new, spans_decoded(self._bench, audio), strict=True)

    def _count(self, counted: Counted, place: int, sample: Sample, told: Heard) -> None:
        passes = [self._spans[_span(place, final)] for final in told.finals]
        streamed = " ".join(final.text for final in told.finals)
        spans = " ".join(decoded.text for decoded in passes)
        of = counted.streamed.setdefault(sample.corpus, WordErrors())
        of.add(sample.text, streamed)
        of = counted.spans.setdefault(sample.corpus, WordErrors())
        of.add(sample.text, spans)
        counted.borders += border_errors(spans, streamed)
        words = [word for final in told.finals for word in final.words]
        counted.sure += [word.confidence for word in words]
        counted.right += judged(sample.text, [word.word for word in words])
        counted.work += sum(map(self._flops, told.passes))
        for final in told.finals:
            counted.least_work += self._flops(round((final.end - final.start) * RATE))
            made_by = final.made_by.value
            counted.made_by[made_by] = counted.made_by.get(made_by, 0) + 1
        [totals] = told.totals
        counted.lost_samples += len(sample.samples) - totals.decoded - totals.gated
        self._count_showing(counted, place, told)

    def _count_showing(self, counted: Counted, place: int, told: Heard) -> None:
        timed = ((given / RATE, event) for given, event in told.events)
        for utterance in shown(timed):
            if not isinstance(utterance.final, Final):
                raise RuntimeError(f"{self._samples[place].name}: no final")
            final = utterance.final
            hypotheses = [words for _, words in utterance.hypotheses]
            counted.churn += churn(hypotheses, final.end - final.start)
            words = self._spans[_span(place, final)].words
            kept = first_kept(hypotheses, [word.word for word in words])
            for word, number in zip(words, kept, strict=True):
                if number is None:
                    counted.never_kept += 1
                    continue
                waited = utterance.hypotheses[number][0] - word.end
                by_partial = number < len(utterance.partials)
                (counted.emission if by_partial else counted.by_final).append(waited)

    def _flops(self, samples: int) -> float:
        if samples not in self._work:
            self._work[samples] = flops(self._architecture, samples)
        return self._work[samples]


def _span(place: int, final: Final) -> _Span:
    return place, round(final.start * RATE), round(final.end * RATE)


# --- what is told ------------------------------------------------------------


def _told(counted: Counted, wholes: dict[str, WordErrors]) -> dict[str, Any]:
    random = np.random.default_rng(_SEED)
    streamed, spans = _pooled(counted.streamed), _pooled(counted.spans)
    words = max(1, counted.borders.words)
    return {
        "wer": _rate(streamed, random),
        "wer_spans": _rate(spans, random),
        "by_corpus": {k: _rate(v, random) for k, v in counted.streamed.items()},
        "gap_spans": streamed.gap(spans, random),
        "gap_whole": streamed.gap(_pooled(wholes), random),
        "upwr": counted.churn.upwr,
        "upwr_at_final": counted.churn.at_final / max(1, counted.churn.words),
        "growth": counted.churn.growth,
        "flicker_per_s": counted.churn.flicker,
        "emission_s": summary(counted.emission),
        "emission_with_finals_s": summary(counted.emission + counted.by_final),
        "words_shown_by_the_final_only": len(counted.by_final),
        "words_never_shown": counted.never_kept,
        "redundancy": counted.work / max(1.0, counted.least_work),
        "borders": {
            "words": counted.borders.words,
            "lost": counted.borders.lost / words,
            "doubled": counted.borders.doubled / words,
            "changed": counted.borders.changed / words,
            "added": counted.borders.added / words,
        },
        "calibration_error": reliability(counted.sure, counted.right).error
        if counted.sure
        else None,
        "finals_made_by": counted.made_by,
        "audio_loss": counted.lost_samples,
    }


def _rate(errors: WordErrors, random: np.random.Generator) -> dict[str, Any]:
    wer = errors.wer(random)
    return {
        "wer": wer.rate,
        "low": wer.low,
        "high": wer.high,
        "errors": wer.errors,
        "words": wer.total,
        "texts": len(errors),
    }


def _pooled(by_corpus: dict[str, WordErrors]) -> WordErrors:
    pooled = WordErrors()
    for errors in by_corpus.values():
        pooled.extend(errors)
    return pooled


def _whole_errors(
    samples: Sequence[Sample], wholes: Sequence[Whole]
) -> dict[str, WordErrors]:
    found: dict[str, WordErrors] = {}
    for sample, whole in zip(samples, wholes, strict=True):
        of = found.setdefault(sample.corpus, WordErrors())
        of.add(sample.text, whole.text)
    return found


# --- the program -------------------------------------------------------------


def _shape(text: str) -> WindowConfig:
    try:
        left, hop, right = map(int, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"LEFT/HOP/RIGHT in milliseconds, got {text!r}"
        ) from None
    return WindowConfig(left, hop, right)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy")
    parser.add_argument("--model", help="folder or hub id; the bundled one")
    parser.add_argument("--precision", default="auto", help="int8, fp32, ...")
    parser.add_argument("--backend", default="auto", help="onnx or torch")
    parser.add_argument("--speech", type=Path, default=SPEECH, help="the corpora")
    parser.add_argument(
        "--corpora", nargs="+", choices=list(SETS), default=list(SETS), metavar="SET"
    )
    parser.add_argument("--limit", type=int, help="most recordings of each corpus")
    parser.add_argument(
        "--shapes", nargs="+", type=_shape, default=[_shape(s) for s in SHAPES]
    )
    parser.add_argument(
        "--finals", nargs="+", default=["full", "stitched"], metavar="KIND"
    )
    parser.add_argument("--json", type=Path, help="write everything to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as a program."""
    options = _options(arguments)
    model = ModelConfig(
        options.model, backend=options.backend, precision=options.precision
    )
    config = Config(model=model)
    folder = locate(model).folder
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    samples = load(options.corpora, options.speech, options.limit)
    found: dict[str, Any] = {
        "audio_s": sum(sample.seconds for sample in samples),
        "shapes": [],
    }
    with open_workbench(config, longest_pass_s=LONGEST_PASS_S) as bench:
        found["model"] = bench.facts.name
        measuring = Measuring(bench, samples, architecture)
        wholes = _whole_errors(samples, measuring.wholes())
        random = np.random.default_rng(_SEED)
        found["offline"] = {
            "wer": _rate(_pooled(wholes), random),
            "by_corpus": {k: _rate(v, random) for k, v in wholes.items()},
        }
        for window in options.shapes:
            shape = f"{window.left(stateful=False)}/{window.hop_ms}/{window.right_ms}"
            for finals in map(Finals, options.finals):
                decoder = replace(config.stream.decoder, finals=finals)
                stream = replace(config.stream, window=window, decoder=decoder)
                counted = measuring.streamed(stream, f"{shape} {finals.value}")
                row = {"shape": shape, "finals": finals.value}
                found["shapes"].append(row | _told(counted, wholes))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    accuracy_tables(Console(width=200), found)


if __name__ == "__main__":
    main()

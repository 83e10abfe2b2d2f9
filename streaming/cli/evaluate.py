"""`wavestitch evaluate`: error rates over a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streaming.cli.options import (
    Assignments,
    ConfigFile,
    ModelName,
    ModelRevision,
    gather,
)
from streaming.cli.transcribe import Mode

__all__ = ["evaluate"]


def evaluate(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="JSON lines with `audio` and `text`.", exists=True, dir_okay=False
        ),
    ],
    *,
    mode: Annotated[
        Mode, typer.Option(help="As a stream, or in one pass over each file.")
    ] = Mode.STREAMING,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
    model: ModelName = None,
    revision: ModelRevision = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Measure word and character error rates.

    With 95 % intervals, from resampling the utterances.
    """
    flags = {"model.name": model, "model.revision": revision}
    chosen = gather(config, assignments, flags)
    from dataclasses import asdict  # noqa: PLC0415

    from streaming.tools.evaluate import evaluate as run  # noqa: PLC0415

    done = run(manifest, config=chosen, mode=mode.value)
    if as_json:
        print(json.dumps(asdict(done)))
        return
    print(f"{done.utterances} utterances, {done.words} words, {mode.value}")
    for name, rate, (low, high) in (
        ("WER", done.wer, done.wer_interval),
        ("CER", done.cer, done.cer_interval),
    ):
        print(f"{name} {rate:7.2%}   95 % of resamplings: {low:.2%} to {high:.2%}")
    if done.calibration_error is not None:
        print(f"confidences are off by {done.calibration_error:.2%}")
    for corpus, rates in done.by_corpus.items():
        low, high = rates.wer_interval
        print(f"  {corpus:<24} WER {rates.wer:7.2%}   {low:.2%} to {high:.2%}")

"""`wavestitch transcribe`: recordings to text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streaming.cli.options import (
    Assignments,
    ConfigFile,
    ModelName,
    ModelRevision,
    WrongUsage,
    gather,
)
from streaming.errors import UnsupportedAudio

if TYPE_CHECKING:
    from streaming.tools.transcribe import Transcript

__all__ = ["Format", "Mode", "transcribe", "written"]


class Format(Enum):
    """How transcripts are written."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    SRT = "srt"
    VTT = "vtt"


class Mode(Enum):
    """Through the engine as a stream would go, or in one pass over the file."""

    STREAMING = "streaming"
    OFFLINE = "offline"


def transcribe(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="WAV, FLAC, Ogg, MP3, ...",
            exists=True,
            dir_okay=False,
        ),
    ],
    *,
    layout: Annotated[
        Format, typer.Option("--format", help="How to write them.")
    ] = Format.TEXT,
    mode: Annotated[
        Mode, typer.Option(help="As a stream, or in one pass over the file.")
    ] = Mode.STREAMING,
    model: ModelName = None,
    revision: ModelRevision = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Write what recordings say, faster than real time."""
    flags = {"model.name": model, "model.revision": revision}
    chosen = gather(config, assignments, flags)
    if layout in (Format.SRT, Format.VTT) and len(files) > 1:
        raise WrongUsage(f"{layout.value} takes one file, got {len(files)}")
    from streaming.tools.transcribe import transcribe as run  # noqa: PLC0415

    def told() -> Iterator[Transcript]:
        for transcript in run(files, config=chosen, mode=mode.value):
            if transcript.cut:
                print(
                    f"{transcript.audio}: too long for one pass, cut at silences",
                    file=sys.stderr,
                )
            if transcript.missing:
                print(
                    f"{transcript.audio}: cut short, {transcript.duration:.2f} s of "
                    f"the {transcript.announced:.2f} s that its header promises",
                    file=sys.stderr,
                )
            yield transcript

    for piece in written(told(), layout, several=len(files) > 1):
        print(piece, end="", flush=True)


def written(
    transcripts: Iterator[Transcript], layout: Format, *, several: bool
) -> Iterator[str]:
    """The text of transcripts, as soon as each is there.

    Args:
        transcripts: in order.
        layout: `text` gives a line for a file (`FILE: ...` of several), `jsonl`
            an object for a file, `json` one array.
        several: whether there is more than one file.
    """
    from streaming.protocols.subtitles import cues, srt, vtt  # noqa: PLC0415

    match layout:
        case Format.TEXT:
            for done in transcripts:
                yield f"{f'{done.audio}: ' if several else ''}{done.text}\n"
        case Format.JSONL:
            for done in transcripts:
                yield json.dumps(_object(done), ensure_ascii=False) + "\n"
        case Format.JSON:
            everything: list[dict[str, Any]] = []
            failure = None
            try:
                everything.extend(map(_object, transcripts))
            except UnsupportedAudio as error:  # what the others say is told first
                failure = error
            yield json.dumps(everything, ensure_ascii=False, indent=2) + "\n"
            if failure is not None:
                raise failure
        case Format.SRT:
            for done in transcripts:
                yield srt(cues(done.utterances))
        case Format.VTT:
            for done in transcripts:
                yield vtt(cues(done.utterances))


def _object(done: Transcript) -> dict[str, Any]:
    return {
        "audio": done.audio,
        "text": done.text,
        "words": [
            asdict(word) | {"channel": final.channel}
            for final in done.utterances
            for word in final.words
        ],
        "utterances": [
            {
                "channel": final.channel,
                "start": final.start,
                "end": final.end,
                "text": final.text,
                "confidence": final.confidence,
            }
            for final in done.utterances
        ],
        "duration": done.duration,
        "missing": done.missing,
        "cut": done.cut,
    }

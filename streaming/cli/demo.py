"""`wavestitch demo`: a recording, through a live server, before your eyes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streaming.cli.options import (
    Assignments,
    ConfigFile,
    ModelName,
    ModelRevision,
    gather,
)

if TYPE_CHECKING:
    from rich.console import Console

    from streaming.config import Config

__all__ = ["RECORDING", "demo", "perform"]

RECORDING = Path(__file__).with_name("demo.flac")


def demo(
    *,
    model: ModelName = None,
    revision: ModelRevision = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Show a recording being heard by a live server.

    Starts a server on a free port, sends it the recording over a websocket at the
    pace of speech, and prints the latencies that were measured.
    """
    from rich.console import Console  # noqa: PLC0415

    flags = {"model.name": model, "model.revision": revision}
    chosen = gather(config, assignments, flags)
    # Its own server, whatever else runs on this machine.
    server = replace(chosen.server, host="127.0.0.1", port=0)
    asyncio.run(perform(replace(chosen, server=server), Console(highlight=False)))


async def perform(config: Config, console: Console, *, speed: float = 1.0) -> None:
    """Run the demo against a server with these settings.

    Args:
        config: everything; its port should be free.
        console: where to show it.
        speed: 1 is the pace of speech.
    """
    from clients.connection import connect  # noqa: PLC0415
    from clients.events import Event, Final, Finished  # noqa: PLC0415
    from clients.file import open_recording, play  # noqa: PLC0415
    from clients.latency import Latencies  # noqa: PLC0415
    from clients.screen import Screen  # noqa: PLC0415
    from clients.stream import exchange  # noqa: PLC0415
    from streaming.app import running  # noqa: PLC0415
    from streaming.cli.report import Meant, Performance, report  # noqa: PLC0415

    about = json.loads(RECORDING.with_suffix(".json").read_text(encoding="utf-8"))
    meant = [Meant(**utterance) for utterance in about["utterances"]]
    clock = asyncio.get_running_loop().time
    finals: list[Final] = []
    finished: list[Finished] = []
    with open_recording(RECORDING) as recording:
        latencies = Latencies(recording.sample_rate)
        console.print("loading the model", style="dim")
        async with (
            running(config) as server,
            connect(server.url, sample_rate=recording.sample_rate) as stream,
        ):
            console.print(
                f"{server.url} runs {stream.ready.model!r}; playing "
                f"{recording.frames / recording.sample_rate:.1f} s of {about['voice']}",
                style="dim",
                soft_wrap=True,
            )

            def heard(event: Event) -> None:
                latencies.received(event, clock())
                screen.show(event)
                match event:
                    case Final():
                        finals.append(event)
                    case Finished():
                        finished.append(event)
                    case _:
                        pass

            async def send() -> None:
                await play(stream, recording, speed=speed, sent=latencies.sent)
                await stream.finish()

            with Screen(console, plain_partials=True) as screen:
                await exchange(stream, send(), heard)
    silence_ms = config.stream.gate.hangover_ms
    told = Performance(meant, finals, finished[0].totals[0], latencies, silence_ms)
    report(console, told)

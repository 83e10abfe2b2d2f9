"""`wavestitch mic`: speak into a server."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

__all__ = ["mic"]


def mic(
    *,
    url: Annotated[str, typer.Option(help="The server.")] = "ws://127.0.0.1:8770",
    device: Annotated[
        str | None, typer.Option(help="Number, or a part of the name.")
    ] = None,
    devices: Annotated[
        bool, typer.Option("--list", help="List microphones and exit.")
    ] = False,
    rate: Annotated[
        int | None,
        typer.Option(help="Samples per second; 16000 where the device does it."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="BCP 47 tag; the model's by default.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Stop after so much audio.", min=0.02)
    ] = None,
) -> None:
    """Speak into a microphone and read along.

    Keys: m mutes and unmutes, q or Ctrl-C ends.
    """
    from rich.console import Console  # noqa: PLC0415

    from clients.microphone import Settings, listen, show_devices  # noqa: PLC0415

    console = Console(highlight=False)
    if devices:
        show_devices(console)
        return
    wanted = Settings(url, device, rate, language, seconds)
    asyncio.run(listen(wanted, console, Console(stderr=True, highlight=False)))

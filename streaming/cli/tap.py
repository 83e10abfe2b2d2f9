"""`wavestitch tap`: listen to telephone calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from streaming.cli.options import WrongUsage
from streaming.errors import BadRequest

__all__ = ["tap"]


def tap(
    *,
    rtp: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Listen for RTP; given twice, the first port is the caller's.",
        ),
    ] = None,
    audiosocket: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Listen for Asterisk's AudioSocket."),
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Hear the calls of a pcap or pcapng file."),
    ] = None,
    url: Annotated[str, typer.Option(help="The server.")] = "ws://127.0.0.1:8770",
    language: Annotated[
        str | None, typer.Option(help="BCP 47 tag; the model's by default.")
    ] = None,
    caller: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="Address of the caller's packets; who sends first by default.",
        ),
    ] = None,
    payload: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N=CODEC/HZ", help="A dynamic payload type: 96=L16/16000."
        ),
    ] = None,
    json: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Append JSON lines; - is standard output."),
    ] = None,
    webhook: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Post JSON, signed with the secret in WAVESTITCH_WEBHOOK_SECRET.",
        ),
    ] = None,
    partials: Annotated[
        bool, typer.Option("--partials", help="Partials to these, too.")
    ] = False,
    depth_ms: Annotated[
        int,
        typer.Option(help="How long a missing packet is waited for.", min=0, max=5_000),
    ] = 100,
    idle_s: Annotated[
        float, typer.Option(help="A call ends after so much of nothing.", min=1)
    ] = 10.0,
    speed: Annotated[
        float,
        typer.Option(help="Of a capture: 1 as spoken, 0 as fast as can be.", min=0),
    ] = 0.0,
) -> None:
    """Listen to telephone calls and read both sides along."""
    if bool(rtp) + (audiosocket is not None) + (capture is not None) != 1:
        raise WrongUsage("give one of --rtp, --audiosocket and --capture")
    if len(rtp or ()) > 2:
        raise WrongUsage("--rtp may be given twice: for the caller and for the agent")
    # Here, so that `--help` needs no websockets.
    from rich.console import Console  # noqa: PLC0415

    from clients.rtp_tap import Follow  # noqa: PLC0415
    from clients.side import Asked  # noqa: PLC0415
    from clients.voip_tap import Settings, address, payloads, secret  # noqa: PLC0415
    from clients.voip_tap import tap as listen  # noqa: PLC0415

    try:
        settings = Settings(
            rtp=[address(text) for text in rtp or ()],
            audiosocket=address(audiosocket) if audiosocket else None,
            capture=capture,
            asked=Asked(url, language, capture is None, 0.8 + depth_ms / 1_000),
            follow=Follow(depth_ms / 1_000, payloads(payload or ()), caller, idle_s),
            lines=json or (),
            webhooks=webhook or (),
            secret=secret(),
            partials=partials,
            speed=speed,
        )
    except BadRequest as error:
        raise WrongUsage(str(error)) from None
    console = Console(highlight=False, stderr="-" in (json or ()))
    asyncio.run(listen(settings, console, Console(stderr=True, highlight=False)))

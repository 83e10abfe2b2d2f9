"""Listen to telephone calls: RTP, AudioSocket or a capture in, a transcript out.

    python -m clients.voip_tap --rtp 0.0.0.0:5004               (or: wavestitch tap)
    python -m clients.voip_tap --audiosocket 0.0.0.0:9092
    python -m clients.voip_tap --capture call.pcap --json call.jsonl

The transcript of both sides goes to the terminal; every event, as JSON, to files,
to standard output or to a web server. Knows options; what they do is in the modules
beside this one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from clients.audiosocket_tap import listen_audiosocket
from clients.call import Call
from clients.call_screen import CallScreen
from clients.capture_tap import play_capture
from clients.controls import Controls
from clients.delivery import Delivery, Receiver, Record
from clients.errors import AudioUnavailable, ClientError
from clients.lines import JsonLines
from clients.rtp_tap import Follow, listen_rtp
from clients.side import Asked
from clients.webhook import Webhook
from streaming.errors import BadRequest
from streaming.protocols.datagram import Address
from streaming.protocols.rtp import PAYLOADS, parse_codec

__all__ = ["Settings", "address", "main", "payloads", "secret", "tap"]

# Seconds that deliveries have once the last call is over.
LAST_S = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What to listen to, and where to tell of it; one source of the three.

    Attributes:
        rtp: one or two addresses for UDP; of two the first is the caller's.
        audiosocket: an address for TCP.
        capture: a pcap or pcapng file.
        asked: of the server.
        follow: how packets are read.
        lines: files for JSON lines; `-` is standard output.
        webhooks: web addresses.
        secret: what posts to them are signed with.
        partials: tell partials to files and web servers, too.
        speed: of a capture; 0 is as fast as the server takes it.
    """

    rtp: Sequence[Address] = ()
    audiosocket: Address | None = None
    capture: Path | None = None
    asked: Asked = field(default_factory=Asked)
    follow: Follow = field(default_factory=Follow)
    lines: Sequence[str] = ()
    webhooks: Sequence[str] = ()
    secret: str = ""
    partials: bool = False
    speed: float = 0.0


async def tap(
    settings: Settings,
    console: Console,
    notes: Console,
    *,
    ended: asyncio.Event | None = None,
    listening: Callable[[Sequence[Address]], None] = lambda _: None,
) -> None:
    """Take calls until told to end, or to the capture's end.

    Args:
        settings: what to listen to.
        console: receives the transcript.
        notes: receives what is no part of it.
        ended: set to end; Ctrl-C and `q` where None.
        listening: told the addresses that were bound.

    Raises:
        ClientError: the capture cannot be read.
        OSError: an address cannot be bound, a file not be written.
    """
    receivers: list[Receiver] = [
        *(JsonLines(path) for path in settings.lines),
        *(Webhook(url, settings.secret) for url in settings.webhooks),
    ]
    deliveries = [Delivery(receiver) for receiver in receivers]
    screen = CallScreen(console, notes)
    told = 0

    def tell(record: Record) -> None:
        nonlocal told
        screen.show(record)
        if record["type"] == "partial" and not settings.partials:
            return
        numbered = {"n": told, **record}
        told += 1
        for delivery in deliveries:
            delivery.put(numbered)

    def new_call(at: float, name: str | None = None) -> Call:
        name = name or uuid.uuid4().hex[:12]
        began = at if settings.capture is not None else time.time()
        tell({"type": "call_started", "call": name, "time": _iso(began)})
        return Call(name, settings.asked, at, tell)

    def show_ports(bound: Sequence[Address]) -> None:
        where = ", ".join(f"{host}:{port}" for host, port in bound)
        notes.print(f"listening on {where}; Ctrl-C ends", style="dim")
        listening(bound)

    try:
        with screen:
            if settings.capture is not None:
                await play_capture(
                    settings.capture, settings.follow, new_call, speed=settings.speed
                )
                return
            if ended is None:
                ended = asyncio.Event()
                with Controls(ended.set).watching():
                    await _listen(settings, new_call, ended, screen, show_ports)
            else:
                await _listen(settings, new_call, ended, screen, show_ports)
    finally:
        for delivery in deliveries:
            await asyncio.to_thread(delivery.close, LAST_S)
            if delivery.lost:
                notes.print(f"! {delivery.lost} records were not delivered")


async def _listen(
    settings: Settings,
    new_call: Callable[..., Call],
    ended: asyncio.Event,
    screen: CallScreen,
    listening: Callable[[Sequence[Address]], None],
) -> None:
    if settings.audiosocket is not None:
        await listen_audiosocket(
            settings.audiosocket, new_call, ended, screen.note, listening
        )
    else:
        await listen_rtp(settings.rtp, settings.follow, new_call, ended, listening)


def address(text: str) -> Address:
    """Read `HOST:PORT`, `[::1]:PORT` or `:PORT` (this machine only).

    Raises:
        BadRequest: not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise BadRequest(f"must be HOST:PORT, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def payloads(texts: Sequence[str]) -> dict[int, Any]:
    """The usual payload types, and those that are told: `96=L16/16000`.

    Raises:
        BadRequest: one that cannot be read.
    """
    return dict(PAYLOADS) | dict(parse_codec(text) for text in texts)


def secret() -> str:
    """What posts are signed with; from the environment, which others cannot list."""
    return os.environ.get("WAVESTITCH_WEBHOOK_SECRET", "")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; returns its exit status."""
    parser = _options()
    options = parser.parse_args(arguments)
    try:
        settings = Settings(
            rtp=[address(text) for text in options.rtp],
            audiosocket=address(options.audiosocket) if options.audiosocket else None,
            capture=options.capture,
            asked=Asked(options.url, options.language, live=options.capture is None),
            follow=Follow(payloads=payloads(options.payload), caller=options.caller),
            lines=options.json,
            webhooks=options.webhook,
            secret=secret(),
            partials=options.partials,
            speed=options.speed,
        )
    except BadRequest as error:
        parser.error(str(error))
    console = Console(highlight=False, stderr="-" in options.json)
    try:
        asyncio.run(tap(settings, console, Console(stderr=True, highlight=False)))
    except (ClientError, AudioUnavailable, OSError) as error:
        print(f"clients.voip_tap: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clients.voip_tap", description="Listen to telephone calls."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--rtp", action="append", default=[], metavar="HOST:PORT")
    source.add_argument("--audiosocket", metavar="HOST:PORT")
    source.add_argument("--capture", type=Path, metavar="FILE")
    parser.add_argument("--url", default="ws://127.0.0.1:8770")
    parser.add_argument("--language", help="BCP 47 tag; the model's by default")
    parser.add_argument("--caller", metavar="HOST", help="who is the caller")
    parser.add_argument("--payload", action="append", default=[], metavar="N=CODEC/HZ")
    parser.add_argument("--json", action="append", default=[], metavar="FILE")
    parser.add_argument("--webhook", action="append", default=[], metavar="URL")
    parser.add_argument("--partials", action="store_true")
    parser.add_argument("--speed", type=float, default=0.0)
    return parser


if __name__ == "__main__":
    sys.exit(main())

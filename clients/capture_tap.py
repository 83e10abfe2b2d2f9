"""Calls of a capture, one after the other, as fast as the server hears them.

Which packets are a call is told by `streaming.protocols.rtp_survey`; what becomes of
them is the same as live, on the capture's clock.
"""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

from clients.call import Call
from clients.errors import AudioUnavailable
from clients.rtp_tap import TICK_S, Follow, RtpCall
from streaming.errors import UnsupportedAudio
from streaming.protocols.capture import Capture
from streaming.protocols.rtp_survey import Flow, calls_of

__all__ = ["play_capture"]


async def play_capture(
    path: Path, follow: Follow, new_call: Callable[[float], Call], *, speed: float = 0.0
) -> int:
    """Hear every call of a capture, one after the other.

    Args:
        path: pcap or pcapng.
        follow: how packets are read.
        new_call: makes a call that begins at a time of the capture.
        speed: 1 is as it was spoken, 0 as fast as the server takes it.

    Returns:
        How many calls it held.

    Raises:
        AudioUnavailable: it cannot be read, or holds no RTP.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise AudioUnavailable(f"cannot read {path}: {error}") from None
    with data:
        try:
            capture = Capture(data)
            calls = calls_of(capture, follow.payloads)
        except UnsupportedAudio as error:
            raise AudioUnavailable(f"{path}: {error}") from None
        if not calls:
            raise AudioUnavailable(
                f"{path}: no RTP with known payload types in {capture.packets} packets"
            )
        for flows in calls:
            call = new_call(flows[0].begins)
            if capture.cut_short:
                call.warn(f"{path} ends within a packet")
            await _play(Capture(data), flows, RtpCall(call, follow), speed)
    return len(calls)


async def _play(
    capture: Capture, flows: Sequence[Flow], current: RtpCall, speed: float
) -> None:
    loop = asyncio.get_running_loop()
    began, first = loop.time(), flows[0].begins
    wanted = {flow.both for flow in flows}
    ticked = first
    for datagram in capture:
        if (datagram.source, datagram.target) not in wanted:
            continue
        if speed:
            due = began + (datagram.at - first) / speed
            if (wait_s := due - loop.time()) > 0:
                await asyncio.sleep(wait_s)
        current.push(0, datagram)
        current.wake(datagram.at)
        if datagram.at > ticked + TICK_S:
            ticked = datagram.at
            current.call.tick(ticked)
            await current.room()
    await current.finish()

"""Calls that come as RTP over UDP, as they are spoken.

One or two ports carry one call at a time: with two, the first is the caller's. A call
begins with its first packets and ends when none came for `idle_s`. Knows legs and
calls; packets are read by `streaming.protocols`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from clients.call import SPEAKERS, Call
from clients.call import Leg as Spoken
from streaming.protocols.datagram import Address, Datagram
from streaming.protocols.rtp import PAYLOADS, Codec
from streaming.protocols.rtp_audio import Digit, LegEvent, Silence, Sound
from streaming.protocols.rtp_legs import Leg, Legs

__all__ = ["TICK_S", "Follow", "RtpCall", "listen_rtp"]

_RATES = range(8_000, 48_001)
TICK_S = 0.25
_MOST_SKIPPED = 5

NewCall = Callable[[float], Call]


@dataclass(frozen=True, slots=True)
class Follow:
    """How packets are read.

    Attributes:
        depth_s: how long a missing packet is waited for.
        payloads: what payload types mean.
        caller: host that the caller's packets come from; None is who sends first.
        idle_s: a call ends when nothing came for so long.
    """

    depth_s: float = 0.1
    payloads: Mapping[int, Codec] = field(default_factory=lambda: PAYLOADS)
    caller: str | None = None
    idle_s: float = 10.0


class RtpCall:
    """The packets of one call, and what became of them.

    Args:
        call: told of its sides.
        follow: how packets are read.
        ports: how many they come to; each has legs of its own.
    """

    def __init__(self, call: Call, follow: Follow, ports: int = 1) -> None:
        self.call = call
        self._follow = follow
        self._legs = [Legs(follow.depth_s, follow.payloads) for _ in range(ports)]
        self._sides: dict[tuple[int, int], Spoken] = {}

    def push(self, port: int, datagram: Datagram) -> None:
        """Take a datagram."""
        self._take(port, self._legs[port].push(datagram))

    def wake(self, now: float) -> None:
        """Time has passed: give up what was waited for long enough."""
        for port, legs in enumerate(self._legs):
            self._take(port, legs.wake(now))

    async def room(self) -> None:
        """Wait until the server took most of what came; for who can."""
        for spoken in self._sides.values():
            await spoken.side.room()

    async def finish(self) -> None:
        """The call is over."""
        for port, legs in enumerate(self._legs):
            self._take(port, legs.drain())
        packets = {
            spoken.speaker: {
                **asdict(self._legs[port].legs[number].packets),
                **asdict(self._legs[port].legs[number].audio.counts),
            }
            for (port, number), spoken in self._sides.items()
        }
        await self.call.finish(packets=packets)

    def _take(self, port: int, events: Sequence[tuple[int, LegEvent]]) -> None:
        for number, event in events:
            spoken = self._sides.get((port, number))
            if spoken is None:
                leg = self._legs[port].legs[number]
                if leg.audio.rate not in _RATES:
                    continue
                spoken = self._sides[port, number] = self._join(port, leg)
            match event:
                case Sound(pcm):
                    spoken.side.sound(pcm)
                case Silence(samples, _, concealed):
                    spoken.side.silence(samples, concealed=concealed)
                case Digit(digit, at):
                    self.call.digit(spoken, digit, at)

    def _join(self, port: int, leg: Leg) -> Spoken:
        host, sender = leg.source
        return self.call.join(
            self._speaker(port, leg),
            leg.audio.rate or 8_000,
            leg.began_at,
            source=f"{host}:{sender}",
            target=f"{leg.target[0]}:{leg.target[1]}",
        )

    def _speaker(self, port: int, leg: Leg) -> str:
        if self._follow.caller is not None:
            return SPEAKERS[leg.source[0] != self._follow.caller]
        if len(self._legs) > 1:
            return SPEAKERS[min(port, 1)]
        flows: list[tuple[Address, Address]] = []
        for each in self._legs[0].legs:
            if (each.source, each.target) not in flows:
                flows.append((each.source, each.target))
        return SPEAKERS[min(flows.index((leg.source, leg.target)), 1)]


# --- live ------------------------------------------------------------------


class _Port(asyncio.DatagramProtocol):
    def __init__(self, number: int, tap: _Tap) -> None:
        self._number = number
        self._tap = tap
        self._own: Address = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        host, port, *_ = transport.get_extra_info("sockname")
        self._own = (host, port)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        now = asyncio.get_running_loop().time()
        self._tap.push(self._number, Datagram(now, (addr[0], addr[1]), self._own, data))


class _Tap:
    """One call after the other on the same ports."""

    def __init__(self, new_call: NewCall, follow: Follow, ports: int) -> None:
        self._new_call = new_call
        self._follow = follow
        self._ports = ports
        self._current: RtpCall | None = None
        self._last_at = 0.0
        self._finishing: set[asyncio.Task[None]] = set()

    def push(self, port: int, datagram: Datagram) -> None:
        if self._current is None:
            call = self._new_call(datagram.at)
            self._current = RtpCall(call, self._follow, self._ports)
        self._last_at = datagram.at
        self._current.push(port, datagram)

    def tick(self, now: float) -> None:
        if self._current is None:
            return
        self._current.wake(now)
        self._current.call.tick(now)
        if now > self._last_at + self._follow.idle_s:
            self._finish(self._current)

    def _finish(self, current: RtpCall) -> None:
        self._current = None
        task = asyncio.create_task(current.finish())
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def close(self) -> None:
        if self._current is not None:
            self._finish(self._current)
        while self._finishing:
            await asyncio.gather(*self._finishing)


async def listen_rtp(
    ports: Sequence[Address],
    follow: Follow,
    new_call: NewCall,
    ended: asyncio.Event,
    listening: Callable[[Sequence[Address]], None] = lambda _: None,
) -> None:
    """Take calls from UDP until told to end; the last one is finished then.

    Args:
        ports: one or two to bind; port 0 takes a free one.
        follow: how packets are read.
        new_call: makes a call that begins at a time of the loop.
        ended: set from elsewhere.
        listening: told the addresses that were bound.

    Raises:
        OSError: one cannot be bound.
    """
    loop = asyncio.get_running_loop()
    tap = _Tap(new_call, follow, len(ports))
    transports: list[asyncio.DatagramTransport] = []
    try:
        for number, address in enumerate(ports):
            transport, _ = await loop.create_datagram_endpoint(
                lambda number=number: _Port(number, tap),  # type: ignore[misc]
                local_addr=address,
            )
            transports.append(transport)
        listening([each.get_extra_info("sockname")[:2] for each in transports])
        interval_s, skipped = min(TICK_S, max(0.01, follow.depth_s / 2)), 0
        while not ended.is_set():
            due = loop.time() + interval_s
            await _wait(ended, interval_s)
            # After a pause of this program what is missing may wait in the sockets:
            # they are read first.
            late = loop.time() - due > interval_s and skipped < _MOST_SKIPPED
            skipped = skipped + 1 if late else 0
            if not late:
                tap.tick(loop.time())
        await asyncio.sleep(follow.depth_s)  # for what is under way
        tap.tick(loop.time())
    finally:
        for transport in transports:
            transport.close()
        await tap.close()


async def _wait(ended: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        pass

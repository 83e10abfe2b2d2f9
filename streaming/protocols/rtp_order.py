"""Packets of one RTP source, put in the order of their sequence numbers.

What comes in order goes on at once: unlike a telephone's jitter buffer this one
adds no delay, but behind a gap packets wait for `depth_s` for what is missing. The
first packet waits as long, since another may have been sent before it. Time is an
argument. Knows sequence numbers; does not know timestamps or audio.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf

from streaming.protocols.rtp import RtpPacket

__all__ = ["Arrived", "Order", "OrderCounts"]

_WHOLE = 1 << 16
# RFC 3550, appendix A.1: a jump beyond these is a sender that began anew, once
# two packets follow each other there.
_MAX_DROPOUT, _MAX_MISORDER = 3_000, 100
_MOST_WAITING = 1_024


@dataclass(frozen=True, slots=True)
class Arrived:
    """A packet in its turn.

    Attributes:
        packet: what came.
        at: when.
        lost: how many packets before it never came.
        anew: the sender's sequence begins anew here.
    """

    packet: RtpPacket
    at: float
    lost: int = 0
    anew: bool = False


@dataclass(slots=True)
class OrderCounts:
    """What became of the packets of one source.

    `received` is what was handed on, what waits, `duplicates` and `late`.

    Attributes:
        received: packets that came.
        duplicates: came before.
        late: given up before they came, or far from all others.
        lost: never came, or late.
        reordered: came after one that was sent after them.
    """

    received: int = 0
    duplicates: int = 0
    late: int = 0
    lost: int = 0
    reordered: int = 0


@dataclass(slots=True)
class Order:
    """Make one per source.

    Attributes:
        depth_s: how long what is missing is waited for.
        counts: of packets.
    """

    depth_s: float = 0.1
    counts: OrderCounts = field(default_factory=OrderCounts)
    _next: int | None = None  # the sequence number due, extended beyond 16 bits
    _waiting: dict[int, Arrived] = field(default_factory=dict)
    _newest: int = 0
    _began: bool = False
    _anew: bool = False
    _stranger: RtpPacket | None = None  # far off: the first of a new sequence?
    _recent: deque[int] = field(default_factory=lambda: deque(maxlen=256))

    def push(self, packet: RtpPacket, now: float) -> list[Arrived]:
        """Take a packet; returns those whose turn has come, in order.

        Nothing is given up here but by `wake`: after a pause of this program what is
        missing may be among the packets that are read next.
        """
        self.counts.received += 1
        if self._next is None:
            # The packets before the first one extend below it.
            self._next = self._newest = packet.sequence + _WHOLE
            number = self._newest
        else:
            number = self._newest + _signed(packet.sequence - self._newest)
            if not -_MAX_MISORDER <= number - self._newest <= _MAX_DROPOUT:
                return self._far(packet, now)
        self._stranger = None
        if number in self._waiting or (self._began and number < self._next):
            self._count_again(number)
            return []
        if number < self._newest:
            self.counts.reordered += 1
        self._newest = max(self._newest, number)
        self._waiting[number] = Arrived(packet, now)
        return self._release(-inf)

    def wake(self, now: float) -> list[Arrived]:
        """Time has passed: give up what was waited for long enough."""
        return self._release(now)

    def wake_at(self) -> float | None:
        """When `wake` is due."""
        if not self._waiting:
            return None
        return min(each.at for each in self._waiting.values()) + self.depth_s

    def drain(self) -> list[Arrived]:
        """Nothing more comes: all that waits."""
        return self._release(inf)

    def _release(self, now: float) -> list[Arrived]:
        ready: list[Arrived] = []
        while self._waiting:
            number = min(self._waiting)
            # Whatever waited its time takes along all that is before it.
            forced = (
                any(now >= w.at + self.depth_s for w in self._waiting.values())
                or len(self._waiting) > _MOST_WAITING
            )
            if not forced and not (self._began and number == self._next):
                break
            arrived = self._waiting.pop(number)
            lost = number - self._next if self._began and self._next else 0
            self.counts.lost += lost
            ready.append(Arrived(arrived.packet, arrived.at, lost, self._anew))
            self._began, self._anew, self._next = True, False, number + 1
            self._recent.append(number)
        return ready

    def _far(self, packet: RtpPacket, now: float) -> list[Arrived]:
        """A packet that fits nowhere: noise, or the sender began anew."""
        before, self._stranger = self._stranger, packet
        if before is None or (before.sequence + 1) % _WHOLE != packet.sequence:
            self.counts.late += 1
            return []
        self.counts.late -= 1  # not noise, then
        ready = self.drain()
        self._recent.clear()
        self._stranger = None
        self._next, self._newest = (
            before.sequence + _WHOLE,
            before.sequence + _WHOLE + 1,
        )
        self._anew = self._began = True
        self._waiting = {
            self._next: Arrived(before, now),
            self._newest: Arrived(packet, now),
        }
        return ready + self._release(-inf)

    def _count_again(self, number: int) -> None:
        """It came before, or was given up before it came."""
        if number in self._waiting or number in self._recent:
            self.counts.duplicates += 1
        else:
            self.counts.late += 1


def _signed(difference: int) -> int:
    """A difference of sequence numbers as the nearest one to 0."""
    return (difference + _WHOLE // 2) % _WHOLE - _WHOLE // 2

"""One UDP datagram: what came, from where to where, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Address", "Datagram"]

Address: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Datagram:
    """Its payload, without the headers of UDP and IP.

    Attributes:
        at: seconds on the receiver's clock, or the capture's.
        source: who sent it.
        target: whom it was sent to.
        data: the payload.
    """

    at: float
    source: Address
    target: Address
    data: bytes

"""How a client comes back after a cut: how soon, how often, and what it keeps."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["STEADFAST", "Reconnect"]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Settings of one stream.

    Attributes:
        first_s: longest wait before the first attempt.
        most_s: longest wait before any.
        patience_s: give up this long after a cut.
        silence_s: a connection over which nothing came for so long, though
            something is to be answered, counts as cut.
        keep_s: audio that is kept until the server has it; `send` waits for more.
    """

    first_s: float = 0.2
    most_s: float = 5.0
    patience_s: float = 120.0
    silence_s: float = 30.0
    keep_s: float = 60.0

    def delays(self, chance: random.Random) -> Iterator[float]:
        """Seconds to wait before each attempt, without end.

        Doubling bounds, each wait drawn evenly below its bound: the clients of a
        server that was cut off do not come back all at once (AWS architecture
        blog, "Exponential Backoff And Jitter", full jitter).
        """
        bound = self.first_s
        while True:
            yield chance.uniform(0.0, bound)
            bound = min(self.most_s, 2 * bound)


STEADFAST = Reconnect()

"""Where the records of a call go: each delivery has a thread and a bounded backlog.

`put` never waits, so that no file, pipe or web server ever holds up the audio. What
a full backlog cannot take is left out, partials first, and the next record that is
delivered says how many. Knows nothing of what records say but their `type`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

__all__ = ["Delivery", "Receiver", "Record"]

Record: TypeAlias = dict[str, Any]

MOST_WAITING = 10_000
MOST_AT_ONCE = 100


class Receiver(Protocol):
    """What takes records, on the delivery's thread; it may wait."""

    def take(self, records: Sequence[Record], stop: threading.Event) -> int:
        """Take records, in order; give up where `stop` is set.

        Returns:
            How many of them could not be delivered.
        """
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Delivery:
    """Records to one receiver, in order.

    Args:
        receiver: what takes them.
        most_waiting: records that may wait for it.

    Attributes:
        lost: records that were left out or could not be delivered.
    """

    def __init__(self, receiver: Receiver, most_waiting: int = MOST_WAITING) -> None:
        self.lost = 0
        self._receiver = receiver
        self._most = most_waiting
        self._waiting: deque[Record] = deque()
        self._untold = 0
        self._news = threading.Condition()
        self._closing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def put(self, record: Record) -> None:
        """Deliver a record, some time; never waits."""
        with self._news:
            if len(self._waiting) >= self._most:
                self._leave_out()
            self._waiting.append(record)
            self._news.notify()

    def close(self, patience_s: float) -> None:
        """Deliver what waits for so long, give up the rest; waits meanwhile."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(patience_s)
        self._stop.set()
        self._thread.join(2.0)

    def _leave_out(self) -> None:
        oldest = next((r for r in self._waiting if r["type"] == "partial"), None)
        if oldest is None:
            self._waiting.popleft()
        else:
            self._waiting.remove(oldest)
        self.lost += 1
        self._untold += 1

    def _run(self) -> None:
        while records := self._next():
            lost = self._receiver.take(records, self._stop)
            with self._news:
                self.lost += lost
                self._untold += lost
        self._receiver.close()

    def _next(self) -> list[Record]:
        """The next records, with what was left out before them; none at the end."""
        with self._news:
            while not self._waiting and not self._closing:
                self._news.wait()
            if self._stop.is_set():
                self.lost += len(self._waiting)
                self._waiting.clear()
            count = min(len(self._waiting), MOST_AT_ONCE)
            records = [self._waiting.popleft() for _ in range(count)]
            if records and self._untold:
                records.insert(0, {"type": "gap", "records": self._untold})
                self._untold = 0
            return records

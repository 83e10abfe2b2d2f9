"""How all processes of a server stand together: asks each, and waits for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import count

from streaming.cluster.keeping import AnyChild
from streaming.cluster.whole import Books
from streaming.cluster.words import Ask, Report, Want, WholeSeen
from streaming.server.pages import Seen

__all__ = ["Census"]

_REPORT_S = 2.0  # a child that takes longer to say how it stands is told by its last


class Census:
    """Make one per parent, on its event loop.

    Attributes:
        books: what was told.
    """

    def __init__(self) -> None:
        self.books = Books()
        self._asks = count()
        self._asked: dict[tuple[int, str], asyncio.Event] = {}
        self._answers: set[asyncio.Task[None]] = set()

    async def seen(self, children: Iterable[AnyChild]) -> Seen:
        """Ask every process how it stands."""
        number = next(self._asks)
        asked = []
        for child in children:
            answered = self._asked[number, child.name] = asyncio.Event()
            asked.append(asyncio.create_task(answered.wait()))
            child.send(Ask(number))
        _, late = await asyncio.wait(asked, timeout=_REPORT_S) if asked else ((), ())
        for task in late:
            task.cancel()
        return self.books.seen()

    def answer(self, child: AnyChild, want: Want, children: Iterable[AnyChild]) -> None:
        """Tell a child how all stand, once it is known."""
        answer = asyncio.create_task(self._answer(child, want, tuple(children)))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    def enter(self, child: AnyChild, report: Report) -> None:
        """A child says how it stands."""
        self.books.enter(child.name, report)
        answered = self._asked.pop((report.number, child.name), None)
        if answered is not None:
            answered.set()

    def forget(self, child: AnyChild) -> None:
        """It has ended."""
        self.books.bury(child.name)
        for key in [key for key in self._asked if key[1] == child.name]:
            self._asked.pop(key).set()  # it will not answer

    async def close(self) -> None:
        """Nobody waits for an answer any more."""
        answers = tuple(self._answers)
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)

    async def _answer(
        self, child: AnyChild, want: Want, children: Iterable[AnyChild]
    ) -> None:
        child.send(WholeSeen(want.number, await self.seen(children)))

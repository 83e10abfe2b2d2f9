"""The full passes of all recordings, in one line.

The engine refuses full passes past so many seconds of audio that wait for one, and
whoever is refused makes do with stitched text. Recordings can wait, so theirs do:
only as many are asked for at a time as are never refused. Knows no engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from streaming.events import Cancel, Job, Pass

__all__ = ["PassLine"]


class PassLine:
    """Lets full passes go to the engine, first come, first served.

    Args:
        most_s: seconds of audio that may be with the engine; a longer pass goes
            alone.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._flying: dict[Job, float] = {}
        self._waiting: deque[tuple[Job, float, Callable[[Job], None]]] = deque()

    def ask(self, job: Job, seconds: float, go: Callable[[Job], None]) -> None:
        """Have a pass go to the engine, at once or later.

        Args:
            job: the pass.
            seconds: of audio in it.
            go: submits it.
        """
        self._waiting.append((job, seconds, go))
        self._let_go()

    def done(self, job: Job) -> None:
        """The engine has answered it, or will not any more."""
        if self._flying.pop(job, None) is not None:
            self._let_go()

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Forget passes that have not gone, and return them."""
        if cancel.kind is Pass.STITCHED:
            return ()
        gone = tuple(
            job
            for job, _, _ in self._waiting
            if job.stream == cancel.stream and cancel.utterance in (None, job.utterance)
        )
        self._waiting = deque(each for each in self._waiting if each[0] not in gone)
        return gone

    def _let_go(self) -> None:
        while self._waiting:
            job, seconds, go = self._waiting[0]
            if self._flying and sum(self._flying.values()) + seconds > self._most_s:
                return
            self._waiting.popleft()
            self._flying[job] = seconds
            go(job)

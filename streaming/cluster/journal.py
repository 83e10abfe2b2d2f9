"""What was asked of engine processes, kept until it is answered, to be asked again.

Where windows leave a state behind, those that were answered are kept as well until
their utterance ends: run again in order they rebuild the state exactly as it was,
and what they say then is nobody's. Knows jobs; no process, socket or thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from streaming.engine import Deliver
from streaming.events import Cancel, Job, Pass

__all__ = ["Errand", "Journal"]

# An engine may die of a job. It takes no more than so many of them along.
_MOST_LOSSES = 3


@dataclass(slots=True, eq=False)
class Errand:
    """A job on its way.

    Attributes:
        number: names it on the wire; a new one each time it is sent.
        job: what to run.
        deliver: where its answer goes; None where only its state is wanted.
        losses: engines that died before they answered it.
    """

    number: int
    job: Job
    deliver: Deliver | None
    losses: int = 0


@dataclass(slots=True)
class _Stream:
    """Of one stream: what waits for its answer, and what its state is made of."""

    waiting: dict[int, Errand] = field(default_factory=dict)  # by number, in order
    past: dict[int, list[Job]] = field(default_factory=dict)  # by utterance


class Journal:
    """All that streams of one process have asked for.

    Args:
        stateful: windows leave a state behind.
    """

    def __init__(self, stateful: bool) -> None:
        self._stateful = stateful
        self._numbers = count()
        self._streams: dict[int, _Stream] = {}
        self._waiting: dict[int, Errand] = {}  # of all streams, by number

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[int]:
        """The streams that asked for something and have not ended."""
        return iter(tuple(self._streams))

    def ask(self, job: Job, deliver: Deliver) -> Errand:
        """Keep a job; jobs of a stream come in order."""
        errand = Errand(next(self._numbers), job, deliver)
        self._add(self._streams.setdefault(job.stream, _Stream()), errand)
        return errand

    def answered(self, number: int, *, well: bool) -> Errand | None:
        """An answer came, with logits or without; None where nobody waits for it."""
        errand = self._waiting.pop(number, None)
        if errand is None:
            return None
        job = errand.job
        stream = self._streams[job.stream]
        del stream.waiting[number]
        if self._stateful and job.kind is Pass.STITCHED:
            if job.window.last or not well:
                stream.past.pop(job.utterance, None)
            elif errand.deliver is not None:
                stream.past.setdefault(job.utterance, []).append(job)
        return errand

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Forget what is wanted no more; return the jobs that get no answer."""
        stream = self._streams.get(cancel.stream)
        if stream is None:
            return ()
        gone = [each for each in stream.waiting.values() if _named(cancel, each.job)]
        for errand in gone:
            del stream.waiting[errand.number], self._waiting[errand.number]
        if cancel.kind is not Pass.FULL:
            for utterance in list(stream.past):
                if cancel.utterance in (None, utterance):
                    del stream.past[utterance]
        if cancel.utterance is None and cancel.kind is None:
            del self._streams[cancel.stream]
        return tuple(errand.job for errand in gone if errand.deliver is not None)

    def lost(self, stream: int) -> tuple[Errand, ...]:
        """The engine of a stream died; return what is given up for that."""
        held = self._streams[stream]
        given_up = []
        for errand in list(held.waiting.values()):
            errand.losses += 1
            if errand.deliver is None or errand.losses >= _MOST_LOSSES:
                del held.waiting[errand.number], self._waiting[errand.number]
                given_up += [errand] if errand.deliver is not None else []
        return tuple(given_up)

    def again(self, stream: int) -> tuple[Errand, ...]:
        """All that an engine must be asked that knows nothing of a stream, in order.

        Under new numbers: answers to the old ones are nobody's.
        """
        held = self._streams[stream]
        waiting = list(held.waiting.values())
        for errand in waiting:
            del self._waiting[errand.number]
        held.waiting.clear()
        # The utterances with a past are older than all that waits, but for their own.
        past = [job for jobs in held.past.values() for job in jobs]
        errands = [Errand(next(self._numbers), job, None) for job in past]
        for errand in waiting:
            errand.number = next(self._numbers)
        for errand in errands + waiting:
            self._add(held, errand)
        return tuple(errands + waiting)

    def _add(self, stream: _Stream, errand: Errand) -> None:
        stream.waiting[errand.number] = errand
        self._waiting[errand.number] = errand


def _named(cancel: Cancel, job: Job) -> bool:
    if cancel.kind not in (None, job.kind):
        return False
    return cancel.utterance in (None, job.utterance)

"""The engine of an ingest process: the engine processes of its machine, as one.

A stream stays on the engine that it was given, the one with the fewest; when that
one dies its streams go to others, or wait for the next, and all that was not
answered is asked again. All of it happens on the event loop: threads only read
and write the wires.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from socket import socket
from typing import assert_never

from streaming.cluster.frames import (
    Answered,
    Asked,
    Frame,
    Pulse,
    Refusal,
    Terms,
    read_frame,
    write_frame,
)
from streaming.cluster.journal import Errand, Journal
from streaming.cluster.wire import Source, Wire
from streaming.cluster.words import Warm
from streaming.core.facts import ModelFacts
from streaming.core.ladder import Strain
from streaming.engine import Answer, Crossing, Deliver, Failed
from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Job, Logits

__all__ = ["RemoteEngine"]

_log = logging.getLogger("wavestitch")

# An engine process that died is started again at once; loading takes what it takes.
_RETRY_S = 5.0


@dataclass(slots=True, eq=False)
class _Link:
    """One engine process, as long as it lives."""

    wire: Wire
    pulse: Pulse
    streams: set[int] = field(default_factory=set)

    def send(self, frame: Frame) -> None:
        self.wire.send(*write_frame(frame))

    def ask(self, errands: Iterable[Errand]) -> None:
        for errand in errands:
            self.send(Asked(errand.number, errand.job))


class RemoteEngine:
    """See `Inference`; make one per ingest process.

    Args:
        ingest: number of this process, so that each begins with another engine.
        facts: of the model that all engines run.
        crossing: to the event loop, from the threads of the wires.
    """

    stats = None  # the engines tell their own
    most_states = None  # each refuses by itself

    def __init__(self, ingest: int, facts: ModelFacts, crossing: Crossing) -> None:
        self._ingest = ingest
        self._crossing = crossing
        self._journal = Journal(facts.stateful)
        self._links: dict[int, _Link] = {}  # by number of the engine
        self._seats: dict[int, int] = {}  # stream to engine
        self._terms = Terms(inf, full_passes=True)

    # --- engines that come and go --------------------------------------------

    def connect(self, engine: int, end: socket, warm: Warm) -> None:
        """An engine process is there; what waits for one goes to it."""
        if engine in self._links:  # started anew before its end was noticed
            self._lost(engine, self._links[engine])

        def read(source: Source) -> None:
            frame = read_frame(source)
            self._crossing(partial(self._take, engine, link, frame))

        def ended() -> None:
            self._crossing(partial(self._lost, engine, link))

        name = f"engine-{engine}"
        pulse = Pulse(Strain(), warm.costs)
        link = _Link(Wire(end, name, read, ended), pulse)
        self._links[engine] = link
        link.wire.start()
        link.send(self._terms)
        for stream in self._journal:
            if stream not in self._seats:
                self._seat(stream).ask(self._journal.again(stream))

    def close(self) -> None:
        """Let go of the engines."""
        links, self._links = self._links, {}
        for link in links.values():
            link.wire.close()

    def _lost(self, engine: int, link: _Link) -> None:
        if self._links.get(engine) is not link:
            return
        del self._links[engine]
        _log.warning("engine %d is gone with %d streams", engine, len(link.streams))
        for stream in sorted(link.streams):
            del self._seats[stream]
            for errand in self._journal.lost(stream):
                self._give_up(errand)
            if self._links:
                self._seat(stream).ask(self._journal.again(stream))

    def _give_up(self, errand: Errand) -> None:
        if errand.deliver is not None:
            error = ModelError(
                f"{errand.losses} engine processes died with a pass over "
                f"{len(errand.job.window.samples)} samples of stream "
                f"{errand.job.stream}"
            )
            self._crossing(partial(errand.deliver, Failed(errand.job, error)))

    def _seat(self, stream: int) -> _Link:
        """The engine of a stream; a new one goes where the fewest are."""
        if stream not in self._seats:
            self._seats[stream] = min(self._links, key=self._rank)
            self._links[self._seats[stream]].streams.add(stream)
        return self._links[self._seats[stream]]

    def _rank(self, engine: int) -> tuple[bool, int, int]:
        link = self._links[engine]
        turn = (engine - self._ingest) % (max(self._links) + 1)
        return link.pulse.refusal is not None, len(link.streams), turn

    # --- answers -------------------------------------------------------------

    def _take(self, engine: int, link: _Link, frame: Frame) -> None:
        match frame:
            case Answered(number, rows):
                errand = self._journal.answered(number, well=True)
                if errand is not None:
                    self._deliver(errand, Logits(errand.job, rows))
            case Refusal(number, error):
                errand = self._journal.answered(number, well=False)
                if errand is not None:
                    self._deliver(errand, Failed(errand.job, error))
            case Pulse():
                link.pulse = frame
            case Asked() | Cancel() | Terms():
                _log.error("engine %d asks instead of answering", engine)
            case _:
                assert_never(frame)

    def _deliver(self, errand: Errand, answer: Answer) -> None:
        if errand.deliver is not None:
            errand.deliver(answer)

    # --- what a server asks --------------------------------------------------

    @property
    def warm(self) -> bool:
        """Some engine takes jobs."""
        return bool(self._links)

    @property
    def strain(self) -> Strain:
        """How hard the most pressed of the engines is pressed."""
        strains = [link.pulse.strain for link in self._links.values()]
        return Strain(
            max((each.used for each in strains), default=0.0),
            max((each.busy for each in strains), default=0.0),
            max((each.needed for each in strains), default=0.0),
            max((each.budget_s for each in strains), default=0.0),
        )

    def look(self) -> None:
        """Never: who started the engines ends those that hang."""

    def submit(self, job: Job, deliver: Deliver) -> None:
        """Have a job run, now or when an engine is there."""
        errand = self._journal.ask(job, deliver)
        if self._links:
            self._seat(job.stream).ask([errand])

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Forget jobs, those that run too: their answers are nobody's."""
        jobs = self._journal.cancel(cancel)
        engine = self._seats.get(cancel.stream)
        if engine is not None:
            self._links[engine].send(cancel)
            if cancel.utterance is None and cancel.kind is None:
                del self._seats[cancel.stream]
                self._links[engine].streams.discard(cancel.stream)
        return jobs

    def admit(self) -> None:
        """Is there room for one more stream on some engine?

        Raises:
            Overloaded: there is none.
        """
        if not self._links:
            raise Overloaded("no engine process runs now", _RETRY_S)
        pulses = [link.pulse for link in self._links.values()]
        refusals = [each.refusal for each in pulses if each.refusal is not None]
        if len(refusals) == len(pulses):
            raise Overloaded(refusals[0], min(each.retry_after_s for each in pulses))

    def least_budget_s(self, samples: int) -> float:
        """Least budget that windows of `samples` can keep on every engine."""
        return max(
            (each.pulse.costs.least_budget_s(samples) for each in self._all()),
            default=0.0,
        )

    def window_limit(self, budget_s: float) -> int:
        """Most samples of a window within half of `budget_s` on every engine."""
        return min(
            (each.pulse.costs.window_limit(budget_s) for each in self._all()), default=0
        )

    def limit_passes(self, smallest_budget_s: float) -> None:
        """Begin no pass longer than half of this."""
        self._agree(Terms(smallest_budget_s, self._terms.full_passes))

    def allow_full_passes(self, allowed: bool) -> None:
        """Begin full passes, or fail them."""
        self._agree(Terms(self._terms.smallest_budget_s, allowed))

    def _agree(self, terms: Terms) -> None:
        self._terms = terms
        for link in self._all():
            link.send(terms)

    def _all(self) -> Iterable[_Link]:
        return self._links.values()

"""What workers have to do and did: schedule, states, costs and counts together.

Every method is called by one thread at a time (the engine's lock) and none waits.
Knows no thread and no clock; what order jobs run in is decided in core/schedule.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from streaming.config import EngineConfig
from streaming.core.costs import Measured
from streaming.core.hangs import HangWatch
from streaming.core.ladder import Strain
from streaming.core.schedule import Schedule
from streaming.core.strain import StrainGauge
from streaming.core.tally import EngineStats, Tally
from streaming.errors import Overloaded
from streaming.events import Cancel, Job, Logits
from streaming.models.passes import Failed
from streaming.models.states import States

__all__ = ["Answer", "Deliver", "Turn", "Work"]

_log = logging.getLogger(__name__)

Answer: TypeAlias = Logits | Failed
Deliver: TypeAlias = Callable[[Answer], None]

_HUNG_RETRY_S = 30.0


@dataclass(slots=True)
class Turn:
    """What a worker does next: jobs, each with where its answer goes."""

    given_up: list[tuple[Job, Deliver]] = field(default_factory=list)
    run: list[tuple[Job, Deliver]] = field(default_factory=list)


class Work:
    """Make one per engine.

    Args:
        schedule: what runs next.
        states: of the model's utterances, where it is stateful.
        config: of the engine.
        workers: passes that may run at once.
        stateful: the model keeps states.
    """

    def __init__(
        self,
        schedule: Schedule,
        states: States,
        config: EngineConfig,
        *,
        workers: int,
        stateful: bool,
    ) -> None:
        self.schedule = schedule
        self.tally = Tally()
        self._workers = workers
        self._stateful = stateful
        self._delivers: dict[Job, Deliver] = {}
        self._states = states
        self._strain = StrainGauge(workers)
        self._hangs = HangWatch(config.hang_s)
        self._hung: str | None = None

    def add(self, job: Job, deliver: Deliver) -> None:
        """Let a job wait.

        Raises:
            Overloaded: it is not taken.
        """
        self.schedule.add(job)
        self._delivers[job] = deliver

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Forget the jobs that have not begun, and return them."""
        jobs = self.schedule.cancel(cancel)
        self._claim(jobs)
        self.tally.cancelled += len(jobs)
        return jobs

    def clear(self) -> list[tuple[Job, Deliver]]:
        """Forget all that have not begun."""
        return self._claim(self.schedule.clear())

    def turn(self, now: float) -> Turn | None:
        """Begin what comes next; None where there is nothing to do."""
        given_up, run = self.schedule.give_up(now), self.schedule.take(now)
        if self._stateful:
            self._states.begin(run)  # before anybody may cancel them
        if run:
            longest = max(len(job.window.samples) for job in run)
            costs = self.schedule.costs.of(run[0].kind)
            self._strain.began(run, self.schedule.filled(run), now)
            self._hangs.began(run, costs.surely(longest, len(run)))
        if not run and not given_up:
            return None
        self.tally.given_up += len(given_up)
        self.tally.busy += bool(run)
        return Turn(self._claim(given_up), self._claim(run))

    def done(
        self, jobs: Sequence[Job], failed: set[Job], began: float, ended: float
    ) -> None:
        """A pass has ended, for some of its jobs badly."""
        self.schedule.done(jobs)
        self._strain.ended(jobs, ended)
        self._hangs.ended(jobs)
        self.tally.passed(jobs, ended - began, ended, failed)
        if not failed:
            longest = max(len(job.window.samples) for job in jobs)
            done = Measured(longest, len(jobs), ended - began)
            costs = self.schedule.costs.observed(jobs[0].kind, done)
            self.schedule.costs = costs

    def look(self, now: float) -> str | None:
        """Why the engine is taken for hung, None where it is not."""
        hung = self._hangs.look(now, waiting=bool(self.schedule.waiting))
        if hung is not None and self._hung is None:
            _log.error("the engine hangs: %s", hung)
        if hung is None and self._hung is not None:
            _log.warning("the engine hangs no more")
        self._hung = hung
        return hung

    def admit(self, now: float) -> None:
        """Is there room for one more stream?

        Raises:
            Overloaded: too much is late, no state is free, or all workers hang.
        """
        if self._hangs.hung >= self._workers:
            raise Overloaded(f"the engine hangs: {self._hung}", _HUNG_RETRY_S)
        if self._stateful:
            self._states.admit()
        self.schedule.admit(now)

    def strain(self, now: float) -> Strain:
        """How hard the engine is pressed."""
        return self._strain.strain(self.schedule.most_urgent, now)

    def stats(self, now: float) -> EngineStats:
        """How things stand."""
        held = self._states.held
        return replace(
            self.tally.stats(self.schedule, self._workers, now),
            stateful=self._stateful,
            states=held.states,
            states_most=held.most_states or 0,
            state_bytes=held.bytes,
            state_bytes_most=held.most_bytes,
            hung=self._hangs.hung,
            hangs=self._hangs.hangs,
        )

    def _claim(self, jobs: Sequence[Job]) -> list[tuple[Job, Deliver]]:
        """Jobs that left the schedule, each with where its answer goes."""
        return [(job, self._delivers.pop(job)) for job in jobs]

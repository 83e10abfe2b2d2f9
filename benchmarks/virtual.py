"""Virtual time: calls that come, talk and go, before the server's own schedule.

The schedule, the ladder, the strain it goes by, the pacing and the cost model are
those of the server; callers and workers are played, a pass takes what the cost
model says. Nothing here waits: an hour passes in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from random import Random

from benchmarks.hours import Found, Machine, Talk
from benchmarks.voices import GEOMETRY, Call, Utterance
from streaming.core.costs import Measured
from streaming.core.ladder import Ladder
from streaming.core.schedule import Batching, Schedule
from streaming.core.strain import StrainGauge
from streaming.errors import Overloaded
from streaming.events import Job, Pass

__all__ = ["simulate"]

_TICK_S = 0.2  # how often a server looks at the ladder
_QUEUE_S = 60.0
_AFTER_S = 60.0  # the ladder is watched for so long after the last final


@dataclass(frozen=True, slots=True)
class _Done:
    """A pass, and how long it takes."""

    jobs: tuple[Job, ...]
    measured: Measured


class _Simulation:
    """The state of one run; time moves from event to event."""

    def __init__(self, machine: Machine, talk: Talk, ladder: Ladder) -> None:
        self.found = Found()
        self._machine = machine
        self._talk = talk
        self._dice = Random(talk.seed)
        self._ladder = ladder
        self._schedule = Schedule(
            Batching(GEOMETRY, machine.max_batch, pads=True),
            machine.costs,
            workers=machine.workers,
            queue_s=_QUEUE_S,
        )
        self._schedule.longest_s = talk.budget_s / 2
        self._longest = machine.costs.of(Pass.STITCHED).longest(talk.budget_s / 2)
        self._strain = StrainGauge(machine.workers)
        self._idle = machine.workers
        self._open = 0
        self._number = 0
        self._hops = 1
        self._order = 0
        self._events: list[tuple[float, int, Call | _Done | None]] = []
        self._waited: dict[Job, Utterance] = {}  # last windows and full passes

    # --- time ----------------------------------------------------------------

    def run(self) -> Found:
        """Until the last final of the last call is out."""
        talk, found = self._talk, self.found
        self._at(self._dice.expovariate(talk.calls / talk.seconds), None)
        now = tick = 0.0
        while self._events:
            now, _, event = heappop(self._events)
            while tick <= now:
                self._judge(tick)
                tick += _TICK_S
            match event:
                case Call():
                    self._speak(event, now)
                case None:
                    self._ring(now)
                case _:
                    self._ended(event, now)
            self._begin(now)
        while tick <= now + _AFTER_S:
            self._judge(tick)
            tick += _TICK_S
        found.level_after = self._ladder.rung.level
        found.owed = len({id(each) for each in self._waited.values()})
        return found

    def _at(self, when: float, event: Call | _Done | None) -> None:
        self._order += 1
        heappush(self._events, (when, self._order, event))

    def _judge(self, now: float) -> None:
        strain = self._strain.strain(self._schedule.most_urgent, now)
        before = self._ladder.rung
        rung = self._ladder.step(strain, now)
        if now < self._talk.seconds:
            share = _TICK_S / self._talk.seconds
            rungs = self.found.rungs
            rungs[rung.level] = rungs.get(rung.level, 0.0) + share
        if rung is not before:
            self.found.transitions.append((now, rung.level))
            self._schedule.full_passes = rung.full_passes
            shape = self._talk.shape
            self._hops = shape.affordable_hops(rung.hops, self._longest)

    # --- callers ---------------------------------------------------------------

    def _ring(self, now: float) -> None:
        """A call comes in, and the next one is drawn."""
        talk, found = self._talk, self.found
        then = now + self._dice.expovariate(talk.calls / talk.seconds)
        if then < talk.seconds:
            self._at(then, None)
        full = talk.max_streams and self._open >= talk.max_streams
        if full or not self._ladder.rung.admits:
            found.refused += 1
            return
        found.admitted += 1
        self._open += 1
        found.most_open = max(found.most_open, self._open)
        self._number += 1
        until = now + self._dice.expovariate(1 / talk.call_s)
        call = Call(self._number, talk, until)
        # Somewhere in a silence, or in the midst of words.
        wait = self._dice.expovariate(1 / max(self._silence_s, 0.1))
        self._silent(call, now, wait)

    @property
    def _silence_s(self) -> float:
        return self._talk.utterance_s * (1 - self._talk.duty) / self._talk.duty

    def _silent(self, call: Call, now: float, seconds: float) -> None:
        start = now + seconds
        if start >= call.until:
            self._open -= 1
            return
        call.begin(start, self._dice.expovariate(1 / self._talk.utterance_s))
        self._at(call.next_at(self._hops), call)

    def _speak(self, call: Call, now: float) -> None:
        for window in call.windows(self._hops, now):
            self._schedule.add(window)
        full = call.pause(now)
        if full is not None and call.utterance is not None:
            self._ask_full(full, call.utterance)
        end = call.end(now)
        if end is None:
            self._at(call.next_at(self._hops), call)
            return
        last, utterance = end
        self._schedule.add(last)
        self._waited[last] = utterance
        pause = self._silence_s
        self._silent(call, now, self._dice.expovariate(1 / pause) if pause else 0.0)

    def _ask_full(self, full: Job, utterance: Utterance) -> None:
        if not self._ladder.rung.full_passes:
            return
        try:
            self._schedule.add(full)
        except Overloaded:
            return
        utterance.full = full
        self._waited[full] = utterance

    # --- workers -----------------------------------------------------------------

    def _begin(self, now: float) -> None:
        schedule, machine = self._schedule, self._machine
        while self._idle:
            for job in schedule.give_up(now):
                self._answered(job, now, rows=False)
            jobs = schedule.take(now)
            if not jobs:
                return
            self._idle -= 1
            self._strain.began(jobs, schedule.filled(jobs), now)
            longest = max(len(job.window.samples) for job in jobs)
            seconds = machine.costs.of(jobs[0].kind).seconds(longest, len(jobs))
            if machine.jitter:
                seconds *= max(0.5, self._dice.gauss(1.0, machine.jitter))
            if now < self._talk.seconds:
                worker_s = self._talk.seconds * machine.workers
                self.found.utilisation += seconds / worker_s
            self._at(now + seconds, _Done(jobs, Measured(longest, len(jobs), seconds)))

    def _ended(self, done: _Done, now: float) -> None:
        found, sent = self.found, self._ladder.rung.partial_every_s < inf
        jobs, schedule = done.jobs, self._schedule
        schedule.costs = schedule.costs.observed(jobs[0].kind, done.measured)
        self._idle += 1
        self._schedule.done(jobs)
        self._strain.ended(jobs, now)
        found.passes += 1
        for job in jobs:
            if job.kind is Pass.FULL:
                self._answered(job, now, rows=True)
                continue
            found.windows += 1
            if job.window.last:
                utterance = self._waited.pop(job)
                utterance.windows = True
                self._finish(utterance, now)
            elif sent:
                waited = now - job.deadline + job.budget_s
                found.partials.add(waited, late=now > job.deadline)

    def _answered(self, full: Job, now: float, *, rows: bool) -> None:
        utterance = self._waited.pop(full)
        utterance.full, utterance.made_full = None, rows
        self._finish(utterance, now)

    def _finish(self, utterance: Utterance, now: float) -> None:
        if not utterance.windows or utterance.full is not None:
            return
        late = now > utterance.due + 1e-9
        self.found.finals.add(now - utterance.end, late=late)
        self.found.full += utterance.made_full


def simulate(machine: Machine, talk: Talk, ladder: Ladder | None = None) -> Found:
    """Let the calls come, and return what became of them.

    Args:
        machine: what runs the passes.
        talk: who calls.
        ladder: by default the server's.
    """
    return _Simulation(machine, talk, ladder or Ladder()).run()

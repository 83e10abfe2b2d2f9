"""Virtual time: calls that come, talk and go, before the server's own schedule.

The schedule, the ladder, the strain it goes by, the pacing and the cost model are
those of the server; callers and workers are played, a pass takes what the cost
model says. Nothing here waits: an hour passes in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from heapq import heappop, heappush
from math import inf
from random import Random

import numpy as np

from benchmarks.hours import Found, Machine, Talk
from streaming.core.ladder import Ladder
from streaming.core.pacing import Pacer
from streaming.core.schedule import Batching, Schedule
from streaming.core.strain import StrainGauge
from streaming.errors import Overloaded
from streaming.events import Job, Pass, Window
from streaming.numeric.geometry import Geometry

__all__ = ["simulate"]

_GEOMETRY = Geometry()
_RATE = _GEOMETRY.sample_rate
_STRIDE = _GEOMETRY.stride
_SILENCE = np.zeros(120 * _RATE, np.float32)  # as long as an utterance may be
_TICK_S = 0.2  # how often a server looks at the ladder
_QUEUE_S = 60.0
_AFTER_S = 60.0  # the ladder is watched for so long after the last final


@dataclass(slots=True, eq=False)
class _Utterance:
    """What its final waits for.

    Attributes:
        end: when its last sample arrives.
        due: bound of its final.
        windows: all are done.
        full: the full pass that is asked for and not answered.
        made_full: it was answered with rows.
    """

    end: float
    due: float
    windows: bool = False
    full: Job | None = None
    made_full: bool = False


@dataclass(slots=True, eq=False)
class _Call:
    """One caller, speaking or silent."""

    number: int
    until: float
    pacer: Pacer
    at: int = 0  # samples of speech before this utterance
    start: float = inf  # of the utterance
    length: int = 0
    sent: int = 0
    serial: int = -1
    utterance: _Utterance | None = None
    speculated: bool = False


@cache
def _window(left: int, start: int, hop: int, right: int, last: bool) -> Window:
    # One for all streams: what is in it does not matter here, only how long it is.
    length = left + hop + right
    return Window(_SILENCE[:length], start, left, hop, right, last)


class _Simulation:
    """The state of one run; time moves from event to event."""

    def __init__(self, machine: Machine, talk: Talk, ladder: Ladder) -> None:
        self.found = Found()
        self._machine = machine
        self._talk = talk
        self._dice = Random(talk.seed)
        self._ladder = ladder
        self._schedule = Schedule(
            Batching(_GEOMETRY, machine.max_batch, pads=True),
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
        self._events: list[tuple[float, int, _Call | tuple[Job, ...] | None]] = []
        self._waited: dict[Job, _Utterance] = {}  # last windows and full passes

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
                case _Call():
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

    def _at(self, when: float, event: _Call | tuple[Job, ...] | None) -> None:
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
        call = _Call(self._number, until, Pacer(_RATE, talk.budget_s))
        # Somewhere in a silence, or in the midst of words.
        wait = self._dice.expovariate(1 / max(self._silence_s, 0.1))
        self._silent(call, now, wait)

    @property
    def _silence_s(self) -> float:
        return self._talk.utterance_s * (1 - self._talk.duty) / self._talk.duty

    def _silent(self, call: _Call, now: float, seconds: float) -> None:
        start = now + seconds
        if start >= call.until:
            self._open -= 1
            return
        talk = self._talk
        spoken_s = self._dice.expovariate(1 / talk.utterance_s)
        spoken_s = min(max(spoken_s, talk.hangover_s + 0.2), talk.longest_s)
        call.start, call.serial, call.sent = start, call.serial + 1, 0
        call.length = int(spoken_s * _RATE) // _STRIDE * _STRIDE
        call.speculated = False
        call.utterance = None
        self._at(self._next(call), call)

    def _next(self, call: _Call) -> float:
        """When enough has arrived for a window, a full pass, or the end."""
        shape = self._talk.shape
        wanted = call.sent + self._hops * shape.hop + shape.right
        if not call.speculated:
            wanted = min(wanted, self._pause(call))
        return call.start + min(wanted, call.length) / _RATE

    def _pause(self, call: _Call) -> int:
        talk = self._talk
        return call.length - int((talk.hangover_s - talk.speculate_s) * _RATE)

    def _speak(self, call: _Call, now: float) -> None:
        shape, hop = self._talk.shape, self._hops * self._talk.shape.hop
        heard = round((now - call.start) * _RATE)
        while call.sent + hop + shape.right <= min(heard, call.length - 1):
            self._window(call, hop, shape.right, now)
        if not call.speculated and heard >= self._pause(call):
            call.speculated = True
            self._full(call, now)
        if heard < call.length:
            self._at(self._next(call), call)
            return
        last = self._window(call, call.length - call.sent, 0, now, last=True)
        utterance = call.utterance or _Utterance(now, 0.0)
        utterance.end = now
        utterance.due = max(utterance.due, last.deadline)
        self._waited[last] = utterance
        call.at += call.length
        pause = self._silence_s
        self._silent(call, now, self._dice.expovariate(1 / pause) if pause else 0.0)

    def _window(
        self, call: _Call, hop: int, right: int, now: float, *, last: bool = False
    ) -> Job:
        left = min(self._talk.shape.left, call.sent)
        window = _window(left, call.sent, hop, right, last)
        due = call.pacer.window(window, call.at, now)
        job = Job(
            call.number, call.serial, window, Pass.STITCHED, due, self._talk.budget_s
        )
        call.sent += hop
        self._schedule.add(job)
        return job

    def _full(self, call: _Call, now: float) -> None:
        """Begun in the pause that will end the utterance."""
        talk = self._talk
        wait_s = talk.hangover_s - talk.speculate_s
        due = call.pacer.full_pass(now, wait_s)
        call.utterance = _Utterance(now + wait_s, due)
        if not self._ladder.rung.full_passes:
            return
        window = _window(0, 0, self._pause(call), 0, True)
        budget_s = wait_s + talk.budget_s
        job = Job(call.number, call.serial, window, Pass.FULL, due, budget_s)
        try:
            self._schedule.add(job)
        except Overloaded:
            return
        call.utterance.full = job
        self._waited[job] = call.utterance

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
            self._at(now + seconds, jobs)

    def _ended(self, jobs: tuple[Job, ...], now: float) -> None:
        found, sent = self.found, self._ladder.rung.partial_every_s < inf
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

    def _finish(self, utterance: _Utterance, now: float) -> None:
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

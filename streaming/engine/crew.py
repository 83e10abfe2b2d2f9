"""The inference workers: threads that warm a model up and take turns with it.

What a turn is comes from work.py, which they share under one lock; answers go out
through `crossing`. Knows neither sockets nor event loops.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TypeAlias

from streaming.engine.warmth import Warmth, measure
from streaming.engine.work import Answer, Deliver, Turn, Work
from streaming.errors import ModelError, Overloaded
from streaming.models.model import Model
from streaming.models.passes import Failed, run_pass
from streaming.models.states import States

__all__ = ["Crew", "Crossing", "State"]

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 3_600.0  # Condition.wait takes no infinite timeout

Crossing: TypeAlias = Callable[[Callable[[], None]], object]


class State(Enum):
    """Where an engine is in its life; it only goes down this list."""

    NEW = "not started"
    WARMING = "warming up"
    RUNNING = "running"
    STOPPED = "stopped"


class Crew:
    """The workers of one engine, each with its own clone of the model.

    Args:
        work: what they do.
        states: of the model's utterances.
        crossing: carries each answer to where it is wanted.
        clock: seconds, the one that deadlines are on.

    Attributes:
        change: guards `work`; notified when there may be something to do.
        state: where the engine is in its life.
    """

    def __init__(
        self,
        work: Work,
        states: States,
        crossing: Crossing,
        clock: Callable[[], float],
    ) -> None:
        self.change = threading.Condition()
        self.state = State.NEW
        self._work = work
        self._states = states
        self._crossing = crossing
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self._broken: BaseException | None = None

    def start(self, model: Model, max_batch: int, workers: int) -> None:
        """Start the workers and warm them up; return when the costs are measured.

        Args:
            model: each worker's is a clone of it.
            max_batch: most windows in a pass.
            workers: how many.

        Raises:
            ModelError: the model does not run, or `stop` was called meanwhile.
            RuntimeError: they were started before.
        """
        warmth = Warmth(workers, stateful=model.stateful, states=self._states)
        with self.change:
            if self.state is not State.NEW:
                raise RuntimeError(
                    f"an engine starts once, this one is {self.state.value}"
                )
            self.state = State.WARMING
        try:
            for number in range(workers):
                work = partial(self._run, model.clone(), warmth, max_batch)
                name = f"inference-{number}"
                thread = threading.Thread(target=work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        except Exception as error:  # the model cannot be cloned
            self._break(error)
        with self.change:
            self.change.wait_for(lambda: self.state is not State.WARMING)
            warm = self.state is State.RUNNING
        if not warm:
            self.stop()
            reason = "it was stopped" if self._broken is None else repr(self._broken)
            raise ModelError(f"the engine did not warm up: {reason}") from self._broken

    def stop(self) -> None:
        """Let running passes end and fail the jobs that wait; join the workers.

        May be called at any time and again; answers are handed over before the
        first call returns.
        """
        with self.change:
            self.state = State.STOPPED
            left = self._work.clear()
            threads = list(self._threads)
            self.change.notify_all()
        for thread in threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join()
        self._states.close()
        # Only now, so that a stream's failed window comes after its last good one.
        for job, deliver in left:
            error = Overloaded(f"the engine stopped; {len(left)} jobs were not run")
            self.hand_over(deliver, Failed(job, error))

    def _run(self, model: Model, warmth: Warmth, max_batch: int) -> None:
        try:
            if self._warm_up(model, warmth, max_batch):
                while (turn := self._next_turn()) is not None:
                    self._take_turn(model, turn)
        finally:
            model.close()

    def _warm_up(self, model: Model, warmth: Warmth, max_batch: int) -> bool:
        """Measure along with the other workers, as busy as it will be."""
        try:
            timed = measure(model, max_batch, self._clock, warmth.learn)
        except BaseException as error:  # any failure here is start's to raise
            self._break(error)
            return False
        with self.change:
            costs = warmth.add(timed)
            if costs is not None and self.state is State.WARMING:
                self._work.schedule.costs = costs
                self.state = State.RUNNING
                self.change.notify_all()
            self.change.wait_for(lambda: self.state is not State.WARMING)
        return True

    def _break(self, error: BaseException) -> None:
        with self.change:
            self._broken = error
            self.state = State.STOPPED
            self.change.notify_all()

    def _next_turn(self) -> Turn | None:
        """Wait for something to do; None when the engine stops."""
        with self.change:
            while self.state is State.RUNNING:
                now = self._clock()
                turn = self._work.turn(now)
                if turn is not None:
                    return turn
                wake_at = self._work.schedule.wake_at()
                wait = _LONGEST_WAIT_S if wake_at is None else wake_at - now
                self.change.wait(min(max(wait, 0.0), _LONGEST_WAIT_S))
            return None

    def _take_turn(self, model: Model, turn: Turn) -> None:
        for job, deliver in turn.given_up:
            error = Overloaded("there is no room for the full pass by its deadline")
            self.hand_over(deliver, Failed(job, error))
        if not turn.run:
            return
        jobs = [job for job, _ in turn.run]
        began = self._clock()
        answers = run_pass(model, jobs, self._states)
        ended = self._clock()
        # Handed over before the schedule may begin the stream's next window.
        for (_, deliver), answer in zip(turn.run, answers, strict=True):
            self.hand_over(deliver, answer)
        failed = {each.job for each in answers if isinstance(each, Failed)}
        self._states.done(jobs, failed)  # before the streams' next windows may begin
        with self.change:
            self._work.done(jobs, failed, began, ended)
            self.change.notify_all()

    def hand_over(self, deliver: Deliver, answer: Answer) -> None:
        """Answer somebody, whatever becomes of it."""
        try:
            self._crossing(partial(deliver, answer))
        except Exception:  # a closed event loop, a reader's bug: not the worker's end
            _log.exception("an answer could not be handed over")
            with self.change:
                self._work.tally.undelivered += 1

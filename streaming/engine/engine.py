"""Starts the inference workers, hands them turns and their answers on, and ends them.

Jobs come in from any thread, answers go out through `crossing`. What there is to do
is in work.py; knows neither sockets nor event loops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TypeAlias

from streaming.config import EngineConfig
from streaming.core.costs import CostModel
from streaming.core.ladder import Strain
from streaming.core.schedule import Batching, Schedule
from streaming.core.tally import EngineStats
from streaming.engine.facts import worker_count
from streaming.engine.warmth import Warmth, measure
from streaming.engine.work import Answer, Deliver, Turn, Work
from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Job, Pass
from streaming.models.model import Model
from streaming.models.passes import Failed, run_pass
from streaming.models.states import States

__all__ = ["Crossing", "Engine"]

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 3_600.0  # Condition.wait takes no infinite timeout
_MIB = 1 << 20

Crossing: TypeAlias = Callable[[Callable[[], None]], object]


class State(Enum):
    """Where an engine is in its life; it only goes down this list."""

    NEW = "not started"
    WARMING = "warming up"
    RUNNING = "running"
    STOPPED = "stopped"


def _straight(call: Callable[[], None]) -> None:
    call()


class Engine:
    """Runs jobs on worker threads, each with its own clone of the model.

    Every job submitted is answered once, with `Logits` or `Failed`, unless `cancel`
    returned it. Windows of one stream are answered in order. All methods may be
    called from any thread; none but `start` and `stop` blocks.

    Args:
        model: stays the caller's; the engine closes only its clones.
        config: workers, batches and bounds.
        crossing: carries each answer to where it is wanted, for example
            `loop.call_soon_threadsafe`; by default `deliver` is called by the worker.
        clock: seconds, the one that deadlines are on.
        spare: workers kept free of full passes, where there are more: 0 where
            nobody waits for windows.
    """

    def __init__(
        self,
        model: Model,
        config: EngineConfig,
        *,
        crossing: Crossing = _straight,
        clock: Callable[[], float] = time.monotonic,
        spare: int = 1,
    ) -> None:
        self._model = model
        self._crossing = crossing
        self._clock = clock
        self._workers = config.workers or worker_count(model)
        self._max_batch = min(config.max_batch, model.max_batch)
        self._change = threading.Condition()  # guards everything below
        self._state = State.NEW
        self._threads: list[threading.Thread] = []
        self._broken: BaseException | None = None
        self._states = States(config.state_mib * _MIB)
        self._warmth = Warmth(
            self._workers, stateful=model.stateful, states=self._states
        )
        self._schedule = Schedule(
            Batching(model.geometry, self._max_batch, model.pads),
            CostModel(),
            workers=self._workers,
            spare=spare,
            queue_s=config.queue_s,
        )
        self._work = Work(
            self._schedule,
            self._states,
            config,
            workers=self._workers,
            stateful=model.stateful,
        )

    # --- life --------------------------------------------------------------

    def start(self) -> None:
        """Start the workers and warm them up; return when the costs are measured.

        Raises:
            ModelError: the model does not run, or `stop` was called meanwhile.
            RuntimeError: the engine was started before.
        """
        with self._change:
            if self._state is not State.NEW:
                raise RuntimeError(f"an engine starts once, this one is {self.state}")
            self._state = State.WARMING
        try:
            for number in range(self._workers):
                work = partial(self._run, self._model.clone())
                name = f"inference-{number}"
                thread = threading.Thread(target=work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        except Exception as error:  # the model cannot be cloned
            self._break(error)
        with self._change:
            self._change.wait_for(lambda: self._state is not State.WARMING)
            warm = self._state is State.RUNNING
        if not warm:
            self.stop()
            reason = "it was stopped" if self._broken is None else repr(self._broken)
            raise ModelError(f"the engine did not warm up: {reason}") from self._broken

    def stop(self) -> None:
        """Let running passes end and fail the jobs that wait; join the workers.

        May be called at any time and again; answers are handed over before the
        first call returns.
        """
        with self._change:
            self._state = State.STOPPED
            left = self._work.clear()
            threads = list(self._threads)
            self._change.notify_all()
        for thread in threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join()
        self._states.close()
        # Only now, so that a stream's failed window comes after its last good one.
        for job, deliver in left:
            error = Overloaded(f"the engine stopped; {len(left)} jobs were not run")
            self._hand_over(deliver, Failed(job, error))

    @property
    def state(self) -> str:
        """The engine's state in words."""
        return self._state.value

    @property
    def warm(self) -> bool:
        """All workers have run the model, and take jobs."""
        return self._state is State.RUNNING

    # --- jobs --------------------------------------------------------------

    def submit(self, job: Job, deliver: Deliver) -> None:
        """Have a job run; its answer comes to `deliver`, refusals too."""
        refusal: Overloaded | None = None
        with self._change:
            if self._state is State.RUNNING:
                try:
                    self._work.add(job, deliver)
                except Overloaded as error:
                    refusal = error
                else:
                    self._change.notify()
            else:
                refusal = Overloaded(f"the engine is {self.state}")
            if refusal is not None:
                self._work.tally.refused += 1
        if refusal is not None:
            self._hand_over(deliver, Failed(job, refusal))

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Forget the jobs that have not begun; return them, they get no answer.

        What the model keeps of these utterances goes too, once no window of them
        runs.
        """
        with self._change:
            jobs = self._work.cancel(cancel)
        self._states.cancel(cancel)
        return jobs

    def admit(self) -> None:
        """Is there room for one more stream?

        Raises:
            Overloaded: the engine is not running or hangs, too much audio is late,
                or no state is free.
        """
        with self._change:
            if self._state is not State.RUNNING:
                raise Overloaded(f"the engine is {self.state}")
            self._work.admit(self._clock())

    # --- what passes cost --------------------------------------------------

    @property
    def costs(self) -> CostModel:
        """Seconds of a pass by its kind and length, as measured and since observed."""
        with self._change:
            return self._schedule.costs

    def full_pass_limit(self, budget_s: float) -> int:
        """Most samples, in whole strides, of a pass within half of `budget_s`."""
        stride = self._model.geometry.stride
        return self.costs.of(Pass.FULL).longest(budget_s / 2) // stride * stride

    def least_budget_s(self, samples: int) -> float:
        """Least budget that windows of `samples` can keep."""
        return self.costs.least_budget_s(samples)

    def limit_passes(self, smallest_budget_s: float) -> None:
        """Begin no full pass and no larger batch longer than half of this.

        Args:
            smallest_budget_s: of the streams now open; infinite for none.
        """
        with self._change:
            self._schedule.longest_s = smallest_budget_s / 2
            self._change.notify_all()

    def window_limit(self, budget_s: float) -> int:
        """Most samples of a window that is run within half of `budget_s`."""
        return self.costs.window_limit(budget_s)

    def allow_full_passes(self, allowed: bool) -> None:
        """Begin full passes, or fail those that wait and come."""
        with self._change:
            self._schedule.full_passes = allowed
            self._change.notify_all()

    @property
    def most_states(self) -> int | None:
        """Utterances that may keep a state at a time; None where it is not known."""
        return self._states.held.most_states if self._model.stateful else None

    @property
    def strain(self) -> Strain:
        """How hard the engine is pressed now."""
        with self._change:
            return self._work.strain(self._clock())

    def look(self) -> str | None:
        """Why the engine is taken for hung, None where it is not.

        To be asked several times a second: only what was seen to take long is.
        """
        with self._change:
            running = self._state is State.RUNNING
            return self._work.look(self._clock()) if running else None

    @property
    def stats(self) -> EngineStats:
        """How the engine stands now."""
        with self._change:
            return self._work.stats(self._clock())

    # --- a worker ----------------------------------------------------------

    def _run(self, model: Model) -> None:
        try:
            if self._warm_up(model):
                while (turn := self._next_turn()) is not None:
                    self._take_turn(model, turn)
        finally:
            model.close()

    def _warm_up(self, model: Model) -> bool:
        """Measure along with the other workers, as busy as it will be."""
        try:
            learn = self._warmth.learn
            timed = measure(model, self._max_batch, self._clock, learn)
        except BaseException as error:  # any failure here is start's to raise
            self._break(error)
            return False
        with self._change:
            costs = self._warmth.add(timed)
            if costs is not None and self._state is State.WARMING:
                self._schedule.costs = costs
                self._state = State.RUNNING
                self._change.notify_all()
            self._change.wait_for(lambda: self._state is not State.WARMING)
        return True

    def _break(self, error: BaseException) -> None:
        with self._change:
            self._broken = error
            self._state = State.STOPPED
            self._change.notify_all()

    def _next_turn(self) -> Turn | None:
        """Wait for something to do; None when the engine stops."""
        with self._change:
            while self._state is State.RUNNING:
                now = self._clock()
                turn = self._work.turn(now)
                if turn is not None:
                    return turn
                wake_at = self._schedule.wake_at()
                wait = _LONGEST_WAIT_S if wake_at is None else wake_at - now
                self._change.wait(min(max(wait, 0.0), _LONGEST_WAIT_S))
            return None

    def _take_turn(self, model: Model, turn: Turn) -> None:
        for job, deliver in turn.given_up:
            error = Overloaded("there is no room for the full pass by its deadline")
            self._hand_over(deliver, Failed(job, error))
        if not turn.run:
            return
        jobs = [job for job, _ in turn.run]
        began = self._clock()
        answers = run_pass(model, jobs, self._states)
        ended = self._clock()
        # Handed over before the schedule may begin the stream's next window.
        for (_, deliver), answer in zip(turn.run, answers, strict=True):
            self._hand_over(deliver, answer)
        failed = {each.job for each in answers if isinstance(each, Failed)}
        self._states.done(jobs, failed)  # before the streams' next windows may begin
        with self._change:
            self._work.done(jobs, failed, began, ended)
            self._change.notify_all()

    def _hand_over(self, deliver: Deliver, answer: Answer) -> None:
        try:
            self._crossing(partial(deliver, answer))
        except Exception:  # a closed event loop, a reader's bug: not the worker's end
            _log.exception("an answer could not be handed over")
            with self._change:
                self._work.tally.undelivered += 1

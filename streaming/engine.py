"""The only threads: each worker takes what the schedule gives and runs the model.

Jobs come in from any thread, answers go out through `crossing`. Decides nothing
about order (core/schedule.py) and knows neither sockets nor event loops.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import TypeAlias

from streaming.config import EngineConfig
from streaming.core.costs import CostModel, Costs, Measured
from streaming.core.facts import ModelFacts
from streaming.core.ladder import Strain
from streaming.core.schedule import Batching, Schedule
from streaming.core.strain import StrainGauge
from streaming.core.tally import EngineStats, Tally
from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Job, Logits, Pass
from streaming.models.model import Model
from streaming.models.passes import Failed, run_pass
from streaming.models.states import States
from streaming.models.warming import time_passes, time_steps

__all__ = [
    "Answer",
    "Crossing",
    "Deliver",
    "Engine",
    "EngineStats",
    "Failed",
    "facts_of",
]

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 3_600.0  # Condition.wait takes no infinite timeout


Answer: TypeAlias = Logits | Failed
Deliver: TypeAlias = Callable[[Answer], None]
Crossing: TypeAlias = Callable[[Callable[[], None]], object]


def facts_of(model: Model) -> ModelFacts:
    """A loaded model in data."""
    return ModelFacts(
        name=model.name,
        language=model.language,
        geometry=model.geometry,
        vocabulary=model.vocabulary,
        normalise=model.normalise,
        temperature=model.temperature,
        bias=model.bias,
        stateful=model.stateful,
    )


class State(Enum):
    """Where an engine is in its life; it only goes down this list."""

    NEW = "not started"
    WARMING = "warming up"
    RUNNING = "running"
    STOPPED = "stopped"


@dataclass(slots=True)
class _Turn:
    """What a worker does next."""

    given_up: list[tuple[Job, Deliver]] = field(default_factory=list)
    run: list[tuple[Job, Deliver]] = field(default_factory=list)


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
        self._workers = config.workers or _worker_count(model)
        self._max_batch = min(config.max_batch, model.max_batch)
        self._change = threading.Condition()  # guards everything below
        self._state = State.NEW
        self._threads: list[threading.Thread] = []
        self._warming = self._workers
        self._measured: dict[Pass, list[Measured]] = {kind: [] for kind in Pass}
        self._broken: BaseException | None = None
        self._delivers: dict[Job, Deliver] = {}
        self._states = States()
        self._tally = Tally()
        self._strain = StrainGauge(self._workers)
        self._schedule = Schedule(
            Batching(model.geometry, self._max_batch, model.pads),
            CostModel(),
            workers=self._workers,
            spare=spare,
            queue_s=config.queue_s,
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
                work = partial(self._work, self._model.clone())
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
            left = self._claim(self._schedule.clear())
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
                    self._schedule.add(job)
                except Overloaded as error:
                    refusal = error
                else:
                    self._delivers[job] = deliver
                    self._change.notify()
            else:
                refusal = Overloaded(f"the engine is {self.state}")
            if refusal is not None:
                self._tally.refused += 1
        if refusal is not None:
            self._hand_over(deliver, Failed(job, refusal))

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Forget the jobs that have not begun; return them, they get no answer.

        What the model keeps of these utterances goes too, once no window of them
        runs.
        """
        with self._change:
            jobs = self._schedule.cancel(cancel)
            self._claim(jobs)
            self._tally.cancelled += len(jobs)
        self._states.cancel(cancel)
        return jobs

    def admit(self) -> None:
        """Is there room for one more stream?

        Raises:
            Overloaded: the engine is not running, or too much audio is late.
        """
        with self._change:
            if self._state is not State.RUNNING:
                raise Overloaded(f"the engine is {self.state}")
            self._schedule.admit(self._clock())

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
    def strain(self) -> Strain:
        """How hard the engine is pressed now."""
        with self._change:
            return self._strain.strain(self._schedule.most_urgent, self._clock())

    @property
    def stats(self) -> EngineStats:
        """How the engine stands now."""
        with self._change:
            stats = self._tally.stats(self._schedule, self._workers, self._clock())
        held = self._states.held
        return replace(
            stats,
            stateful=self._model.stateful,
            states=held.states,
            state_bytes=held.bytes,
            state_bytes_most=held.most_bytes,
        )

    # --- a worker ----------------------------------------------------------

    def _work(self, model: Model) -> None:
        try:
            if self._warm_up(model):
                while (turn := self._next_turn()) is not None:
                    self._take_turn(model, turn)
        finally:
            model.close()

    def _warm_up(self, model: Model) -> bool:
        """Measure along with the other workers, as busy as it will be."""
        timed: dict[Pass, list[tuple[int, int, float]]] = {}
        try:
            timed[Pass.FULL] = time_passes(model, self._max_batch, self._clock)
            if model.stateful:
                timed[Pass.STITCHED] = time_steps(model, self._max_batch, self._clock)
        except BaseException as error:  # any failure here is start's to raise
            self._break(error)
            return False
        with self._change:
            for kind, passes in timed.items():
                self._measured[kind] += (Measured(*each) for each in passes)
            self._warming -= 1
            if self._warming == 0 and self._state is State.WARMING:
                self._schedule.costs = self._fitted()
                self._state = State.RUNNING
                self._change.notify_all()
            self._change.wait_for(lambda: self._state is not State.WARMING)
        return True

    def _fitted(self) -> CostModel:
        full = Costs.fit(self._measured[Pass.FULL])
        if not self._model.stateful:
            return CostModel(windows=full)
        return CostModel(Costs.fit(self._measured[Pass.STITCHED]), full)

    def _break(self, error: BaseException) -> None:
        with self._change:
            self._broken = error
            self._state = State.STOPPED
            self._change.notify_all()

    def _next_turn(self) -> _Turn | None:
        """Wait for something to do; None when the engine stops."""
        with self._change:
            while self._state is State.RUNNING:
                now = self._clock()
                given_up = self._schedule.give_up(now)
                run = self._schedule.take(now)
                if self._model.stateful:
                    self._states.begin(run)  # before anybody may cancel them
                if run:
                    self._strain.began(run, self._schedule.filled(run), now)
                if run or given_up:
                    self._tally.given_up += len(given_up)
                    self._tally.busy += bool(run)
                    return _Turn(self._claim(given_up), self._claim(run))
                wake_at = self._schedule.wake_at()
                wait = _LONGEST_WAIT_S if wake_at is None else wake_at - now
                self._change.wait(min(max(wait, 0.0), _LONGEST_WAIT_S))
            return None

    def _take_turn(self, model: Model, turn: _Turn) -> None:
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
            self._schedule.done(jobs)
            self._strain.ended(jobs, ended)
            self._tally.passed(jobs, ended - began, ended, failed)
            if not failed:
                longest = max(len(job.window.samples) for job in jobs)
                done = Measured(longest, len(jobs), ended - began)
                costs = self._schedule.costs.observed(jobs[0].kind, done)
                self._schedule.costs = costs
            self._change.notify_all()

    def _claim(self, jobs: Sequence[Job]) -> list[tuple[Job, Deliver]]:
        """Jobs that left the schedule, each with where its answer goes."""
        return [(job, self._delivers.pop(job)) for job in jobs]

    def _hand_over(self, deliver: Deliver, answer: Answer) -> None:
        try:
            self._crossing(partial(deliver, answer))
        except Exception:  # a closed event loop, a reader's bug: not the worker's end
            _log.exception("an answer could not be handed over")
            with self._change:
                self._tally.undelivered += 1


def _worker_count(model: Model) -> int:
    """One a core where batches gain nothing, that is on a CPU; else one."""
    if model.max_batch > 1:
        return 1
    if hasattr(os, "sched_getaffinity"):  # the cores that are ours, not the machine's
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

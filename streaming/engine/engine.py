"""What runs the jobs of all streams: jobs come in from any thread, and are answered.

What there is to do is in work.py, who does it in crew.py; knows neither sockets nor
event loops.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from streaming.config import EngineConfig
from streaming.core.costs import CostModel
from streaming.core.ladder import Strain
from streaming.core.schedule import Batching, Schedule
from streaming.core.tally import EngineStats
from streaming.engine.crew import Crew, Crossing, State
from streaming.engine.facts import worker_count
from streaming.engine.work import Deliver, Work
from streaming.errors import Overloaded
from streaming.events import Cancel, Job, Pass
from streaming.models.model import Model
from streaming.models.passes import Failed
from streaming.models.states import States

__all__ = ["Crossing", "Engine"]

_MIB = 1 << 20


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
        self._clock = clock
        self._workers = config.workers or worker_count(model)
        self._max_batch = min(config.max_batch, model.max_batch)
        self._states = States(config.state_mib * _MIB)
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
        self._crew = Crew(self._work, self._states, crossing, clock)
        self._change = self._crew.change  # guards the work

    # --- life --------------------------------------------------------------

    def start(self) -> None:
        """Start the workers and warm them up; return when the costs are measured.

        Raises:
            ModelError: the model does not run, or `stop` was called meanwhile.
            RuntimeError: the engine was started before.
        """
        self._crew.start(self._model, self._max_batch, self._workers)

    def stop(self) -> None:
        """Let running passes end and fail the jobs that wait; join the workers.

        May be called at any time and again; answers are handed over before the
        first call returns.
        """
        self._crew.stop()

    @property
    def state(self) -> str:
        """The engine's state in words."""
        return self._crew.state.value

    @property
    def warm(self) -> bool:
        """All workers have run the model, and take jobs."""
        return self._crew.state is State.RUNNING

    # --- jobs --------------------------------------------------------------

    def submit(self, job: Job, deliver: Deliver) -> None:
        """Have a job run; its answer comes to `deliver`, refusals too."""
        refusal: Overloaded | None = None
        with self._change:
            if self._crew.state is State.RUNNING:
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
            self._crew.hand_over(deliver, Failed(job, refusal))

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
            if self._crew.state is not State.RUNNING:
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
            running = self._crew.state is State.RUNNING
            return self._work.look(self._clock()) if running else None

    @property
    def stats(self) -> EngineStats:
        """How the engine stands now."""
        with self._change:
            return self._work.stats(self._clock())

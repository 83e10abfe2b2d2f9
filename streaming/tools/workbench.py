"""A model behind its engine, for work that nobody waits for.

Loads once, then runs sessions and whole passes as fast as the machine does. The
engine's answers come through a queue to the one thread that uses the bench: no
sockets, no event loop. Knows nothing of files or of what is measured.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import assert_never

import numpy as np

from streaming.config import Config, StreamConfig
from streaming.core.normalise import normalised
from streaming.core.session import Session
from streaming.engine import Answer, Engine, Failed, facts_of
from streaming.events import Cancel, Job, LogitRows, Logits, Pass, Samples, Window
from streaming.models.loading import load_model
from streaming.models.model import Model
from streaming.models.vad import load_detector

__all__ = ["LONGEST_PASS_S", "Workbench", "open_workbench"]

LONGEST_PASS_S = 30.0
"""Audio that one full-context pass may hold: its attention grows with the square."""

# Deadlines lie this far off, so that no full pass is given up for being late.
_PATIENCE_S = 3_600.0
_PATIENT_QUEUE_S = 100_000.0


@dataclass(slots=True)
class _Asked:
    """A pass that was submitted; `answer` is None until it has been run."""

    answer: Answer | None = None


class Workbench:
    """Runs sessions and passes; one thread uses it.

    Args:
        model: stays the caller's.
        config: engine and stream settings.
        longest_pass_s: audio that one full-context pass may hold.

    Attributes:
        facts: the model in data.
        together: sessions or passes that keep every worker busy.
    """

    def __init__(
        self, model: Model, config: Config, longest_pass_s: float = LONGEST_PASS_S
    ) -> None:
        self.facts = facts_of(model)
        # More than there are workers, so that none waits for this thread.
        self.together = 2 * model.max_batch + 2
        self._longest = int(longest_pass_s * model.geometry.sample_rate)
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._numbers = itertools.count()
        self.engine = Engine(
            model,
            replace(config.engine, queue_s=_PATIENT_QUEUE_S),
            crossing=self._calls.put,
            spare=0,  # nobody waits for windows
        )

    @property
    def longest_pass(self) -> int:
        """Most samples of one full-context pass."""
        return self._longest

    def now(self) -> float:
        """The time to tell sessions: an hour from now by the engine's clock."""
        return time.monotonic() + _PATIENCE_S

    def session(self, config: StreamConfig) -> Session:
        """A new session, the very one that the server runs."""
        first = next(self._numbers)
        for _ in range(config.audio.channels - 1):
            next(self._numbers)
        detector = load_detector(config.gate, self.facts.geometry.sample_rate)
        return Session(config, self.facts, first, detector, self._longest)

    def submit(self, job: Job, deliver: Callable[[Answer], None]) -> None:
        """Have a job run; `deliver` is called within a later `turn`."""
        self.engine.submit(job, deliver)

    def cancel(self, cancel: Cancel) -> int:
        """Forget jobs that have not begun; how many there were."""
        return len(self.engine.cancel(cancel))

    def turn(self) -> None:
        """Wait for one answer of the engine, and deliver it."""
        self._calls.get()()

    def passes(self, spans: Iterable[Samples]) -> Iterator[LogitRows]:
        """One full-context pass over each span, in order.

        Args:
            spans: `(n,)` each, at the model's rate, not normalised.

        Yields:
            `(steps(n), labels)`, float32.

        Raises:
            ModelError: a pass failed.
        """
        coming = iter(spans)
        asked: deque[_Asked] = deque()
        while True:
            while (
                len(asked) < self.together and (span := next(coming, None)) is not None
            ):
                asked.append(self._ask(span))
            if not asked:
                return
            while asked[0].answer is None:
                self.turn()
            match asked.popleft().answer:
                case Logits(rows=rows):
                    yield rows
                case Failed(error=error):
                    raise error
                case None:
                    raise RuntimeError("waited for an answer and has none")
                case other:
                    assert_never(other)

    def _ask(self, span: Samples) -> _Asked:
        asked = _Asked()
        samples = normalised(span, self.facts.normalise)
        window = Window(samples, start=0, left=0, hop=len(span), right=0, last=True)
        job = Job(next(self._numbers), 0, window, Pass.FULL, self.now())
        if not len(span):
            labels = len(self.facts.vocabulary.labels)
            asked.answer = Logits(job, np.zeros((0, labels), np.float32))
            return asked

        def answered(answer: Answer) -> None:
            asked.answer = answer

        self.engine.submit(job, answered)
        return asked


@contextmanager
def open_workbench(
    config: Config,
    *,
    model: Model | None = None,
    longest_pass_s: float = LONGEST_PASS_S,
) -> Iterator[Workbench]:
    """A warm workbench for a block of code.

    Args:
        config: which model, engine and stream settings.
        model: used instead of the one the config names; stays the caller's.
        longest_pass_s: audio that one full-context pass may hold.

    Raises:
        ConfigError, ModelError: the model cannot be loaded or run.
    """
    own = load_model(config.model, config.stream.window) if model is None else model
    bench = Workbench(own, config, longest_pass_s)
    try:
        bench.engine.start()
        yield bench
    finally:
        bench.engine.stop()
        if model is None:
            own.close()

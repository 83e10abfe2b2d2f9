"""The work of one session: its steps, their jobs to the engine, their words out.

Ends when nothing is pending, or for a bug of ours. Knows no connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from streaming.core.session import Session
from streaming.engine import Answer, Failed
from streaming.errors import WavestitchError
from streaming.events import Cancel, Configured, Effect, Job, Refused
from streaming.server.accounts import Accounts
from streaming.server.surroundings import Surroundings
from streaming.server.telling import Telling

__all__ = ["Hooks", "Work"]

_log = logging.getLogger("wavestitch")


@dataclass(frozen=True, slots=True)
class Hooks:
    """What becomes of a step.

    Attributes:
        refuse: called with the error that ends the conversation.
        stepped: called when something may be due at another time.
        ended: called once, when nothing is pending.
    """

    refuse: Callable[[Exception], None]
    stepped: Callable[[], None]
    ended: Callable[[], None]


class Work:
    """A session, at work.

    Args:
        session: its pure half.
        around: what it goes by.
        telling: where its words go.
        accounts: what became of its audio.
        budget_ms: its budget.
        hooks: what becomes of a step.

    Attributes:
        budget_ms: its budget now.
        ended: nothing is pending.
        roomy: not so much is undecoded that no more may be read.
    """

    def __init__(
        self,
        session: Session,
        around: Surroundings,
        telling: Telling,
        accounts: Accounts,
        budget_ms: int,
        hooks: Hooks,
    ) -> None:
        self.budget_ms = budget_ms
        self.ended = False
        self.roomy = asyncio.Event()
        self.roomy.set()
        self._session = session
        self._around = around
        self._telling = telling
        self._accounts = accounts
        self._hooks = hooks
        self._numbers: set[int] = set()  # of its streams, to the engine

    def step(self, step: Callable[[], list[Effect]], *, light: bool = False) -> None:
        """Take a step of the session; a light one often brings nothing about."""
        if self.ended:
            return
        try:
            effects = step()
            self._apply(effects)
            light = light and not effects
        except WavestitchError as error:
            self._hooks.refuse(error)
            light = False
        except Exception as error:
            self._break(error)
        if not light:
            self.look()

    def look(self) -> None:
        """See how it stands after a step."""
        if self.ended:
            return
        self._accounts.update()
        if (error := self._telling.overfull()) is not None:
            self._hooks.refuse(error)
        if self._session.finished:
            self._end()
        elif self._session.backlog_s > self._around.limits.backlog_s:
            self.roomy.clear()
        else:
            self.roomy.set()
        self._hooks.stepped()

    def _apply(self, effects: list[Effect]) -> None:
        engine, telling = self._around.engine, self._telling
        fatal: Exception | None = None
        for effect in effects:
            match effect:
                case Job():
                    self._numbers.add(effect.stream)
                    engine.submit(effect, self._answered)
                case Cancel():
                    engine.cancel(effect)
                case Refused(error=error, fatal=True):
                    fatal = error
                case Refused():
                    telling.tell_all(telling.answers.refuse_owed(Configured, effect))
                case Configured(budget_ms=budget_ms):
                    self.budget_ms = budget_ms
                    self._around.on_budget()
                    telling.tell(effect)
                case _:
                    telling.tell(effect)
        if fatal is not None:
            self._hooks.refuse(fatal)

    def _answered(self, answer: Answer) -> None:
        now = self._around.clock()
        if isinstance(answer, Failed):
            self.step(lambda: self._session.failed(answer.job, answer.error))
            return
        lateness = max(0.0, now - answer.job.deadline)
        self._around.metrics.lateness.observe(lateness)
        self.step(lambda: self._session.decoded(answer, now))

    def _break(self, error: Exception) -> None:
        """A bug in our own code: this session can only be cut off."""
        _log.error("a session broke", exc_info=error)
        self._hooks.refuse(error)
        self._end()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        for number in self._numbers:  # what a model keeps of it goes, whatever ended it
            self._around.engine.cancel(Cancel(number, None))
        self._accounts.close()
        self.roomy.set()
        self._telling.end()
        self._around.metrics.ended.labels(self._telling.reason).inc()
        self._hooks.ended()
        self._around.on_budget()

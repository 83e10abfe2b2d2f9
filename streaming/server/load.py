"""Keeps a server on the rung of the load ladder that the engine's strain asks for.

Measures a few times a second, tells engine, sessions, metrics and log of each
change, and says whether there is room for one more stream. What the rungs are
and when they change is decided in core/ladder.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from streaming.config import LimitConfig
from streaming.core.ladder import Ladder, Rung
from streaming.errors import Overloaded
from streaming.server.inference import Inference
from streaming.server.metrics import Metrics
from streaming.server.sessions import Sessions
from streaming.server.stream import Stream

__all__ = ["LoadWatch"]

_log = logging.getLogger("wavestitch")

_TICK_S = 0.2

# Where all seats are taken: calls end when they end.
_FULL_RETRY_S = 10.0


class LoadWatch:
    """One server's place on the ladder.

    Args:
        limits: how many streams may be open, and speak.
        sessions: who is told.
        metrics: where it shows.
        clock: seconds, the engine's too.
        ladder: the table.

    Attributes:
        hung: why the engine is taken for hung; None where it is not.
    """

    def __init__(
        self,
        limits: LimitConfig,
        sessions: Sessions,
        metrics: Metrics,
        clock: Callable[[], float],
        ladder: Ladder | None = None,
    ) -> None:
        self.hung: str | None = None
        self._most_states: int | None = None
        self._limits = limits
        self._sessions = sessions
        self._metrics = metrics
        self._clock = clock
        self._ladder = ladder or Ladder()

    @property
    def rung(self) -> Rung:
        """The rung in force."""
        return self._ladder.rung

    @property
    def number(self) -> int:
        """Its number; 0 is normal."""
        return self._ladder.number

    async def run(self, engine: Inference) -> None:
        """Watch an engine until cancelled."""
        while True:
            try:
                self.step(engine)
            except Exception:  # a bug here must not freeze the ladder where it stands
                _log.exception("the load could not be judged")
            await asyncio.sleep(_TICK_S)

    def step(self, engine: Inference) -> None:
        """Measure once, and go by what comes of it."""
        self.hung, self._most_states = engine.look(), engine.most_states
        strain = engine.strain
        before = self.rung
        rung = self._ladder.step(strain, self._clock())
        self._metrics.load_used.set(strain.used)
        self._metrics.load_busy.set(strain.busy)
        if rung is before:
            return
        self._metrics.load_rung.set(self._ladder.number)
        self._metrics.load_transitions.labels(rung.level).inc()
        _log.info(
            "load: %s -> %s (windows take %.0f %% of their budget, workers are busy "
            "%.0f %% of the time, %.0f %% with full batches)",
            before.level,
            rung.level,
            100 * strain.used,
            100 * strain.busy,
            100 * strain.needed,
        )
        engine.allow_full_passes(rung.full_passes)
        longest = engine.window_limit(self._smallest_budget_s())
        for stream in list(self._sessions):
            stream.ease(rung, longest)

    def welcome(self, stream: Stream, engine: Inference) -> None:
        """A stream was opened: it goes by the rung in force, and is told."""
        if self._ladder.number:
            stream.ease(self.rung, engine.window_limit(self._smallest_budget_s()))

    def admit(self, channels: int) -> None:
        """Is there room for as many streams more?

        Raises:
            Overloaded: the ladder says no, a limit would be passed, or the engine has
                no room for the state of each.
        """
        if not self.rung.admits:
            raise Overloaded(
                "the server does all it can for the streams that it has",
                self._ladder.retry_after_s(self._clock()),
            )
        most = self._limits.max_streams
        if most and (held := sum(s.channels for s in self._sessions)) + channels > most:
            raise Overloaded(
                f"{held} of {most} streams are open, {channels} more would be too many",
                _FULL_RETRY_S,
            )
        most = self._most_states or 0
        if most and (held := sum(s.channels for s in self._sessions)) + channels > most:
            raise Overloaded(
                f"{held} streams are open, there is room for the states of {most}",
                _FULL_RETRY_S,
            )
        most = self._limits.max_speaking_streams
        if most and (held := sum(s.speaking for s in self._sessions)) + channels > most:
            raise Overloaded(
                f"{held} streams speak now, at most {most} may", _FULL_RETRY_S
            )

    def _smallest_budget_s(self) -> float:
        return self._sessions.smallest_budget_ms() / 1_000

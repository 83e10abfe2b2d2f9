"""What a warm server serves with; composed by the app, or by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from streaming.config import StreamConfig
from streaming.core.facts import ModelFacts
from streaming.engine import Engine
from streaming.events import ClientEvent, Effect, Job, Logits, Totals
from streaming.protocols.adapter import Offer

__all__ = ["Backend", "Talk"]


class Talk(Protocol):
    """What the server asks of `streaming.core.session.Session`.

    Every step takes the clock's `now` and returns what is to be done and said.
    """

    @property
    def backlog_s(self) -> float:
        """Undecoded audio."""
        ...

    @property
    def totals(self) -> tuple[Totals, ...]:
        """What became of the samples so far, for each channel."""
        ...

    @property
    def finished(self) -> bool:
        """Nothing is pending, and the totals are final."""
        ...

    def receive(self, event: ClientEvent, now: float) -> list[Effect]:
        """Take an event of the client."""
        ...

    def decoded(self, logits: Logits, now: float) -> list[Effect]:
        """Take a result of the engine."""
        ...

    def failed(self, job: Job, error: Exception, now: float) -> list[Effect]:
        """A job brought no result."""
        ...

    def wake_at(self) -> float | None:
        """When `wake` is wanted."""
        ...

    def wake(self, now: float) -> list[Effect]:
        """That time has come."""
        ...

    def abandon(self, now: float) -> list[Effect]:
        """The client is gone: make the tail final and count it."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """A loaded model at work.

    Attributes:
        facts: what it is.
        engine: what runs it, warm.
        open_session: config, first stream number and the longest full pass in
            samples to a new session.
    """

    facts: ModelFacts
    engine: Engine
    open_session: Callable[[StreamConfig, int, int], Talk]

    def smallest_budget_ms(self, config: StreamConfig) -> int:
        """The smallest budget that windows of this shape can keep here and now."""
        window = config.window
        longest_ms = window.left_ms + window.hop_ms + window.right_ms
        samples = self.facts.geometry.samples_of_ms(longest_ms)
        return ceil(self.engine.least_budget_s(samples) * 1_000)

    def offer(self, defaults: StreamConfig) -> Offer:
        """What a new stream can have."""
        return Offer(
            defaults=defaults,
            languages=(self.facts.language,),
            smallest_budget_ms=lambda: self.smallest_budget_ms(defaults),
        )

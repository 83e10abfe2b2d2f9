"""What a warm server serves with; composed by the app, or by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from streaming.config import StreamConfig
from streaming.core.facts import ModelFacts
from streaming.core.session import Session
from streaming.engine import Engine
from streaming.protocols.adapter import Offer

__all__ = ["Backend"]


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
    open_session: Callable[[StreamConfig, int, int], Session]

    def smallest_budget_ms(self, config: StreamConfig) -> int:
        """The smallest budget that windows of this shape can keep here and now."""
        window = config.window
        left_ms = 0 if self.facts.stateful else window.left(stateful=False)
        longest_ms = left_ms + window.hop_ms + window.right_ms
        samples = self.facts.geometry.samples_of_ms(longest_ms)
        return ceil(self.engine.least_budget_s(samples) * 1_000)

    def offer(self, defaults: StreamConfig) -> Offer:
        """What a new stream can have."""
        return Offer(
            defaults=defaults,
            languages=(self.facts.language,),
            smallest_budget_ms=lambda: self.smallest_budget_ms(defaults),
        )

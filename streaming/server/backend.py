"""What a warm server serves with; composed by the app, or by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import ceil

from streaming.config import GateConfig, StreamConfig
from streaming.core.facts import ModelFacts
from streaming.core.session import Session
from streaming.models.vad import Detector, load_detector
from streaming.protocols.adapter import Offer
from streaming.server.inference import Inference

__all__ = ["Backend", "session_maker"]


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
    engine: Inference
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
            model=self.facts.name,
            space=self.facts.vocabulary.space,
        )


def session_maker(facts: ModelFacts) -> Callable[[StreamConfig, int, int], Session]:
    """What opens a session: its detectors share what they can."""
    rate = facts.geometry.sample_rate

    @cache  # of the settings that a client can choose there are four
    def detector(vad: str, vad_mode: int) -> Detector:
        return load_detector(GateConfig(vad=vad, vad_mode=vad_mode), rate)

    def open_session(config: StreamConfig, first: int, full_pass_limit: int) -> Session:
        vad = detector(config.gate.vad, config.gate.vad_mode)
        return Session(config, facts, first, vad, full_pass_limit)

    return open_session

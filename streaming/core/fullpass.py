"""Which full-context passes a stream asks for, and when.

One is begun in a pause, so that it is ready when the endpoint fires; where speech
goes on it is wanted no more. What it does not see must be silence, else it is
asked for again. Knows utterances and deadlines; not what runs the passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streaming.config import DecoderConfig, Finals
from streaming.core.facts import ModelFacts
from streaming.core.normalise import normalised
from streaming.core.pacing import Pacer
from streaming.core.utterance import FullPass, Utterance
from streaming.events import Cancel, Effect, Job, Pass, Samples, Window

__all__ = ["FullPasses"]


@dataclass(frozen=True, slots=True)
class FullPasses:
    """The policy of one stream; every method returns what is to be done.

    What is asked for follows from the samples alone, never from how far the
    engine has come: so a late answer to a pass that was dropped is ignored, and
    the pass is asked for again, even if it would have done.

    Attributes:
        number: the stream's, engine-wide.
        config: how finals are made.
        facts: the model's.
        limit: most samples of a pass that the machine affords; 0 for none now.
        pacer: the stream's deadlines.
        between: the samples of a span of the stream.
    """

    number: int
    config: DecoderConfig
    facts: ModelFacts
    limit: int
    pacer: Pacer
    between: Callable[[int, int], Samples]

    def paused(self, utterance: Utterance, at: int, now: float) -> list[Effect]:
        """Silence has lasted a while, and the utterance may end: speculate."""
        every = self.config.speculate_every_s * self.facts.geometry.sample_rate
        tried = utterance.full_tried
        if tried and at - utterance.start - tried < every:
            return []
        hangover_ms = utterance.gate.hangover_ms
        wait_ms = hangover_ms - min(self.config.speculate_ms, hangover_ms)
        return self._ask(utterance, at, now, wait_ms / 1000)

    def resumed(self, utterance: Utterance) -> list[Effect]:
        """Speech goes on after a pause: what was begun in it lacks words."""
        return self._drop(utterance)

    def ended(self, utterance: Utterance, now: float) -> list[Effect]:
        """The utterance has ended: see that its pass saw all of its speech.

        Asked again when all its windows are decoded, as only then it is known
        where the decoder heard the last of it.
        """
        if utterance.full_covers():
            return []
        end = utterance.start + utterance.length
        return self._ask(utterance, end, now)

    def cut(self, utterance: Utterance, now: float) -> list[Effect]:
        """The decoder ended the utterance; all its jobs were cancelled before."""
        utterance.drop_full()
        return self.ended(utterance, now)

    def _ask(
        self, utterance: Utterance, end: int, now: float, wait_s: float = 0.0
    ) -> list[Effect]:
        # Dropped even where no new one is to be had: the old one lacks words.
        effects = self._drop(utterance)
        length = end - utterance.start
        if self.config.finals is Finals.STITCHED or not 0 < length <= self.limit:
            return effects
        samples = normalised(self.between(utterance.start, end), self.facts.normalise)
        window = Window(samples, start=0, left=0, hop=length, right=0, last=True)
        deadline = self.pacer.full_pass(now, wait_s)
        budget_s = wait_s + self.pacer.budget_s
        job = Job(self.number, utterance.serial, window, Pass.FULL, deadline, budget_s)
        utterance.ask_full(job)
        return [*effects, job]

    def _drop(self, utterance: Utterance) -> list[Effect]:
        asked = utterance.full is FullPass.ASKED
        utterance.drop_full()
        return [Cancel(self.number, utterance.serial, Pass.FULL)] if asked else []

"""The utterances of a channel that are not final yet, and what is ripe of them.

An utterance's events wait until the one before it is final and its epoch is open;
its audio is settled when it is final. Knows neither gate nor engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from streaming.config import StreamConfig
from streaming.core.ladder import Rung
from streaming.core.ledger import Ledger
from streaming.core.reporting import Reporter
from streaming.core.turns import Closed
from streaming.core.utterance import FullPass, Utterance
from streaming.events import EndReason, ServerEvent

__all__ = ["Pending"]


class Pending:
    """Utterances in the order in which they began; make one per channel.

    Args:
        reporter: makes the events of the channel.
        ledger: where its samples are accounted for.
    """

    def __init__(self, reporter: Reporter, ledger: Ledger) -> None:
        self._reporter = reporter
        self._ledger = ledger
        self._by_serial: dict[int, Utterance] = {}
        self._next_serial = 0
        self._open_epoch = 0

    def __iter__(self) -> Iterator[Utterance]:
        """Oldest first; what is added or removed meanwhile does not matter."""
        return iter(list(self._by_serial.values()))

    @property
    def outstanding(self) -> int:
        """Samples in windows whose logits are not in."""
        return sum(u.outstanding for u in self._by_serial.values())

    def next_serial(self) -> int:
        """A number that no utterance of the channel has had."""
        self._next_serial += 1
        return self._next_serial - 1

    def add(self, utterance: Utterance) -> None:
        """It has begun."""
        self._by_serial[utterance.serial] = utterance

    def get(self, serial: int) -> Utterance | None:
        """The one with this number, unless it is final or was discarded."""
        return self._by_serial.get(serial)

    def since(self, utterance: Utterance) -> list[Utterance]:
        """It and those that began after it."""
        return [u for u in self if u.serial >= utterance.serial]

    def discard(self, utterance: Utterance) -> None:
        """It never was."""
        del self._by_serial[utterance.serial]

    def settled(self, epoch: int) -> bool:
        """Every utterance before the end of this epoch is final."""
        return all(u.epoch > epoch for u in self._by_serial.values())

    def release(self, epoch: int) -> None:
        """Let the client see the utterances up to this epoch."""
        self._open_epoch = epoch

    def ripe(self, config: StreamConfig, rung: Rung) -> list[ServerEvent]:
        """What the client can be told now; utterances that are final are gone.

        Args:
            config: what it wants to be told.
            rung: how much the machine affords to tell.
        """
        events: list[ServerEvent | None] = []
        for utterance in self:
            if utterance.epoch > self._open_epoch:
                break
            events.append(self._reporter.started(utterance))
            final = utterance.complete and utterance.full is not FullPass.ASKED
            if config.partials and rung.partial_every_s < inf and not final:
                partial = self._reporter.partial(utterance, rung.partial_every_s)
                events.append(partial)
            if utterance.complete:
                events.append(self._reporter.ended(utterance))
            if not final:
                break
            events.append(self._final(utterance, config))
            self._ledger.decoded(utterance.start + utterance.length)
        return [event for event in events if event is not None]

    def gate(self, until: int) -> int:
        """Settle what lies before the first utterance as not speech.

        Args:
            until: position before which no later utterance begins.

        Returns:
            The position before which nothing is asked for again.
        """
        first = next(iter(self._by_serial.values()), None)
        until = first.start if first else until
        self._ledger.gated(until)
        return until

    def give_up(
        self, config: StreamConfig, end: int, settled: int, reason: str
    ) -> list[ServerEvent]:
        """End every utterance with what there is; the rest of the audio is dropped.

        Args:
            config: what the client wants to be told.
            end: position after the last sample that came.
            settled: position before which no later utterance would begin.
            reason: why.
        """
        events: list[ServerEvent | None] = []
        last = 0
        for utterance in self:
            last = utterance.closed.end if utterance.closed else end
            utterance.closed = utterance.closed or Closed(last, last, EndReason.FINISH)
            utterance.full = FullPass.FAILED
            events.append(self._reporter.started(utterance))
            events.append(self._reporter.ended(utterance))
            events.append(self._final(utterance, config))
            kept = min(last, utterance.start + utterance.decoder.kept_samples)
            self._ledger.decoded(kept)
            self._ledger.dropped(last, reason)
        self._ledger.gated(max(last, settled))
        self._ledger.dropped(end, reason)
        return [event for event in events if event is not None]

    def _final(self, utterance: Utterance, config: StreamConfig) -> ServerEvent:
        self._ledger.gated(utterance.start)
        final = self._reporter.final(utterance, words=config.words)
        self.discard(utterance)
        return final

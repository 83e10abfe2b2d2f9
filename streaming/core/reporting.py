"""What the client is told of a channel's utterances, in which order.

Each gets its number when it is its turn; then partials, the end of its speech and
one final. Decides nothing about audio.
"""

from __future__ import annotations

from dataclasses import replace

from streaming.core.utterance import Utterance
from streaming.events import EndReason, Final, Partial, SpeechEnded, SpeechStarted

__all__ = ["Reporter"]

_CLOSE_S = 1e-6  # seconds that stand for samples are not exact


class Reporter:
    """Makes the events of one channel.

    Args:
        channel: the client's.
        rate: samples per second of positions.
    """

    def __init__(self, channel: int, rate: int) -> None:
        self._channel = channel
        self._rate = rate
        self._next_number = 0

    def started(self, utterance: Utterance) -> SpeechStarted | None:
        """Its number, unless the client knows it."""
        if utterance.number is not None:
            return None
        utterance.number = self._next_number
        self._next_number += 1
        at = utterance.at / self._rate
        return SpeechStarted(self._channel, utterance.number, at)

    def partial(self, utterance: Utterance, every_s: float = 0.0) -> Partial | None:
        """Its hypothesis, unless there is none or the client knows the same.

        Text that was shown and is taken back is told: the empty text is news then.

        Args:
            utterance: of which.
            every_s: least audio between two partials; the latest counts.
        """
        if utterance.closed and utterance.closed.reason is EndReason.BLANK:
            return None  # it would cover less than the one before, and the final comes
        hypothesis = utterance.decoder.hypothesis
        end = (utterance.start + hypothesis.end_sample) / self._rate
        last = utterance.shown
        early = last is not None and 0 < every_s > end - last.end + _CLOSE_S
        if hypothesis is utterance.weighed or early:
            return None  # asked at every message, changed by every window
        utterance.weighed = hypothesis
        if not hypothesis.text and utterance.shown is None:
            return None
        partial = Partial(
            channel=self._channel,
            utterance=self._number(utterance),
            text=hypothesis.text,
            stable=hypothesis.stable,
            start=utterance.start / self._rate,
            end=end,
        )
        if last is not None and replace(partial, end=last.end) == last:
            return None
        utterance.shown = partial
        return partial

    def ended(self, utterance: Utterance) -> SpeechEnded | None:
        """Where its speech ended, unless it goes on or the client knows it."""
        if utterance.closed is None or utterance.end_told:
            return None
        utterance.end_told = True
        return SpeechEnded(
            self._channel,
            self._number(utterance),
            utterance.closed.speech_end / self._rate,
            utterance.closed.reason,
        )

    def final(self, utterance: Utterance, *, words: bool) -> Final:
        """Its text, once it is complete."""
        decoded, made_by, length = utterance.text()
        return Final(
            channel=self._channel,
            utterance=self._number(utterance),
            text=decoded.text,
            start=utterance.start / self._rate,
            end=(utterance.start + length) / self._rate,
            confidence=decoded.confidence,
            made_by=made_by,
            words=decoded.words if words else (),
        )

    def _number(self, utterance: Utterance) -> int:
        if utterance.number is None:
            raise RuntimeError(f"utterance {utterance.serial} was not announced")
        return utterance.number

"""What became of every sample of one channel, at the rate it came in.

Positions arrive at the model's rate, in spans settled one after another; each is
turned into a position at the input rate once, so spans tile the input exactly
whatever the two rates. Knows nothing of why audio was decoded or dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streaming.events import Totals

__all__ = ["Dropped", "Ledger"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Audio that was lost, in samples at the input rate: `[start, end)`."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A position of the model's that is known to be one of the input's."""

    model: int
    input: int


class Ledger:
    """Count the samples of one channel; make one per channel.

    Between anchors a model position is `(p - model) * input_rate // model_rate`
    input samples past the last anchor before it: exact integers, so nothing adds
    up over hours. Spans must be settled in order and may be empty.

    Args:
        input_rate: samples a second as they come in.
        model_rate: samples a second of the positions.
    """

    def __init__(self, input_rate: int, model_rate: int) -> None:
        self._input_rate = input_rate
        self._model_rate = model_rate
        self._received = 0
        self._concealed = 0
        self._decoded = 0
        self._gated = 0
        self._dropped = 0
        self._late = 0
        self._late_from = 0
        self._dropped_ranges: list[Dropped] = []
        self._anchors = deque([_Anchor(0, 0)])
        self._until = 0  # settled so far, at the model's rate
        self._settled = 0  # and at the input's
        self._closed = False

    @property
    def totals(self) -> Totals:
        """The counts so far; they add up but for what is pending."""
        return Totals(
            received=self._received + self._late,
            decoded=self._decoded,
            gated=self._gated,
            dropped=self._dropped + self._late,
            concealed=self._concealed,
        )

    @property
    def pending(self) -> int:
        """Input samples that came or were concealed and are not settled."""
        return self._come - self._settled

    @property
    def dropped_ranges(self) -> tuple[Dropped, ...]:
        """What was dropped, in order; neighbours of one reason are joined.

        Samples that came late have no place of their own: they are told at last, as
        one range from where the first of them came.
        """
        start, end = self._late_from, self._late_from + self._late
        late = (Dropped(start, end, "late"),) if self._late else ()
        return (*self._dropped_ranges, *late)

    def received(self, count: int) -> None:
        """Count input samples that came."""
        self._insist_open()
        self._received += count

    def concealed(self, count: int) -> None:
        """Count input samples that were made up for lost ones, in their place."""
        self._insist_open()
        self._concealed += count

    def made_up(self, count: int) -> None:
        """Say that so many of the samples that came were made up for lost ones."""
        self._insist_open()
        count = min(count, self._received)
        self._received -= count
        self._concealed += count

    def late(self, count: int) -> None:
        """Count input samples that came when others stood for them already.

        They are received and dropped at once, and take no place: that is taken.
        """
        self._insist_open()
        if not self._late:
            self._late_from = self._come
        self._late += count

    def anchor(self, model: int) -> None:
        """Say that all input so far ends at model position `model`.

        True once the resampler was drained; say it before settling up to there.
        Input too short to give one model sample goes to whichever span is settled
        next up to here, were it empty.

        Raises:
            ValueError: a later position was settled or anchored before.
        """
        self._insist_open()
        least = max(self._until, self._anchors[-1].model)
        if model < least:
            raise ValueError(f"cannot anchor at {model}: positions are at {least}")
        self._anchors.append(_Anchor(model, self._come))

    def decoded(self, until: int) -> None:
        """Settle what is pending before model position `until` as decoded."""
        start, end = self._settle(until)
        self._decoded += end - start

    def gated(self, until: int) -> None:
        """Settle what is pending before model position `until` as not speech."""
        start, end = self._settle(until)
        self._gated += end - start

    def dropped(self, until: int, reason: str) -> None:
        """Settle what is pending before model position `until` as dropped."""
        self._drop(*self._settle(until), reason)

    def close(self, reason: str = "unsettled") -> None:
        """End the count: what is still pending is dropped for `reason`.

        After an anchor at the end and a span settled up to it nothing is.
        """
        self._insist_open()
        self._drop(self._settled, self._come, reason)
        self._settled = self._come
        self._closed = True

    @property
    def _come(self) -> int:
        return self._received + self._concealed

    def _settle(self, until: int) -> tuple[int, int]:
        self._insist_open()
        if until < self._until:
            raise ValueError(
                f"cannot settle up to {until}: spans are settled up to {self._until}"
            )
        start = self._settled
        self._settled = max(start, self._input_position(until))
        self._until = until
        return start, self._settled

    def _input_position(self, model: int) -> int:
        while len(self._anchors) > 1 and self._anchors[1].model <= model:
            self._anchors.popleft()  # spans come in order: never asked again
        last = self._anchors[0]
        # A resampler may round its last sample up: never past what came.
        limit = self._anchors[1].input if len(self._anchors) > 1 else self._come
        ahead = (model - last.model) * self._input_rate // self._model_rate
        return min(limit, last.input + ahead)

    def _drop(self, start: int, end: int, reason: str) -> None:
        if start == end:
            return
        self._dropped += end - start
        ranges = self._dropped_ranges
        if ranges and (ranges[-1].end, ranges[-1].reason) == (start, reason):
            start = ranges.pop().start
        ranges.append(Dropped(start, end, reason))

    def _insist_open(self) -> None:
        if self._closed:
            raise ValueError(f"the ledger was closed at input sample {self._come}")

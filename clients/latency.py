"""How long a listener waited: latencies of one paced stream, in seconds.

    partial        arrival of the last sample a partial covers -> the partial
    first word     onset -> first partial or final with text
    finalization   end of speech -> the final (the configured silence included)

Told when audio was sent and when events came; reads no clock itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from clients.events import Event, Final, Partial, SpeechEnded, SpeechStarted

__all__ = ["Latencies", "percentile"]


@dataclass(slots=True)
class Latencies:
    """What was measured; lists of seconds in order of arrival.

    Attributes:
        sample_rate: of the audio that is sent.
    """

    sample_rate: int
    partial: list[float] = field(default_factory=list)
    first_word: list[float] = field(default_factory=list)
    finalization: list[float] = field(default_factory=list)
    _sent: list[tuple[int, float]] = field(default_factory=list)
    _onsets: dict[tuple[int, int], float] = field(default_factory=dict)
    _ends: dict[tuple[int, int], float] = field(default_factory=dict)

    def sent(self, samples: int, now: float) -> None:
        """The stream's first `samples` samples have been sent."""
        self._sent.append((samples, now))

    def received(self, event: Event, now: float) -> None:
        """An event has come."""
        match event:
            case SpeechStarted(channel, utterance, at):
                self._onsets[channel, utterance] = self._sent_at(at)
            case SpeechEnded(channel, utterance, at):
                self._ends[channel, utterance] = self._sent_at(at)
            case Partial(channel, utterance, text, end=end):
                self.partial.append(now - self._sent_at(end))
                self._shown((channel, utterance), text, now)
            case Final(channel, utterance, text):
                self._shown((channel, utterance), text, now)
                ended = self._ends.pop((channel, utterance), None)
                self._onsets.pop((channel, utterance), None)
                if ended is not None:
                    self.finalization.append(now - ended)
            case _:
                pass

    def _shown(self, utterance: tuple[int, int], text: str, now: float) -> None:
        if text and utterance in self._onsets:
            self.first_word.append(now - self._onsets.pop(utterance))

    def _sent_at(self, seconds: float) -> float:
        """When the message with the last sample before `seconds` was sent."""
        # A time is told in three decimals, a sample is shorter.
        sample = round(seconds * self.sample_rate) - self.sample_rate // 2_000
        place = bisect_left(self._sent, (sample, float("-inf")))
        return self._sent[min(place, len(self._sent) - 1)][1]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    rank = -(-share * len(values) // 1)
    return sorted(values)[max(0, int(rank) - 1)]

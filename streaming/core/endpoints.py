"""The gate's rules as numbers: how long is too long, and where to cut.

Pure functions of lengths and samples; the gate itself keeps the states.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streaming.config import GateConfig
from streaming.errors import ConfigError
from streaming.events import Samples

__all__ = ["GateLengths", "quietest"]

# Gaps between words are rarely longer: silence of so much ends an utterance that
# has reached its maximum.
_LEAST_HANGOVER_MS = 100


@dataclass(frozen=True, slots=True)
class GateLengths:
    """The gate's settings in samples.

    Attributes:
        frame: what the detector judges.
        pre_roll: audio before the onset.
        onset: how far an onset looks back.
        hangover: silence that ends an utterance.
        least_hangover: silence that ends one at its maximum.
        maximum: longest utterance.
        search: stretch before the maximum in which a cut is sought.
        speculate: silence that is told.
    """

    frame: int
    pre_roll: int
    onset: int
    hangover: int
    least_hangover: int
    maximum: int
    search: int
    speculate: int

    @classmethod
    def of(
        cls, config: GateConfig, rate: int, search: int, maximum: int, speculate: int
    ) -> GateLengths:
        """Return the lengths at `rate` samples per second.

        Raises:
            ConfigError: they contradict one another.
        """
        if rate * config.frame_ms % 1000:
            raise ConfigError(
                f"frame_ms {config.frame_ms} is no whole number of samples at {rate} Hz"
            )
        frame = rate * config.frame_ms // 1000
        hangover = rate * config.hangover_ms // 1000
        lengths = cls(
            frame=frame,
            pre_roll=rate * config.pre_roll_ms // 1000,
            onset=config.onset_frames * frame,
            hangover=hangover,
            least_hangover=min(hangover, rate * _LEAST_HANGOVER_MS // 1000),
            maximum=maximum,
            search=search,
            speculate=speculate,
        )
        # What an utterance may hold at its opening, and after a cut, must leave
        # room for another frame: else one would be over before it began.
        needed = max(lengths.pre_roll + lengths.onset, search) + 2 * frame
        if maximum < needed:
            raise ConfigError(
                f"max_utterance_s gives {maximum} samples, but pre_roll_ms,"
                f" onset_frames and the search for a cut need {needed}"
            )
        return lengths

    def silence_that_ends(self, length: int) -> int:
        """Silence in samples that ends an utterance which is `length` long.

        In the last fifth before the maximum it shrinks, so that long speech ends
        in one of its pauses rather than within a word.
        """
        fifth = self.maximum // 5
        left = min(fifth, max(0, self.maximum - length))
        return (
            self.least_hangover + (self.hangover - self.least_hangover) * left // fifth
        )


def quietest(samples: Samples, frame: int) -> int:
    """Return where speech is best cut: the middle of its quietest frame.

    Energies are smoothed over neighbours with weights 1, 2, 1: a lone quiet
    frame, such as a stop's closure, is no gap between words. The last of equals
    is taken.

    Args:
        samples: `(n,)`; frames are counted from its end, a begun one is left out.
        frame: samples per frame.

    Returns:
        An index into the samples; n where there is no whole frame.
    """
    frames = len(samples) // frame
    if not frames:
        return len(samples)
    tail = samples[len(samples) - frames * frame :].astype(np.float64)
    energy = np.pad(np.square(tail).reshape(frames, frame).sum(axis=1), 1, "edge")
    smooth = energy[:-2] + 2 * energy[1:-1] + energy[2:]
    after = int(np.argmin(smooth[::-1]))
    return len(samples) - after * frame - frame // 2

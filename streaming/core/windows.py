"""Cut an utterance into overlapping windows.

The model sees left context + hop + right context; only the logits of the hop
are kept. The first window has no left context and the last no right context,
so the hops of an utterance tile it exactly, however the audio arrived and
however many hops a window keeps. Knows neither where utterances begin nor what a
model makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streaming.config import WindowConfig
from streaming.core.facts import ModelFacts
from streaming.core.normalise import Normaliser
from streaming.errors import ConfigError
from streaming.events import Samples, Window

__all__ = ["WindowShape", "Windower"]


@dataclass(frozen=True, slots=True)
class WindowShape:
    """Lengths in samples, multiples of the model's stride.

    Attributes:
        left: left context at most.
        hop: the kept part.
        right: right context, less only at the utterance's end.

    Raises:
        ConfigError: the hop is empty or a context negative.
    """

    left: int
    hop: int
    right: int

    def __post_init__(self) -> None:
        if self.hop < 1 or self.left < 0 or self.right < 0:
            raise ConfigError(
                "a window needs a hop of at least 1 sample and contexts of at least 0,"
                f" got left {self.left}, hop {self.hop}, right {self.right}"
            )

    @classmethod
    def from_config(cls, config: WindowConfig, facts: ModelFacts) -> WindowShape:
        """Return the shape in whole strides nearest to the configured lengths.

        A stateful model keeps the left context itself: its windows have none.
        """
        geometry = facts.geometry
        left_ms = 0 if facts.stateful else config.left(stateful=False)
        return cls(
            left=geometry.samples_of_ms(left_ms),
            hop=max(geometry.stride, geometry.samples_of_ms(config.hop_ms)),
            right=geometry.samples_of_ms(config.right_ms),
        )

    def affordable_hops(self, wanted: int, longest: int) -> int:
        """Return how many hops, up to `wanted`, a window of `longest` samples keeps.

        One at least, however long that is.
        """
        most = (longest - self.left - self.right) // self.hop
        return max(1, min(wanted, most))

    def cuttable_length(self, at_most: int) -> int:
        """Return the greatest length up to `at_most` with the most left unsent.

        At this length of an utterance hop + right - 1 samples are in no hop yet,
        and a frame earlier only a frame less. A gate with it as its maximum may
        search the last hop + right - frame samples for a cut; with any other
        maximum only the last `right`, as a hop may just have been sent.
        """
        hops = max(1, (at_most - self.right + 1) // self.hop)
        return hops * self.hop + self.right - 1


class Windower:
    """Turn the samples of one utterance into windows; make one per utterance.

    A window is scaled (where the checkpoint asks) by the statistics of all the
    utterance's samples up to the window's end, so the last one by those of the
    whole utterance.

    Args:
        shape: lengths of a window.
        normalise: whether the checkpoint asks for zero mean and unit variance.
        hops: see below.

    Attributes:
        hops: how many hops of the shape the windows keep that are cut from now on;
            may be changed at any time. Whatever it was, a hop begins at a whole
            number of the shape's hops, so that the end of an utterance can be cut
            where `WindowShape.cuttable_length` says.
    """

    def __init__(self, shape: WindowShape, normalise: bool, hops: int = 1) -> None:
        self.hops = hops
        self._shape = shape
        self._audio: Samples = np.empty(0, np.float32)  # left context, then unsent
        self._arrived: list[Samples] = []  # not yet joined to the audio
        self._arrived_count = 0
        self._left = 0
        self._start = 0
        self._seen = Normaliser(normalise)  # of the samples sent as hops
        self._ended = False

    @property
    def unsent(self) -> int:
        """Samples that no hop has covered yet."""
        return len(self._audio) - self._left + self._arrived_count

    def push(self, samples: Samples) -> list[Window]:
        """Take speech, `(n,)`; return each window whose right context is complete.

        Raises:
            ValueError: the utterance has ended.
        """
        self._insist_open()
        self._arrived.append(samples)
        self._arrived_count += len(samples)
        hop, right = self.hops * self._shape.hop, self._shape.right
        windows = []
        while self.unsent >= hop + right:
            windows.append(self._cut(hop, right))
        return windows

    def flush(self) -> list[Window]:
        """End the utterance; return its last window."""
        return self.cut(self._start + self.unsent)

    def cut(self, length: int) -> list[Window]:
        """End the utterance after its first `length` samples, as `flush` does.

        What is unsent is shorter than hop + right, with the longest hop that held
        since the last window, so one window that is no longer than such a one holds
        it all, with its end in view. Its hop is empty when all of `length` was sent
        before.

        Raises:
            ValueError: a hop was sent past `length`, or less than it was pushed,
                or the utterance has ended.
        """
        self._insist_open()
        hop = length - self._start
        if not 0 <= hop <= self.unsent:
            raise ValueError(
                f"cannot end an utterance at sample {length}: hops were sent up to"
                f" {self._start}, samples came up to {self._start + self.unsent}"
            )
        self._ended = True
        return [self._cut(hop, 0, last=True)]

    def _insist_open(self) -> None:
        if self._ended:
            raise ValueError(f"the utterance ended at sample {self._start}")

    def _cut(self, hop: int, right: int, *, last: bool = False) -> Window:
        self._join()
        sent = self._left + hop
        ahead = self._seen.after(self._audio[self._left : sent])
        window = Window(
            ahead.after(self._audio[sent : sent + right]).apply(
                self._audio[: sent + right]
            ),
            start=self._start,
            left=self._left,
            hop=hop,
            right=right,
            last=last,
        )
        self._seen = ahead
        self._start += hop
        self._left = min(self._shape.left, sent)
        self._audio = self._audio[sent - self._left :]
        return window

    def _join(self) -> None:
        # Once a window, not once a push: small chunks then cost no copies of the
        # left context.
        if self._arrived:
            self._audio = np.concatenate((self._audio, *self._arrived))
            self._arrived = []
            self._arrived_count = 0

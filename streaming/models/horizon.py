"""How far a stateful model looks beyond a hop, and where its past lies.

Rows of logits only: keys and values of the left context lie in places, the sinks
first, then a ring. The order within the ring is of no account, as the attention of
wav2vec 2.0 knows no positions. Knows no runtime and no samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.config import ModelConfig, WindowConfig
from streaming.numeric.geometry import Geometry

__all__ = ["Horizon"]


@dataclass(frozen=True, slots=True)
class Horizon:
    """What a step sees beside its own hop, in rows.

    A hop that begins at row h, and its right context, attend to the rows
    `[h - left, h)` and to the rows below `sink` of the same utterance, with the keys
    and values that these had as hops. A place is written again only after the step.

    Attributes:
        left: rows before the hop.
        sink: first rows of an utterance that are seen however long it lasts.
        right: rows of right context whose front end is kept for the next step.
        hop: rows of the usual hop, so that steps of its size can be prepared for; 0
            where it is not known.
    """

    left: int
    sink: int = 0
    right: int = 0
    hop: int = 0

    @classmethod
    def from_config(
        cls, window: WindowConfig, model: ModelConfig, geometry: Geometry
    ) -> Horizon:
        """Return the configured lengths in whole rows."""

        def rows(ms: int) -> int:
            return geometry.samples_of_ms(ms) // geometry.stride

        return cls(
            rows(window.left(stateful=True)),
            rows(model.sink_ms),
            rows(window.right_ms),
            max(1, rows(window.hop_ms)),
        )

    @property
    def places(self) -> int:
        """Places of one utterance; the filled ones are always the first."""
        return self.sink + self.left

    def filled(self, past: int) -> int:
        """How many places hold something after `past` rows."""
        return min(past, self.places)

    def written(
        self, past: int, rows: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which of a hop's rows are kept, and where.

        Args:
            past: rows of the utterance before the hop.
            rows: of the hop.

        Returns:
            The row within the hop and its place, each `(kept,)`; places differ.
        """
        row = np.arange(rows)
        at = past + row
        keep = (at < self.sink) | (at >= past + rows - self.left)
        ring = self.sink + (at - self.sink) % max(1, self.left)
        place = np.where(at < self.sink, at, ring)
        return row[keep], place[keep]

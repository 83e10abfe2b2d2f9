"""The seam between the engine and whatever runs a checkpoint.

A model turns windows of samples into rows of logits, one row a stride. Knows
no runtime, no thread and no stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streaming.events import LogitRows, Samples
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

__all__ = ["Model"]


class Model(Protocol):
    """A CTC model that is loaded and ready.

    Attributes:
        name: what clients are told.
        language: BCP 47 tag, or a checkpoint's own code; `und` where unknown.
        geometry: samples to rows.
        vocabulary: labels to text.
        normalise: samples are wanted with zero mean and unit variance.
        temperature: what logits are divided by for calibrated confidences.
        max_batch: most windows in one pass; 1 where batches gain nothing.
        pads: windows of unequal length may share a batch. False means that
            the padding would change the logits: only windows whose
            `geometry.padded` lengths are equal may.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def language(self) -> str: ...  # noqa: D102
    @property
    def geometry(self) -> Geometry: ...  # noqa: D102
    @property
    def vocabulary(self) -> Vocabulary: ...  # noqa: D102
    @property
    def normalise(self) -> bool: ...  # noqa: D102
    @property
    def temperature(self) -> float: ...  # noqa: D102
    @property
    def max_batch(self) -> int: ...  # noqa: D102
    @property
    def pads(self) -> bool: ...  # noqa: D102

    def forward(self, batch: Sequence[Samples]) -> list[LogitRows]:
        """Run one pass; blocks, and is called by one thread at a time.

        Args:
            batch: 1 to `max_batch` windows, each `(n,)`, n at least 1, float32,
                normalised as `normalise` asks. Each is padded with zeros to
                `geometry.padded(n)` here, after the normalisation.

        Returns:
            For each window `(geometry.steps(n), labels)`, float32. Its text does
            not depend on its neighbours; its logits do within 1e-3 (fp32).

        Raises:
            ModelError: the batch breaks the rules above, or the runtime failed.
        """
        ...

    def clone(self) -> Model:
        """One more worker's model; weights are shared."""
        ...

    def close(self) -> None:
        """Let go of the runtime; the model is not used again."""
        ...

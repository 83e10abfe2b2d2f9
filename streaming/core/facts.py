"""What the core knows of a model without knowing the model."""

from __future__ import annotations

from dataclasses import dataclass

from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

__all__ = ["ModelFacts"]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A loaded model in data.

    Attributes:
        name: what clients are told it is.
        language: BCP 47 tag of what it writes.
        geometry: how its rows lie over the samples.
        vocabulary: what its columns mean.
        normalise: it wants zero mean and unit variance.
        temperature: divides its logits before a confidence is taken.
        stateful: it keeps an utterance's past itself: windows have no left context.
        bias: added to a confidence's log odds.
    """

    name: str
    language: str
    geometry: Geometry
    vocabulary: Vocabulary
    normalise: bool = False
    temperature: float = 1.0
    stateful: bool = False
    bias: float = 0.0

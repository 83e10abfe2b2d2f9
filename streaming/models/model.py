"""The seam between the engine and whatever runs a checkpoint.

A model turns windows of samples into rows of logits, one row a stride. Knows
no runtime, no thread and no stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streaming.errors import ModelError
from streaming.events import LogitRows, Samples
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

__all__ = ["Model", "State", "Step", "Windowed"]


class State(Protocol):
    """What the steps of one utterance leave behind for the next.

    It belongs to no worker: any clone of the model that opened it takes its steps,
    one at a time. Any thread may open or close one while others step.
    """

    @property
    def bytes(self) -> int:
        """Memory that it holds now; grows up to the model's left context."""
        ...

    def close(self) -> None:
        """Free its place; closing twice is harmless."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The next piece of an utterance whose past is in a state.

    Attributes:
        state: where the steps before it left off.
        samples: `(n,)` hop, then right context; normalised as the model asks.
        hop: how many of them the state keeps. Whole strides, unless nothing
            follows. What is right context comes again in the next step.
    """

    state: State
    samples: Samples
    hop: int


class Windowed:
    """What a model says that keeps no state, and whose confidences need no bias."""

    stateful = False
    bias = 0.0

    def open(self) -> State:
        """See `Model.open`: there is none."""
        raise ModelError("this model keeps no state: its windows overlap")

    def step(self, batch: Sequence[Step]) -> list[LogitRows]:
        """See `Model.step`: there is none."""
        raise ModelError(f"{len(batch)} steps asked of a model that keeps no state")


class Model(Protocol):
    """A CTC model that is loaded and ready.

    Attributes:
        name: what clients are told.
        language: BCP 47 tag, or a checkpoint's own code; `und` where unknown.
        geometry: samples to rows.
        vocabulary: labels to text.
        normalise: samples are wanted with zero mean and unit variance.
        temperature: what logits are divided by for calibrated confidences.
        bias: what is added to their log odds.
        max_batch: most windows in one pass; 1 where batches gain nothing.
        pads: windows of unequal length may share a batch. False means that
            the padding would change the logits: only windows whose
            `geometry.padded` lengths are equal may.
        stateful: windows of an utterance are taken by `step`, without their left
            context; full passes still go through `forward`.
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
    def bias(self) -> float: ...  # noqa: D102
    @property
    def max_batch(self) -> int: ...  # noqa: D102
    @property
    def pads(self) -> bool: ...  # noqa: D102
    @property
    def stateful(self) -> bool: ...  # noqa: D102

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

    def open(self) -> State:
        """Room for the state of an utterance that begins.

        Raises:
            ModelError: the model is not stateful, or has no room for one more.
        """
        ...

    def step(self, batch: Sequence[Step]) -> list[LogitRows]:
        """Take the next step of up to `max_batch` utterances; blocks as `forward`.

        Either every state has moved on by its hop, or none has.

        Returns:
            For each step `(geometry.steps(n), labels)`, float32: rows of the hop,
            then of the right context.

        Raises:
            ModelError: the model is not stateful, a state is closed or twice in the
                batch, or the runtime failed.
        """
        ...

    def clone(self) -> Model:
        """One more worker's model; weights are shared."""
        ...

    def close(self) -> None:
        """Let go of the runtime; the model is not used again."""
        ...

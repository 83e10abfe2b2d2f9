"""What passes and steps cost in floating point operations, counted from shapes.

Convolutions, projections and attention of the wav2vec2 family; norms and
activations are left out. Knows a checkpoint's `config.json`; no model and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from streaming.events import Pass
from streaming.numeric.geometry import Geometry
from streaming.tools.playing import Ran

__all__ = ["Shape", "Streaming", "flops"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a checkpoint that decide what it costs.

    Attributes:
        convolutions: width, kernel and stride of each.
        hidden: size of a row.
        inner: size within a feed-forward layer.
        layers: of the transformer.
        positional: kernel of the positional convolution over its groups.
        labels: of the head.
    """

    convolutions: tuple[tuple[int, int, int], ...]
    hidden: int
    inner: int
    layers: int
    positional: float
    labels: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape | None:
        """From a `config.json`; None of another architecture than wav2vec2."""
        if config.get("model_type") != "wav2vec2":
            return None
        each = ("conv_dim", "conv_kernel", "conv_stride")
        kernel = config["num_conv_pos_embeddings"]
        return cls(
            tuple(zip(*(config[name] for name in each), strict=True)),
            config["hidden_size"],
            config["intermediate_size"],
            config["num_hidden_layers"],
            kernel / config["num_conv_pos_embedding_groups"],
            config.get("vocab_size", 0),
        )

    @property
    def geometry(self) -> Geometry:
        """How its rows lie over samples."""
        field, stride = 1, 1
        for _, kernel, step in self.convolutions:
            field += (kernel - 1) * stride
            stride *= step
        return Geometry(stride=stride, receptive_field=field)

    def front(self, rows: int) -> float:
        """Operations of the front end for so many rows in one piece."""
        stride = self.geometry.stride
        length, channels, total = self.geometry.padded(rows * stride), 1, 0
        for width, kernel, step in self.convolutions:
            length = (length - kernel) // step + 1
            total += 2 * length * channels * width * kernel
            channels = width
        return total + 2 * length * channels * self.hidden

    def back(self, rows: int, past: int = 0) -> float:
        """Operations of all that follows, for rows that also attend to `past`."""
        size = self.hidden
        layer = 2 * rows * (4 * size * size + 2 * size * self.inner)
        layer += 4 * rows * (rows + past) * size
        once = 2 * rows * size * (size * self.positional + self.labels)
        return self.layers * layer + once


def flops(config: Mapping[str, Any], samples: int) -> float:
    """Operations of one pass over a window, two a multiplication.

    Of another architecture than wav2vec2: the samples, so that ratios are those
    of a cost that grows with the length.

    Args:
        config: the checkpoint's `config.json`.
        samples: of the window.
    """
    shape = Shape.of(config)
    if shape is None:
        return float(samples)
    rows = shape.geometry.steps(samples)
    return shape.front(rows) + shape.back(rows)


class Streaming:
    """What streams cost with one checkpoint.

    Args:
        config: the checkpoint's `config.json`.
        left: rows of left context that steps attend to; None where windows bring
            theirs along.
        right: rows of right context whose front end steps keep.
    """

    def __init__(
        self, config: Mapping[str, Any], left: int | None = None, right: int = 0
    ) -> None:
        self._shape = Shape.of(config)
        self._left = left
        self._right = right
        self._of_pass = cache(lambda samples: flops(config, samples))

    def one_pass(self, samples: int) -> float:
        """Operations of one pass over so many samples."""
        return self._of_pass(samples)

    def spent(self, passes: Iterable[Ran]) -> float:
        """Operations of all that one stream had run, its windows in their order."""
        total = 0.0
        ready = 0  # rows ahead whose front end an earlier step has done
        for ran in passes:
            if self._shape is None or self._left is None or ran.kind is Pass.FULL:
                total += self.one_pass(ran.samples)
                continue
            geometry = self._shape.geometry
            rows, hop = geometry.steps(ran.samples), geometry.steps(ran.hop)
            # Of what was known of the rows ahead; one row at least is new.
            ready = min(ready, rows - 1) if ran.start else 0
            past = min(ran.start // geometry.stride, self._left)
            total += self._shape.front(rows - ready)
            total += self._shape.back(rows, past)
            # Rows that saw real samples alone do not change when more follow.
            whole = (ran.samples - geometry.receptive_field) // geometry.stride + 1
            ready = min(max(0, whole - hop), self._right)
        return total

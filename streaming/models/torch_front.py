"""The convolutional front end of wav2vec 2.0, a piece of an utterance at a time.

A row sees only its own samples ahead, so a piece that begins at a row's first
sample gives the rows that the whole utterance gives: exactly with layer norms, which
stay within a row. A group norm takes its statistics over time, here those of the
utterance so far. Knows the modules of transformers; not where pieces come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from streaming.numeric.geometry import Geometry

__all__ = ["Piece", "TorchFront"]


@dataclass(frozen=True, slots=True)
class Piece:
    """One utterance's samples in a batch.

    Attributes:
        length: of its samples, padded to whole rows.
        rows: how many of its first rows are final, so that they count for all of
            the utterance that follows.
        before: values behind the utterance's sums until now.
    """

    length: int
    rows: int
    before: int


class TorchFront:
    """Samples to rows of the transformer's input.

    Args:
        body: the `Wav2Vec2Model`.
        geometry: samples to rows.
    """

    def __init__(self, body: Any, geometry: Geometry) -> None:
        first, *self._layers = body.feature_extractor.conv_layers
        self._projection = body.feature_projection
        self._first = first
        self._kernel = first.conv.kernel_size[0]
        self._stride = first.conv.stride[0]
        self._a_row = geometry.stride // self._stride
        norm = getattr(first, "layer_norm", None)
        over_time = isinstance(norm, torch.nn.GroupNorm)
        self.channels: int = first.conv.out_channels if over_time else 0

    def frames(self, rows: int) -> int:
        """Values that a channel's sums gain from so many final rows."""
        return rows * self._a_row if self.channels else 0

    def __call__(
        self, samples: torch.Tensor, pieces: Sequence[Piece], sums: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run it.

        Args:
            samples: `(batch, n)`, zero beyond each piece's length.
            pieces: of the batch.
            sums: `(batch, channels, 2)` of the utterances until now.

        Returns:
            `(batch, rows, hidden)`, rubbish beyond a piece's own rows, and the
            sums with the pieces' final rows.
        """
        x = samples[:, None]
        if self.channels:
            x, sums = self._over_time(self._first.conv(x), pieces, sums)
        else:
            x = self._first(x)
        for layer in self._layers:
            x = layer(x)
        rows, _ = self._projection(x.transpose(1, 2))
        return rows, sums

    def _over_time(
        self, x: torch.Tensor, pieces: Sequence[Piece], sums: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The group norm, a group a channel, by the statistics so far."""
        lengths = [(each.length - self._kernel) // self._stride + 1 for each in pieces]
        total = [
            each.before + length for each, length in zip(pieces, lengths, strict=True)
        ]
        final = [self.frames(each.rows) for each in pieces]
        begun = torch.tensor([each.before > 0 for each in pieces], device=x.device)
        sums = torch.where(begun[:, None, None], sums, 0.0)  # a slot's last utterance
        numbers = torch.tensor([lengths, final, total], device=x.device)
        # (batch, time, 2): what counts for this step, and what for those to come.
        at = torch.arange(x.shape[2], device=x.device)[None, :, None]
        counts = (at < numbers[:2].T[:, None]).float()
        values = x.float()
        # (batch, channels, 2 kinds of count, value and square)
        new = torch.stack((values @ counts, values.square() @ counts), -1).double()
        moments = (sums + new[:, :, 0]) / numbers[2, :, None, None]
        mean = moments[..., 0]
        variance = (moments[..., 1] - mean.square()).clamp_min(0)
        norm = self._first.layer_norm
        scale = norm.weight * (variance + norm.eps).rsqrt()
        shift = norm.bias - mean * scale
        scaled = values * scale.float()[..., None] + shift.float()[..., None]
        return self._first.activation(scaled.to(x.dtype)), sums + new[:, :, 1]

"""The convolutional front end of wav2vec 2.0, a piece of an utterance at a time.

A row sees only its own samples ahead, so a piece that begins at a row's first
sample gives the rows that the whole utterance gives: exactly with layer norms, which
stay within a row. A group norm takes its statistics over time, here those of the
utterance so far. Knows the modules of transformers; not where pieces come from.
"""

from __future__ import annotations

from typing import Any

import torch

from streaming.numeric.geometry import Geometry

__all__ = ["TorchFront"]


class TorchFront:
    """Samples to rows of the transformer's input: tensors in, tensors out.

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

    def counts(self, length: int, final: int, before: int) -> tuple[int, int, int]:
        """What a group norm has to know of a piece, in values of a channel.

        Args:
            length: of its samples, padded to whole rows.
            final: how many of its first rows are final, so that they count for all
                of the utterance that follows.
            before: values behind the utterance's sums until now.

        Returns:
            Its values, those that count from now on, and all that count for it.
        """
        values = (length - self._kernel) // self._stride + 1
        return values, self.frames(final), before + values

    def __call__(
        self, samples: torch.Tensor, counts: torch.Tensor, sums: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run it.

        Args:
            samples: `(batch, n)`, zero beyond each piece's length.
            counts: `(batch, 3)`, of each piece; read by a group norm alone.
            sums: `(batch, channels, 2)` of the utterances until now.

        Returns:
            `(batch, rows, hidden)`, rubbish beyond a piece's own rows, and the
            sums with the pieces' final rows.
        """
        x = samples[:, None]
        if self.channels:
            x, sums = self._over_time(self._first.conv(x), counts, sums)
        else:
            x = self._first(x)
        for layer in self._layers:
            x = layer(x)
        rows, _ = self._projection(x.transpose(1, 2))
        return rows, sums

    def _over_time(
        self, x: torch.Tensor, counts: torch.Tensor, sums: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The group norm, a group a channel, by the statistics so far."""
        begun = counts[:, 2] > counts[:, 0]
        sums = torch.where(begun[:, None, None], sums, 0.0)  # a slot's last utterance
        # (batch, time, 2): what counts for this step, and what for those to come.
        at = torch.arange(x.shape[2], device=x.device)[None, :, None]
        taken = (at < counts[:, None, :2]).float()
        values = x.float()
        # (batch, channels, 2 kinds of count, value and square)
        new = torch.stack((values @ taken, values.square() @ taken), -1).double()
        moments = (sums + new[:, :, 0]) / counts[:, 2, None, None]
        mean = moments[..., 0]
        variance = (moments[..., 1] - mean.square()).clamp_min(0)
        norm = self._first.layer_norm
        scale = norm.weight * (variance + norm.eps).rsqrt()
        shift = norm.bias - mean * scale
        scaled = values * scale.float()[..., None] + shift.float()[..., None]
        return self._first.activation(scaled.to(x.dtype)), sums + new[:, :, 1]

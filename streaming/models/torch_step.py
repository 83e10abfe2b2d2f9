"""What a step computes, as one function of tensors.

Nothing is read or kept beside what is given and made, and shapes alone decide what
is computed: so a call can be recorded once, as a CUDA graph, and replayed. Knows the
modules of transformers; neither utterances nor where their past lies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.nn.functional import conv1d, scaled_dot_product_attention

from streaming.models.torch_front import TorchFront
from streaming.numeric.geometry import Geometry

__all__ = ["Behind", "Given", "Made", "StepFunction"]

Behind: TypeAlias = Callable[[int, torch.Tensor], torch.Tensor]
"""`(2 * layer, or one more for values; new (batch, rows, hidden))` to those of the left
context with the new ones behind them, `(batch, filled + rows, hidden)`."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Tensors that a batch of steps is computed from, on the model's device.

    Attributes:
        samples: `(batch, n)` fp32: what the front end has not seen, then zeros.
        counts: `(batch, 3)`: see `TorchFront.counts`.
        sums: `(batch, channels, 2)`: of the front end until now.
        kept: `(batch, kept, hidden)`: rows of the transformer's input.
        pick: `(batch * seen,)`: rows of kept, new ones and a zero one, batch after
            batch, that the positional convolution sees.
        mask: `(batch, 1, 1, filled + rows)`: keys that count; None for all.
    """

    samples: torch.Tensor
    counts: torch.Tensor
    sums: torch.Tensor
    kept: torch.Tensor
    pick: torch.Tensor
    mask: torch.Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What comes of them.

    Attributes:
        logits: `(batch, rows, labels)` fp32; rubbish beyond a step's own rows.
        seen: `(batch, before + rows + after, hidden)`: the transformer's input.
        sums: `(batch, channels, 2)`: with the new rows that are final.
        past: each layer's new keys, its values, the next layer's keys; each
            `(batch, rows, hidden)`.
    """

    logits: torch.Tensor
    seen: torch.Tensor
    sums: torch.Tensor
    past: tuple[torch.Tensor, ...]


class StepFunction:
    """Steps of one module.

    Args:
        module: a `Wav2Vec2ForCTC` in eval mode, its weight norms folded.
        geometry: samples to rows.

    Attributes:
        front: the convolutional front end.
        before: rows that the positional convolution sees before a row.
        after: rows that it sees after one.
    """

    def __init__(self, module: Any, geometry: Geometry) -> None:
        self.front = TorchFront(module.wav2vec2, geometry)
        self._encoder = module.wav2vec2.encoder
        self._head = module.lm_head
        self._stable: bool = module.config.do_stable_layer_norm
        self._dtype: torch.dtype = module.dtype
        kernel = self._encoder.pos_conv_embed.conv.kernel_size[0]
        self.before, self.after = kernel // 2, kernel - 1 - kernel // 2

    def __call__(self, given: Given, behind: Behind) -> Made:
        """Compute a batch of steps.

        Args:
            given: its tensors.
            behind: where the left context is.
        """
        samples = given.samples.to(self._dtype)
        fresh, sums = self.front(samples, given.counts, given.sums)
        batch, _, hidden = fresh.shape
        zero = fresh.new_zeros(batch, 1, hidden)
        source = torch.cat((given.kept, fresh, zero), 1).flatten(0, 1)
        seen = source.index_select(0, given.pick).view(batch, -1, hidden)
        past: list[torch.Tensor] = []

        def attend(source: Any, x: torch.Tensor) -> torch.Tensor:
            key, value = source.k_proj(x), source.v_proj(x)
            keys, values = behind(len(past), key), behind(len(past) + 1, value)
            past.extend((key, value))
            split = (batch, -1, source.num_heads, source.head_dim)
            y = scaled_dot_product_attention(
                source.q_proj(x).view(split).transpose(1, 2),
                keys.view(split).transpose(1, 2),
                values.view(split).transpose(1, 2),
                attn_mask=given.mask,
                scale=source.scaling,
            )
            attended: torch.Tensor = source.out_proj(y.transpose(1, 2).flatten(2))
            return attended

        x = self._placed(seen)
        for layer in self._encoder.layers:
            if self._stable:
                x = x + attend(layer.attention, layer.layer_norm(x))
                x = x + layer.feed_forward(layer.final_layer_norm(x))
                if layer.adapter_layer is not None:
                    x = x + layer.adapter_layer(x)
            else:
                x = layer.layer_norm(x + attend(layer.attention, x))
                x = layer.final_layer_norm(x + layer.feed_forward(x))
        if self._stable:
            x = self._encoder.layer_norm(x)
        return Made(self._head(x).float(), seen, sums, tuple(past))

    def _placed(self, seen: torch.Tensor) -> torch.Tensor:
        """The positional convolution, added to the rows that it was computed for."""
        positions = self._encoder.pos_conv_embed
        conv = positions.conv
        y = conv1d(seen.transpose(1, 2), conv.weight, conv.bias, groups=conv.groups)
        y = positions.activation(y).transpose(1, 2)
        x = seen[:, self.before : self.before + y.shape[1]] + y
        placed: torch.Tensor = x if self._stable else self._encoder.layer_norm(x)
        return placed

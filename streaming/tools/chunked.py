"""The encoder of a `Wav2Vec2Model` as a stream sees it: in chunks.

A chunk's steps see each other, a bounded past and nothing later: in attention, in
the positional convolution and, where its norms allow, in the front end. Knows
torch and the names of transformers' modules; knows no loss, data or schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Model

from streaming.tools.recipe import Streaming

__all__ = ["View", "draw_view", "encode", "scaled_so_far"]

_QUIET = 1e-5  # 1e-7 of the feature extractor, for speech of 0.1 RMS scaled to 1


@dataclass(frozen=True, slots=True)
class View:
    """What the steps of a pass may see, all in steps.

    Attributes:
        chunk: length of a chunk, whose steps see each other.
        left: how far before its chunk's first step a step sees (None: to the start).
        phase: how much shorter the first chunk is, 0 to `chunk` - 1.
    """

    chunk: int
    left: int | None = None
    phase: int = 0

    def mask(self, steps: int, device: torch.device | None = None) -> Tensor:
        """Which step (row) sees which (column); bool `(steps, steps)`."""
        place = torch.arange(steps, device=device)
        start = (place + self.phase) // self.chunk * self.chunk - self.phase
        sees = place[None] < start[:, None] + self.chunk
        if self.left is not None:
            sees &= place[None] >= start[:, None] - self.left
        return sees


def draw_view(plan: Streaming, dice: np.random.Generator) -> View | None:
    """The view of one batch; None where everything sees everything."""
    if dice.random() < plan.full_chance:
        return None
    chunk = _log_uniform(plan.chunk_steps, dice)
    left = _log_uniform(plan.left_steps, dice)
    unlimited = dice.random() < plan.unlimited_chance
    return View(chunk, None if unlimited else left, int(dice.integers(chunk)))


def _log_uniform(bounds: tuple[int, int], dice: np.random.Generator) -> int:
    low, high = bounds
    return min(high, int(math.exp(dice.uniform(math.log(low), math.log(high + 1)))))


def scaled_so_far(
    samples: Tensor, counts: Tensor, view: View, stride: int = 320
) -> Tensor:
    """Scale each chunk by the utterance's mean and variance up to the chunk's end.

    A stream does not know the statistics of the whole utterance yet; see
    `core/normalise.py`, which computes the same.

    Args:
        samples: `(batch, n)`, zero mean and unit variance each, then zeros.
        counts: `(batch,)` samples before the zeros.
        view: where chunks end.
        stride: samples of a step.
    """
    length, before = view.chunk * stride, view.phase * stride
    batch, total = samples.shape
    after = -(total + before) % length
    chunks = nn.functional.pad(samples, (before, after)).view(batch, -1, length)
    ends = torch.arange(1, chunks.shape[1] + 1, device=samples.device) * length
    seen = (ends - before).minimum(counts[:, None])[..., None]
    exact = chunks.double()
    mean = exact.sum(2, keepdim=True).cumsum(1) / seen
    square = exact.square().sum(2, keepdim=True).cumsum(1) / seen
    spread = (square - mean.square()).clamp(min=0).add(_QUIET).sqrt()
    scaled = ((chunks - mean.float()) / spread.float()).view(batch, -1)
    place = torch.arange(total, device=samples.device)
    return scaled[:, before : before + total].masked_fill(place >= counts[:, None], 0.0)


def encode(
    model: Wav2Vec2Model,
    samples: Tensor,
    counts: Tensor | None = None,
    view: View | None = None,
) -> tuple[Tensor, Tensor]:
    """What `model(samples).last_hidden_state` is, seen through `view`.

    Masking for training, dropout and layer drop work as in the model's own forward.

    Args:
        model: with eager or fused attention.
        samples: float `(batch, n)`, padded with zeros.
        counts: `(batch,)` samples before the padding; None where there is none.
        view: None for full attention, which equals the model's own forward.

    Returns:
        The last hidden states and those halfway up, both `(batch, steps, width)`.
    """
    names: Any = model
    features = names.feature_extractor(samples).transpose(1, 2)
    # A group norm's statistics are those of all samples: no piece has its own.
    if view is not None and names.config.feat_extract_norm == "layer":
        features = _cut_short(names, features, samples, view)
    steps = features.shape[1]
    kept = None
    if counts is not None:
        lengths = names._get_feat_extract_output_lengths(counts, add_adapter=False)
        kept = torch.arange(steps, device=samples.device)[None] < lengths[:, None]
    hidden, _ = names.feature_projection(features)
    hidden = names._mask_hidden_states(hidden, attention_mask=kept)
    if kept is not None:
        hidden = hidden.masked_fill(~kept[..., None], 0.0)
    sees = _sees(kept, view, steps, samples.device)
    if sees is not None and names.config._attn_implementation == "eager":
        zero = torch.zeros((), dtype=hidden.dtype, device=hidden.device)
        sees = zero.masked_fill(~sees, torch.finfo(hidden.dtype).min)
    last, middle = _layers(model, hidden, sees, view)
    return (last if names.adapter is None else names.adapter(last)), middle


def _cut_short(names: Any, features: Tensor, samples: Tensor, view: View) -> Tensor:
    """`features` as if each chunk's samples were followed by zeros.

    A row looks ahead of its own samples; in a stream what lies past the newest ones
    is not there yet, and the front end is given zeros.
    """
    stride, field = 1, 1
    sizes = zip(names.config.conv_kernel, names.config.conv_stride, strict=True)
    for kernel, step in sizes:
        field += (kernel - 1) * stride
        stride *= step
    batch, steps, width = features.shape
    chunks = (steps + view.phase) // view.chunk  # those that end here
    edge = min(view.chunk, -(-(field - stride) // stride))
    if not chunks or not edge:
        return features
    ends = chunks * view.chunk
    heard = samples[:, : (ends - view.phase) * stride]
    heard = nn.functional.pad(heard, (view.phase * stride, 0))
    heard = heard.view(batch * chunks, -1)[:, -edge * stride :]
    last = names.feature_extractor(nn.functional.pad(heard, (0, field - stride)))
    last = last.transpose(1, 2).view(batch, chunks, edge, width)
    rows = nn.functional.pad(features, (0, 0, view.phase, 0))
    whole = rows[:, :ends].view(batch, chunks, view.chunk, width)
    whole = torch.cat((whole[:, :, : view.chunk - edge], last), 2)
    whole = whole.view(batch, ends, width)
    return torch.cat((whole, rows[:, ends:]), 1)[:, view.phase :]


def _sees(
    kept: Tensor | None, view: View | None, steps: int, device: torch.device
) -> Tensor | None:
    """Which step sees which; bool `(batch, 1, steps, steps)`, or broadcast to it."""
    if view is None:
        return None if kept is None else kept[:, None, None]
    sees = view.mask(steps, device)[None, None]
    if kept is None:
        return sees
    # A step of padding may be left with nothing to see: let it see itself.
    itself = torch.eye(steps, dtype=torch.bool, device=device)
    return (sees & kept[:, None, None]) | itself


def _layers(
    model: Wav2Vec2Model, hidden: Tensor, sees: Tensor | None, view: View | None
) -> tuple[Tensor, Tensor]:
    encoder: Any = model.encoder
    norm_first = model.config.do_stable_layer_norm
    hidden = hidden + _positions(encoder.pos_conv_embed, hidden, view)
    hidden = encoder.dropout(hidden if norm_first else encoder.layer_norm(hidden))
    middle = hidden
    for number, layer in enumerate(encoder.layers, 1):
        drop = model.config.layerdrop if model.training else 0.0
        if not drop or torch.rand([]) >= drop:
            out = layer(hidden, attention_mask=sees)
            hidden = out[0] if isinstance(out, tuple) else out
        if number == (len(encoder.layers) + 1) // 2:
            middle = hidden
    return (encoder.layer_norm(hidden) if norm_first else hidden), middle


def _positions(embed: Any, hidden: Tensor, view: View | None) -> Tensor:
    """The positional convolution; under a view, nothing after a chunk's end."""
    if view is None:
        out: Tensor = embed(hidden)
        return out
    conv: nn.Conv1d = embed.conv
    (kernel,) = conv.kernel_size
    left = kernel // 2
    batch, steps, width = hidden.shape
    before = view.phase + left
    after = -(steps + view.phase) % view.chunk
    rows = nn.functional.pad(hidden, (0, 0, before, after))
    # (batch, chunks, width, left + chunk), the past real, the future zeros
    rows = rows.unfold(1, left + view.chunk, view.chunk)
    chunks = rows.shape[1]
    rows = nn.functional.pad(rows.flatten(0, 1), (0, kernel - 1 - left))
    rows = nn.functional.conv1d(rows, conv.weight, conv.bias, groups=conv.groups)
    rows = rows.view(batch, chunks, width, view.chunk).transpose(2, 3)
    rows = rows.reshape(batch, chunks * view.chunk, width)
    seen: Tensor = embed.activation(rows[:, view.phase : view.phase + steps])
    return seen

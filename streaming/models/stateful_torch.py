"""Steps of wav2vec 2.0 through torch: only hop and right context are computed.

An utterance's past is kept in a slot: rows of the transformer's input for the
positional convolution, those of the right context whose front end is done, and each
layer's keys and values of a bounded left context. With one step over everything this
is the checkpoint's own forward. Knows the modules of transformers, and takes their
weights as they are; does not know who takes steps when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import conv1d, scaled_dot_product_attention

from streaming.errors import ConfigError, ModelError
from streaming.events import LogitRows
from streaming.models.horizon import Horizon
from streaming.models.model import Step
from streaming.models.torch_batch import Turn, TurnBatch, send
from streaming.models.torch_front import Piece, TorchFront
from streaming.models.torch_slots import Slots, SlotShape, TorchState
from streaming.numeric.geometry import Geometry

__all__ = ["Stepper"]


class Stepper:
    """Takes steps with one worker's module.

    Args:
        module: a `Wav2Vec2ForCTC` in eval mode, on its device and in its precision,
            its weight norms folded.
        geometry: samples to rows.
        horizon: how far a step looks.
        cache: how keys and values are stored; None means as they are computed.
        slots: of a clone; None makes new ones.

    Raises:
        ConfigError: the module has a part whose past is not kept here.
    """

    def __init__(
        self,
        module: Any,
        geometry: Geometry,
        horizon: Horizon,
        cache: torch.dtype | None = None,
        slots: Slots | None = None,
    ) -> None:
        if module.config.model_type != "wav2vec2" or module.config.add_adapter:
            raise ConfigError(
                "stateful inference is for wav2vec2 checkpoints without an adapter on "
                "top: take inference windowed"
            )
        body = module.wav2vec2
        self._front = TorchFront(body, geometry)
        self._encoder = body.encoder
        self._head = module.lm_head
        self._stable: bool = module.config.do_stable_layer_norm
        self._device: torch.device = module.device
        self._dtype: torch.dtype = module.dtype
        self._geometry = geometry
        self._horizon = horizon
        # Rows that the positional convolution sees before a row, and after it.
        kernel = body.encoder.pos_conv_embed.conv.kernel_size[0]
        self._before, self._after = kernel // 2, kernel - 1 - kernel // 2
        self._slots = slots or Slots(
            SlotShape(
                layers=len(body.encoder.layers),
                places=horizon.places,
                rows=self._before + horizon.right,
                hidden=module.config.hidden_size,
                channels=self._front.channels,
                dtype=module.dtype,
                cache=cache or module.dtype,
            ),
            module.device,
        )

    def clone(self, module: Any) -> Stepper:
        """One for another worker's module; each steps the other's states."""
        return Stepper(module, self._geometry, self._horizon, slots=self._slots)

    def open(self) -> TorchState:
        """See `Model.open`."""
        return self._slots.open()

    @torch.inference_mode()
    def step(self, batch: Sequence[Step]) -> list[LogitRows]:
        """See `Model.step`."""
        if not batch:
            return []
        with self._slots.held([each.state for each in batch]) as states:
            turns = list(map(self._turn, states, batch))
            # A slab's slots are read and written together.
            order = sorted(range(len(turns)), key=lambda i: states[i].slab.number)
            lined = TurnBatch([turns[i] for i in order], self._device)
            x, sums = self._inputs(lined)
            logits, past = self._transform(lined, x)
            found = dict(zip(order, logits, strict=True))
            rows = [found[i][: turn.rows].copy() for i, turn in enumerate(turns)]
            for turn, row in zip(turns, rows, strict=True):
                if not np.isfinite(row).all():
                    raise ModelError(
                        f"{len(turn.samples)} samples after row {turn.state.past} gave "
                        "logits that are not finite"
                    )
            self._keep(lined, x, sums, past)
        return rows

    def _turn(self, state: TorchState, step: Step) -> Turn:
        geometry = self._geometry
        if step.samples.ndim != 1 or len(step.samples) == 0:
            raise ModelError(f"a step must be (n,), n > 0, got {step.samples.shape}")
        n, hop = len(step.samples), step.hop
        if not 0 <= hop <= n or (hop < n and hop % geometry.stride):
            raise ModelError(
                f"a hop of {hop} samples is neither 0 to {n} in whole strides of "
                f"{geometry.stride} nor all of the samples"
            )
        rows, kept = geometry.steps(n), geometry.steps(hop)
        # Rows of the front end that see nothing beyond these samples.
        final = max(0, (n - geometry.receptive_field) // geometry.stride + 1)
        return Turn(
            state,
            step.samples,
            rows=rows,
            hop=kept,
            ready=min(state.ready, final, rows - 1),
            next_ready=max(0, min(final - kept, self._horizon.right)),
            last=hop % geometry.stride > 0,
        )

    def _inputs(self, batch: TurnBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Input of the transformer: what is kept, then what is new.

        Returns:
            `(batch, before + most rows + after, hidden)`, zero before an utterance's
            start and after a step's end, as positions are computed; and the front
            end's sums.
        """
        geometry, before, turns = self._geometry, self._before, batch.turns
        new = [turn.samples[turn.ready * geometry.stride :] for turn in turns]
        lengths = [geometry.padded(len(each)) for each in new]
        samples = np.zeros((len(turns), max(lengths)), np.float32)
        for row, each in zip(samples, new, strict=True):
            row[: len(each)] = each
        pieces = [
            Piece(length, turn.final, turn.state.frames)
            for turn, length in zip(turns, lengths, strict=True)
        ]
        sums = batch.gather(lambda slab: slab.sums)
        given = send(samples, self._device).to(self._dtype)
        fresh, sums = self._front(given, pieces, sums)
        kept = batch.gather(lambda slab: slab.rows)
        zero = kept.new_zeros(len(turns), 1, kept.shape[2])
        source = torch.cat((kept, fresh, zero), 1)

        ready, rows, past = _columns(
            (turn.ready, turn.rows, turn.state.past) for turn in turns
        )
        at = np.arange(-before, rows.max() + self._after)  # 0 is the hop's first
        pick = np.where(at < ready, before + at, kept.shape[1] + at - ready)
        pick = np.where((at < -past) | (at >= rows), source.shape[1] - 1, pick)
        return self._rows(source, pick), sums

    def _transform(
        self, batch: TurnBatch, x: torch.Tensor
    ) -> tuple[LogitRows, list[torch.Tensor]]:
        """Logits `(batch, most rows, labels)`, and each layer's new keys and values."""
        positions = self._encoder.pos_conv_embed
        conv = positions.conv
        y = conv1d(x.transpose(1, 2), conv.weight, conv.bias, groups=conv.groups)
        y = positions.activation(y).transpose(1, 2)
        x = x[:, self._before : self._before + y.shape[1]] + y
        if not self._stable:
            x = self._encoder.layer_norm(x)

        filled = [self._horizon.filled(turn.state.past) for turn in batch.turns]
        mask = self._mask(filled, [turn.rows for turn in batch.turns])
        past: list[torch.Tensor] = []

        def attend(source: Any, x: torch.Tensor) -> torch.Tensor:
            key, value = source.k_proj(x), source.v_proj(x)
            keys = self._with_past(batch, max(filled), len(past), key)
            values = self._with_past(batch, max(filled), len(past) + 1, value)
            past.extend((key, value))
            split = (len(x), -1, source.num_heads, source.head_dim)
            y = scaled_dot_product_attention(
                source.q_proj(x).view(split).transpose(1, 2),
                keys.view(split).transpose(1, 2),
                values.view(split).transpose(1, 2),
                attn_mask=mask,
                scale=source.scaling,
            )
            attended: torch.Tensor = source.out_proj(y.transpose(1, 2).flatten(2))
            return attended

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
        logits: LogitRows = self._head(x).float().cpu().numpy()
        return logits, past

    def _mask(self, filled: Sequence[int], rows: Sequence[int]) -> torch.Tensor | None:
        """Which keys count, `(batch, 1, 1, most filled + most rows)`."""
        if len(set(filled)) == len(set(rows)) == 1:
            return None
        most = max(filled)
        at = np.arange(most + max(rows))
        full, new = _columns(zip(filled, rows, strict=True))
        mask = (at < full) | ((at >= most) & (at < most + new))
        return send(mask, self._device)[:, None, None]

    def _with_past(
        self, batch: TurnBatch, filled: int, which: int, new: torch.Tensor
    ) -> torch.Tensor:
        """The filled places of a layer, then what is new, `(batch, ., hidden)`."""
        if not filled:
            return new
        past = batch.gather(lambda slab: slab.past[which, :, :filled])
        return torch.cat((past.to(self._dtype), new), 1)

    def _keep(
        self,
        batch: TurnBatch,
        x: torch.Tensor,
        sums: torch.Tensor,
        past: list[torch.Tensor],
    ) -> None:
        """Move every state on by its hop."""
        [hop] = _columns((turn.hop,) for turn in batch.turns)
        near = np.arange(self._before + self._horizon.right)
        # What lies past a step's end is never read.
        near = np.minimum(hop + near, x.shape[1] - 1)
        batch.scatter(lambda slab: slab.rows, self._rows(x, near))
        batch.scatter(lambda slab: slab.sums, sums)
        batch.keep(self._horizon.written, torch.stack(past))
        for turn in batch.turns:
            state = turn.state
            state.past += turn.hop
            state.ready = turn.next_ready
            state.frames += self._front.frames(turn.final)
            state.ended = turn.last

    def _rows(self, source: torch.Tensor, pick: npt.NDArray[Any]) -> torch.Tensor:
        """Rows `pick (batch, n)` of `source (batch, ., hidden)`."""
        flat = pick + source.shape[1] * np.arange(len(pick))[:, None]
        picked = source.flatten(0, 1).index_select(0, send(flat.ravel(), self._device))
        return picked.view(*pick.shape, -1)


def _columns(rows: Any) -> list[npt.NDArray[np.int64]]:
    """Tuples of numbers as columns, each `(batch, 1)`."""
    return list(np.array(list(rows)).T[..., None])

"""Steps of wav2vec 2.0 through torch: only hop and right context are computed.

An utterance's past is kept in a slot: rows of the transformer's input for the
positional convolution, those of the right context whose front end is done, and each
layer's keys and values of a bounded left context. With one step over everything this
is the checkpoint's own forward. Knows slots and batches; neither what is computed
(`torch_step.py`) nor who takes steps when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streaming.errors import ConfigError, ModelError
from streaming.events import LogitRows
from streaming.models.horizon import Horizon
from streaming.models.model import Step
from streaming.models.torch_batch import (
    Numbers,
    StepSize,
    Turn,
    TurnBatch,
    fetch,
    send,
)
from streaming.models.torch_graphs import FixedSteps, Record, cuda_graphs
from streaming.models.torch_slots import Slots, SlotShape, TorchState
from streaming.models.torch_step import Given, Made, StepFunction
from streaming.numeric.geometry import Geometry

__all__ = ["HowSteps", "Stepper"]


@dataclass(frozen=True, slots=True)
class HowSteps:
    """How steps are run; what they say is the same.

    Attributes:
        cache: how keys and values are stored; None means as they are computed.
        graphs: on a GPU steps of the usual sizes are recorded and replayed.
        record: records them instead, on any device.
    """

    cache: torch.dtype | None = None
    graphs: bool = True
    record: Record | None = None


class Stepper:
    """Takes steps with one worker's module.

    Args:
        module: a `Wav2Vec2ForCTC` in eval mode, on its device and in its precision,
            its weight norms folded.
        geometry: samples to rows.
        horizon: how far a step looks.
        how: steps are run.
        slots: of a clone; None makes new ones.

    Raises:
        ConfigError: the module has a part whose past is not kept here.
    """

    def __init__(
        self,
        module: Any,
        geometry: Geometry,
        horizon: Horizon,
        how: HowSteps = HowSteps(),
        slots: Slots | None = None,
    ) -> None:
        if module.config.model_type != "wav2vec2" or module.config.add_adapter:
            raise ConfigError(
                "stateful inference is for wav2vec2 checkpoints without an adapter on "
                "top: take inference windowed"
            )
        self._function = StepFunction(module, geometry)
        self._front = self._function.front
        self._device: torch.device = module.device
        self._geometry = geometry
        self._horizon = horizon
        self._how = how
        self._slots = slots or Slots(
            SlotShape(
                layers=len(module.wav2vec2.encoder.layers),
                places=horizon.places,
                rows=self._function.before + horizon.right,
                hidden=module.config.hidden_size,
                channels=self._front.channels,
                dtype=module.dtype,
                cache=how.cache or module.dtype,
            ),
            module.device,
        )
        self._dtype: torch.dtype = module.dtype
        record = how.record
        if record is None and how.graphs and self._device.type == "cuda":
            record = cuda_graphs(self._device)
        self._fixed = record and FixedSteps(
            self._function,
            geometry,
            horizon,
            self._slots.shape,
            self._device,
            record,
        )

    def clone(self, module: Any) -> Stepper:
        """One for another worker's module; each steps the other's states."""
        return Stepper(module, self._geometry, self._horizon, self._how, self._slots)

    @property
    def recorded(self) -> int:
        """Sizes of steps that are replayed."""
        return self._fixed.recorded if self._fixed else 0

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
            fresh = max(self._geometry.padded(len(turn.fresh)) for turn in turns)
            fixed = self._fixed.fit(turns, fresh) if self._fixed else None
            made = fixed.run(lined) if fixed else self._run(lined, fresh)
            logits = fetch(made.logits)
            found = dict(zip(order, logits, strict=False))
            rows = [found[i][: turn.rows].copy() for i, turn in enumerate(turns)]
            for turn, row in zip(turns, rows, strict=True):
                if not np.isfinite(row).all():
                    raise ModelError(
                        f"{len(turn.samples)} samples after row {turn.state.past} gave "
                        "logits that are not finite"
                    )
            if fixed:
                lined.keep(self._horizon.written, fixed.past, fixed.size.filled)
            else:
                lined.keep(self._horizon.written, torch.stack(made.past))
            self._move_on(lined, made)
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
        ready = min(state.ready, final, rows - 1)
        next_ready = max(0, min(final - kept, self._horizon.right))
        fresh = step.samples[ready * geometry.stride :]
        return Turn(
            state,
            step.samples,
            fresh,
            rows=rows,
            hop=kept,
            ready=ready,
            next_ready=next_ready,
            filled=self._horizon.filled(state.past),
            counts=self._front.counts(
                geometry.padded(len(fresh)), kept + next_ready - ready, state.frames
            ),
            last=hop % geometry.stride > 0,
        )

    def _run(self, batch: TurnBatch, fresh: int) -> Made:
        """Compute the steps as they are, each kernel for itself."""
        turns, geometry, function = batch.turns, self._geometry, self._function
        size = StepSize(
            len(turns),
            max(turn.rows for turn in turns),
            fresh,
            max(turn.filled for turn in turns),
        )
        numbers = Numbers.room(size, function.before + size.rows + function.after)
        fresh_rows = (fresh - geometry.receptive_field) // geometry.stride + 1
        kept = self._slots.shape.rows
        numbers.write(turns, size, kept, fresh_rows, function.before)

        def behind(which: int, new: torch.Tensor) -> torch.Tensor:
            if not size.filled:
                return new
            past = batch.gather(lambda slab: slab.past[which, :, : size.filled])
            return torch.cat((past.to(self._dtype), new), 1)

        return function(
            Given(
                send(numbers.samples, self._device),
                send(numbers.counts, self._device),
                batch.gather(lambda slab: slab.sums),
                batch.gather(lambda slab: slab.rows),
                send(numbers.pick, self._device),
                None if numbers.mask.all() else send(numbers.mask, self._device),
            ),
            behind,
        )

    def _move_on(self, batch: TurnBatch, made: Made) -> None:
        """Move every state on by its hop; keys and values are kept already."""
        hop = np.array([turn.hop for turn in batch.turns])[:, None]
        near = np.arange(self._slots.shape.rows)
        # What lies past a step's end is never read.
        near = np.minimum(hop + near, made.seen.shape[1] - 1)
        batch.scatter(lambda slab: slab.rows, self._rows(made.seen, near))
        batch.scatter(lambda slab: slab.sums, made.sums)
        for turn in batch.turns:
            state = turn.state
            state.past += turn.hop
            state.ready = turn.next_ready
            state.frames += self._front.frames(turn.final)
            state.ended = turn.last

    def _rows(self, source: torch.Tensor, pick: npt.NDArray[Any]) -> torch.Tensor:
        """Rows `pick (batch, n)` of `source (batch or more, ., hidden)`."""
        flat = pick + source.shape[1] * np.arange(len(pick))[:, None]
        picked = source.flatten(0, 1).index_select(0, send(flat.ravel(), self._device))
        return picked.view(*pick.shape, -1)

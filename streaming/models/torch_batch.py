"""The utterances of one batch: what each asks of a step, and where its slot lies.

Knows slots and rows in numbers; computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streaming.events import Samples
from streaming.models.torch_slots import Slab, TorchState

__all__ = ["Turn", "TurnBatch", "send"]


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One utterance's step, in rows.

    Attributes:
        state: its past.
        samples: hop, then right context.
        rows: of both.
        hop: rows of the hop.
        ready: first rows whose front end the state holds.
        next_ready: rows after the hop whose front end it will hold.
        last: the hop ends within a stride: nothing follows.
    """

    state: TorchState
    samples: Samples
    rows: int
    hop: int
    ready: int
    next_ready: int
    last: bool

    @property
    def final(self) -> int:
        """New rows of the front end that no later step computes again."""
        return self.hop + self.next_ready - self.ready


class TurnBatch:
    """Turns whose slots are read and written together, slab by slab.

    Args:
        turns: sorted by slab.
        device: where the slabs are.
    """

    def __init__(self, turns: Sequence[Turn], device: torch.device) -> None:
        self.turns = turns
        self._groups: list[tuple[Slab, slice, torch.Tensor]] = []
        begin = 0
        for _, group in groupby(turns, key=lambda turn: turn.state.slab.number):
            slots = np.array([turn.state.slot for turn in group])
            here = slice(begin, begin + len(slots))
            self._groups.append((turns[begin].state.slab, here, send(slots, device)))
            begin += len(slots)

    def gather(self, part: Callable[[Slab], torch.Tensor]) -> torch.Tensor:
        """Each turn's row of a part of the slabs, `(batch, ...)`."""
        if len(self.turns) == 1:  # as it lies there
            state = self.turns[0].state
            return part(state.slab)[state.slot : state.slot + 1]
        parts = [part(slab).index_select(0, slots) for slab, _, slots in self._groups]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def scatter(self, part: Callable[[Slab], torch.Tensor], rows: torch.Tensor) -> None:
        """The opposite: write `rows (batch, ...)`."""
        for slab, here, slots in self._groups:
            part(slab).index_copy_(0, slots, rows[here])

    def keep(
        self,
        written: Callable[[int, int], tuple[npt.NDArray[Any], npt.NDArray[Any]]],
        past: torch.Tensor,
    ) -> None:
        """Write the hops' keys and values.

        Args:
            written: `Horizon.written`.
            past: `(2 * layers, batch, most rows, hidden)`.
        """
        for slab, here, slots in self._groups:
            width, places = past.shape[2], slab.past.shape[2]
            rows, at = [], []
            for i, turn in enumerate(self.turns[here]):
                row, place = written(turn.state.past, turn.hop)
                rows.append(i * width + row)
                at.append(turn.state.slot * places + place)
            kept = past[:, here].flatten(1, 2)
            kept = kept.index_select(1, send(np.concatenate(rows), slots.device))
            slab.past.flatten(1, 2).index_copy_(
                1,
                send(np.concatenate(at), slots.device),
                kept.to(slab.past.dtype),
            )


def send(numbers: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """To the device, without waiting for it."""
    here = torch.from_numpy(numbers)
    if device.type != "cuda":
        return here.to(device)
    return here.pin_memory().to(device, non_blocking=True)

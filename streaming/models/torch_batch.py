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

__all__ = ["Numbers", "StepSize", "Turn", "TurnBatch", "fetch", "send"]


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One utterance's step, in rows.

    Attributes:
        state: its past.
        samples: hop, then right context.
        fresh: of them, those that the front end has not seen.
        rows: of both.
        hop: rows of the hop.
        ready: first rows whose front end the state holds.
        next_ready: rows after the hop whose front end it will hold.
        filled: places of its left context that hold something.
        counts: of the front end.
        last: the hop ends within a stride: nothing follows.
    """

    state: TorchState
    samples: Samples
    fresh: Samples
    rows: int
    hop: int
    ready: int
    next_ready: int
    filled: int
    counts: tuple[int, int, int]
    last: bool

    @property
    def final(self) -> int:
        """New rows of the front end that no later step computes again."""
        return self.hop + self.next_ready - self.ready


@dataclass(frozen=True, slots=True)
class StepSize:
    """What decides the shapes of a step's tensors.

    Attributes:
        batch: utterances.
        rows: of hop and right context, at most.
        fresh: samples that the front end has not seen, padded, at most.
        filled: places of the left context that are read.
    """

    batch: int
    rows: int
    fresh: int
    filled: int


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """What the host knows of a batch; `torch_step.Given` says what each is."""

    samples: Samples
    counts: npt.NDArray[np.int64]
    pick: npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]

    @classmethod
    def room(
        cls,
        size: StepSize,
        seen: int,
        make: Callable[..., npt.NDArray[Any]] = np.empty,
    ) -> Numbers:
        """Numbers to be written.

        Args:
            size: what they are of.
            seen: rows that the positional convolution sees of each utterance.
            make: an array of a shape and a type.
        """
        return cls(
            make((size.batch, size.fresh), np.float32),
            make((size.batch, 3), np.int64),
            make(size.batch * seen, np.int64),
            make((size.batch, 1, 1, size.filled + size.rows), np.bool_),
        )

    def write(
        self,
        turns: Sequence[Turn],
        size: StepSize,
        kept: int,
        fresh: int,
        before: int,
    ) -> None:
        """Write what holds for these turns, and harmless numbers for the rest.

        Args:
            turns: no more than the size has room for.
            size: of what is written.
            kept: rows that a state keeps of the transformer's input.
            fresh: rows that come of the fresh samples.
            before: rows that the positional convolution sees before a row.
        """
        missing = size.batch - len(turns)
        self.samples[:] = 0
        for row, turn in zip(self.samples, turns, strict=False):
            row[: len(turn.fresh)] = turn.fresh
        self.counts[:] = (1, 0, 1)
        if turns:
            self.counts[: len(turns)] = [turn.counts for turn in turns]
        ready, rows, past, filled = np.array(
            [(t.ready, t.rows, t.state.past, t.filled) for t in turns]
            + [(0, 0, 0, 0)] * missing
        ).T[..., None]
        # One row of source is zero: before an utterance's start, after a step's end.
        width = kept + fresh + 1
        pick = self.pick.reshape(size.batch, -1)
        at = np.arange(pick.shape[1]) - before  # 0 is the hop's first
        pick[:] = np.where(at < ready, before + at, kept + at - ready)
        pick[(at < -past) | (at >= rows)] = width - 1
        pick += width * np.arange(size.batch)[:, None]
        key = np.arange(size.filled + size.rows)
        new = size.filled + np.maximum(rows, 1)  # a softmax of nothing is not a number
        mask = (key < filled) | ((key >= size.filled) & (key < new))
        self.mask[:, 0, 0] = mask


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

    def gather_into(
        self, part: Callable[[Slab], torch.Tensor], into: torch.Tensor, axis: int = 0
    ) -> None:
        """The same into memory that is there, its first rows along `axis`."""
        for slab, here, slots in self._groups:
            room = into.narrow(axis, here.start, here.stop - here.start)
            source = part(slab)
            if source.dtype == room.dtype:
                torch.index_select(source, axis, slots, out=room)
            else:
                room.copy_(source.index_select(axis, slots))

    def scatter(self, part: Callable[[Slab], torch.Tensor], rows: torch.Tensor) -> None:
        """The opposite: write `rows (batch, ...)`."""
        for slab, here, slots in self._groups:
            part(slab).index_copy_(0, slots, rows[here])

    def keep(
        self,
        written: Callable[[int, int], tuple[npt.NDArray[Any], npt.NDArray[Any]]],
        past: torch.Tensor,
        first: int = 0,
    ) -> None:
        """Write the hops' keys and values.

        Args:
            written: `Horizon.written`.
            past: `(2 * layers, batch, n, hidden)`, contiguous.
            first: of the n, where the new ones begin.
        """
        width, flat = past.shape[2], past.flatten(1, 2)
        for slab, here, slots in self._groups:
            places = slab.past.shape[2]
            rows, at = [], []
            for i, turn in enumerate(self.turns[here], start=here.start):
                row, place = written(turn.state.past, turn.hop)
                rows.append(i * width + first + row)
                at.append(turn.state.slot * places + place)
            kept = flat.index_select(1, send(np.concatenate(rows), slots.device))
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


def fetch(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """From the device, through memory that it writes to by itself; waits for it."""
    if tensor.device.type != "cuda":
        return tensor.cpu().numpy()
    here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    here.copy_(tensor, non_blocking=True)
    # Not all of the stream: another worker's step may be queued behind.
    new_event: Any = torch.cuda.Event
    copied = new_event()
    copied.record(torch.cuda.current_stream(tensor.device))
    copied.synchronize()
    return here.numpy()

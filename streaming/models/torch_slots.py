"""Room for what utterances leave behind, in torch's memory on any device.

A slot is one utterance's. Slots lie in slabs, which are allocated as utterances
come and stay where they are: to open or close a state copies nothing. Knows the
shape of a slot, and who has it; not what is computed with it.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from streaming.errors import ModelError
from streaming.models.model import State

__all__ = ["Slab", "SlotShape", "Slots", "TorchState"]

# In the first slab; each later one doubles what there is. Slabs of one slot stay so.
_FIRST_SLOTS = {"cpu": 1, "cuda": 8}
_WORKING_BYTES = 2 << 30  # of a GPU's memory that slabs leave to the passes


@dataclass(frozen=True, slots=True)
class SlotShape:
    """What one utterance keeps.

    Attributes:
        layers: of the transformer.
        places: rows of keys, and of values, in each layer.
        rows: rows of the transformer's input.
        hidden: numbers in a row of any of them.
        channels: of the front end's running statistics, 0 where it has none.
        dtype: what the model computes in.
        cache: how keys and values are stored.
    """

    layers: int
    places: int
    rows: int
    hidden: int
    channels: int
    dtype: torch.dtype
    cache: torch.dtype

    @property
    def bytes(self) -> int:
        """Memory of one slot."""
        past = 2 * self.layers * self.places * self.hidden * self.cache.itemsize
        near = self.rows * self.hidden * self.dtype.itemsize
        return past + near + 2 * self.channels * torch.float64.itemsize


class Slab:
    """Memory of some slots. What nobody wrote is zero.

    Attributes:
        number: which of the model's slabs.
        past: `(2 * layers, slots, places, hidden)`: keys of the first layer, its
            values, keys of the second.
        rows: `(slots, rows, hidden)`: the transformer's input.
        sums: `(slots, channels, 2)`: of the front end's first values, and squares.
    """

    def __init__(
        self, number: int, shape: SlotShape, slots: int, device: torch.device
    ) -> None:
        self.number = number
        past = (2 * shape.layers, slots, shape.places, shape.hidden)
        rows = (slots, shape.rows, shape.hidden)
        sums = (slots, shape.channels, 2)
        self.past = _zeros(past, shape.cache, device)
        self.rows = _zeros(rows, shape.dtype, device)
        self.sums = _zeros(sums, torch.float64, device)


class TorchState:
    """A slot and how far its utterance has come; see `model.State`.

    Attributes:
        slab: where the slot lies.
        slot: its number there.
        past: rows kept so far.
        ready: rows after them whose front end is done.
        frames: values behind each of the slab's sums.
        ended: the last hop was no whole number of strides: nothing follows.
    """

    def __init__(self, slots: Slots, slab: Slab, slot: int) -> None:
        self.slab = slab
        self.slot = slot
        self.past = 0
        self.ready = 0
        self.frames = 0
        self.ended = False
        self.slots = slots
        self.closed = False
        self.held = False

    @property
    def bytes(self) -> int:
        """Memory of its slot, used up or not."""
        return 0 if self.closed else self.slots.shape.bytes

    def close(self) -> None:
        """Free the slot; at the end of the step, where one is being taken."""
        self.slots.close(self)


class Slots:
    """The slots of one model and its clones; all methods from any thread.

    Args:
        shape: of a slot.
        device: where the model is. On a CPU each slab is one slot, of memory that
            the system hands out as it is first written.
    """

    def __init__(self, shape: SlotShape, device: torch.device) -> None:
        self.shape = shape
        self._device = device
        self._lock = threading.Lock()  # guards all below, and the states' flags
        self._free: list[tuple[int, int]] = []  # (slab, slot), lowest first
        self._slabs: list[Slab] = []
        self._slots = 0

    @property
    def bytes(self) -> int:
        """Memory of all slabs."""
        return self._slots * self.shape.bytes

    def open(self) -> TorchState:
        """Take a free slot, or make more.

        Raises:
            ModelError: there is no memory for one more.
        """
        with self._lock:
            if not self._free:
                self._grow()
            slab, slot = heapq.heappop(self._free)
            return TorchState(self, self._slabs[slab], slot)

    def close(self, state: TorchState) -> None:
        """Free a state's slot once no step holds it."""
        with self._lock:
            if not state.closed:
                state.closed = True
                if not state.held:
                    self._put_back(state)

    @contextmanager
    def held(self, states: Sequence[State]) -> Iterator[list[TorchState]]:
        """Hold states for a step: until it ends no slot of theirs is freed.

        Raises:
            ModelError: a state is another model's, closed, ended, there twice, or
                held by another step.
        """
        mine: list[TorchState] = []
        with self._lock:
            try:
                for state in states:
                    self._hold(state, mine)
            except ModelError:
                self._let_go(mine)
                raise
        try:
            yield mine
        finally:
            with self._lock:
                self._let_go(mine)

    def _hold(self, state: State, mine: list[TorchState]) -> None:
        if not isinstance(state, TorchState) or state.slots is not self:
            raise ModelError("a state of another model was given to a step")
        if state.closed:
            raise ModelError("a closed state was given to a step")
        if state.held:
            raise ModelError("a state was given to two steps at once")
        if state.ended:
            raise ModelError(
                f"a state whose utterance ended with row {state.past} was given to "
                "a step"
            )
        state.held = True
        mine.append(state)

    def _let_go(self, states: Sequence[TorchState]) -> None:
        for state in states:
            state.held = False
            if state.closed:
                self._put_back(state)

    def _put_back(self, state: TorchState) -> None:
        heapq.heappush(self._free, (state.slab.number, state.slot))

    def _grow(self) -> None:
        wanted = _FIRST_SLOTS[self._device.type]
        if wanted > 1:
            wanted = max(wanted, self._slots)
        if self._device.type == "cuda":
            # Of what is left a quarter, so that a burst does not starve the passes.
            free = torch.cuda.mem_get_info(self._device)[0] - _WORKING_BYTES
            fit = free // self.shape.bytes
            if fit < 1:
                raise ModelError(self._full())
            wanted = min(wanted, max(1, fit // 4))
        number = len(self._slabs)
        try:
            with torch.inference_mode():
                slab = Slab(number, self.shape, wanted, self._device)
        except (RuntimeError, MemoryError) as error:
            raise ModelError(f"{self._full()}: {error}") from error
        self._slabs.append(slab)
        self._slots += wanted
        for slot in range(wanted):
            heapq.heappush(self._free, (number, slot))

    def _full(self) -> str:
        return (
            f"no memory for one more state of {self.shape.bytes} bytes beside "
            f"{self._slots} with {self.bytes}"
        )


def _zeros(
    shape: Sequence[int], dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    if device.type != "cpu" or not prod(shape):
        return torch.zeros(shape, dtype=dtype, device=device)
    # Unlike torch's, numpy's zeros are pages that the system has yet to hand out:
    # opening takes no time, and a short utterance takes little memory.
    memory = torch.from_numpy(np.zeros(prod(shape) * dtype.itemsize, np.uint8))
    return memory.view(dtype).view(shape)

"""Steps of a few fixed sizes, recorded once and replayed: a GPU then waits for nobody.

A step of XLSR is some thousand small kernels, which one thread of Python launches
more slowly than a GPU runs them. A recording (a CUDA graph) launches them all at
once, but its shapes and its memory stay as they were: so steps are padded to the
next size, in buffers of their own. Knows sizes and memory; not what is computed.
"""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from streaming.models.horizon import Horizon
from streaming.models.torch_batch import Numbers, StepSize, Turn, TurnBatch
from streaming.models.torch_slots import SlotShape
from streaming.models.torch_step import Behind, Given, Made, StepFunction
from streaming.numeric.geometry import Geometry

__all__ = ["Compute", "FixedStep", "FixedSteps", "Record", "cuda_graphs"]

_log = logging.getLogger(__name__)

_RECORDING = threading.Lock()  # one at a time in a process

Compute: TypeAlias = Callable[[Given, Behind], Made]
Record: TypeAlias = Callable[[Callable[[], Made]], Callable[[], Made]]
"""A call to one that repeats it; only the numbers in its tensors may differ."""

# A batch between is padded: by half at most where it is large enough to matter.
_BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)


class FixedStep:
    """Steps of one size.

    Args:
        size: of what is computed; fewer and shorter steps are padded to it.
        function: knows the rows that they see.
        compute: it, or what it was made into.
        shape: of a slot.
        fresh: rows that come of the fresh samples.
        past: `(2 * layers, batch, filled + rows, hidden)`: where keys and values are
            laid out; other sizes may use the same memory.
        record: makes the call that is repeated.

    Attributes:
        repeat: computes once more what was given last.
    """

    def __init__(
        self,
        size: StepSize,
        function: StepFunction,
        compute: Compute,
        shape: SlotShape,
        fresh: int,
        past: torch.Tensor,
        record: Record,
    ) -> None:
        self.size = size
        self.past = past
        self._before = function.before
        self._kept = shape.rows
        self._fresh = fresh
        device = past.device
        seen = function.before + size.rows + function.after
        self._host = Numbers.room(size, seen, _pinned(device))
        rows = (size.batch, shape.rows, shape.hidden)
        sums = (size.batch, shape.channels, 2)
        self._given = Given(
            samples=_like(self._host.samples, device),
            counts=_like(self._host.counts, device),
            sums=torch.zeros(sums, dtype=torch.float64, device=device),
            kept=torch.zeros(rows, dtype=shape.dtype, device=device),
            pick=_like(self._host.pick, device),
            mask=_like(self._host.mask, device),
        )
        self._write(())  # numbers that can be computed with, to be recorded with

        def behind(which: int, new: torch.Tensor) -> torch.Tensor:
            past[which][:, size.filled :].copy_(new)
            return past[which]

        def run() -> Made:
            # The keys and values lie in `past`: their own memory is free again.
            return replace(compute(self._given, behind), past=())

        self.repeat = record(run)

    def run(self, batch: TurnBatch) -> Made:
        """Compute the steps of a batch that fits; what is made is gone with the next.

        Their new keys and values are in `past` as well, behind the filled places.
        """
        self._write(batch.turns)
        given, filled = self._given, self.size.filled
        batch.gather_into(lambda slab: slab.rows, given.kept)
        batch.gather_into(lambda slab: slab.sums, given.sums)
        left = self.past[:, :, :filled]
        batch.gather_into(lambda slab: slab.past, left, axis=1)
        return self.repeat()

    def _write(self, turns: Sequence[Turn]) -> None:
        # The step before has ended: nothing is read from the host's numbers any more.
        host, given = self._host, self._given
        host.write(turns, self.size, self._kept, self._fresh, self._before)
        for there, here in (
            (given.samples, host.samples),
            (given.counts, host.counts),
            (given.pick, host.pick),
            (given.mask, host.mask),
        ):
            if there is not None:
                there.copy_(torch.from_numpy(here), non_blocking=True)


class FixedSteps:
    """The sizes that a stream's windows come in.

    A usual one behind others, an utterance's first, whose front end has seen nothing, a
    short one at its end, and one of the two hops that are kept under load. All are
    recorded when the first batch comes, which the warm-up makes as large as any will
    be.

    Args:
        function: computes steps.
        geometry: samples to rows.
        horizon: its hop, right context and places; a hop of 0 rows is not known, and
            then nothing is recorded.
        shape: of a slot.
        device: where the model is.
        record: makes a call that is repeated.
    """

    def __init__(
        self,
        function: StepFunction,
        geometry: Geometry,
        horizon: Horizon,
        shape: SlotShape,
        device: torch.device,
        record: Record,
    ) -> None:
        self._function = function
        self._geometry = geometry
        self._places = horizon.places
        self._shape = shape
        self._device = device
        self._record = record
        self._steps: dict[StepSize, FixedStep] = {}
        self._most = 0  # in a batch, of those recorded
        self._failed = False
        self._lengths = _lengths(geometry, horizon)

    @property
    def recorded(self) -> int:
        """How many sizes."""
        return len(self._steps)

    def fit(self, turns: Sequence[Turn], fresh: int) -> FixedStep | None:
        """The least size that these steps fit into; None where none was recorded.

        Args:
            turns: of a batch.
            fresh: most samples that a front end has not seen, padded.
        """
        if len(turns) > self._most and not self._failed:
            self._record_all(len(turns))
        rows = max(turn.rows for turn in turns)
        batch = bisect_left(_BATCHES, len(turns))
        for most_rows, most_fresh in self._lengths:
            samples = self._geometry.padded(most_fresh * self._geometry.stride)
            if rows <= most_rows and fresh <= samples and batch < len(_BATCHES):
                size = StepSize(_BATCHES[batch], most_rows, samples, self._places)
                return self._steps.get(size)
        return None

    def _record_all(self, batch: int) -> None:
        """For batches of up to so many; the memory of the largest does for all."""
        sizes = _BATCHES[: bisect_left(_BATCHES, batch) + 1]
        new = [each for each in sizes if each > self._most][::-1]
        self._most = max(batch, sizes[-1])
        if not new or not self._lengths:
            return
        layers, hidden = 2 * self._shape.layers, self._shape.hidden
        longest = max(rows for rows, _ in self._lengths) + self._places
        try:
            room = torch.zeros(
                layers * new[0] * longest * hidden,
                dtype=self._shape.dtype,
                device=self._device,
            )
            for each in new:
                for rows, fresh in self._lengths:
                    samples = self._geometry.padded(fresh * self._geometry.stride)
                    size = StepSize(each, rows, samples, self._places)
                    laid = (layers, each, self._places + rows, hidden)
                    past = room[: int(np.prod(laid))].view(laid)
                    self._steps[size] = FixedStep(
                        size,
                        self._function,
                        self._function,
                        self._shape,
                        fresh,
                        past,
                        self._record,
                    )
        except (RuntimeError, MemoryError) as error:
            self._failed = True
            said = str(error).partition("\n")[0]
            _log.warning(
                "%d sizes of steps recorded, the others run eagerly: %s",
                len(self._steps),
                said,
            )


def _lengths(geometry: Geometry, horizon: Horizon) -> list[tuple[int, int]]:
    """Rows of a step, and those of them that are fresh; the least come first."""
    if not horizon.hop:
        return []
    usual = horizon.hop + horizon.right
    final = (usual * geometry.stride - geometry.receptive_field) // geometry.stride + 1
    ready = max(0, min(final - horizon.hop, horizon.right))
    half, longer = -(-usual // 2), usual + horizon.hop
    return [(half, half), (usual, usual - ready), (usual, usual), (longer, longer)]


def cuda_graphs(device: torch.device) -> Record:
    """Record CUDA graphs that share their scratch memory.

    Only one of them may run at a time, and each on the stream that is current.

    Args:
        device: a GPU.
    """
    pool = torch.cuda.graph_pool_handle()
    new_stream: Any = torch.cuda.Stream
    stream = new_stream(device)

    def record(run: Callable[[], Made]) -> Callable[[], Made]:
        with _RECORDING, torch.cuda.device(device):
            current = torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for _ in range(2):  # libraries allocate and choose with the first
                    run()
            current.wait_stream(stream)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU meanwhile.
            with torch.cuda.graph(
                graph, pool=pool, stream=stream, capture_error_mode="thread_local"
            ):
                made = run()

        def repeat() -> Made:
            with torch.cuda.device(device):
                graph.replay()
            return made

        return repeat

    return record


def _pinned(device: torch.device) -> Callable[..., npt.NDArray[Any]]:
    """What makes arrays that a GPU reads by itself."""
    if device.type != "cuda":
        return np.zeros

    def zeros(shape: Sequence[int] | int, dtype: Any) -> npt.NDArray[Any]:
        like = torch.from_numpy(np.zeros(shape, dtype))
        pinned: npt.NDArray[Any] = like.pin_memory().numpy()
        return pinned

    return zeros


def _like(numbers: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(numbers).clone().to(device)

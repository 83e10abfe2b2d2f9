"""The windows of many streams, each stream in order, the most urgent stream first.

A stream's windows stand in a line, and at most one of them runs. The first of
each line that runs nothing is ready, and ready windows are kept by bucket, since
windows of one bucket share a pass unpadded. Knows no clock, no cost, no full pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import TypeAlias

from streaming.events import Job

__all__ = ["Lines"]

_Heap: TypeAlias = list[tuple[float, int, Job]]  # deadline, order, job


@dataclass(slots=True)
class _Line:
    """One stream: what waits, in order, and what runs."""

    windows: deque[Job] = field(default_factory=deque)
    running: Job | None = None


class Lines:
    """Windows that wait and run.

    Args:
        bucket: of a window of so many samples; rises with them.

    Attributes:
        jobs: windows that wait.
        samples: audio that waits: their hops.
    """

    def __init__(self, bucket: Callable[[int], int]) -> None:
        self.jobs = 0
        self.samples = 0
        self._bucket = bucket
        self._order = count()
        self._lines: dict[int, _Line] = {}
        # By bucket. An entry whose job is no longer ready stays until it surfaces.
        self._ready: dict[int, _Heap] = {}

    def add(self, job: Job) -> None:
        """Put a window at the end of its stream's line."""
        line = self._lines.setdefault(job.stream, _Line())
        line.windows.append(job)
        self._count(1, job)
        if len(line.windows) == 1:
            self._offer(line)

    def deadlines(self) -> list[float]:
        """When the next window of each stream is due, those that may run; rising."""
        return sorted(
            deadline
            for heap in self._buckets().values()
            for deadline, _, job in heap
            if self._is_ready(job)
        )

    def first(self) -> Job | None:
        """The most urgent ready window, the longest ready one among equals."""
        tops = [heap[0] for heap in self._buckets().values()]
        return min(tops)[2] if tops else None

    def beside(self, first: Job) -> Iterator[Job]:
        """The ready windows that may share a pass with `first`, which has started.

        Those of its own bucket come first, then the others, each by deadline. Each is
        the caller's to `start` before the next is asked for; of the bucket of one
        that was left no more come.
        """
        own = self._bucket(len(first.window.samples))
        heaps = dict(self._buckets())
        buckets = [heaps.pop(own)] if own in heaps else []
        for tops in (buckets, list(heaps.values())):
            heapify(by_top := [(heap[0], heap) for heap in tops])
            while by_top:
                (_, _, job), heap = by_top[0]
                yield job
                if not self._is_ready(job) and self._has_ready(heap):
                    heapreplace(by_top, (heap[0], heap))
                else:
                    heappop(by_top)

    def no_longer(self, samples: int) -> int:
        """About how many ready windows are of `samples` or fewer."""
        most = self._bucket(samples)
        return sum(len(heap) for bucket, heap in self._ready.items() if bucket <= most)

    @property
    def ready(self) -> int:
        """About how many windows may run now."""
        return sum(map(len, self._ready.values()))

    def start(self, job: Job) -> None:
        """A ready window runs from now on."""
        line = self._lines[job.stream]
        line.running = line.windows.popleft()
        self._count(-1, job)

    def done(self, job: Job) -> None:
        """A running window has ended; its stream's next one is ready.

        Raises:
            ValueError: it does not run.
        """
        line = self._lines.get(job.stream)
        if line is None or line.running is not job:
            raise ValueError(f"a job of stream {job.stream} is not running")
        line.running = None
        self._offer(line)
        self._forget_idle(job.stream)

    def cancel(self, stream: int, utterance: int | None) -> list[Job]:
        """Remove the waiting windows of an utterance, or of all, and return them."""
        line = self._lines.get(stream)
        if line is None:
            return []
        removed = [job for job in line.windows if utterance in (None, job.utterance)]
        if not removed:
            return []
        first = line.windows[0]
        line.windows = deque(
            job for job in line.windows if utterance not in (None, job.utterance)
        )
        for job in removed:
            self._count(-1, job)
        if line.windows and line.windows[0] is not first:
            self._offer(line)
        self._forget_idle(stream)
        return removed

    def clear(self) -> list[Job]:
        """Remove everything that waits, and return it; what runs goes on."""
        removed = [job for line in self._lines.values() for job in line.windows]
        for stream, line in list(self._lines.items()):
            line.windows.clear()
            self._forget_idle(stream)
        self._ready.clear()
        self.jobs = self.samples = 0
        return removed

    def late(self, now: float) -> int:
        """Samples of the hops that wait past their deadline."""
        samples = 0
        for line in self._lines.values():
            for job in line.windows:
                if job.deadline > now:
                    break
                samples += job.window.hop
        return samples

    def _buckets(self) -> dict[int, _Heap]:
        """The ready windows by bucket, each with a ready one on top."""
        for bucket, heap in list(self._ready.items()):
            if not self._has_ready(heap):
                del self._ready[bucket]
        return self._ready

    def _has_ready(self, heap: _Heap) -> bool:
        """Whether there is one, and then it is on top."""
        while heap and not self._is_ready(heap[0][2]):
            heappop(heap)
        return bool(heap)

    def _is_ready(self, job: Job) -> bool:
        line = self._lines.get(job.stream)
        if line is None or line.running is not None or not line.windows:
            return False
        return line.windows[0] is job

    def _offer(self, line: _Line) -> None:
        if line.windows and line.running is None:
            job = line.windows[0]
            heap = self._ready.setdefault(self._bucket(len(job.window.samples)), [])
            heappush(heap, (job.deadline, next(self._order), job))

    def _forget_idle(self, stream: int) -> None:
        line = self._lines[stream]
        if line.running is None and not line.windows:
            del self._lines[stream]

    def _count(self, sign: int, job: Job) -> None:
        self.jobs += sign
        self.samples += sign * job.window.hop

"""Which jobs share a pass: as many as pay, at what passes cost now.

Knows costs, lengths and sizes; neither deadlines nor what waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from streaming.core.costs import CostModel
from streaming.events import Job, Pass
from streaming.numeric.geometry import Geometry

__all__ = ["Batching", "Passes"]

_EVEN = 1 + 1e-9  # rounding


@dataclass(frozen=True, slots=True)
class Batching:
    """Which passes may share a batch.

    Attributes:
        geometry: what a window is padded to.
        max_batch: most windows in one pass; 1 where batches gain nothing.
        pads: windows of unequal length may share a batch.
    """

    geometry: Geometry
    max_batch: int = 1
    pads: bool = False

    def bucket(self, samples: int) -> int:
        """The bucket of a window of `samples`: equal ones share a pass unpadded."""
        return self.geometry.steps(samples) if self.max_batch > 1 else 0


class Passes:
    """What passes take, and what is worth one, at the costs of now.

    A pass is filled up to the size with which a window costs least, or nearly. A
    window of another length joins where that makes the pass longer by no more than
    the window's share of a pass that it could have with its peers, those that wait
    and are no longer than itself. So on an idle device everybody shares a pass, on a
    busy one those alike, and where batches gain nothing nobody does.

    Attributes:
        batching: which may share one at all.
    """

    def __init__(self, batching: Batching, costs: CostModel) -> None:
        self.batching = batching
        self._costs = costs
        self._longest_s = inf
        self._look_again()

    @property
    def costs(self) -> CostModel:
        """Seconds that a pass takes."""
        return self._costs

    @costs.setter
    def costs(self, costs: CostModel) -> None:
        self._costs = costs
        self._look_again()

    @property
    def longest_s(self) -> float:
        """Most seconds that one pass may take."""
        return self._longest_s

    @longest_s.setter
    def longest_s(self, seconds: float) -> None:
        self._longest_s = seconds
        self._look_again()

    def _look_again(self) -> None:
        """What was computed from these holds no more."""
        self._seconds_of: dict[tuple[Pass, int], float] = {}
        self._most_of: dict[tuple[Pass, int], int] = {}

    def seconds(self, job: Job) -> float:
        """How long a job takes alone."""
        of = job.kind, len(job.window.samples)
        seconds = self._seconds_of.get(of)
        if seconds is None:
            seconds = self._seconds_of[of] = self._costs.of(of[0]).seconds(of[1])
        return seconds

    def surely(self, job: Job) -> float:
        """How long a job takes alone at most, as passes are spread."""
        return self._costs.of(job.kind).spread * self.seconds(job)

    def latest_start(self, job: Job) -> float:
        """When a job must begin to be in time alone."""
        return job.deadline - self.surely(job)

    def most(self, kind: Pass, samples: int) -> int:
        """How many jobs of `samples` one pass may hold, and is worth holding."""
        most = self._most_of.get((kind, samples))
        if most is None:
            costs = self._costs.of(kind)
            most = costs.batch(samples, self.batching.max_batch)
            while most > 1 and costs.seconds(samples, most) > self._longest_s:
                most -= 1
            self._most_of[kind, samples] = most
        return most

    def fill(
        self,
        first: Job,
        others: Iterable[Job],
        peers: Callable[[int], int],
        room_s: float = inf,
    ) -> Iterator[Job]:
        """The first job, and of the others those that share its pass.

        Args:
            first: has begun already, whatever it takes.
            others: of the same kind, asked for one by one; those that share the
                pass are given out before the next is asked for.
            peers: how many jobs wait that are no longer than so many samples.
            room_s: most seconds that the pass may surely take.
        """
        costs = self._costs.of(first.kind)
        bucket, longest, size = self.batching.bucket, len(first.window.samples), 1
        yield first
        if self.most(first.kind, longest) == 1:
            return
        for job in others:
            samples = len(job.window.samples)
            padded = max(longest, samples)
            if size >= self.most(job.kind, padded):
                if padded == longest:
                    return
                continue
            if costs.surely(padded, size + 1) > room_s:
                continue
            if bucket(samples) != bucket(longest):
                more_s = costs.seconds(padded, size + 1) - costs.seconds(longest, size)
                together = min(max(1, peers(samples)), self.most(job.kind, samples))
                share_s = costs.seconds(samples, together) / together
                if not self.batching.pads or more_s > share_s * _EVEN:
                    continue
            longest, size = padded, size + 1
            yield job

    def filled(self, kind: Pass, samples: int, size: int) -> float:
        """The part of a pass' time that its jobs would take in a full batch."""
        costs = self._costs.of(kind)
        worth = costs.batch(samples, self.batching.max_batch)
        pass_s = costs.seconds(samples, size)
        if worth <= size or pass_s <= 0:
            return 1.0
        return size * costs.seconds(samples, worth) / worth / pass_s

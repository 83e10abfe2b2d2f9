"""What an engine has done and how it stands, counted for metrics.

Knows jobs and seconds; not what they are exported to.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from math import nan
from typing import Any

from streaming.core.schedule import Schedule
from streaming.events import Job, Pass

__all__ = ["EngineStats", "Tally", "together"]

_RECENT = 1_024


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A snapshot; counts are since the engine was made.

    Attributes:
        workers: passes that may run at once.
        busy: passes that run now.
        waiting: jobs that wait.
        waiting_s: seconds of audio that wait.
        late_s: of them, seconds in windows past their deadline.
        slack_s: seconds the most urgent waiting window could still wait; negative
            where it will be late, infinite where none waits.
        passes: passes done; `inference_s` seconds in them, all workers together.
        windows: windows done, and `full_passes`, full passes done, failed or not.
        failed: jobs that the model failed.
        given_up: full passes that could not be in time.
        refused: jobs not taken: full passes too long or too many, or the engine did
            not run.
        cancelled: jobs cancelled before they began.
        undelivered: answers that nobody took.
        batch_sizes: `(size, passes)`, by size.
        windows_late: windows that ended past their deadline.
        lateness_s: end minus deadline of the last windows, oldest first; negative
            is early.
        computed_samples: samples in passes by kind, contexts and padding included.
        decoded_samples: samples of the hops of windows done, and of full passes
            done; those of jobs that failed are in neither.
        stateful: windows are steps of a model that keeps their left context.
        states: utterances whose state is open.
        state_bytes: memory of their states, as of their last steps.
        state_bytes_most: of it, that of the stream that holds most.
        states_most: how many states there is room for; 0 where it is not known.
        hung: passes that run now for absurdly long.
        hangs: how often one did, or none was begun for as long.
    """

    workers: int
    busy: int
    waiting: int
    waiting_s: float
    late_s: float
    slack_s: float
    passes: int
    inference_s: float
    windows: int
    full_passes: int
    failed: int
    given_up: int
    refused: int
    cancelled: int
    undelivered: int
    batch_sizes: tuple[tuple[int, int], ...]
    windows_late: int
    lateness_s: tuple[float, ...]
    computed_samples: tuple[tuple[Pass, int], ...] = ()
    decoded_samples: tuple[tuple[Pass, int], ...] = ()
    stateful: bool = False
    states: int = 0
    state_bytes: int = 0
    state_bytes_most: int = 0
    states_most: int = 0
    hung: int = 0
    hangs: int = 0

    @property
    def redundancy(self) -> float:
        """Samples computed for each that windows decoded; NaN where none were.

        1.0 is the limit; full passes count as computed. Samples stand for work:
        what attention to a left context costs is left out.
        """
        computed = sum(samples for _, samples in self.computed_samples)
        decoded = dict(self.decoded_samples).get(Pass.STITCHED, 0)
        return computed / decoded if decoded else nan


def together(engines: Sequence[EngineStats]) -> EngineStats:
    """How several engines, one at least, stand as if they were one."""
    given = {
        field.name: [getattr(stats, field.name) for stats in engines]
        for field in fields(EngineStats)
    }
    return EngineStats(
        **{name: _JOIN.get(name, sum)(values) for name, values in given.items()}
    )


def _by_key(counts: Iterable[Iterable[tuple[Any, int]]]) -> tuple[Any, ...]:
    joined: Counter[Any] = Counter()
    for each in counts:
        joined.update(dict(each))
    return tuple(joined.items())


# How a field of several engines becomes one; else it is added.
_JOIN: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "slack_s": min,
    "stateful": any,
    "state_bytes_most": max,
    "lateness_s": lambda each: tuple(chain.from_iterable(each)),
    "batch_sizes": lambda each: tuple(sorted(_by_key(each))),
    "computed_samples": _by_key,
    "decoded_samples": _by_key,
}


@dataclass(slots=True)
class Tally:
    """The counts behind the snapshots; `EngineStats` says what each is."""

    busy: int = 0
    inference_s: float = 0.0
    kinds: Counter[Pass] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    failed: int = 0
    given_up: int = 0
    refused: int = 0
    cancelled: int = 0
    undelivered: int = 0
    windows_late: int = 0
    lateness_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    computed: Counter[Pass] = field(default_factory=Counter)
    decoded: Counter[Pass] = field(default_factory=Counter)

    def passed(
        self,
        jobs: Sequence[Job],
        seconds: float,
        now: float,
        failed: Collection[Job] = (),
    ) -> None:
        """Count a pass that took `seconds` and ended `now`."""
        self.failed += len(failed)
        self.busy -= 1
        self.inference_s += seconds
        self.sizes[len(jobs)] += 1
        longest = max(len(job.window.samples) for job in jobs)
        for job in jobs:
            self.kinds[job.kind] += 1
            if job not in failed and len(job.window.samples):
                self.computed[job.kind] += longest
                self.decoded[job.kind] += job.window.hop
            if job.kind is Pass.STITCHED:
                self.lateness_s.append(now - job.deadline)
                self.windows_late += now > job.deadline

    def stats(self, schedule: Schedule, workers: int, now: float) -> EngineStats:
        """Return how things stand `now`."""
        return EngineStats(
            workers=workers,
            busy=self.busy,
            waiting=schedule.waiting,
            waiting_s=schedule.waiting_s,
            late_s=schedule.late_s(now),
            slack_s=schedule.slack_s(now),
            passes=self.sizes.total(),
            inference_s=self.inference_s,
            windows=self.kinds[Pass.STITCHED],
            full_passes=self.kinds[Pass.FULL],
            failed=self.failed,
            given_up=self.given_up,
            refused=self.refused,
            cancelled=self.cancelled,
            undelivered=self.undelivered,
            batch_sizes=tuple(sorted(self.sizes.items())),
            windows_late=self.windows_late,
            lateness_s=tuple(self.lateness_s),
            computed_samples=tuple(self.computed.items()),
            decoded_samples=tuple(self.decoded.items()),
        )

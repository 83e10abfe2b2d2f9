"""A crowd before the engine alone: jobs at the times their audio would arrive.

The windows of conversations as `talk.py` holds them, without detectors, sessions,
decoders or sockets: what the schedule and the model carry by themselves. Every final
is made of windows; there is no load ladder. Knows neither how many streams are
enough nor what is done with what they waited.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from queue import Empty

import numpy as np

from streaming.config import GateConfig
from streaming.core.windows import WindowShape
from streaming.engine import Answer, EngineStats, Failed
from streaming.errors import ModelError
from streaming.events import Cancel, Job, Pass, Samples
from streaming.tools.crowd import Hall
from streaming.tools.machine import BusyWatch
from streaming.tools.outcome import Crowd, Outcome
from streaming.tools.playing import Ran
from streaming.tools.spoken import SOUND_S, Line, Spoken, utterances
from streaming.tools.talk import Talk

__all__ = ["PacedHall", "PacedOutcome"]

_TICK_S = 0.2  # how often it is asked whether there is still hope
_HOPELESS = 4.0  # times the budget that windows took: it gets no better
_DRAIN_S = 60.0
_LEAD_S = 0.05
_SEEDS = 100_003  # more than streams in a crowd


@dataclass(frozen=True, slots=True, eq=False)
class PacedOutcome(Outcome):
    """What became of a paced crowd.

    Of an `Outcome` the ladder stays where it is and no final has a time of its own:
    it is there with its last window. `lost` are samples of windows that failed,
    `broken` streams with such a window.

    Attributes:
        states_bytes: most that all states took at once.
        batch: windows in a pass, on the average.
        failure: what the first window that failed was told; "" for none.
    """

    states_bytes: int = 0
    batch: float = 0.0
    failure: str = ""


@dataclass(slots=True)
class _Told:
    """What the streams were told."""

    measuring: bool = False
    waits: list[float] = field(default_factory=list)
    passes: dict[int, list[Ran]] = field(default_factory=dict)
    submitted: int = 0  # samples of hops
    decoded: int = 0
    begun: int = 0
    ended: int = 0
    pending: int = 0
    broken: set[int] = field(default_factory=set)
    failure: str = ""


class PacedHall:
    """A hall whose crowds speak to the engine alone.

    Args:
        hall: its engine is warm.
    """

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.facts = hall.facts
        self.config = hall.config

    def hear(self, crowd: Crowd) -> PacedOutcome:
        """Let a crowd talk, and tell what became of it.

        Raises:
            ModelError: answers of the engine are missing.
        """
        engine = self.hall.engine
        engine.limit_passes(self.config.stream.budget_ms / 1_000)
        while engine.strain.used > 0:  # of the crowd before
            time.sleep(_LEAD_S)
        return _Pacing(self.hall, crowd).outcome()


class _Pacing:
    """One crowd, from its first window to its last."""

    def __init__(self, hall: Hall, crowd: Crowd) -> None:
        self._hall = hall
        self._engine = hall.engine
        self._crowd = crowd
        self._told = _Told()
        self._budget_s = hall.config.stream.budget_ms / 1_000
        self._rate = hall.facts.geometry.sample_rate
        # Audio comes in messages: a window is there with the end of one.
        self._message = self._rate * crowd.message_ms // 1_000
        self._bytes = (0, 0)  # of states: the most of one stream, the most of all
        shape = WindowShape.from_config(hall.config.stream.window, hall.facts)
        gate = hall.config.stream.gate
        sound = _sound(crowd.talk, gate, normalise=hall.facts.normalise)
        dice = np.random.default_rng(crowd.seed)
        self._began = self._tick = time.monotonic() + _LEAD_S
        self._lines: list[tuple[int, float, Line]] = []
        late = dice.uniform(0, crowd.settle_s / 2, crowd.streams)
        for number, wait_s in enumerate(late):
            seed = crowd.seed * _SEEDS + number
            said = utterances(crowd.talk, gate, seed)
            line = Line(shape, sound, said, self._rate, seed)
            stream = hall.next_number()
            self._lines.append((stream, self._began + float(wait_s), line))
        self._order = count()
        self._due = [
            (self._at(begins, line.at), next(self._order), stream, begins, line)
            for stream, begins, line in self._lines
        ]
        heapify(self._due)

    def outcome(self) -> PacedOutcome:
        """Settle, measure, and let everybody finish."""
        measured_from = self._began + self._crowd.settle_s
        if not self._talk_until(measured_from):
            return self._given_up()
        self._told.measuring = True
        watch, before = BusyWatch(), self._engine.stats
        paced = time.thread_time()
        kept_up = self._talk_until(measured_from + self._crowd.seconds)
        self._told.measuring = False
        paced = time.thread_time() - paced
        seconds = time.monotonic() - measured_from
        after, elsewhere = self._engine.stats, watch.elsewhere()
        if not kept_up:
            return self._given_up()
        self._finish()
        told = self._told
        passes = sum(number for _, number in _grown(before, after, "batch_sizes"))
        computed = sum(n for _, n in _grown(before, after, "computed_samples"))
        moved = dict(_grown(before, after, "decoded_samples")).get(Pass.STITCHED, 0)
        return PacedOutcome(
            streams=self._crowd.streams,
            waits=tuple(told.waits),
            utterances=told.begun,
            finals=told.ended,
            broken=len(told.broken),
            lost=told.submitted - told.decoded,
            received=told.submitted,
            decoded=told.decoded,
            seconds=seconds,
            busy=(after.inference_s - before.inference_s) / after.workers / seconds,
            computed=computed / max(1, moved),
            passes=tuple(map(tuple, told.passes.values())),
            front=paced / seconds,
            state_bytes=self._bytes[0],
            elsewhere=elsewhere,
            states_bytes=self._bytes[1],
            batch=(after.windows - before.windows) / max(1, passes),
            failure=told.failure,
        )

    # --- time ----------------------------------------------------------------

    def _at(self, begins: float, samples: int) -> float:
        messages = -(-samples // self._message)
        return begins + messages * self._message / self._rate

    def _talk_until(self, end: float) -> bool:
        """Everybody talks; False where it has become hopeless."""
        while (now := time.monotonic()) < end:
            if now >= self._tick:
                self._tick = now + _TICK_S
                stats = self._engine.stats
                now_held = stats.state_bytes_most, stats.state_bytes
                one, every = map(max, self._bytes, now_held)
                self._bytes = one, every
                if self._engine.strain.used >= _HOPELESS:
                    return False
            due = self._due[0][0] if self._due else end
            self._take(min(end, self._tick, due) - now)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                at, _, stream, begins, line = heappop(self._due)
                self._submit(stream, line.take(), at)
                following = self._at(begins, line.at)
                entry = (following, next(self._order), stream, begins, line)
                heappush(self._due, entry)
        return True

    def _submit(self, stream: int, spoken: Spoken, arrived: float) -> None:
        told, window = self._told, spoken.window
        deadline = arrived + self._budget_s
        kind = Pass.STITCHED
        job = Job(stream, spoken.utterance, window, kind, deadline, self._budget_s)
        told.submitted += window.hop
        told.pending += 1
        told.begun += window.start == 0
        self._engine.submit(job, self._answered)

    def _answered(self, answer: Answer) -> None:
        told = self._told
        told.pending -= 1
        job = answer.job
        window = job.window
        if isinstance(answer, Failed):
            told.broken.add(job.stream)
            told.failure = told.failure or str(answer.error)
            return
        told.decoded += window.hop
        told.ended += window.last
        if told.measuring:
            told.waits.append(time.monotonic() - job.deadline + self._budget_s)
            if len(window.samples):
                ran = Ran(job.kind, len(window.samples), window.hop, window.start)
                told.passes.setdefault(job.stream, []).append(ran)

    def _take(self, wait_s: float) -> None:
        """Wait for an answer no longer than this, and take all that are there."""
        calls = self._hall.calls
        try:
            call = calls.get(timeout=wait_s) if wait_s > 0 else calls.get_nowait()
            while True:
                call()
                call = calls.get_nowait()
        except Empty:
            pass

    # --- the end -------------------------------------------------------------

    def _finish(self) -> None:
        """Everybody ends where he is."""
        now = time.monotonic()
        for stream, begins, line in self._lines:
            spoken = line.end(int((now - begins) * self._rate))
            if spoken is not None:
                self._submit(stream, spoken, now)
        self._drain(lambda: self._told.pending == 0)

    def _given_up(self) -> PacedOutcome:
        """Everybody is gone at once."""
        for stream, _, _ in self._lines:
            gone = self._engine.cancel(Cancel(stream, None))
            self._told.pending -= len(gone)
        self._drain(lambda: self._told.pending == 0)
        failure = self._told.failure
        return PacedOutcome(self._crowd.streams, hopeless=True, failure=failure)

    def _drain(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + _DRAIN_S
        while not done():
            if time.monotonic() > until:
                raise ModelError(f"answers of the model are missing for {_DRAIN_S:g} s")
            self._take(_TICK_S / 4)


def _sound(talk: Talk, gate: GateConfig, *, normalise: bool) -> Samples:
    """The phrases one after the other, again and again, `(n,)`."""
    samples = np.concatenate(talk.phrases).astype(np.float32) / 32_768
    if normalise:
        samples = (samples - samples.mean()) / samples.std()
    length = talk.rate * (SOUND_S + int(np.ceil(gate.max_utterance_s)))
    return np.resize(samples, length).astype(np.float32)


def _grown(
    before: EngineStats, after: EngineStats, name: str
) -> list[tuple[object, int]]:
    was = dict(getattr(before, name))
    return [(key, number - was.get(key, 0)) for key, number in getattr(after, name)]

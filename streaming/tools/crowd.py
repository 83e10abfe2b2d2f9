"""Many callers before one engine, at the pace of speech: what they had to wait.

The server's sessions, engine and load ladder without sockets: one thread gives
every caller's audio when it has been spoken, and takes the engine's answers. Knows
neither how many callers are enough nor what is done with what they waited.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from heapq import heapify, heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue

import numpy as np

from streaming.config import AudioFormat, Config
from streaming.core.costs import UNBOUNDED
from streaming.core.ladder import NORMAL, Ladder, Rung
from streaming.core.session import Session
from streaming.engine import Engine, EngineStats, facts_of
from streaming.errors import ModelError
from streaming.events import Pass
from streaming.models.loading import load_model
from streaming.models.model import Model
from streaming.models.vad import load_detector
from streaming.tools.caller import Caller, Heard, Speech
from streaming.tools.machine import BusyWatch, Elsewhere
from streaming.tools.outcome import Crowd, Outcome

__all__ = ["Hall", "open_hall"]

_TICK_S = 0.2  # how often a server looks at the ladder
_HOPELESS = 4.0  # times the budget that windows took: it gets no better
_DRAIN_S = 60.0
_AT_ONCE = 64  # messages given before answers are taken again
_LEAD_S = 0.05
_SEEDS = 100_003  # more than callers in a crowd


class Hall:
    """A warm engine, and the one thread that callers are heard in.

    Args:
        model: stays the caller's.
        config: engine and stream settings.

    Attributes:
        facts: the model in data.
        config: as above.
        engine: as the server runs it.
        model: as above.
    """

    def __init__(self, model: Model, config: Config) -> None:
        self.model = model
        self.facts = facts_of(model)
        self.config = config
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.engine = Engine(model, config.engine, crossing=self.calls.put)
        self._detector = load_detector(
            config.stream.gate, self.facts.geometry.sample_rate
        )
        self._numbers = count()

    def caller(self, crowd: Crowd, heard: Heard, number: int, begins: float) -> Caller:
        """One of a crowd, with a session of its own."""
        rate = self.facts.geometry.sample_rate
        pieces = crowd.talk.pieces(
            crowd.seed * _SEEDS + number,
            rate * crowd.message_ms // 1_000,
            # So that as many talk at the beginning as do on the average.
            number / crowd.streams,
        )
        stream = self.next_number()
        config = replace(self.config.stream, audio=AudioFormat(sample_rate=rate))
        session = Session(config, self.facts, stream, self._detector, UNBOUNDED)
        speech = Speech(pieces, crowd.message_ms / 1_000, begins)
        return Caller(self.engine, stream, session, speech, heard)

    def next_number(self) -> int:
        """A number for a stream, never given before."""
        return next(self._numbers)

    def hear(self, crowd: Crowd) -> Outcome:
        """Let a crowd talk, and tell what became of it.

        Raises:
            ModelError: the model failed.
        """
        self.engine.allow_full_passes(True)
        self.engine.limit_passes(self.config.stream.budget_ms / 1_000)
        while self.engine.strain.used > 0:  # of the crowd before
            time.sleep(_LEAD_S)
        return _Hearing(self, crowd).outcome()


@contextmanager
def open_hall(config: Config, *, model: Model | None = None) -> Iterator[Hall]:
    """A warm hall for a block of code.

    Args:
        config: which model, engine and stream settings.
        model: used instead of the one the config names; stays the caller's.

    Raises:
        ConfigError, ModelError: the model cannot be loaded or run.
    """
    own = load_model(config.model, config.stream.window) if model is None else model
    hall = Hall(own, config)
    try:
        hall.engine.start()
        yield hall
    finally:
        hall.engine.stop()
        if model is None:
            own.close()


class _Hearing:
    """One crowd in the hall, from the first caller to the last final."""

    def __init__(self, hall: Hall, crowd: Crowd) -> None:
        self._hall = hall
        self._crowd = crowd
        self._engine = hall.engine
        self._ladder = Ladder()
        self._lowest = NORMAL
        self._number = 0
        self._state_bytes = 0
        self._heard = Heard(
            hall.facts.geometry.sample_rate, hall.config.stream.gate.hangover_ms / 1_000
        )
        dice = np.random.default_rng(crowd.seed)
        began = time.monotonic() + _LEAD_S
        self._callers = [
            hall.caller(crowd, self._heard, number, began + float(late))
            for number, late in enumerate(
                dice.uniform(0, crowd.settle_s / 2, crowd.streams)
            )
        ]
        self._order = count()
        self._due = [(one.due, next(self._order), one) for one in self._callers]
        heapify(self._due)
        self._tick = began
        self._began = began

    def outcome(self) -> Outcome:
        """Settle, measure, and let everybody finish."""
        measured_from = self._began + self._crowd.settle_s
        if not self._talk_until(measured_from):
            return self._given_up()
        self._lowest, self._number = self._ladder.rung, self._ladder.number
        self._heard.measuring = True
        watch, before = BusyWatch(), self._engine.stats
        front = time.thread_time()
        kept_up = self._talk_until(measured_from + self._crowd.seconds)
        self._heard.measuring = False
        front = time.thread_time() - front
        seconds = time.monotonic() - measured_from
        after, elsewhere = self._engine.stats, watch.elsewhere()
        if not kept_up:
            return self._given_up()
        return self._told(before, after, seconds, front / seconds, elsewhere)

    # --- time ------------------------------------------------------------------

    def _talk_until(self, end: float) -> bool:
        """Everybody talks; False where it has become hopeless."""
        while (now := time.monotonic()) < end:
            if now >= self._tick and not self._look(now):
                return False
            next_at = min(end, self._tick, self._due[0][0] if self._due else end)
            self._take(next_at - now)
            now = time.monotonic()
            for _ in range(_AT_ONCE):
                if not self._due or self._due[0][0] > now:
                    break
                _, _, caller = heappop(self._due)
                caller.give(now)
                if not caller.over:
                    heappush(self._due, (caller.due, next(self._order), caller))
        return True

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

    def _look(self, now: float) -> bool:
        """Go by the ladder, as a server does; False where it is hopeless."""
        self._tick = now + _TICK_S
        strain = self._engine.strain
        before = self._ladder.rung
        rung = self._ladder.step(strain, now)
        if rung is not before:
            self._ease(rung)
        if self._ladder.number > self._number:
            self._lowest, self._number = rung, self._ladder.number
        most = self._engine.stats.state_bytes_most
        self._state_bytes = max(self._state_bytes, most)
        return strain.used < _HOPELESS

    def _ease(self, rung: Rung) -> None:
        budget_s = self._hall.config.stream.budget_ms / 1_000
        self._engine.allow_full_passes(rung.full_passes)
        longest = self._engine.window_limit(budget_s)
        for caller in self._callers:
            caller.ease(rung, longest)

    # --- the end ---------------------------------------------------------------

    def _given_up(self) -> Outcome:
        """Everybody hangs up at once."""
        for caller in self._callers:
            caller.hang_up()
        self._drain(lambda: self._engine.stats.busy == 0)
        rung = (self._number, self._lowest.level)
        return Outcome(self._crowd.streams, hopeless=True, lowest=rung)

    def _drain(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + _DRAIN_S
        while not done():
            if time.monotonic() > until:
                raise ModelError(f"answers of the model are missing for {_DRAIN_S:g} s")
            self._take(_TICK_S / 4)

    def _told(
        self,
        before: EngineStats,
        after: EngineStats,
        seconds: float,
        front: float,
        elsewhere: Elsewhere,
    ) -> Outcome:
        rung = (self._number, self._lowest.level)
        for caller in self._callers:
            caller.finish()
        self._drain(lambda: all(caller.over for caller in self._callers))
        heard = self._heard
        totals = [caller.totals for caller in self._callers]
        computed = _grown(before.computed_samples, after.computed_samples)
        moved = _grown(before.decoded_samples, after.decoded_samples)[Pass.STITCHED]
        return Outcome(
            streams=self._crowd.streams,
            lowest=rung,
            waits=tuple(heard.waits),
            finals_after=tuple(heard.finals_after),
            utterances=heard.utterances,
            finals=heard.finals,
            full=heard.full,
            broken=heard.broken,
            lost=sum(t.received - t.decoded - t.gated for t in totals),
            received=sum(t.received for t in totals),
            decoded=sum(t.decoded for t in totals),
            seconds=seconds,
            busy=(after.inference_s - before.inference_s) / after.workers / seconds,
            computed=computed.total() / max(1, moved),
            passes=tuple(map(tuple, heard.passes.values())),
            front=front,
            state_bytes=self._state_bytes,
            elsewhere=elsewhere,
        )


def _grown(
    before: tuple[tuple[Pass, int], ...], after: tuple[tuple[Pass, int], ...]
) -> Counter[Pass]:
    grown = Counter(dict(after))
    grown.subtract(dict(before))
    return grown

"""A session and an engine that do as they are told: no audio, no model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import asynccontextmanager

import numpy as np
from websockets.asyncio.client import connect

from streaming.config import (
    AccessConfig,
    Config,
    LimitConfig,
    ServerConfig,
    StreamConfig,
)
from streaming.core.facts import ModelFacts
from streaming.core.ladder import Strain
from streaming.core.tally import EngineStats
from streaming.errors import Overloaded, UnsupportedAudio
from streaming.events import (
    Ack,
    Audio,
    Configure,
    Configured,
    Final,
    Finish,
    Finished,
    Flush,
    Flushed,
    Job,
    Load,
    Logits,
    Notice,
    Partial,
    Pass,
    Totals,
    Window,
)
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary
from streaming.server.backend import Backend
from streaming.server.server import Server


async def until(true: Callable[[], bool]) -> None:
    """Give the loop turns until something has come true."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0)


FACTS = ModelFacts(
    name="scripted",
    language="en",
    geometry=Geometry(),
    vocabulary=Vocabulary(("_", "|", "a"), 0, 1, frozenset()),
)


class ScriptedSession:
    """Every audio message becomes a job and a partial; a flush makes a final.

    A flush is answered once nothing is pending. Binary messages that begin with
    `boom`, `wav`, `big` and `nan` raise a bug, refuse the audio, make a long text
    and a time that no message can hold.
    """

    def __init__(self, config: StreamConfig, first: int, full_pass_limit: int):
        self.config = config
        self.first = first
        self.full_pass_limit = full_pass_limit
        self.received = 0
        self.decoded_samples = 0
        self.pending = 0
        self.utterance = 0
        self.replies = []
        self.finishing = False
        self.finished = False
        self.wakes_at = None
        self.woken = asyncio.Event()
        self.dropped = ((),) * config.audio.channels
        self.abandoned = False
        self.events = []
        self.speaking = 0
        self.odd_bytes = 0
        self.rungs = []

    def ease(self, rung, longest):
        self.rungs.append((rung.level, longest))
        return [Load(rung.level)]

    @property
    def backlog_s(self):
        return (self.received - self.decoded_samples) / self.config.audio.sample_rate

    @property
    def totals(self):
        one = Totals(received=self.received, decoded=self.decoded_samples)
        return (one,) * self.config.audio.channels

    def reconnected(self, now):
        self.wakes_at = self.wakes_at and max(self.wakes_at, now)

    def wake_at(self):
        return self.wakes_at

    def wake(self, now):
        assert now >= self.wakes_at
        self.wakes_at = None
        self.woken.set()
        return []

    def receive(self, event, now):
        self.events.append(event)
        match event:
            case Audio(data=data):
                return self._audio(data, now)
            case Flush():
                self.replies += [self._final, self._flushed]
                return self._end()
            case Configure():
                self.replies.append(lambda: self._configured(event))
                return self._end() if len(self.replies) > 1 else self._reply()
            case Finish():
                self.finishing = True
                return self._end()
        return []

    def _audio(self, data, now):
        if data.startswith(b"boom"):
            raise RuntimeError("a secret of the server")
        if data.startswith(b"wav"):
            raise UnsupportedAudio("got a WAV header, expected raw pcm_s16le")
        audio = self.config.audio
        samples = len(data) // (audio.channels * audio.encoding.width)
        self.received += samples
        self.pending += 1
        if data.startswith(b"big"):
            self.pending -= 1
            return [Notice("big", "x" * 100_000)]
        window = Window(np.zeros(samples, np.float32), 0, 0, samples, 0)
        job = Job(self.first, self.utterance, window, Pass.STITCHED, now + 1)
        end = self.received / audio.sample_rate
        if data.startswith(b"nan"):
            end = float("nan")
        partial = Partial(0, self.utterance, "a " * self.pending, 0, 0.0, end)
        return [job, partial, Ack(self.received)]

    def _final(self):
        end = self.received / self.config.audio.sample_rate
        final = Final(0, self.utterance, "a", 0.0, end, 1.0, Pass.STITCHED)
        self.utterance += 1
        return final

    def _end(self):
        if self.pending:
            return []
        return self._reply() + self._finish()

    def _reply(self):
        replies, self.replies = self.replies, []
        return [reply() for reply in replies]

    def _configured(self, event):
        return Configured(
            event.partials if event.partials is not None else True,
            event.budget_ms or self.config.budget_ms,
            event.hangover_ms or self.config.gate.hangover_ms,
            event.max_utterance_s or self.config.gate.max_utterance_s,
        )

    def _flushed(self):
        return Flushed(self.received)

    def _finish(self):
        if not self.finishing or self.finished:
            return []
        self.finished = True
        return [self._final(), Finished(self.totals)]

    def decoded(self, logits, now):  # noqa: ARG002
        return self._answered(logits.job)

    def failed(self, job, error):  # noqa: ARG002
        return self._answered(job)

    def _answered(self, job):
        self.pending -= 1
        self.decoded_samples += job.window.hop
        return self._end()

    def abandon(self, now):  # noqa: ARG002
        self.abandoned = self.finishing = True
        return self._end()


class ScriptedEngine:
    """Answers at the next turn of the loop, or when `release` is called."""

    def __init__(self):
        self.warm = True
        self.held = False
        self.full = None
        self.least_s = 0.05
        self.waiting = []
        self.limits = []
        self.strain = Strain()
        self.full_passes = []
        self.ended = []
        self.submitted = asyncio.Event()

    hung = None
    most_states = None

    def look(self):
        return self.hung

    def submit(self, job, deliver: Callable[[Logits], None]):
        self.waiting.append((job, deliver))
        self.submitted.set()
        if not self.held:
            asyncio.get_running_loop().call_soon(self.release)

    def release(self, count: int = 1):
        for _ in range(min(count, len(self.waiting))):
            job, deliver = self.waiting.pop(0)
            deliver(Logits(job, np.zeros((0, 3), np.float32)))

    def cancel(self, cancel):
        if cancel.utterance is None:
            self.ended.append(cancel.stream)
        gone = [j for j, _ in self.waiting if j.stream == cancel.stream]
        self.waiting = [w for w in self.waiting if w[0] not in gone]
        return tuple(gone)

    def admit(self):
        if self.full is not None:
            raise Overloaded(self.full, 7.2)

    def least_budget_s(self, samples):  # noqa: ARG002
        return self.least_s

    def window_limit(self, budget_s):
        return int(min(budget_s, 3_600) * 16_000)

    def allow_full_passes(self, allowed):
        self.full_passes.append(allowed)

    def limit_passes(self, smallest_budget_s):
        self.limits.append(smallest_budget_s)

    @property
    def stats(self):
        return EngineStats(
            workers=1,
            busy=0,
            waiting=len(self.waiting),
            waiting_s=0.5,
            late_s=0.0,
            slack_s=1.0,
            passes=3,
            inference_s=0.25,
            windows=4,
            full_passes=1,
            failed=0,
            given_up=0,
            refused=0,
            cancelled=0,
            undelivered=0,
            batch_sizes=((1, 2), (2, 1)),
            windows_late=0,
            lateness_s=(),
            computed_samples=((Pass.STITCHED, 960), (Pass.FULL, 640)),
            decoded_samples=((Pass.STITCHED, 640), (Pass.FULL, 640)),
            stateful=True,
            states=2,
            state_bytes=3_000,
            state_bytes_most=2_000,
        )


class Stage:
    """A server with scripted insides."""

    def __init__(self, server: Server, engine: ScriptedEngine, sessions: list):
        self.backend = None
        self.server = server
        self.engine = engine
        self.sessions = sessions

    @property
    def address(self):
        return ("127.0.0.1", self.server.port)

    @property
    def origin(self):
        """Of a page of the server's own."""
        return self.server.url.replace("ws", "http", 1)

    def connect(self, query="", **options):
        options.setdefault("compression", None)
        return connect(f"{self.server.url}/v1/stream{query}", **options)

    def metric(self, name, **labels):
        return self.server.metrics.registry.get_sample_value(
            f"wavestitch_{name}", labels
        )


@asynccontextmanager
async def staged(
    *,
    warm=True,
    clock=time.monotonic,
    access=AccessConfig(),  # noqa: B008  frozen
    server=ServerConfig(port=0),  # noqa: B008
    secret=None,
    **limits,
):
    """A server on a free port of this machine; limits as in `LimitConfig`.

    A session ends with its connection, unless `resume_window_s` says otherwise.
    """
    limits.setdefault("resume_window_s", 0)
    config = Config(server=server, access=access, limits=LimitConfig(**limits))
    server = Server(config, clock=clock, secret=secret)
    engine, sessions = ScriptedEngine(), []

    def open_session(stream: StreamConfig, first: int, limit: int):
        sessions.append(ScriptedSession(stream, first, limit))
        return sessions[-1]

    stage = Stage(server, engine, sessions)
    stage.backend = Backend(FACTS, engine, open_session)
    await server.listen()
    if warm:
        server.open(stage.backend)
    try:
        yield stage
    finally:
        engine.held = False
        await server.close()

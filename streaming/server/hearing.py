"""A recording, heard as fast as the engine has slack.

The very session that a stream has, without a socket's clock: audio is given as
answers come, and everything is due an hour later than a live stream's, so that
those always go first. Knows no dialect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import count
from typing import TypeAlias

from streaming.config import LimitConfig, StreamConfig
from streaming.core.costs import UNBOUNDED
from streaming.engine import Answer, Failed
from streaming.errors import TooBig, WavestitchError
from streaming.events import (
    Audio,
    Cancel,
    ClientEvent,
    Effect,
    Final,
    Finish,
    Job,
    Pass,
    Refused,
)
from streaming.server.accounts import Accounts
from streaming.server.backend import Backend
from streaming.server.metrics import Metrics
from streaming.server.passing import PassLine

__all__ = ["Hearing", "Spend", "in_order"]

# What nobody waits for is due so much later. Past it a recording would compete.
_PATIENCE_S = 3_600.0

# Jobs in flight past which audio waits: with none of its windows waiting, the full
# passes of a recording have their turn. As `wavestitch transcribe` has it.
_AHEAD = 16

# The gate works on the event loop: no piece may hold it for longer than this much
# audio takes.
_PIECE_S = 0.5

Spend: TypeAlias = Callable[[float], WavestitchError | None]

# Far from the numbers of live streams, which the engine knows by number too.
_numbers = count(1 << 40)


class Hearing:
    """One recording on its way through a session.

    Args:
        backend: what hears it.
        config: how; its audio is what the pieces are.
        limits: how long it may be.
        metrics: where it counts.
        clock: seconds, the engine's too.
        spend: counts the seconds that are heard; says when it is too many.
        line: in which the full passes of all recordings wait.
    """

    def __init__(
        self,
        backend: Backend,
        config: StreamConfig,
        limits: LimitConfig,
        metrics: Metrics,
        clock: Callable[[], float],
        spend: Spend,
        line: PassLine,
    ) -> None:
        audio = config.audio
        self._line = line
        self._model_rate = backend.facts.geometry.sample_rate
        self._spend = spend
        self._numbers = [next(_numbers) for _ in range(audio.channels)]
        self._session = backend.open_session(config, self._numbers[0], UNBOUNDED)
        self._engine = backend.engine
        self._clock = clock
        self._metrics = metrics
        self._accounts = Accounts(self._session, audio, metrics)
        self._frame = audio.channels * audio.encoding.width
        self._rate = audio.sample_rate
        self._channels = audio.channels
        self._most = limits.max_stream_s
        self._jobs: set[Job] = set()
        self._finals: list[Final] = []
        self._error: Exception | None = None
        self._over = False
        self._stirred = asyncio.Event()

    @property
    def duration(self) -> float:
        """Seconds that were heard."""
        return self._session.totals[0].received / self._rate

    async def finals(
        self, pieces: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[Final, None]:
        """Hear a recording; its finals, as each is there.

        Args:
            pieces: its bytes, in the config's format.

        Raises:
            TooBig: it is longer than a stream may be.
            UnsupportedAudio, ModelError: it cannot be heard.
        """
        ended = "lost"
        try:
            async with aclosing(pieces) as coming:
                async for piece in coming:
                    for part in self._parts(piece):
                        self._step(Audio(part))
                        while len(self._jobs) > _AHEAD and self._error is None:
                            await self._stir()
                        await asyncio.sleep(0)
                    for final in self._told():
                        yield final
            self._step(Finish())
            while not self._session.finished:
                await self._stir()
                for final in self._told():
                    yield final
            for final in self._told():
                yield final
            ended = "finished"
        except Exception:
            ended = "refused"
            raise
        finally:
            self._end(ended)

    def stop(self, error: WavestitchError) -> None:
        """End it with an error."""
        self._error = self._error or error
        self._stirred.set()

    # --- steps -----------------------------------------------------------------

    def _parts(self, piece: bytes) -> Iterator[bytes]:
        size = int(_PIECE_S * self._rate) * self._frame
        for start in range(0, len(piece), size):
            part = piece[start : start + size]
            if self.duration > self._most:
                raise TooBig(f"a recording may last {self._most:g} s, this is longer")
            error = self._spend(len(part) / self._frame / self._rate * self._channels)
            if error is not None:
                raise error
            yield part

    def _told(self) -> list[Final]:
        """What was made final since; raises what ended it all."""
        told, self._finals = self._finals, []
        if self._error is not None:
            raise self._error
        return told

    async def _stir(self) -> None:
        self._stirred.clear()
        if self._error is None:  # it may have come while something else was awaited
            await self._stirred.wait()
        if self._error is not None:
            raise self._error

    def _step(self, event: ClientEvent) -> None:
        self._apply(self._session.receive(event, self._now()))

    def _now(self) -> float:
        return self._clock() + _PATIENCE_S

    def _answered(self, answer: Answer) -> None:
        self._jobs.discard(answer.job)
        self._line.done(answer.job)
        if self._over:
            return
        try:
            if isinstance(answer, Failed):
                self._apply(self._session.failed(answer.job, answer.error))
            else:
                self._apply(self._session.decoded(answer, self._now()))
        except Exception as error:  # a bug: whoever waits is told
            self._error = error
        self._stirred.set()

    def _apply(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Job():
                    self._jobs.add(effect)
                    self._ask(effect)
                case Cancel():
                    self._jobs.difference_update(self._cancel(effect))
                case Final():
                    self._metrics.finals.labels(effect.made_by.value).inc()
                    self._finals.append(effect)
                case Refused(error=error):
                    self._error = error
                case _:
                    pass
        self._accounts.update()

    def _ask(self, job: Job) -> None:
        if job.kind is Pass.FULL:
            seconds = job.window.hop / self._model_rate
            self._line.ask(job, seconds, self._submit)
        else:
            self._submit(job)

    def _submit(self, job: Job) -> None:
        self._engine.submit(job, self._answered)

    def _cancel(self, cancel: Cancel) -> Iterator[Job]:
        yield from self._line.cancel(cancel)
        for job in self._engine.cancel(cancel):
            self._line.done(job)
            yield job

    def _end(self, how: str) -> None:
        self._over = True
        for number in self._numbers:  # what a model keeps of it goes too
            self._jobs.difference_update(self._cancel(Cancel(number, None)))
        self._accounts.close(how)
        self._metrics.ended.labels(how).inc()


def in_order(finals: Iterable[Final]) -> tuple[Final, ...]:
    """In order of their start, then of their channel."""
    return tuple(sorted(finals, key=lambda final: (final.start, final.channel)))

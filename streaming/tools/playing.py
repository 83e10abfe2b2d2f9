"""Play recordings into sessions, faster than real time.

What a server does with a stream, without a socket: pieces in, jobs to the engine,
answers back, events out. Several recordings are heard at once, so that every
worker has something to do. Knows neither files nor what the events are for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.engine import Answer, Failed
from streaming.errors import WavestitchError
from streaming.events import (
    Audio,
    Cancel,
    Effect,
    Final,
    Finish,
    Job,
    Pass,
    Refused,
    Samples,
    ServerEvent,
    Totals,
)
from streaming.tools.workbench import Workbench

__all__ = ["Heard", "Ran", "Take", "play"]

PIECE_MS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """A recording to be heard.

    Attributes:
        audio: what its bytes mean.
        pieces: its bytes; an error raised by them ends this take alone.
    """

    audio: AudioFormat
    pieces: Iterable[bytes]

    @classmethod
    def of(cls, samples: Samples, sample_rate: int) -> Take:
        """A take of samples in memory, `(n,)` in -1..1, in messages of 20 ms."""
        data = np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype("<i2")
        step = sample_rate * PIECE_MS // 1_000
        pieces = (data[at : at + step].tobytes() for at in range(0, len(data), step))
        return cls(AudioFormat(Encoding.PCM_S16LE, sample_rate), pieces)


@dataclass(frozen=True, slots=True)
class Ran:
    """A pass that the model ran.

    Attributes:
        kind: of a window, or over the whole utterance.
        samples: it was given, contexts included.
        hop: how many of them were kept.
        start: place of the hop in its utterance, in samples.
    """

    kind: Pass
    samples: int
    hop: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a take.

    Attributes:
        events: each with the samples per channel that had been given by then.
        passes: every window and full pass that the model ran, windows in order.
        totals: what became of the samples of each channel.
        error: why it was not heard to its end; None where it was.
    """

    events: tuple[tuple[int, ServerEvent], ...]
    passes: tuple[Ran, ...]
    totals: tuple[Totals, ...]
    error: Exception | None = None

    @property
    def finals(self) -> tuple[Final, ...]:
        """Its finals, in order of their start."""
        found = (event for _, event in self.events if isinstance(event, Final))
        return tuple(sorted(found, key=lambda final: (final.start, final.channel)))


def play(
    bench: Workbench, takes: Iterable[Take], config: StreamConfig, *, ahead: int = 0
) -> Iterator[Heard]:
    """Hear takes, and tell in their order what became of each.

    Args:
        bench: where they are decoded.
        takes: read as there is room for them.
        config: what each stream asks for, its format apart.
        ahead: jobs that may be in flight while more audio is given. With 0 every
            answer comes before the next piece, as on a machine that is infinitely
            fast: then the samples given with an event are its place in the audio.
    """
    coming = iter(takes)
    begun: deque[_Playing] = deque()
    running: list[_Playing] = []
    exhausted = False
    while True:
        while len(running) < bench.together and not exhausted:
            take = next(coming, None)
            if take is None:
                exhausted = True
                break
            playing = _Playing(bench, take, config)
            playing.give(ahead)
            begun.append(playing)
            running += [] if playing.done else [playing]
        while begun and begun[0].done:
            yield begun.popleft().heard()
        if running:
            bench.turn()
            for playing in running:
                playing.give(ahead)
            running = [playing for playing in running if not playing.done]
        elif exhausted:
            return


class _Playing:
    """One take on its way through a session."""

    def __init__(self, bench: Workbench, take: Take, config: StreamConfig) -> None:
        self.given = False  # all of its audio, and the finish
        self.pending = 0  # jobs that are not answered
        self._bench = bench
        self._pieces = iter(take.pieces)
        self._session = bench.session(replace(config, audio=take.audio))
        self._events: list[tuple[int, ServerEvent]] = []
        self._passes: list[Ran] = []
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Its totals are told, and the engine holds nothing of it."""
        return self._session.finished and self.pending == 0

    def heard(self) -> Heard:
        """What became of it."""
        return Heard(
            tuple(self._events),
            tuple(self._passes),
            self._session.totals,
            self._error,
        )

    def give(self, ahead: int) -> None:
        """Give audio until more than `ahead` jobs are in flight."""
        while not self.given and self.pending <= ahead:
            try:
                piece = next(self._pieces, None)
            except WavestitchError as error:
                self._error = error
                piece = None
            self.given = piece is None
            event = Finish() if piece is None else Audio(piece)
            self._apply(self._session.receive(event, self._bench.now()))
            self.given = self.given or self._session.finished

    def _answered(self, answer: Answer) -> None:
        self.pending -= 1
        if isinstance(answer, Failed):
            self._apply(self._session.failed(answer.job, answer.error))
            return
        job, window = answer.job, answer.job.window
        if len(window.samples):  # else it only says that its utterance is over
            ran = Ran(job.kind, len(window.samples), window.hop, window.start)
            self._passes.append(ran)
        self._apply(self._session.decoded(answer, self._bench.now()))

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Job():
                    self.pending += 1
                    self._bench.submit(effect, self._answered)
                case Cancel():
                    self.pending -= self._bench.cancel(effect)
                case _:
                    if isinstance(effect, Refused):
                        self._error = self._error or effect.error
                    self._events.append((self._session.received, effect))

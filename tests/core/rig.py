"""A session with a model that reads amplitudes, answered in any order.

Positive samples of height k/20 are the k-th letter to the model, negative ones
are speech to the detector but blank to the model, zeros are silence to both.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np

from streaming.config import (
    AudioFormat,
    DecoderConfig,
    Encoding,
    Finals,
    GateConfig,
    StreamConfig,
    WindowConfig,
)
from streaming.core.facts import ModelFacts
from streaming.core.session import Session
from streaming.errors import ModelError
from streaming.events import (
    Audio,
    Cancel,
    Final,
    Finish,
    Flush,
    Job,
    Logits,
    Partial,
    Pass,
    SpeechEnded,
    SpeechStarted,
)
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

LETTERS = "abcdefgh"
GEOMETRY = Geometry(16_000, 320, 400)
VOCABULARY = Vocabulary(("<pad>", "|", *LETTERS), 0, 1, frozenset({0}))
FACTS = ModelFacts("amplitudes", "en", GEOMETRY, VOCABULARY)
CONFIG = StreamConfig(
    audio=AudioFormat(Encoding.PCM_F32LE),
    gate=GateConfig(max_utterance_s=4.0),
    window=WindowConfig(640, 320, 320),
    decoder=DecoderConfig(Finals.STITCHED),
)


def rows_of(samples):
    """The model: a row for each stride, sure of one label."""
    steps = GEOMETRY.steps(len(samples))
    padded = np.zeros(steps * 320, np.float32)
    padded[: len(samples)] = samples
    height = np.median(padded.reshape(steps, 320), axis=1)
    labels = np.rint(height * 20).astype(int).clip(0, len(LETTERS))
    labels = np.where(labels > 0, labels + 1, 0)
    rows = np.full((steps, len(VOCABULARY.labels)), -5.0, np.float32)
    rows[np.arange(steps), labels] = 5.0
    return rows


def detector():
    return lambda frame: bool(np.abs(frame).mean() > 0.01)


def sound(script):
    """Samples of a script: `(letter, "-" noise or " " silence; milliseconds)`."""
    pieces = []
    for what, ms in script:
        height = {" ": 0.0, "-": -0.3}.get(what) if what in " -" else None
        if height is None:
            height = (LETTERS.index(what) + 1) / 20
        pieces.append(np.full(ms * 16, height, np.float32))
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)


@dataclass
class Rig:
    """Feeds a session and answers its jobs, at once or later."""

    config: StreamConfig = CONFIG
    limit: int = 10**9
    dice: random.Random | None = None  # answers late, in any order between kinds
    fail: frozenset[Pass] = frozenset()
    jobs: list[Job] = field(default_factory=list)
    events: list = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self):
        self.session = Session(self.config, FACTS, 10, detector, self.limit)

    def take(self, effects):
        for effect in effects:
            match effect:
                case Job():
                    self.jobs.append(effect)
                case Cancel(stream, utterance, kind):
                    self.jobs = [
                        j
                        for j in self.jobs
                        if (j.stream, j.utterance) != (stream, utterance)
                        or kind not in (None, j.kind)
                    ]
                case _:
                    self.events.append(effect)
        if self.dice is None:
            self.answer_all()
        while self.dice and self.jobs and self.dice.random() < 0.3:
            self.answer_one()

    def answer_one(self):
        # Windows of a stream are answered in order; full passes whenever.
        firsts = {}
        for job in self.jobs:
            firsts.setdefault(
                (job.stream, job.kind, job.kind is Pass.FULL and job), job
            )
        choices = list(firsts.values())
        job = self.dice.choice(choices) if self.dice else choices[0]
        self.jobs.remove(job)
        if job.kind in self.fail:
            self.take(self.session.failed(job, ModelError("no")))
        else:
            self.take(
                self.session.decoded(Logits(job, rows_of(job.window.samples)), self.now)
            )

    def answer_all(self):
        while self.jobs:
            self.answer_one()

    def send(self, event):
        self.take(self.session.receive(event, self.now))

    def play(self, samples, *, chunks=(), flushes=()):
        """Send samples in chunks, flushing after some of them; then finish."""
        borders = sorted({*chunks, *flushes, 0, len(samples)})
        for start, end in zip(borders, borders[1:] or [0], strict=False):
            self.now += (end - start) / 16_000
            self.send(Audio(samples[start:end].tobytes()))
            if end in flushes:
                self.send(Flush())
        self.send(Finish())
        self.answer_all()
        return self

    def of(self, kind):
        return [e for e in self.events if isinstance(e, kind)]

    @property
    def finals(self):
        return self.of(Final)

    @property
    def texts(self):
        return [f.text for f in self.finals]


def with_finals(finals):
    return replace(CONFIG, decoder=replace(CONFIG.decoder, finals=finals))


__all__ = [
    "CONFIG",
    "FACTS",
    "Final",
    "Partial",
    "Rig",
    "SpeechEnded",
    "SpeechStarted",
    "rows_of",
    "sound",
    "with_finals",
]

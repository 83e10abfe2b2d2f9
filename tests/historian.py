"""A stateful model whose every row tells the whole past of its utterance."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import numpy as np

from streaming.errors import ModelError
from streaming.events import Job, Pass, Window
from streaming.numeric.geometry import Geometry
from streaming.numeric.vocabulary import Vocabulary

GEOMETRY = Geometry()
LABELS = ("<pad>", "|", "a")


def digest(tags):
    """A number that no other past has: neither less, more, nor in another order."""
    number = 7
    for tag in tags:
        number = (number * 31 + round(tag) + 1) % 99_991
    return number


def tag_of(job):
    return round(float(job.window.samples[0]))


def window(tag, *, stream=0, utterance=0, start=0, last=False, samples=640):
    """A window of a stateful model, all of it hop."""
    audio = np.full(samples, tag, np.float32)
    cut = Window(audio, start, 0, samples, 0, last)
    return Job(stream, utterance, cut, Pass.STITCHED, 1e9)


def full_pass(tag, *, stream=0, utterance=0, samples=640):
    audio = np.full(samples, tag, np.float32)
    whole = Window(audio, 0, 0, samples, 0, last=True)
    return Job(stream, utterance, whole, Pass.FULL, 1e9)


@dataclass(eq=False)
class History:
    """What an utterance's steps leave behind: all they saw."""

    tags: list[float] = field(default_factory=list)
    closed: int = 0

    @property
    def bytes(self):
        return 100 * len(self.tags)

    def close(self):
        self.closed += 1


@dataclass
class Historian:
    """Steps give the digest of all tags of their utterance, full passes minus a tag.

    A tag in `fails` fails its batch before any state moves on; one in `odd` gives
    rows too many after all have.
    """

    max_batch: int = 1
    room: int = 1 << 30
    pads: bool = True
    stateful: bool = True
    name: str = "historian"
    language: str = "en"
    normalise: bool = False
    temperature: float = 1.0
    bias: float = 0.0
    geometry: Geometry = GEOMETRY
    vocabulary: Vocabulary = field(
        default_factory=lambda: Vocabulary(LABELS, 0, 1, frozenset())
    )
    fails: set[int] = field(default_factory=set)
    odd: set[int] = field(default_factory=set)
    histories: list[History] = field(default_factory=list)
    stepping: set[History] = field(default_factory=set)
    armed: threading.Event = field(default_factory=threading.Event)
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    clones: list[Historian] = field(default_factory=list)
    closed: int = 0

    def open(self):
        if len(self.held) >= self.room:
            raise ModelError(f"all {self.room} slots are taken")
        self.histories.append(History())
        return self.histories[-1]

    @property
    def held(self):
        return [history for history in self.histories if not history.closed]

    def forward(self, batch):
        return [self.rows(samples, -round(float(samples[0]))) for samples in batch]

    def step(self, batch):
        states = [step.state for step in batch]
        assert 1 <= len(states) == len(set(states)) <= self.max_batch
        assert not any(state.closed for state in states)
        assert self.stepping.isdisjoint(states), "two threads step one state"
        self.stepping.update(states)
        try:
            return self.stepped(batch)
        finally:
            self.stepping.difference_update(states)

    def stepped(self, batch):
        tags = [float(step.samples[0]) for step in batch]
        if self.armed.is_set():
            self.batches.append(len(batch))
            self.entered.release()
            assert self.gate.wait(10)
            for tag in map(round, tags):
                if tag in self.fails:
                    raise ValueError(f"{tag} is not to be")
        rows = []
        for step, tag in zip(batch, tags, strict=True):
            step.state.tags.append(tag)
            more = round(tag) in self.odd and self.armed.is_set()
            rows.append(self.rows(step.samples, digest(step.state.tags), more))
            assert not step.state.closed, "closed while it was stepped"
        return rows

    def rows(self, samples, number, more=0):
        steps = self.geometry.steps(len(samples)) + more
        return np.full((steps, len(LABELS)), number, np.float32)

    def clone(self):
        self.clones.append(replace(self, clones=[], closed=0))
        return self.clones[-1]

    def close(self):
        self.closed += 1

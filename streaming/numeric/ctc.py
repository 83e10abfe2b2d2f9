"""Rows of logits to words: best path, collapse, confidence.

CTC (Graves et al. 2006) names a label or the blank for every step; merging
repeats and dropping blanks gives the text. Here that happens as rows arrive,
in any cut, with the words that are closed kept apart from the one still open.
Knows steps; does not know samples, seconds or windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np
import numpy.typing as npt

from streaming.errors import ModelError
from streaming.events import LogitRows
from streaming.numeric.vocabulary import Vocabulary

__all__ = ["BestPath", "Collapse", "Run", "SpokenWord", "best_path", "confidence_of"]


@dataclass(frozen=True, slots=True, eq=False)
class BestPath:
    """The best label of each step: all that is kept of the rows.

    Attributes:
        labels: `(steps,)`.
        posteriors: `(steps,)`, the probability of that label, 0..1.
    """

    labels: npt.NDArray[np.intp]
    posteriors: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, steps: slice) -> BestPath:
        return BestPath(self.labels[steps], self.posteriors[steps])

    def runs(self, start: int = 0) -> Iterator[Run]:
        """Its stretches of one label, the first beginning at step `start`."""
        if not len(self):
            return
        edges = np.flatnonzero(self.labels[1:] != self.labels[:-1]) + 1
        firsts = np.concatenate(([0], edges))
        ends = np.append(edges, len(self)) + start
        best = np.maximum.reduceat(self.posteriors, firsts)
        yield from map(
            Run,
            self.labels[firsts].tolist(),
            (firsts + start).tolist(),
            ends.tolist(),
            best.tolist(),
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Steps in a row with the same best label.

    Attributes:
        label: its number.
        start: its first step.
        end: the step after its last.
        posterior: the label's highest probability within it.
    """

    label: int
    start: int
    end: int
    posterior: float


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word and where it lies.

    Attributes:
        text: in the checkpoint's case.
        start: first step of its first label.
        end: the step after the last of its last label.
        confidence: that it is right, 0..1, see `confidence_of`.
    """

    text: str
    start: int
    end: int
    confidence: float


def best_path(rows: LogitRows, temperature: float = 1.0) -> BestPath:
    """The best label of each row, and its probability.

    Args:
        rows: `(steps, labels)`, unnormalised.
        temperature: divides the logits before the softmax (Guo et al. 2017);
            it changes the probabilities, never the labels.

    Raises:
        ModelError: the model gave a row without a finite best value.
    """
    rows = np.asarray(rows, np.float32)
    if not len(rows):
        return BestPath(np.empty(0, np.intp), np.empty(0, np.float32))
    top = rows.max(axis=1, keepdims=True)  # NaN wins a maximum
    if not np.isfinite(top).all():
        step = int(np.flatnonzero(~np.isfinite(top[:, 0]))[0])
        raise ModelError(
            f"the model's logits are not finite: row {step} of {len(rows)} has "
            f"the highest value {top[step, 0]}"
        )
    with np.errstate(over="ignore"):  # a label so far below is -inf, hence 0
        total = np.exp((rows - top) / np.float32(temperature)).sum(axis=1)
    return BestPath(rows.argmax(axis=1), (1 / total).astype(np.float32))


def confidence_of(posteriors: Sequence[float], bias: float = 0.0) -> float:
    """How likely a word is right, from its labels' highest posteriors: the least.

    One wrong label makes a word wrong, so the word is never likelier right than
    its least sure label; a mean would let a long word hide one. NVIDIA Riva's
    greedy decoder does the same. Labels fail together more often than apart, so
    a product would be too low; temperature and bias make up for what is left. A
    temperature alone cannot: it leaves a half a half, and a word whose least sure
    label is as likely wrong as right is mostly wrong (Platt 1999 for the bias).

    Args:
        posteriors: one for each label of the word, 0..1; at least one.
        bias: added to the log odds, in nats.
    """
    least = min(posteriors)
    favour = least * exp(bias)
    return favour / (favour + (1 - least))


class Collapse:
    """One collapse over rows that arrive in pieces.

    A word closes at a border; without a border in the vocabulary, with its one
    label's run. Closed words never change. For `bias` see `confidence_of`.
    """

    def __init__(self, vocabulary: Vocabulary, bias: float = 0.0) -> None:
        self._vocabulary = vocabulary
        self._bias = bias
        self._letters: list[Run] = []  # of the open word
        self._last: int | None = None  # label of the latest step
        self.words: list[SpokenWord] = []
        self.steps = 0
        self.spoken_end: int | None = None

    def push(self, path: BestPath) -> None:
        """Take the next steps."""
        for run in path.runs(self.steps):
            self._take(run)
        self.steps += len(path)

    def close(self) -> None:
        """Nothing follows: the open word ends here."""
        if self._letters:
            self.words.append(self._word(self._letters))
            self._letters = []

    def open(self, before: int | None = None) -> SpokenWord | None:
        """The word that may still grow, of labels that begin before a step."""
        letters = [r for r in self._letters if before is None or r.start < before]
        return self._word(letters) if letters else None

    def fork(self) -> Collapse:
        """One that goes on from here by itself, without the closed words."""
        branch = Collapse(self._vocabulary, self._bias)
        branch._letters = list(self._letters)
        branch._last = self._last
        branch.steps = self.steps
        branch.spoken_end = self.spoken_end
        return branch

    def _take(self, run: Run) -> None:
        vocabulary = self._vocabulary
        shown = vocabulary.shows(run.label)
        if run.label == self._last and shown and self._letters:
            letter = self._letters[-1]
            self._letters[-1] = replace(
                letter, end=run.end, posterior=max(letter.posterior, run.posterior)
            )
        else:
            if vocabulary.border is None or vocabulary.divides(run.label):
                self.close()
            if shown:
                self._letters.append(run)
        if shown:
            self.spoken_end = run.end
        self._last = run.label

    def _word(self, letters: Sequence[Run]) -> SpokenWord:
        return SpokenWord(
            text="".join(self._vocabulary.labels[run.label] for run in letters),
            start=letters[0].start,
            end=letters[-1].end,
            confidence=confidence_of([run.posterior for run in letters], self._bias),
        )

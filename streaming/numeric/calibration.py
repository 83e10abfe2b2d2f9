"""Whether confidences mean what they say, and the two numbers that make them.

A confidence of 0.9 should be right nine times in ten. Knows rows of logits,
texts and the collapse; does not know models, files or windows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.events import LogitRows
from streaming.numeric.ctc import Collapse, best_path
from streaming.numeric.vocabulary import Vocabulary
from streaming.numeric.wer import align, scored

__all__ = [
    "Bin",
    "Fit",
    "Reliability",
    "fitted",
    "judged",
    "reliability",
    "word_confidences",
]


_TEMPERATURES = 0.25, 10.0
_BIASES = -6.0, 6.0


@dataclass(frozen=True, slots=True)
class Bin:
    """Words whose confidences lie together.

    Attributes:
        low: least confidence of the bin.
        high: its highest.
        words: how many there are.
        confidence: their mean confidence.
        correct: the share of them that is right.
    """

    low: float
    high: float
    words: int
    confidence: float
    correct: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far confidences are from what they say.

    Attributes:
        words: how many were judged.
        error: expected calibration error, 0..1: the mean over words of the
            distance between their bin's confidence and its share of right words.
        likelihood: negative log-likelihood of right and wrong, nats a word.
        bins: of equal width, the empty ones left out.
    """

    words: int
    error: float
    likelihood: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """A temperature and a bias, and what they did on the words fitted on."""

    temperature: float
    bias: float
    before: Reliability
    after: Reliability


def judged(expected: str, heard: Sequence[str]) -> list[bool]:
    """Which heard words are right, by an alignment with the expected text.

    Args:
        expected: the transcript.
        heard: words as shown; one that scoring drops or splits counts as right
            where all its parts are, and wrong where it has none.
    """
    parts = [scored(word) for word in heard]
    flat = [part for word in parts for part in word]
    pairs = align(scored(expected), flat)
    right = [want == got for want, got in pairs if got is not None]
    correct: list[bool] = []
    done = 0
    for word in parts:
        correct.append(bool(word) and all(right[done : done + len(word)]))
        done += len(word)
    return correct


def reliability(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = 15
) -> Reliability:
    """The expected calibration error (Guo et al. 2017) and the likelihood.

    Raises:
        ValueError: not one verdict for each confidence, or none at all.
    """
    sure = np.asarray(confidences, np.float64)
    right = np.asarray(correct, np.float64)
    if len(sure) != len(right) or not len(sure):
        raise ValueError(
            f"got {len(sure)} confidences and {len(right)} verdicts, "
            f"expected as many, at least one"
        )
    place = np.minimum((sure * bins).astype(int), bins - 1)
    filled = []
    error = 0.0
    for index in np.unique(place):
        here = place == index
        mean, share = float(sure[here].mean()), float(right[here].mean())
        count = int(here.sum())
        error += abs(mean - share) * count / len(sure)
        filled.append(Bin(index / bins, (index + 1) / bins, count, mean, share))
    return Reliability(len(sure), error, _likelihood(sure, right), tuple(filled))


def word_confidences(
    rows: LogitRows,
    vocabulary: Vocabulary,
    temperature: float = 1.0,
    bias: float = 0.0,
) -> tuple[list[str], list[float]]:
    """The words of one pass and their confidences, as the decoder gives them."""
    whole = Collapse(vocabulary, bias)
    whole.push(best_path(rows, temperature))
    whole.close()
    return [w.text for w in whole.words], [w.confidence for w in whole.words]


def fitted(passes: Sequence[tuple[LogitRows, str]], vocabulary: Vocabulary) -> Fit:
    """The temperature and the bias under which right and wrong words are likeliest.

    The words depend on neither, so they are aligned once; a golden-section search
    over the temperature's logarithm, with one over the bias at each, minimises the
    likelihood's negative logarithm.

    Args:
        passes: logits of held-out utterances with their transcripts.
        vocabulary: what the columns mean.

    Raises:
        ValueError: no words were heard.
    """
    correct: list[bool] = []
    for rows, expected in passes:
        correct += judged(expected, word_confidences(rows, vocabulary)[0])

    def plain(temperature: float) -> npt.NDArray[np.float64]:
        sure: list[float] = []
        for rows, _ in passes:
            sure += word_confidences(rows, vocabulary, temperature)[1]
        return np.asarray(sure)

    before = reliability(plain(1.0).tolist(), correct)
    right = np.asarray(correct, np.float64)

    def bias_for(sure: npt.NDArray[np.float64]) -> float:
        return _least(lambda bias: _likelihood(_shifted(sure, bias), right), *_BIASES)

    def cost(logarithm: float) -> float:
        sure = plain(math.exp(logarithm))
        return _likelihood(_shifted(sure, bias_for(sure)), right)

    temperature = math.exp(_least(cost, *map(math.log, _TEMPERATURES)))
    sure = plain(temperature)
    bias = bias_for(sure)
    after = reliability(_shifted(sure, bias).tolist(), correct)
    return Fit(temperature, bias, before, after)


def _shifted(sure: npt.NDArray[np.float64], bias: float) -> npt.NDArray[np.float64]:
    """Confidences with a bias added to their log odds, as `confidence_of` adds it."""
    favour = sure * math.exp(bias)
    return favour / (favour + (1 - sure))


def _likelihood(sure: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    # A word held for certain and wrong would cost everything; this is float32's
    # resolution near 1.
    sure = sure.clip(1e-7, 1 - 1e-7)
    return float(-np.where(right > 0, np.log(sure), np.log1p(-sure)).mean())


def _least(
    cost: Callable[[float], float], low: float, high: float, near: float = 1e-2
) -> float:
    """Where a cost with one valley is least, to within `near`; golden section."""
    shrink = (math.sqrt(5) - 1) / 2
    left, right = high - shrink * (high - low), low + shrink * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > near:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - shrink * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + shrink * (high - low)
            at_right = cost(right)
    return (low + high) / 2

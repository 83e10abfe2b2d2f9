"""Confidences can be measured, and made to mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from streaming.numeric.calibration import (
    fitted,
    judged,
    reliability,
    word_confidences,
)
from streaming.numeric.vocabulary import Vocabulary

LETTERS = Vocabulary(("", "|", *"abcdefgh"), 0, 1, frozenset({0}))


def test_words_are_judged_by_alignment():
    heard = ["Turn", "off", "the", "the", "light"]

    assert judged("turn on the light.", heard) == [True, False, False, True, True]


def test_a_word_that_scoring_splits_or_drops_is_judged_once():
    assert judged("well known cat", ["well-known", "-", "cat"]) == [True, False, True]


def test_confidences_that_hold_have_no_error():
    sure = [0.75] * 400
    correct = [i % 4 != 0 for i in range(400)]

    found = reliability(sure, correct)

    assert found.error == pytest.approx(0.0)
    assert found.words == 400
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert entropy == pytest.approx(found.likelihood)
    assert [(b.words, b.confidence, b.correct) for b in found.bins] == [
        (400, 0.75, 0.75)
    ]


def test_the_error_is_the_distance_weighted_by_words():
    sure = [0.9] * 30 + [0.1] * 10
    correct = [True] * 15 + [False] * 15 + [False] * 10

    found = reliability(sure, correct, bins=10)

    assert found.error == pytest.approx((0.4 * 30 + 0.1 * 10) / 40)
    assert [(pytest.approx(b.low), b.words) for b in found.bins] == [
        (0.1, 10),
        (0.9, 30),
    ]


def test_certain_and_wrong_is_costly_but_finite():
    found = reliability([1.0, 1.0, 0.0], [True, False, False])

    assert 1 < found.likelihood < 20
    assert found.error == pytest.approx(1 / 3)


@pytest.mark.parametrize(("sure", "correct"), [([], []), ([0.5], [])])
def test_every_confidence_needs_a_verdict(sure, correct):
    with pytest.raises(ValueError, match=f"got {len(sure)} confidences and 0 verdicts"):
        reliability(sure, correct)


def drawn(count, sharpness, seed=0):
    """Passes of one-letter words whose letters are drawn from their own softmax.

    The logits are then multiplied: a model as much too sure as `sharpness` says.
    """
    random = np.random.default_rng(seed)
    passes = []
    for _ in range(count):
        rows, said = [], []
        for _ in range(10):
            logits = np.full(10, -30.0)
            logits[2:] = random.normal(scale=1.5, size=8)
            chances = np.exp(logits) / np.exp(logits).sum()
            said.append(LETTERS.labels[random.choice(10, p=chances)])
            border = np.zeros(10)
            border[1] = 30.0
            rows += [logits * sharpness, border]
        passes.append((np.array(rows, np.float32), " ".join(said)))
    return passes


def test_the_fit_finds_how_much_too_sure_a_model_is():
    # Each word is a single letter of the text, so it may be aligned with a
    # neighbour as well; the fit is near the truth, not on it.
    fit = fitted(drawn(100, sharpness=3.0), LETTERS)

    assert fit.temperature == pytest.approx(3.0, rel=0.25)
    assert fit.after.likelihood < fit.before.likelihood
    assert fit.after.error < 0.05
    assert fit.before.error > 0.2
    assert fit.after.words == fit.before.words == 1_000


def test_a_fit_holds_on_other_words():
    fit = fitted(drawn(100, 3.0), LETTERS)
    sure, correct = [], []
    for rows, said in drawn(100, 3.0, seed=1):
        words, confidences = word_confidences(rows, LETTERS, fit.temperature, fit.bias)
        sure += confidences
        correct += judged(said, words)

    assert reliability(sure, correct).error < 0.06


def test_a_fit_needs_words():
    with pytest.raises(ValueError, match="got 0 confidences"):
        fitted([(np.zeros((0, 10), np.float32), "a")], LETTERS)


def test_where_a_half_is_mostly_wrong_a_bias_says_so():
    passes = []
    for rows, _ in drawn(100, sharpness=1.0):
        heard = zip(*word_confidences(rows, LETTERS), strict=True)
        passes.append((rows, " ".join(word for word, sure in heard if sure > 0.7)))
    fit = fitted(passes, LETTERS)

    assert fit.bias < -0.5
    assert fit.after.error < 0.06 < fit.before.error

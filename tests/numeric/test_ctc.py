"""Rows become words, the same in any cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import ModelError
from streaming.numeric.ctc import Collapse, Run, SpokenWord, best_path, confidence_of
from streaming.numeric.vocabulary import Vocabulary

LETTERS = Vocabulary(("", "?", "|", "a", "b"), 0, 2, frozenset({0, 1}))
SIGNS = Vocabulary(("", "你", "好"), 0, space="")


def rows_of(labels, columns=5, height=4.0):
    """Logits whose best labels are these; a posterior of about 0.93."""
    rows = np.zeros((len(labels), columns), np.float32)
    rows[np.arange(len(labels)), labels] = height
    return rows


def collapsed(vocabulary, *pieces):
    collapse = Collapse(vocabulary)
    for piece in pieces:
        collapse.push(best_path(rows_of(piece)))
    return collapse


def test_a_softmax_gives_the_posteriors():
    rows = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]], np.float32))

    path = best_path(rows)

    assert path.labels.tolist() == [0, 2]
    assert path.posteriors.tolist() == pytest.approx([0.5, 0.8])


def test_temperature_moves_posteriors_and_no_labels():
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)

    cold, mild, hot = (best_path(rows, t) for t in (0.1, 1.0, 10.0))

    assert cold.labels.tolist() == mild.labels.tolist() == hot.labels.tolist()
    assert (cold.posteriors > mild.posteriors).all()
    assert (mild.posteriors > hot.posteriors).all()
    assert (hot.posteriors >= 1 / 8).all()


def test_huge_and_masked_logits_are_fine():
    path = best_path(np.array([[3e38, -3e38, -np.inf]], np.float32))

    assert path.posteriors.tolist() == [1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_named(bad):
    rows = np.zeros((3, 4), np.float32)
    rows[1, 2] = bad

    with pytest.raises(ModelError, match=f"row 1 of 3 has the highest value {bad}"):
        best_path(rows)


def test_runs_carry_their_steps_and_their_best_posterior():
    rows = rows_of([3, 3, 0, 3])
    rows[1] *= 2

    first, blank, last = best_path(rows).runs(10)

    assert (first.label, first.start, first.end) == (3, 10, 12)
    assert best_path(rows).posteriors[1] == pytest.approx(first.posterior)
    assert (blank.label, blank.start, blank.end) == (0, 12, 13)
    assert (last.label, last.start, last.end) == (3, 13, 14)
    assert list(best_path(rows[:0]).runs()) == []


@pytest.mark.parametrize(
    ("labels", "closed", "still_open"),
    [
        ([], [], None),
        ([0, 0, 2, 2], [], None),
        ([3, 3], [], ("a", 0, 2)),
        ([3, 0, 3, 2], [("aa", 0, 3)], None),
        ([2, 3, 2, 0, 2, 4, 4, 0], [("a", 1, 2)], ("b", 5, 7)),
        ([3, 1, 3], [], ("aa", 0, 3)),  # an unknown shows nothing, but parts
        ([1, 1, 2, 3], [], ("a", 3, 4)),  # and makes no word of its own
    ],
)
def test_words_close_at_borders(labels, closed, still_open):
    collapse = collapsed(LETTERS, labels)

    assert closed == [(w.text, w.start, w.end) for w in collapse.words]
    word = collapse.open()
    assert still_open == (word and (word.text, word.start, word.end))


def test_without_a_border_each_label_is_a_word():
    collapse = Collapse(SIGNS)
    collapse.push(best_path(rows_of([1, 1], 3)))
    assert collapse.words == []  # its run may go on
    collapse.push(best_path(rows_of([1, 0, 1, 2], 3)))

    assert [word.text for word in collapse.words] == ["你", "你"]
    assert [(word.start, word.end) for word in collapse.words] == [(0, 3), (4, 5)]
    assert collapse.open().text == "好"


def test_a_word_is_as_sure_as_its_least_sure_label():
    rows = rows_of([3, 3, 4, 2])
    rows[0] /= 4  # the run's second step is surer
    rows[2] /= 2
    collapse = Collapse(LETTERS)

    collapse.push(best_path(rows))

    assert best_path(rows).posteriors[2] == pytest.approx(collapse.words[0].confidence)


def test_a_column_past_the_vocabulary_shows_nothing():
    collapse = Collapse(LETTERS)

    collapse.push(best_path(rows_of([3, 7, 3, 2], 8)))

    assert [word.text for word in collapse.words] == ["aa"]


def test_a_fork_goes_on_alone():
    collapse = collapsed(LETTERS, [4, 2, 3])
    branch = collapse.fork()
    branch.push(best_path(rows_of([3, 4, 2, 4])))

    assert [(w.text, w.start, w.end) for w in branch.words] == [("ab", 2, 5)]
    assert branch.open().text == "b"
    assert [word.text for word in collapse.words] == ["b"]
    assert collapse.open() == SpokenWord("a", 2, 3, collapse.open().confidence)
    assert collapse.steps == 3


def test_labels_past_a_step_can_be_left_out():
    collapse = collapsed(LETTERS, [3, 0, 4, 0, 3])

    assert collapse.open(3).text == "ab"
    assert collapse.open(0) is None


@given(
    st.lists(st.integers(0, 4), max_size=60),
    st.lists(st.integers(0, 60), max_size=8),
    st.sampled_from([LETTERS, Vocabulary(LETTERS.labels, 0, None, frozenset({1}))]),
)
def test_the_cut_never_matters(labels, cuts, vocabulary):
    edges = sorted({min(cut, len(labels)) for cut in cuts} | {0, len(labels)})
    pieces = [labels[a:b] for a, b in pairwise(edges)]

    whole = collapsed(vocabulary, labels)
    pieced = collapsed(vocabulary, *pieces)

    assert whole.words == pieced.words
    assert whole.open() == pieced.open()
    assert whole.spoken_end == pieced.spoken_end
    assert whole.steps == pieced.steps


@given(st.lists(st.integers(0, 6), max_size=40))
def test_the_words_are_the_vocabularys_text(labels):
    merged = [run.label for run in best_path(rows_of(labels, 7)).runs()]

    collapse = collapsed_wide(labels)
    collapse.close()

    assert LETTERS.text(merged) == " ".join(word.text for word in collapse.words)


def collapsed_wide(labels):
    collapse = Collapse(LETTERS)
    collapse.push(best_path(rows_of(labels, 7)))
    return collapse


def test_a_run_is_a_value():
    assert Run(1, 2, 3, 0.5) == Run(1, 2, 3, 0.5)


@pytest.mark.parametrize(
    ("bias", "expected"), [(0.0, 0.8), (-1.0, 0.595), (1.0, 0.916), (-2.0, 0.351)]
)
def test_a_bias_shifts_the_log_odds_of_the_least_sure_label(bias, expected):
    assert expected == pytest.approx(confidence_of([0.9, 0.8, 1.0], bias), abs=5e-4)
    assert confidence_of([1.0], bias) == 1.0

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.numeric.alignment import align

BLANK = 0


def collapse(path):
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


def best_by_trying_all(rows, labels):
    """The score of the best path that reads `labels`."""
    scores = [
        sum(rows[step, label] for step, label in enumerate(path))
        for path in itertools.product(range(rows.shape[1]), repeat=len(rows))
        if collapse(path) == list(labels)
    ]
    return max(scores)


def path_of(spans, labels, steps):
    path = [BLANK] * steps
    for (first, end), label in zip(spans, labels, strict=True):
        path[first:end] = [label] * (end - first)
    return path


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.lists(st.integers(1, 2), max_size=3),
)
def test_no_path_that_reads_the_text_is_better(seed, steps, labels):
    needed = len(labels) + sum(a == b for a, b in itertools.pairwise(labels))
    rows = np.random.default_rng(seed).normal(0, 3, (max(steps, needed), 3))
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))

    path = path_of(align(rows, labels, BLANK), labels, len(rows))

    assert list(labels) == collapse(path)
    found = sum(rows[step, label] for step, label in enumerate(path))
    assert best_by_trying_all(rows, labels) == pytest.approx(found)


def test_each_label_is_where_it_was_heard():
    heard = [0, 1, 1, 0, 2, 0, 2, 2, 0]
    rows = np.full((len(heard), 3), -5.0, np.float32)
    rows[np.arange(len(heard)), heard] = 5.0

    assert [(1, 3), (4, 5), (6, 8)] == align(rows, [1, 2, 2], BLANK)


def test_an_empty_text_is_nowhere():
    assert [] == align(np.zeros((4, 3), np.float32), [], BLANK)


@pytest.mark.parametrize(("labels", "needed"), [([1, 2], 2), ([1, 1], 3)])
def test_too_few_steps_are_refused(labels, needed):
    with pytest.raises(ValueError, match=f"2 labels need {needed} steps, got 1"):
        align(np.zeros((1, 3), np.float32), labels, BLANK)

"""Errors are counted, aligned and pooled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.numeric.wer import (
    BorderErrors,
    WordErrors,
    align,
    border_errors,
    edits,
    scored,
)

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


def slow_edits(expected, heard):
    """Levenshtein by the book."""
    row = list(range(len(heard) + 1))
    for i, wanted in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(heard, 1):
            cost = min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != got))
            diagonal, row[j] = row[j], cost
    return row[-1]


@pytest.mark.parametrize(
    ("expected", "heard", "count"),
    [
        ("", "", 0),
        ("", "a b", 2),
        ("a b", "", 2),
        ("a b c", "a c", 1),
        ("a b c", "a x c d", 2),
        ("k i t t e n", "s i t t i n g", 3),
    ],
)
def test_edits(expected, heard, count):
    assert count == edits(expected.split(), heard.split())


@given(WORDS, WORDS)
def test_edits_are_levenshteins(expected, heard):
    assert slow_edits(expected, heard) == edits(expected, heard)


@given(WORDS, WORDS)
def test_an_alignment_holds_both_and_costs_the_edits(expected, heard):
    pairs = align(expected, heard)

    assert expected == [want for want, _ in pairs if want is not None]
    assert heard == [got for _, got in pairs if got is not None]
    assert edits(expected, heard) == sum(want != got for want, got in pairs)
    assert (None, None) not in pairs


def test_an_alignment_names_what_was_lost_and_put_in():
    pairs = align("turn on the light".split(), "turn the big light".split())

    assert pairs == [
        ("turn", "turn"),
        ("on", None),
        ("the", "the"),
        (None, "big"),
        ("light", "light"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  Hello,   WORLD!\n", ["hello", "world"]),
        ("Don’t 'quote' me", ["don't", "quote", "me"]),  # noqa: RUF001
        ("well-known — and/or", ["well", "known", "and", "or"]),
        ("so… it is 3.5 %", ["so", "it", "is", "35"]),
        ("Zażo\u0301łć «gęślą»", ["zażółć", "gęślą"]),
        ("ЁЛКА, ёлка", ["ёлка", "ёлка"]),
        ("हिन्दी", ["हिन्दी"]),
        ("' - ...", []),
    ],
)
def test_scoring_compares_words(text, words):
    assert words == scored(text)


def test_errors_are_pooled_not_averaged():
    errors = WordErrors()
    errors.add("a b c d e f g h i", "a b c d e f g h i")
    errors.add("One", "two.")

    rate = errors.wer(np.random.default_rng(0))

    assert (rate.errors, rate.total) == (1, 10)
    assert rate.rate == pytest.approx(0.1)
    assert 0.0 == rate.low < rate.rate < rate.high == 1.0


def test_characters_count_their_spaces():
    errors = WordErrors()
    errors.add("ab cd", "abcd")

    rate = errors.cer(np.random.default_rng(0))

    assert (rate.errors, rate.total) == (1, 5)
    assert (rate.low, rate.high) == (0.2, 0.2)  # one text can only be drawn again


def test_the_interval_narrows_with_more_texts_and_repeats_with_the_seed():
    def wide(texts):
        errors = WordErrors()
        for i in range(texts):
            errors.add("a b c d", "a b c d" if i % 4 else "a b c x")
        rate = errors.wer(np.random.default_rng(7))
        assert rate == errors.wer(np.random.default_rng(7))
        assert rate.low <= rate.rate <= rate.high
        return rate.high - rate.low

    assert wide(2_000) < wide(100) / 3


def test_the_interval_is_that_of_the_binomial():
    errors = WordErrors()
    for i in range(400):
        errors.add("a", "b" if i < 100 else "a")

    rate = errors.wer(np.random.default_rng(1), rounds=4_000)

    spread = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    assert 0.25 - spread == pytest.approx(rate.low, abs=0.006)
    assert 0.25 + spread == pytest.approx(rate.high, abs=0.006)


def test_nothing_to_count_is_no_error():
    rate = WordErrors().wer(np.random.default_rng(0))

    assert (
        rate.errors,
        rate.total,
        rate.rate,
        rate.low,
        rate.high,
    ) == (0, 0, 0.0, 0.0, 0.0)


def test_words_out_of_nothing_are_errors():
    errors = WordErrors()
    errors.add("", "oh no")

    assert errors.wer(np.random.default_rng(0)).rate == pytest.approx(2.0)


def test_a_gap_is_paired():
    """Both miss the same hard texts, so the gap is surer than either rate."""
    stream, once = WordErrors(), WordErrors()
    for i in range(300):
        said = "a b c d"
        hard = "x x x x" if i % 2 else said
        once.add(said, hard)
        stream.add(said, "a b c x" if i % 10 == 0 else hard)

    difference, low, high = stream.gap(once, np.random.default_rng(3))

    assert difference == pytest.approx(30 / 1200)
    assert 0.01 < low < difference < high < 0.04
    rate = once.wer(np.random.default_rng(3))
    assert (high - low) < (rate.high - rate.low) / 4


def test_a_gap_needs_the_same_texts():
    one, two = WordErrors(), WordErrors()
    one.add("a", "a")

    with pytest.raises(ValueError, match="got 1 and 0 texts"):
        one.gap(two, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("stitched", "errors"),
    [
        ("one two three", BorderErrors(3)),
        ("one three", BorderErrors(3, lost=1)),
        ("one two two three", BorderErrors(3, doubled=1)),
        ("one two three three", BorderErrors(3, doubled=1)),
        ("one one two three", BorderErrors(3, doubled=1)),
        ("one to three", BorderErrors(3, changed=1)),
        ("one two oh three", BorderErrors(3, added=1)),
        ("", BorderErrors(3, lost=3)),
    ],
)
def test_border_errors_are_told_apart(stitched, errors):
    assert errors == border_errors("One, two, three.", stitched)


def test_border_errors_add_up():
    assert BorderErrors(3, 1, 1, 1, 1) == BorderErrors(1, 1, 0, 1, 0) + BorderErrors(
        2, 0, 1, 0, 1
    )


def test_texts_of_several_corpora_are_pooled():
    first, second, both = WordErrors(), WordErrors(), WordErrors()
    for errors, text in ((first, "a b"), (second, "c"), (second, "d e f")):
        errors.add(text, "c")
        both.add(text, "c")
    first.extend(second)
    assert 3 == len(first)
    draws = (np.random.default_rng(1), np.random.default_rng(1))
    assert both.wer(draws[0]) == first.wer(draws[1])

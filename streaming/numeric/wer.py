"""Word and character error rates, and the alignment behind them.

Errors are pooled: all edits over all expected words, never a mean of rates.
Knows texts only; which model or window made them is for the caller.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Alignment",
    "BorderErrors",
    "ErrorRate",
    "WordErrors",
    "align",
    "border_errors",
    "edits",
    "scored",
]

# A pair for each word: (expected, None) was lost, (None, heard) was put in.
Alignment: TypeAlias = list[tuple[str | None, str | None]]

_Numbers: TypeAlias = npt.NDArray[np.int64]

_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "`": "'"})  # noqa: RUF001
_ROUNDS_AT_ONCE = 1 << 22  # numbers drawn at once for a bootstrap: 32 MB


def edits(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Least insertions, deletions and substitutions from one to the other."""
    want, got = _numbered(expected, heard)
    row = np.arange(len(got) + 1)
    for symbol in want:
        row = _next_row(row, symbol, got, 1, 1)
    return int(row[-1])


def align(expected: Sequence[str], heard: Sequence[str]) -> Alignment:
    """The alignment of the fewest edits, in order.

    Of several, one with the most words in common; of those, one that pairs words
    as late as it can, so that of a word heard twice the first hearing is put in.
    """
    want, got = _numbered(expected, heard)
    # An edit outweighs any number of substitutions, which only break ties.
    edit = len(want) + len(got) + 1
    table = np.empty((len(want) + 1, len(got) + 1), np.int64)
    table[0] = np.arange(len(got) + 1) * edit
    for i, symbol in enumerate(want):
        table[i + 1] = _next_row(table[i], symbol, got, edit, edit + 1)

    pairs: Alignment = []
    i, j = len(want), len(got)
    while i or j:
        swap = (edit + 1) * int(i and j and want[i - 1] != got[j - 1])
        if i and j and table[i, j] == table[i - 1, j - 1] + swap:
            i, j = i - 1, j - 1
            pairs.append((expected[i], heard[j]))
        elif i and table[i, j] == table[i - 1, j] + edit:
            i -= 1
            pairs.append((expected[i], None))
        else:
            j -= 1
            pairs.append((None, heard[j]))
    return pairs[::-1]


def scored(text: str) -> list[str]:
    """The words that scoring compares.

    Lower case, composed (NFC); dashes and slashes part words, other punctuation
    goes, apostrophes stay inside a word. Numbers and symbols stay as written.
    """
    text = unicodedata.normalize("NFC", text.lower()).translate(_APOSTROPHES)
    letters = []
    for letter in text:
        kind = unicodedata.category(letter)
        if kind == "Pd" or letter in "/\\_…":
            letters.append(" ")
        elif letter == "'" or not kind.startswith("P"):
            letters.append(letter)
    words = (word.strip("'") for word in "".join(letters).split())
    return [word for word in words if word]


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Errors per expected unit, and how sure that is.

    Attributes:
        errors: insertions, deletions and substitutions.
        total: expected words or characters.
        low: lower end of the bootstrap interval of the rate.
        high: its upper end.
    """

    errors: int
    total: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Errors over total; 0.0 of nothing expected and nothing heard."""
        return _rate(self.errors, self.total)


class WordErrors:
    """Errors of many texts, pooled.

    The bootstrap draws whole texts (Bisani and Ney 2004), so errors within one
    may depend on each other. Texts that differ only as `scored` ignores are equal.
    """

    def __init__(self) -> None:
        self._counts: list[tuple[int, int, int, int]] = []

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, expected: str, heard: str) -> None:
        """Count one text."""
        want, got = scored(expected), scored(heard)
        letters, shown = " ".join(want), " ".join(got)
        self._counts.append(
            (edits(want, got), len(want), edits(letters, shown), len(letters))
        )

    def extend(self, other: WordErrors) -> None:
        """Count the texts of another too, after these."""
        self._counts += other._counts

    def wer(
        self, random: np.random.Generator, *, rounds: int = 1_000, share: float = 0.95
    ) -> ErrorRate:
        """The word error rate, with the interval that holds `share` of `rounds`."""
        return self._rated(0, random, rounds, share)

    def cer(
        self, random: np.random.Generator, *, rounds: int = 1_000, share: float = 0.95
    ) -> ErrorRate:
        """The character error rate; a space between words is a character."""
        return self._rated(2, random, rounds, share)

    def gap(
        self,
        other: WordErrors,
        random: np.random.Generator,
        *,
        rounds: int = 1_000,
        share: float = 0.95,
    ) -> tuple[float, float, float]:
        """How much higher this word error rate is than another of the same texts.

        Returns:
            The difference in absolute rate and its interval, texts drawn in pairs.

        Raises:
            ValueError: not the same number of texts.
        """
        if len(self) != len(other):
            raise ValueError(f"got {len(self)} and {len(other)} texts, expected pairs")
        ours, theirs = self._column(0), other._column(0)
        difference = _pooled(ours) - _pooled(theirs)
        drawn = _drawn(np.stack([ours, theirs], axis=1), random, rounds)
        low, high = _interval(drawn[:, 0] - drawn[:, 1], share, difference)
        return difference, low, high

    def _rated(
        self, column: int, random: np.random.Generator, rounds: int, share: float
    ) -> ErrorRate:
        counts = self._column(column)
        errors, total = (int(n) for n in counts.sum(axis=0))
        drawn = _drawn(counts[:, None], random, rounds)[:, 0]
        low, high = _interval(drawn, share, _rate(errors, total))
        return ErrorRate(errors, total, low, high)

    def _column(self, column: int) -> _Numbers:
        """Errors and totals of each text; `(texts, 2)`."""
        table = np.array(self._counts, np.int64).reshape(-1, 4)
        return table[:, column : column + 2]


@dataclass(frozen=True, slots=True)
class BorderErrors:
    """What stitching did to words that one pass over the same audio heard.

    Attributes:
        words: words of the one pass.
        lost: of those, missing from the stitched text.
        doubled: words put in that repeat the word before or after them.
        changed: words heard as another.
        added: words put in that repeat no neighbour.
    """

    words: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    added: int = 0

    def __add__(self, other: BorderErrors) -> BorderErrors:
        return BorderErrors(
            self.words + other.words,
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.changed + other.changed,
            self.added + other.added,
        )


def border_errors(one_pass: str, stitched: str) -> BorderErrors:
    """Compare a stitched text with one pass over the same audio."""
    want, got = scored(one_pass), scored(stitched)
    lost = doubled = changed = added = 0
    at = -1  # position within the stitched words
    for expected, heard in align(want, got):
        at += heard is not None
        if heard is None:
            lost += 1
        elif expected is None:
            if heard in (*got[max(at - 1, 0) : at], *got[at + 1 : at + 2]):
                doubled += 1
            else:
                added += 1
        elif expected != heard:
            changed += 1
    return BorderErrors(len(want), lost, doubled, changed, added)


def _numbered(
    expected: Sequence[str], heard: Sequence[str]
) -> tuple[_Numbers, _Numbers]:
    """Both as numbers, equal where the symbols are."""
    numbers: dict[str, int] = {}
    for symbol in (*expected, *heard):
        numbers.setdefault(symbol, len(numbers))
    return (
        np.array([numbers[symbol] for symbol in expected], np.int64),
        np.array([numbers[symbol] for symbol in heard], np.int64),
    )


def _next_row(
    row: _Numbers, symbol: np.int64, got: _Numbers, edit: int, swap: int
) -> _Numbers:
    """Levenshtein's next row; insertions chain, so they are a running minimum."""
    reached = row + edit
    np.minimum(reached[1:], row[:-1] + swap * (got != symbol), out=reached[1:])
    inserted = np.arange(len(row)) * edit
    chained: _Numbers = np.minimum.accumulate(reached - inserted) + inserted
    return chained


def _rate(errors: float, total: float) -> float:
    """Words out of nothing are all wrong: as many errors as words, over one."""
    return errors / max(total, 1)


def _pooled(counts: _Numbers) -> float:
    errors, total = counts.sum(axis=0)
    return _rate(float(errors), float(total))


def _drawn(
    counts: _Numbers, random: np.random.Generator, rounds: int
) -> npt.NDArray[np.float64]:
    """Rates of texts drawn with replacement.

    Args:
        counts: `(texts, systems, 2)`, errors and totals.
        random: where the draws come from.
        rounds: how many draws of as many texts.

    Returns:
        `(rounds, systems)`; no rows without texts.
    """
    texts, systems, _ = counts.shape
    if not texts:
        return np.empty((0, systems))
    parts = []
    at_once = max(1, _ROUNDS_AT_ONCE // texts)
    for done in range(0, rounds, at_once):
        size = (min(at_once, rounds - done), texts)
        sums = counts[random.integers(0, texts, size)].sum(axis=1)
        parts.append(sums[..., 0] / np.maximum(sums[..., 1], 1))
    return np.concatenate(parts)


def _interval(
    drawn: npt.NDArray[np.float64], share: float, alone: float
) -> tuple[float, float]:
    """The middle `share` of the draws; the value itself where there are none."""
    if not len(drawn):
        return alone, alone
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)

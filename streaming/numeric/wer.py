"""Word and character error rates."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["edits"]


def edits(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Least insertions, deletions and substitutions from one to the other."""
    row = list(range(len(heard) + 1))
    for i, wanted in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(heard, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (wanted != got)),
            )
    return row[-1]

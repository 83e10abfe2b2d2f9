"""Where each label of a known text was heard: CTC forced alignment.

The best path among those that collapse to the text, by dynamic programming over
the text with a blank around every label (Graves et al. 2006, section 4.1, with
the maximum in place of the sum). Knows rows and labels; not what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streaming.events import LogitRows

__all__ = ["align"]

_NEVER = -1e30  # added up over any text, still finite


def align(rows: LogitRows, labels: Sequence[int], blank: int) -> list[tuple[int, int]]:
    """The steps of each label on the best path that reads `labels`.

    Args:
        rows: `(steps, labels)`, logits or log-probabilities.
        labels: the text, without blanks.
        blank: the label that CTC drops.

    Returns:
        For each label its first step and the step after its last.

    Raises:
        ValueError: fewer steps than the text needs: one for each label, and one
            for the blank between two equal ones.
    """
    text = np.asarray(labels, np.intp)
    twins = text[1:] == text[:-1]
    needed = len(text) + int(twins.sum())
    if len(rows) < needed:
        raise ValueError(f"{len(text)} labels need {needed} steps, got {len(rows)}")
    if not len(text):
        return []
    # Blank, label, blank, ..., label, blank.
    states = np.full(2 * len(text) + 1, blank, np.intp)
    states[1::2] = text
    skips = np.zeros(len(states), bool)  # a label may follow another without a blank
    skips[3::2] = ~twins
    taken, state = _best_moves(_log_softmax(rows)[:, states], skips)
    path = np.empty(len(rows), np.intp)
    for step in range(len(rows) - 1, -1, -1):
        path[step] = state
        state -= int(taken[step, state])
    firsts = np.searchsorted(path, np.arange(1, len(states), 2), "left")
    ends = np.searchsorted(path, np.arange(1, len(states), 2), "right")
    return list(zip(firsts.tolist(), ends.tolist(), strict=True))


def _best_moves(
    scores: npt.NDArray[np.float64], skips: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], int]:
    """How many states back the best way into each state came from, by step.

    And the state in which the best path ends.
    """
    steps, states = scores.shape
    taken = np.zeros((steps, states), np.intp)
    best = np.full(states, _NEVER)
    best[:2] = scores[0, :2]
    came = np.empty((3, states))
    for step in range(1, steps):
        came[0] = best
        came[1, 0], came[1, 1:] = _NEVER, best[:-1]
        came[2, :2], came[2, 2:] = _NEVER, best[:-2]
        came[2, ~skips] = _NEVER
        taken[step] = came.argmax(axis=0)
        best = came.max(axis=0) + scores[step]
    return taken, states - 1 - int(best[-2] > best[-1])


def _log_softmax(rows: LogitRows) -> npt.NDArray[np.float64]:
    exact = rows.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    total: npt.NDArray[np.float64] = np.exp(exact).sum(axis=1, keepdims=True)
    return np.asarray(exact - np.log(total))

"""A state is taken by one step at a time, and freed when none does.

What states of ONNX Runtime have in common, wherever their rows lie. Knows neither
rows nor the runtime.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from streaming.errors import ModelError
from streaming.models.model import State

__all__ = ["Hold", "held"]


class Hold:
    """Who holds a state, and whether it is still to be had.

    Args:
        free: lets go of what the state keeps; once it is closed and not held.

    Attributes:
        closed: it is wanted no more.
        ended: the row with which its utterance ended; None while it goes on.
    """

    def __init__(self, free: Callable[[], None]) -> None:
        self.closed = False
        self.ended: int | None = None
        self._free = free
        self._lock = threading.Lock()  # guards the flags
        self._held = False

    def close(self) -> None:
        """See `State.close`; waits for the step that is being taken."""
        with self._lock:
            self.closed = True
            if not self._held:
                self._free()

    def take(self) -> None:
        """Hold it for a step.

        Raises:
            ModelError: it is closed, ended, or held already.
        """
        with self._lock:
            if self.closed:
                raise ModelError("a closed state was given to a step")
            if self._held:
                raise ModelError("a state was given to two steps at once")
            if self.ended is not None:
                raise ModelError(
                    f"a state whose utterance ended with row {self.ended} was given "
                    "to a step"
                )
            self._held = True

    def let_go(self) -> None:
        """The step is over."""
        with self._lock:
            self._held = False
            if self.closed:
                self._free()


class _HeldState(State, Protocol):
    @property
    def owner(self) -> object: ...
    @property
    def hold(self) -> Hold: ...


_S = TypeVar("_S", bound=_HeldState)


@contextmanager
def held(states: Sequence[State], kind: type[_S], owner: object) -> Iterator[list[_S]]:
    """Hold states for a step: none is taken twice, or freed meanwhile.

    Args:
        states: to be held.
        kind: what they have to be.
        owner: whose they have to be.

    Raises:
        ModelError: a state is another model's, closed, ended, or held already.
    """
    mine: list[_S] = []
    try:
        for state in states:
            if not isinstance(state, kind) or state.owner is not owner:
                raise ModelError("a state of another model was given to a step")
            state.hold.take()
            mine.append(state)
        yield mine
    finally:
        for state in mine:
            state.hold.let_go()

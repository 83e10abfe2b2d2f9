"""The states of a model's utterances: opened with the first window, closed once.

Keeps the books: whose state is open, in use, or to be closed after its use. Knows
jobs and their order; opens and closes outside of its own lock, since a model may
take its time. Runs no model.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from streaming.errors import ModelError, Overloaded
from streaming.events import Cancel, Job, Pass
from streaming.models.model import Model, State

__all__ = ["Held", "Room", "States"]

_log = logging.getLogger(__name__)

_RETRY_S = 5.0  # an utterance ends within seconds

_Key: TypeAlias = tuple[int, int]  # stream, utterance


@dataclass(frozen=True, slots=True)
class Held:
    """What states take up now.

    Attributes:
        states: how many are open.
        bytes: of all of them, as of their last steps.
        most_bytes: of the stream that holds most.
        most_states: how many there is room for; None where it is not known.
    """

    states: int = 0
    bytes: int = 0
    most_bytes: int = 0
    most_states: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What warming up showed of a model's states.

    Attributes:
        each_bytes: memory of one with all of its left context.
        most_states: the model has no room for more; None where it had for all.
    """

    each_bytes: int = 0
    most_states: int | None = None


@dataclass(slots=True)
class _Place:
    """One utterance's state; None until its first window is run."""

    state: State | None = None
    bytes: int = 0
    running: Job | None = None
    unwanted: bool = False  # to be closed when what runs has ended


class States:
    """The open states; all methods may be called from any thread.

    A window's life is `begin`, `of` (where it has samples), `done`; windows of one
    utterance do not run at the same time, and full passes have no state. A state is
    closed when its `last` window is done, when one of its windows failed, when it is
    cancelled (after the window that runs), and by `close`.

    How many there is room for follows from the bound on their memory and the most
    that one was seen to take, and from the model: it says so when it has no more.

    Args:
        most_bytes: of all of them; 0: as much as the model has.
    """

    def __init__(self, most_bytes: int = 0) -> None:
        self._lock = threading.Lock()  # guards the places, and what is known of room
        self._places: dict[_Key, _Place] = {}
        self._most_bytes = most_bytes
        self._each_bytes = 0  # most that one was seen to take
        self._most_states: int | None = None  # as the model has room

    def learn(self, room: Room) -> None:
        """What was seen of the model's states before the first utterance."""
        with self._lock:
            self._each_bytes = max(self._each_bytes, room.each_bytes)
            self._bound(room.most_states)

    def admit(self) -> None:
        """Is there room for one more?

        Raises:
            Overloaded: there is none now.
        """
        with self._lock:
            most, held = self._room(), len(self._places)
        if most is not None and held >= most:
            raise Overloaded(f"{_all_taken(most)}", _RETRY_S)

    def begin(self, jobs: Iterable[Job]) -> None:
        """Of these jobs the windows run from now on: nothing closes their states."""
        replaced = []
        with self._lock:
            for job in jobs:
                if job.kind is Pass.FULL:
                    continue
                place = self._places.get(_key(job))
                if job.window.start == 0:
                    replaced.append(place)
                    place = self._places[_key(job)] = _Place()
                if place is not None:
                    place.running = job
        self._close(replaced)

    def of(self, model: Model, job: Job) -> State:
        """The state of a window that has begun; opened for an utterance's first.

        Raises:
            Overloaded: the model has no room for one more.
            ModelError: the state is gone: an earlier window failed, or the engine
                stops.
        """
        with self._lock:
            place = self._places.get(_key(job))
            if place is None or place.running is not job:
                raise ModelError(
                    f"the state of stream {job.stream}, utterance {job.utterance} is "
                    f"gone, so that nothing can go on at sample {job.window.start}"
                )
            if place.state is not None:
                return place.state
            most = self._room()
            others = sum(each.state is not None for each in self._places.values())
        if most is not None and others >= most:
            raise Overloaded(_all_taken(most))
        try:
            state = model.open()
        except (ModelError, MemoryError) as error:
            with self._lock:
                self._bound(others)
            raise Overloaded(
                f"no room for the state of one more utterance beside {others}: {error}"
            ) from error
        with self._lock:
            place.state = state
        return state

    def done(self, jobs: Sequence[Job], failed: Iterable[Job] = ()) -> None:
        """These jobs have ended, of them some badly."""
        bad = set(failed)
        over = []
        with self._lock:
            for job in jobs:
                place = self._places.get(_key(job))
                if place is None or place.running is not job:
                    continue
                place.running = None
                place.bytes = place.state.bytes if place.state is not None else 0
                self._each_bytes = max(self._each_bytes, place.bytes)
                if job.window.last or job in bad or place.unwanted:
                    over.append(self._places.pop(_key(job)))
        self._close(over)

    def cancel(self, cancel: Cancel) -> None:
        """Nothing more comes of these windows."""
        if cancel.kind is Pass.FULL:
            return
        over = []
        with self._lock:
            for key in self._named(cancel):
                if self._places[key].running is not None:
                    self._places[key].unwanted = True
                else:
                    over.append(self._places.pop(key))
        self._close(over)

    def close(self) -> None:
        """Close them all; nothing runs any more."""
        with self._lock:
            over = list(self._places.values())
            self._places.clear()
        self._close(over)

    @property
    def held(self) -> Held:
        """What they take up now."""
        with self._lock:
            streams: Counter[int] = Counter()
            for (stream, _), place in self._places.items():
                streams[stream] += place.bytes
            states = sum(place.state is not None for place in self._places.values())
            most = self._room()
        return Held(states, streams.total(), max(streams.values(), default=0), most)

    def _room(self) -> int | None:
        if not self._most_bytes or not self._each_bytes:
            return self._most_states
        fit = max(1, self._most_bytes // self._each_bytes)
        return fit if self._most_states is None else min(fit, self._most_states)

    def _bound(self, most: int | None) -> None:
        """The model had no room for more than so many."""
        if most is not None and (self._most_states is None or most < self._most_states):
            self._most_states = max(1, most)

    def _named(self, cancel: Cancel) -> list[_Key]:
        if cancel.utterance is None:
            return [key for key in self._places if key[0] == cancel.stream]
        key = (cancel.stream, cancel.utterance)
        return [key] if key in self._places else []

    def _close(self, places: Iterable[_Place | None]) -> None:
        for place in places:
            if place is None or place.state is None:
                continue
            try:
                place.state.close()
            except Exception:  # its place is lost; nobody's stream is
                _log.exception("a state could not be closed")


def _all_taken(most: int) -> str:
    return f"all {most} places for the states of utterances are taken"


def _key(job: Job) -> _Key:
    return job.stream, job.utterance

"""The seam between a server and whatever runs the jobs of its streams.

The engine of this process (`streaming.engine.Engine`), or those of others
(`streaming.cluster.remote.RemoteEngine`); neither the server nor a session can tell.
"""

from __future__ import annotations

from typing import Protocol

from streaming.core.ladder import Strain
from streaming.core.tally import EngineStats
from streaming.engine import Deliver
from streaming.events import Cancel, Job

__all__ = ["Inference"]


class Inference(Protocol):
    """What a server asks of an engine; called from the event loop, never blocks."""

    @property
    def warm(self) -> bool:
        """Jobs are taken and run."""
        ...

    @property
    def strain(self) -> Strain:
        """How hard it is pressed now."""
        ...

    @property
    def stats(self) -> EngineStats | None:
        """How it stands now; None where others count that."""
        ...

    @property
    def most_states(self) -> int | None:
        """Utterances that may keep a state at a time; None where it is not known."""
        ...

    def look(self) -> str | None:
        """Why it is taken for hung, or None; asked a few times a second."""
        ...

    def submit(self, job: Job, deliver: Deliver) -> None:
        """Have a job run; its one answer comes to `deliver` on the event loop."""
        ...

    def cancel(self, cancel: Cancel) -> tuple[Job, ...]:
        """Forget jobs, and what is kept of their utterances.

        Returns:
            The jobs that now get no answer; others of the utterance may still.
        """
        ...

    def admit(self) -> None:
        """Is there room for one more stream?

        Raises:
            Overloaded: there is none.
        """
        ...

    def least_budget_s(self, samples: int) -> float:
        """Least budget that windows of `samples` can keep."""
        ...

    def window_limit(self, budget_s: float) -> int:
        """Most samples of a window that is run within half of `budget_s`."""
        ...

    def limit_passes(self, smallest_budget_s: float) -> None:
        """Begin no pass longer than half of the smallest budget of open streams."""
        ...

    def allow_full_passes(self, allowed: bool) -> None:
        """Begin full passes, or fail those that wait and come."""
        ...

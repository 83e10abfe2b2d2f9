"""How the server stands: warming up, serving or going away."""

from __future__ import annotations

from dataclasses import dataclass

from streaming.config import StreamConfig
from streaming.errors import Draining, Overloaded
from streaming.server.backend import Backend
from streaming.server.load import LoadWatch

__all__ = ["RETRY_S", "Standing"]

# When to come again, where nothing better is known.
RETRY_S = 5.0


@dataclass(slots=True)
class Standing:
    """What the pages show and admission goes by.

    Attributes:
        backend: what it serves with; None until the model is warm.
        draining: no new streams.
        load: how much there is to do.
    """

    load: LoadWatch
    backend: Backend | None = None
    draining: bool = False

    def expect_backend(self) -> Backend:
        """What a new stream is served with.

        Raises:
            Draining: the server is going away.
            Overloaded: the model is not warm, or the engine is behind.
        """
        if self.draining:
            raise Draining("the server is shutting down: open the stream elsewhere")
        if self.backend is None:
            raise Overloaded("the model is not warm yet", RETRY_S)
        self.backend.engine.admit()
        return self.backend

    def expect_warm(self) -> Backend:
        """What a stream that is open already is served with.

        Raises:
            Overloaded: the model is not warm.
        """
        if self.backend is None:
            raise Overloaded("the model is not warm yet", RETRY_S)
        return self.backend

    def status(self, defaults: StreamConfig) -> str:
        """`ready`, or why not: not warm, stuck, not within its budget, going away."""
        if self.draining:
            return "draining"
        if self.backend is None or not self.backend.engine.warm:
            return "warming up"
        if self.load.hung is not None:
            return f"stuck: {self.load.hung}"
        smallest = self.backend.smallest_budget_ms(defaults)
        if smallest > defaults.budget_ms:
            return f"slow: {smallest} ms is the smallest budget it can keep"
        try:
            self.expect_backend()
            self.load.admit(1)
        except Overloaded as error:
            return f"overloaded: {error}"
        return "ready"

"""What a stream has around it: what it shares with the others, and whose it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streaming.config import LimitConfig
from streaming.events import ServerEvent
from streaming.protocols.adapter import Refusal
from streaming.server.access import Account
from streaming.server.inference import Inference
from streaming.server.metrics import Metrics

__all__ = ["Surroundings"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a stream goes by.

    Attributes:
        engine: runs its jobs.
        limits: what it may ask.
        metrics: where it counts.
        clock: seconds, the engine's too.
        refusal: says an error in the stream's dialect.
        on_budget: called when a stream's budget has changed, or it has ended.
        account: on which it sends its audio.
        overhear: told each event as well; None where only the client is.
    """

    engine: Inference
    limits: LimitConfig
    metrics: Metrics
    clock: Callable[[], float]
    refusal: Callable[[Exception], Refusal]
    on_budget: Callable[[], None]
    account: Account
    overhear: Callable[[ServerEvent], None] | None = None

"""Streams that an engine carries on a GPU with paced arrivals, and what binds then.

Knows the engine and the paced crowd; not how the model was loaded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from benchmarks.capacity import redundancy
from benchmarks.contenders import Way
from streaming.config import Config
from streaming.models.model import Model
from streaming.tools.capacity import foretold, measure_capacity
from streaming.tools.crowd import open_hall
from streaming.tools.outcome import Crowd
from streaming.tools.paced import PacedHall, PacedOutcome

__all__ = ["binding", "carried"]

_MESSAGE_MS = 20
_FULL = 0.9  # of a thread's time


class _Until(PacedHall):
    """A paced hall that tries no more crowds when its time is over.

    Attributes:
        until: when it is, on the monotonic clock; the first crowd is heard anyway.
        untried: crowds that came too late; `skipped`: the last one did.
        last_failure: what a window was told that failed.
    """

    until = float("inf")
    tried = False
    untried = 0
    skipped = False
    last_failure = ""

    def hear(self, crowd: Crowd) -> PacedOutcome:
        """As `PacedHall.hear`."""
        ends = time.monotonic() + crowd.settle_s + crowd.seconds
        self.skipped = self.tried and ends > self.until
        self.tried = True
        if self.skipped:
            self.untried += 1
            return PacedOutcome(crowd.streams, hopeless=True)
        outcome = super().hear(crowd)
        self.last_failure = outcome.failure or self.last_failure
        return outcome


def carried(
    model: Model,
    config: Config,
    architecture: Mapping[str, Any],
    until: float,
    seconds: float,
    settle_s: float,
) -> dict[str, Any]:
    """Search for the most streams that always talk, and tell about them.

    Args:
        model: stateful; stays the caller's.
        config: engine, window and budget.
        architecture: the checkpoint's `config.json`.
        until: no trial begins that would end after this.
        seconds: measured in each trial.
        settle_s: before that.
    """
    told: list[str] = []
    began = time.monotonic()

    def tell(words: str) -> None:
        if paced.untried < 2:
            told.append(_tried(words, paced))

    with open_hall(config, model=model) as hall:
        warm_s = time.monotonic() - began
        workers = hall.engine.stats.workers
        paced = _Until(hall)
        paced.until = until
        found = measure_capacity(
            paced,
            1.0,
            foretold(hall),
            seconds=seconds,
            settle_s=settle_s,
            message_ms=_MESSAGE_MS,
            tell=tell,
        )
    outcome = found.outcome
    window = config.stream.window
    left_ms = window.left(stateful=True)
    row: dict[str, Any] = {
        "window_ms": [left_ms, window.hop_ms, window.right_ms],
        "workers": workers,
        "budget_ms": config.stream.budget_ms,
        "streams": found.streams,
        "trials": told,
        "untried": paced.untried,
        "warm_s": warm_s,
        "failure": paced.last_failure,
    }
    if not isinstance(outcome, PacedOutcome):
        over = "nothing that was found: the time was over"
        failed = binding(None, paced.last_failure)
        return row | {"binds": over if paced.untried else failed}
    way = Way("", None, "stateful", "torch", "", window, config.stream.budget_ms)
    return row | {
        "wait_s": {
            name: outcome.wait_s(share)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        "windows": len(outcome.waits),
        "finals_missing": outcome.utterances - outcome.finals,
        "audio_loss": outcome.lost,
        "utilisation": outcome.busy,
        "batch": outcome.batch,
        "pacing_thread": outcome.front,
        "redundancy": redundancy(architecture, outcome, way),
        "state_mb_a_stream": outcome.state_bytes / 1e6,
        "state_gb_in_all": outcome.states_bytes / 1e9,
        "binds": binding(outcome, paced.last_failure),
    }


def _tried(words: str, paced: _Until) -> str:
    """What is told of a trial, or that there was none."""
    if not paced.skipped:
        return words
    return f"{words.partition(':')[0]}: not tried, time is over"


def binding(outcome: PacedOutcome | None, failure: str) -> str:
    """What keeps the next streams out.

    Args:
        outcome: of the most streams that were carried; None for none.
        failure: what a window of a larger crowd was told.
    """
    if "no room" in failure or "memory" in failure:
        return "memory"
    if failure:
        return f"a failure: {failure}"
    if outcome is None:
        return "one stream is too many"
    if outcome.front > _FULL:
        return "the thread that paces"
    if outcome.busy > _FULL:
        return "passes: the device, and Python between its steps"
    return "waiting: the budget is over before the workers are busy"

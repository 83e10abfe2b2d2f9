"""How many live streams this machine carries within a latency budget.

The search, and what has to hold for a number of streams; `crowd.py` tries one.
Knows neither files nor tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streaming.config import Config
from streaming.core.facts import ModelFacts
from streaming.core.ladder import LADDER
from streaming.core.windows import WindowShape
from streaming.events import Pass, Samples
from streaming.models.model import Model
from streaming.tools.crowd import Hall
from streaming.tools.outcome import Crowd, Outcome
from streaming.tools.talk import Talk, demo_phrases

__all__ = [
    "Capacity",
    "Venue",
    "bare_streams",
    "failings",
    "foretold",
    "greatest",
    "measure_capacity",
]

# Finals may be made of windows; hops stay as they are.
_LOWEST_RUNG = [rung.level for rung in LADDER].index("stitched")
_NEAR = 0.05
_STRIDES = 1.4  # while the number is not bracketed
_MOST = 100_000
_BARE_S = (2.0, 4.0, 8.0)  # lengths of bare passes; the best counts
_USABLE = 0.75  # of what costs foretell: full passes and waiting take the rest


@dataclass(frozen=True, slots=True, eq=False)
class Capacity:
    """What was found for one kind of talk.

    Attributes:
        duty: share of the time in which a caller is spoken to.
        streams: the most that the machine carries; 0 for none.
        outcome: of that many; None for none.
        trials: `(streams, what failed)`, in order; nothing failed where it held.
    """

    duty: float
    streams: int
    outcome: Outcome | None
    trials: tuple[tuple[int, tuple[str, ...]], ...]


class Venue(Protocol):
    """Where a crowd is heard: a hall, or `paced.PacedHall`."""

    @property
    def facts(self) -> ModelFacts: ...  # noqa: D102
    @property
    def config(self) -> Config: ...  # noqa: D102
    def hear(self, crowd: Crowd) -> Outcome:
        """Let a crowd talk, and tell what became of it."""
        ...


def failings(outcome: Outcome, budget_s: float) -> tuple[str, ...]:
    """What speaks against so many streams; nothing where the machine carries them.

    Args:
        outcome: of a crowd.
        budget_s: latency budget of a partial.
    """
    if outcome.hopeless:
        return ("windows later and later",)
    said = []
    number, level = outcome.lowest
    if number > _LOWEST_RUNG:
        said.append(f"ladder at {level}")
    for share, most_s in ((0.95, budget_s), (0.999, 2 * budget_s)):
        wait_s = outcome.wait_s(share)
        if wait_s is not None and wait_s > most_s:
            said.append(
                f"p{100 * share:g} {wait_s * 1_000:.0f} ms, over {most_s * 1_000:.0f}"
            )
    if not outcome.waits:
        said.append("no window was decoded")
    if missing := outcome.utterances - outcome.finals:
        said.append(f"{missing} finals missing")
    if outcome.broken:
        said.append(f"{outcome.broken} sessions failed")
    if outcome.lost:
        said.append(f"{outcome.lost} samples lost")
    return tuple(said)


def greatest(holds: Callable[[int], bool], guess: int, most: int = _MOST) -> int:
    """Find the most, within 5 %, that something holds for; 0 for not even one.

    From the guess up or down until it is bracketed, then by halves. What it returns
    was tried and held.

    Args:
        holds: tries a number.
        guess: where to begin.
        most: no more are tried.
    """
    least, over = 0, most + 1
    number = min(max(1, guess), most)
    while over - least > max(1, _NEAR * least):
        if holds(number):
            least = number
        else:
            over = number
        if over > most:
            number = min(most, max(least + 1, round(least * _STRIDES)))
        elif least == 0:
            number = max(1, round(over / _STRIDES))
            number = min(number, max(1, over - 1))
        else:
            number = (least + over) // 2
    return least


def foretold(hall: Hall) -> int:
    """About how many streams, by what passes cost when the engine was warmed up."""
    stream = hall.config.stream
    shape = WindowShape.from_config(stream.window, hall.facts)
    costs = hall.engine.costs.of(Pass.STITCHED)
    samples = shape.left + shape.hop + shape.right
    batch = min(hall.model.max_batch, hall.config.engine.max_batch)
    pass_s = costs.seconds(samples, batch) / batch
    workers = hall.engine.stats.workers
    hop_s = shape.hop / hall.facts.geometry.sample_rate
    return max(1, int(_USABLE * workers * hop_s / pass_s)) if pass_s > 0 else 1


def measure_capacity(
    hall: Venue,
    duty: float,
    guess: int,
    *,
    seconds: float,
    settle_s: float = 4.0,
    message_ms: int = 20,
    most: int = _MOST,
    tell: Callable[[str], None] = lambda _: None,
) -> Capacity:
    """Search for the most streams that the machine carries.

    Args:
        hall: has a warm engine.
        duty: share of the time in which callers are spoken to.
        guess: where to begin.
        seconds: measured in each trial.
        settle_s: before that.
        message_ms: audio in a message.
        most: no more streams are tried.
        tell: is told of each trial.

    Raises:
        ModelError: the model failed.
    """
    rate = hall.facts.geometry.sample_rate
    talk = Talk(demo_phrases(rate), rate, duty)
    budget_s = hall.config.stream.budget_ms / 1_000
    tried: dict[int, Outcome] = {}
    trials: list[tuple[int, tuple[str, ...]]] = []

    def holds(streams: int) -> bool:
        crowd = Crowd(streams, talk, seconds, settle_s, message_ms)
        outcome = hall.hear(crowd)
        wrong = failings(outcome, budget_s)
        tried[streams] = outcome
        trials.append((streams, wrong))
        tell(f"{streams} streams: {', '.join(wrong) or _held(outcome)}")
        return not wrong

    streams = greatest(holds, guess, most)
    return Capacity(duty, streams, tried.get(streams), tuple(trials))


def _held(outcome: Outcome) -> str:
    p95 = outcome.wait_s(0.95) or 0.0
    return f"ok, p95 {p95 * 1_000:.0f} ms, workers {outcome.busy:.0%} busy"


def bare_streams(
    model: Model, workers: int, seconds: float, lengths_s: Sequence[float] = _BARE_S
) -> float:
    """Seconds of audio a second in bare single passes: nothing can carry more.

    As many threads as the engine has workers, each with a clone of the model, its
    batches full, nothing decoded and nobody waiting; of several lengths the best.

    Args:
        model: stays the caller's.
        workers: threads.
        seconds: measured for each length and batch.
        lengths_s: of a pass.
    """
    rate = model.geometry.sample_rate
    noise = np.random.default_rng(0).standard_normal(int(max(lengths_s) * rate))
    sound = noise.astype(np.float32)
    found = [
        _rate_of(model, [sound[: int(length_s * rate)]] * batch, workers, seconds)
        for length_s in lengths_s
        for batch in sorted({1, model.max_batch})
    ]
    return max(found) / rate


def _rate_of(
    model: Model, batch: Sequence[Samples], workers: int, seconds: float
) -> float:
    """Samples a second."""

    def work(clone: Model) -> float:
        clone.forward(batch)  # allocates
        began, passes = time.monotonic(), 0
        while (took := time.monotonic() - began) < seconds or not passes:
            clone.forward(batch)
            passes += 1
        return passes * sum(map(len, batch)) / took

    clones = [model.clone() for _ in range(workers)]
    try:
        with ThreadPoolExecutor(workers) as pool:
            return sum(pool.map(work, clones))
    finally:
        for clone in clones:
            clone.close()

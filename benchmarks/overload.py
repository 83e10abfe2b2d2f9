"""More streams than a server lets in: what those keep that are, and the rest hear.

Over a websocket, with the server in a process of its own and callers that always
talk. Knows a number of seats; not where it is from.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.callers import Call, call, measure
from benchmarks.latency import serving
from benchmarks.measures import percentiles
from clients.errors import Overloaded
from streaming.cli.settings import to_toml
from streaming.config import Config
from streaming.tools.talk import Pcm, Talk, demo_phrases

__all__ = ["Offered", "offer", "speech"]

_RATE = 16_000
_COME_S = 2.0
_MESSAGE = 3_200


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of too many callers.

    Attributes:
        offered: callers.
        admitted: heard to their end, and `refused`, told that there is no room.
        failed: anything else. Must be 0.
        partials: of the admitted, and seconds within which a share of them came.
        finals: of the admitted; `finals_missing` must be 0, and `audio_loss`,
            samples, too.
        budget_ms: that was to be kept.
    """

    offered: int
    admitted: int
    refused: int
    failed: int
    partials: int
    p50_s: float | None
    p95_s: float | None
    p999_s: float | None
    finals: int
    finals_missing: int
    audio_loss: int
    dropped: int
    budget_ms: int


def offer(config: Config, seats: int, callers: int, seconds: float) -> Offered:
    """Call a server from so many callers at once.

    Args:
        config: of the server.
        seats: streams that it lets in.
        callers: at once, within two seconds.
        seconds: that each talks.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "serve.toml"
        file.write_text(to_toml(config), encoding="utf-8")
        limit = f"limits.max_streams={seats}"
        with serving(["--config", str(file), "--set", limit]) as served:
            ends = asyncio.run(_together(served.url, callers, seconds))
    calls = [each for each in ends if isinstance(each, Call)]
    refused = sum(isinstance(each, Overloaded) for each in ends)
    found = measure(calls, config.stream.gate.hangover_ms / 1_000)
    p50, p95, p999 = percentiles(found.partial, (0.5, 0.95, 0.999))
    return Offered(
        offered=callers,
        admitted=len(calls),
        refused=refused,
        failed=callers - len(calls) - refused,
        partials=len(found.partial),
        p50_s=p50,
        p95_s=p95,
        p999_s=p999,
        finals=found.finals,
        finals_missing=found.finals_missing,
        audio_loss=found.audio_loss,
        dropped=found.dropped,
        budget_ms=config.stream.budget_ms,
    )


async def _together(
    url: str, callers: int, seconds: float
) -> list[Call | BaseException]:
    dice = random.Random(7)

    async def one(number: int) -> Call:
        await asyncio.sleep(dice.uniform(0, _COME_S))
        return await call(url, speech(number, seconds))

    return await asyncio.gather(
        *(one(number) for number in range(callers)), return_exceptions=True
    )


def speech(seed: int, seconds: float) -> Iterator[tuple[Pcm, str]]:
    """As long a conversation as that; what is said in it does not matter here."""
    talk = Talk(demo_phrases(_RATE), _RATE)
    pieces = talk.pieces(seed, _MESSAGE)
    for _ in range(round(seconds * _RATE / _MESSAGE)):
        yield np.frombuffer(next(pieces), "<i2"), ""

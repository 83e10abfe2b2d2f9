"""Two-sided calls of telephone quality, made from the recording that ships.

The bundled demo is cut at its pauses and its utterances are said in turn by a caller
and an agent, who interrupts once.
"""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import soundfile
import soxr

from streaming.cli.demo import RECORDING
from tests.protocols.calls import AGENT, CALLER, Sender, mulaw

RATE = 8_000
UTTERANCES = json.loads(RECORDING.with_suffix(".json").read_text())["utterances"]


@cache
def telephone() -> np.ndarray:
    """The recording at 8 kHz, `(n,)`, in -1..1."""
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    return soxr.resample(samples, rate, RATE, "VHQ").astype(np.float32)


def side(places: dict[int, float], seconds: float) -> bytes:
    """G.711 of one side: utterances by number, each where it is said."""
    samples = np.zeros(int(seconds * RATE), np.float32)
    for number, at in places.items():
        about = UTTERANCES[number]
        begin, end = (
            int((about["start"] - 0.2) * RATE),
            int((about["end"] + 0.2) * RATE),
        )
        piece = telephone()[begin:end]
        samples[int(at * RATE) :][: len(piece)] = piece
    return mulaw(samples)


@cache
def sides() -> tuple[bytes, bytes]:
    """Caller and agent, 9 s: the agent begins before the caller has ended."""
    return side({0: 0.3, 2: 6.0}, 9.0), side({1: 2.4}, 9.0)


def call(at: float = 1_000.0):
    """Datagrams of both sides, in the order in which they came."""
    caller, agent = sides()
    one = Sender(ssrc=1, source=CALLER, target=AGENT).talk(caller, at=at)
    other = Sender(ssrc=2, source=AGENT, target=CALLER, sequence=9, timestamp=5)
    return sorted([*one, *other.talk(agent, at=at)], key=lambda each: each.at)

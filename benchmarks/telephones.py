"""Telephones that talk: two sides of recorded speech as RTP, over a bad network.

Knows samples and sockets; nothing of who listens.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import soxr

from benchmarks.samples import RATE, Sample, quiet_room
from streaming.config import Encoding
from streaming.numeric.pcm import decode
from streaming.protocols.datagram import Address

__all__ = [
    "PACKET",
    "WIRE_RATE",
    "Network",
    "Script",
    "converse",
    "mulaw",
    "packets",
    "speak",
]

WIRE_RATE, PACKET = 8_000, 160


@dataclass(frozen=True, slots=True)
class Network:
    """What becomes of packets.

    Attributes:
        loss: share that never arrives.
        jitter_s: each is late by up to so much.
        doubled: share that arrives twice.
    """

    loss: float = 0.01
    jitter_s: float = 0.06
    doubled: float = 0.005


@dataclass(slots=True)
class Script:
    """One side of a call: what is said, as it is sent.

    Attributes:
        payload: G.711 mu-law.
        said: its texts.
        lost: packets that the network ate.
        began: the loop's time of its first sample.
    """

    payload: bytes
    said: list[str]
    lost: int = 0
    began: float = 0.0


def mulaw(samples: np.ndarray[Any, Any]) -> bytes:
    """The nearest codes of G.711; `samples` in -1..1."""
    table = decode(Encoding.MULAW, bytes(range(256)))
    order = np.argsort(table, kind="stable")
    values = table[order]
    place = np.clip(np.searchsorted(values, samples), 1, 255)
    below = samples - values[place - 1] < values[place] - samples
    return bytes(order[place - below].astype(np.uint8).tobytes())


def packets(payload: bytes, chance: random.Random) -> list[bytes]:
    """RTP of one side; its counters begin anywhere, so that some wrap."""
    sequence, timestamp = chance.randrange(1 << 16), chance.randrange(1 << 32)
    ssrc = chance.randrange(1 << 32)
    return [
        struct.pack(
            ">BBHII",
            0x80,
            0 if number else 128,
            (sequence + number) % (1 << 16),
            (timestamp + at) % (1 << 32),
            ssrc,
        )
        + payload[at : at + PACKET]
        for number, at in enumerate(range(0, len(payload), PACKET))
    ]


def converse(
    samples: Sequence[Sample], seed: int, seconds: float
) -> tuple[Script, Script]:
    """Caller and agent take turns; now and then one begins before the other ended."""
    chance, noise = random.Random(seed), np.random.default_rng(seed)
    length = round(seconds * RATE)
    tracks = [quiet_room(seconds, noise), quiet_room(seconds, noise)]
    said: tuple[list[str], list[str]] = ([], [])
    free, at, side = [0, 0], RATE // 2, chance.randrange(2)
    while True:
        sample = chance.choice(samples)
        at = max(at, free[side])
        if at + len(sample.samples) > length:
            break
        tracks[side][at : at + len(sample.samples)] = sample.samples
        said[side].append(sample.text)
        free[side] = at + len(sample.samples)
        at = free[side] + round(chance.uniform(-0.8, 0.6) * RATE)
        side = side if chance.random() < 0.2 else 1 - side
    sides = [
        Script(mulaw(soxr.resample(track, RATE, WIRE_RATE, "VHQ")), texts)
        for track, texts in zip(tracks, said, strict=True)
    ]
    return sides[0], sides[1]


async def speak(
    side: Script, port: Address, network: Network, chance: random.Random
) -> None:
    """Send a side at the pace of speech; returns when the last packet is on its way."""
    loop = asyncio.get_running_loop()
    side.began = loop.time()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setblocking(False)
        whole = packets(side.payload, chance)
        for number, packet in enumerate(whole):
            # A packet leaves when its last sample has been spoken.
            due = side.began + (number + 1) * PACKET / WIRE_RATE
            await asyncio.sleep(due - loop.time())
            # What is lost at either end has no neighbour that tells of it.
            if 0 < number < len(whole) - 1 and chance.random() < network.loss:
                side.lost += 1
                continue
            for _ in range(1 + (chance.random() < network.doubled)):
                delay_s = chance.uniform(0, network.jitter_s)
                loop.call_later(delay_s, partial(wire.sendto, packet, port))
        await asyncio.sleep(2 * network.jitter_s)

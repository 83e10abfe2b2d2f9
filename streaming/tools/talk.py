"""Conversations without an end, made of a few recorded phrases.

What a caller sends when somebody always talks, or talks for a share of the time.
The same seed gives the same conversation. Knows samples; neither models nor clocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from streaming.errors import ConfigError
from streaming.numeric.resample import Resampler
from streaming.tools.make_demo import DEMO, ROOM

__all__ = ["Pcm", "Talk", "demo_phrases"]

Pcm: TypeAlias = npt.NDArray[np.int16]  # (n,)

# Somebody who always talks breathes too: one pause in three is longer than the usual
# hangover of 0.5 s and ends an utterance, but hangover and pre-roll fill it: all of it
# is decoded.
_BREATH_S = (0.1, 0.7)
_PHRASES = (1, 4)  # in a turn, where one talks and then listens
_SWING = (0.5, 1.5)  # of the silence after a turn
_ROOM_S = 5


@cache
def demo_phrases(rate: int) -> tuple[Pcm, ...]:
    """What `wavestitch demo` says, phrase by phrase, at this rate."""
    audio, recorded_at = soundfile.read(DEMO, dtype="float32")
    about = json.loads(DEMO.with_suffix(".json").read_text(encoding="utf-8"))
    phrases = []
    for said in about["utterances"]:
        start, end = (round(said[at] * recorded_at) for at in ("start", "end"))
        resampler = Resampler(recorded_at, rate)
        spoken = (resampler.push(audio[start:end]), resampler.drain())
        phrases.append(_pcm(np.concatenate(spoken)))
    return tuple(phrases)


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """How one caller is spoken to.

    Attributes:
        phrases: 16-bit samples, each begins and ends with speech.
        rate: samples a second.
        duty: share of the time in which somebody talks, short pauses included; 1.0
            is always.

    Raises:
        ConfigError: there are no phrases, or the duty is not in 0 to 1.
    """

    phrases: tuple[Pcm, ...]
    rate: int
    duty: float = 1.0

    def __post_init__(self) -> None:
        if not self.phrases:
            raise ConfigError("a talk needs at least one phrase")
        if not 0 < self.duty <= 1:
            raise ConfigError(f"duty must be above 0 and up to 1, got {self.duty:g}")

    def pieces(self, seed: int, samples: int, phase: float = 0.0) -> Iterator[bytes]:
        """An endless conversation in messages of so many samples, s16le.

        It begins in the midst of a turn, or of the silence after one.

        Args:
            seed: of the conversation.
            samples: of a message.
            phase: 0 to 1; below the duty it begins with talk.
        """
        random = np.random.default_rng(seed)
        sounds = self._sounds(random)
        left = next(sounds)
        if self.duty < 1 and phase >= self.duty:
            left = self._room(random, len(left) / self.rate * self._listens)
        left = left[int(random.integers(len(left))) :]
        while True:
            whole = len(left) // samples * samples
            data = left[:whole].astype("<i2", copy=False).tobytes()
            for at in range(0, 2 * whole, 2 * samples):
                yield data[at : at + 2 * samples]
            left = np.concatenate((left[whole:], next(sounds)))

    @property
    def _listens(self) -> float:
        """Seconds of silence for each of talk."""
        return (1 - self.duty) / self.duty

    def spans(self, seed: int) -> Iterator[tuple[int, int]]:
        """Such a conversation in lengths alone: samples spoken, then silent ones."""
        random = np.random.default_rng(seed)
        while True:
            turn = self._turn(random)
            for said, (phrase, breath_s) in enumerate(turn, start=1):
                silent_s = breath_s
                if said == len(turn):
                    silent_s += self._silent_s(random, self._talked_s(turn))
                yield len(self.phrases[phrase]), int(silent_s * self.rate)

    def _sounds(self, random: np.random.Generator) -> Iterator[Pcm]:
        while True:
            turn = self._turn(random)
            sounds = [
                part
                for phrase, breath_s in turn
                for part in (self.phrases[phrase], self._room(random, breath_s))
            ]
            yield np.concatenate(sounds)
            if self.duty < 1:
                silent_s = self._silent_s(random, self._talked_s(turn))
                yield self._room(random, silent_s)

    def _turn(self, random: np.random.Generator) -> list[tuple[int, float]]:
        """Numbers of phrases, each with the seconds of a breath."""
        return [
            (int(random.integers(len(self.phrases))), random.uniform(*_BREATH_S))
            for _ in range(int(random.integers(_PHRASES[0], _PHRASES[1] + 1)))
        ]

    def _talked_s(self, turn: list[tuple[int, float]]) -> float:
        return sum(
            len(self.phrases[phrase]) / self.rate + breath_s
            for phrase, breath_s in turn
        )

    def _silent_s(self, random: np.random.Generator, talked_s: float) -> float:
        """Silence after so much talk; none where somebody always talks."""
        return talked_s * self._listens * random.uniform(*_SWING)

    def _room(self, random: np.random.Generator, seconds: float) -> Pcm:
        """A quiet room: digital silence is what no microphone gives."""
        noise = _noise(self.rate)
        start = int(random.integers(len(noise)))
        return np.resize(np.roll(noise, -start), int(seconds * self.rate))


@cache
def _noise(rate: int) -> Pcm:
    random = np.random.default_rng(0)
    return _pcm(ROOM * random.standard_normal(_ROOM_S * rate).astype(np.float32))


def _pcm(samples: npt.NDArray[np.float32]) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
    return pcm

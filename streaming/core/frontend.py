"""The front end of one channel: samples in, what the gate makes of them out.

Keeps what is not settled, so that the decoder can have everything after some
sample judged anew. Knows what an utterance may be; not what becomes of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from streaming.config import GateConfig, StreamConfig
from streaming.core.gate import Gate, IsSpeech
from streaming.core.tape import Mark, Tape
from streaming.core.turns import GateEvent
from streaming.core.windows import WindowShape
from streaming.events import EndReason, Samples

__all__ = ["FrontEnd", "FrontEvent", "Parted"]


@dataclass(frozen=True, slots=True)
class Parted:
    """A command ended what was open here; what follows is apart from it."""

    reason: EndReason


FrontEvent: TypeAlias = GateEvent | Parted


class FrontEnd:
    """A gate that can be set back; make one per channel.

    Args:
        config: the channel's options.
        rate: samples per second.
        shape: of the windows, on which depends where an utterance may be cut.
        detector: makes the `is_speech` of a fresh gate.
    """

    def __init__(
        self,
        config: StreamConfig,
        rate: int,
        shape: WindowShape,
        detector: Callable[[], IsSpeech],
    ) -> None:
        self._rate = rate
        self._shape = shape
        self._detector = detector
        self._speculate_ms = config.decoder.speculate_ms
        self._tape: Tape[EndReason | GateConfig] = Tape()
        # Settings, each with the sample it holds from; the first for all before.
        self._configs = deque([(0, config.gate)])
        self._gate = self._fresh_gate(0)

    @property
    def end(self) -> int:
        """The position after the last sample that came."""
        return self._tape.end

    @property
    def settled(self) -> int:
        """The position before which no later event changes what is gated."""
        return self._gate.settled

    def push(self, samples: Samples) -> list[GateEvent]:
        """Take samples, `(n,)`."""
        self._tape.add(samples)
        return self._gate.push(samples)

    def part(self, reason: EndReason) -> list[FrontEvent]:
        """End what is open at the last sample that came."""
        self._tape.mark(reason)
        return self._part(reason)

    def configure(self, config: GateConfig) -> None:
        """Go by other settings from the current position on.

        Raises:
            ConfigError: they cannot hold; the old ones stay.
        """
        self._set(config)
        self._tape.mark(config)

    def restart(self, at: int) -> list[FrontEvent]:
        """Judge everything from `at` on anew, commands included."""
        self._configs = deque(c for c in self._configs if c[0] <= at)
        self._gate = self._fresh_gate(at)
        events: list[FrontEvent] = []
        for item in self._tape.replay(at):
            if not isinstance(item, Mark):
                events += self._gate.push(item)
            elif isinstance(item.command, GateConfig):
                self._set(item.command)
            else:
                events += self._part(item.command)
        return events

    def settings(self, at: int) -> GateConfig:
        """What held at this position, which may not be forgotten."""
        return next(config for start, config in reversed(self._configs) if start <= at)

    def between(self, start: int, end: int) -> Samples:
        """The samples of `[start, end)`, of which none may be forgotten."""
        return self._tape.between(start, end)

    def forget(self, before: int) -> None:
        """Nothing before this position will be asked for again."""
        self._tape.forget(before)
        while len(self._configs) > 1 and self._configs[1][0] <= before:
            self._configs.popleft()

    def _part(self, reason: EndReason) -> list[FrontEvent]:
        ended: Iterable[FrontEvent] = self._gate.flush(reason)
        return [*ended, Parted(reason)]

    def _set(self, config: GateConfig) -> None:
        self._gate.configure(config, self._max_samples(config))
        self._configs.append((self._gate.received, config))

    def _fresh_gate(self, start: int) -> Gate:
        config = self.settings(start)
        frame = config.frame_ms * self._rate // 1000
        quiet_ms = min(self._speculate_ms, config.hangover_ms)
        return Gate(
            config,
            self._rate,
            self._detector,
            search=max(frame, self._shape.hop + self._shape.right - frame),
            max_samples=self._max_samples(config),
            speculate=quiet_ms * self._rate // 1000,
            start=start,
        )

    def _max_samples(self, config: GateConfig) -> int:
        return self._shape.cuttable_length(int(config.max_utterance_s * self._rate))

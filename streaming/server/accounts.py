"""What became of a session's audio, added to the server's metrics as it becomes."""

from __future__ import annotations

from streaming.config import AudioFormat
from streaming.core.session import Session
from streaming.events import Totals
from streaming.server.metrics import Metrics

__all__ = ["Accounts"]


class Accounts:
    """Turns the totals of a session into counts that only rise."""

    def __init__(self, session: Session, audio: AudioFormat, metrics: Metrics) -> None:
        self._session = session
        self._rate = audio.sample_rate
        self._metrics = metrics
        self._counted = tuple(Totals() for _ in range(audio.channels))
        metrics.streams.inc(audio.channels)

    def update(self) -> None:
        """Count what has come since, and what became of it."""
        metrics, rate = self._metrics, self._rate
        totals = self._session.totals
        for now, before in zip(totals, self._counted, strict=True):
            if now != before:
                # What turns out to be made up by its sender stays counted here.
                came = max(0, now.received - before.received)
                metrics.received.inc(came / rate)
                metrics.decoded.inc((now.decoded - before.decoded) / rate)
                metrics.gated.inc((now.gated - before.gated) / rate)
        self._counted = totals

    def close(self, reason: str = "internal") -> None:
        """Count the last of it; what was dropped is known by its reason now.

        Args:
            reason: why what is neither decoded, gated nor dropped never will be:
                a bug of ours, or what its owner says.
        """
        self.update()
        self._metrics.streams.dec(len(self._counted))
        for totals, ranges in zip(self._counted, self._session.dropped, strict=True):
            for each in ranges:
                self._drop(each.reason, each.end - each.start)
            told = totals.decoded + totals.gated + totals.dropped
            pending = totals.received + totals.concealed - told
            if pending > 0:
                self._drop(reason, pending)

    def _drop(self, reason: str, samples: int) -> None:
        self._metrics.dropped.labels(reason).inc(samples / self._rate)

"""When the audio of a stream arrived, for latencies."""

from __future__ import annotations

from bisect import bisect_left

from streaming.config import AudioFormat

__all__ = ["Arrivals"]

# 80 s of messages of 20 ms: more than any utterance waits for its final.
_MOST = 4_096


class Arrivals:
    """Clock times by position in the stream; the oldest are forgotten."""

    def __init__(self, audio: AudioFormat) -> None:
        self._bytes_per_s = audio.encoding.width * audio.channels * audio.sample_rate
        self._bytes = 0
        self._ends: list[float] = []
        self._times: list[float] = []

    @property
    def seconds(self) -> float:
        """Audio received."""
        return self._bytes / self._bytes_per_s

    def add(self, size: int, now: float) -> None:
        """`size` bytes arrived at `now`."""
        self._bytes += size
        self._ends.append(self.seconds)
        self._times.append(now)
        if len(self._ends) > _MOST:
            del self._ends[: _MOST // 2]
            del self._times[: _MOST // 2]

    def at(self, seconds: float) -> float | None:
        """When the audio before `seconds` was all there; None if long ago."""
        if not self._ends:
            return None
        index = bisect_left(self._ends, seconds - 1e-6)
        if index == 0 and len(self._ends) > _MOST // 2 - 1:
            return None
        return self._times[min(index, len(self._times) - 1)]

"""The audio of one stream as it comes: when, how much, and what came before."""

from __future__ import annotations

from dataclasses import replace

from streaming.config import AudioFormat
from streaming.errors import TooBig, WavestitchError
from streaming.events import Audio
from streaming.server.access import Account
from streaming.server.arrivals import Arrivals

__all__ = ["Incoming"]


class Incoming:
    """What came of a stream's audio.

    Args:
        audio: what its bytes mean.
        longest_s: as long as it may last.
        account: on which it is sent.

    Attributes:
        arrivals: when it came.
        repeated: bytes of a sample that came before a cut and come again.
    """

    def __init__(self, audio: AudioFormat, longest_s: float, account: Account) -> None:
        self.arrivals = Arrivals(audio)
        self.repeated = 0
        self._channels = audio.channels
        self._longest_s = longest_s
        self._account = account

    def new_of(self, audio: Audio) -> Audio:
        """What of it has not come before."""
        if not self.repeated:
            return audio
        skipped = min(self.repeated, len(audio.data))
        self.repeated -= skipped
        return replace(audio, data=audio.data[skipped:])

    def count(self, size: int, now: float) -> WavestitchError | None:
        """So many bytes came at `now`; not None: it is more than may come."""
        before = self.arrivals.seconds
        self.arrivals.add(size, now)
        if self.arrivals.seconds > self._longest_s:
            return TooBig(
                f"a stream may last {self._longest_s:g} s: go on in a new one"
            )
        come = self.arrivals.seconds - before
        return self._account.spend(come * self._channels)

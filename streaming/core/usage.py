"""What one key uses now and has used today, against its limits.

Pure: the time is an argument, in seconds since 1970, and a day is one of UTC. Starts
at nothing with the process: minutes are not counted across restarts.
"""

from __future__ import annotations

from streaming.core.keys import Key
from streaming.errors import LimitReached

__all__ = ["Usage"]

_DAY_S = 86_400

# A stream of the key may end at any time.
_RETRY_S = 5.0


class Usage:
    """The account of one key.

    Args:
        key: whose; its limits may be others after a reload.

    Attributes:
        streams: audio channels that are open.
        audio_s: seconds of audio received, all channels, since the start.
    """

    def __init__(self, key: Key) -> None:
        self.key = key
        self.streams = 0
        self.audio_s = 0.0
        self._today = 0
        self._today_s = 0.0

    def expect_room(self, channels: int, now: float) -> None:
        """Can so many channels more be opened?

        Raises:
            LimitReached: no; it says when to come again.
        """
        most = self.key.streams
        if most and self.streams + channels > most:
            raise LimitReached(
                f"the key {self.key.name} may have {most} streams at once, has "
                f"{self.streams} and asked for {channels} more",
                _RETRY_S,
            )
        if self.spent(now):
            raise self.refusal(now)

    def enter(self, channels: int) -> None:
        """They are open."""
        self.streams += channels

    def leave(self, channels: int) -> None:
        """They are closed."""
        self.streams -= channels

    def add(self, seconds: float, now: float) -> None:
        """So much audio came, of all channels together."""
        self.audio_s += seconds
        self._turn(now)
        self._today_s += seconds

    def spent(self, now: float) -> bool:
        """As much audio came today as may."""
        self._turn(now)
        most = self.key.minutes_a_day
        return most > 0 and self._today_s >= most * 60

    def refusal(self, now: float) -> LimitReached:
        """What to say then: it says how long the day still is."""
        return LimitReached(
            f"the key {self.key.name} may send {self.key.minutes_a_day} minutes of "
            "audio a day, and has; the day ends at 00:00 UTC",
            _DAY_S - now % _DAY_S,
        )

    def _turn(self, now: float) -> None:
        day = int(now // _DAY_S)
        if day > self._today:  # a clock set back does not give the day again
            self._today, self._today_s = day, 0.0

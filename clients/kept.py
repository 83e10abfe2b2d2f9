"""What was sent and may have to be sent again: audio and commands, in their order.

The server counts the samples and the commands that it has taken; both counts
together name one place here. Knows nothing of sockets.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from clients.errors import ProtocolBroken

__all__ = ["LONGEST_PIECE", "Kept"]

# Some 1 s of 16-bit audio at 16 kHz: what goes as a whole or not at all.
LONGEST_PIECE = 32_768


@dataclass(frozen=True, slots=True)
class _Entry:
    """A message.

    Attributes:
        at: bytes of audio before it.
        number: of a command, counted from 0; None for audio.
    """

    message: bytes | str
    at: int
    number: int | None = None


class Kept:
    """Messages of one session, those that wait to be sent and those unconfirmed.

    Args:
        frame_bytes: of one sample of all channels.
        most_bytes: audio past which there is no `room`.
    """

    def __init__(self, frame_bytes: int, most_bytes: int) -> None:
        self._frame = frame_bytes
        self._most = most_bytes
        self._entries: deque[_Entry] = deque()
        self._sent = 0  # of the entries
        self._end = 0  # bytes of audio in all
        self._start = 0  # of them, confirmed
        self._commands = 0
        self._answered = 0  # of the commands, in their order
        self._taken = 0  # as many the server has told us after a cut

    @property
    def room(self) -> bool:
        """More audio may be added."""
        return self._end - self._start < self._most

    @property
    def samples(self) -> int:
        """Samples per channel that the server has not confirmed."""
        return (self._end - self._start) // self._frame

    @property
    def awaiting(self) -> bool:
        """Something was sent that is to be confirmed or answered."""
        return self._sent > 0

    def audio(self, piece: bytes) -> None:
        """Add audio; it goes as one message."""
        self._entries.append(_Entry(piece, self._end))
        self._end += len(piece)

    def command(self, text: str) -> None:
        """Add a command that is answered."""
        self._entries.append(_Entry(text, self._end, self._commands))
        self._commands += 1

    def next(self) -> bytes | str | None:
        """The next message to send; it counts as sent."""
        if self._sent == len(self._entries):
            return None
        self._sent += 1
        return self._entries[self._sent - 1].message

    def acknowledge(self, received: int) -> None:
        """The server has `received` samples, and every command before them."""
        self._start = max(self._start, min(received * self._frame, self._end))
        self._let_go()

    def answered(self) -> None:
        """One more command was answered."""
        self._answered += 1
        self._let_go()

    def forget_sent(self) -> None:
        """Keep nothing of what was sent: there is no way back."""
        for _ in range(self._sent):
            entry = self._entries.popleft()
            if entry.number is None:
                self._start = entry.at + len(entry.message)
        self._sent = 0

    def rewind(self, received: int, commands: int) -> int:
        """Go back to where the server is.

        Args:
            received: samples that it has.
            commands: commands that it has taken.

        Returns:
            Samples that had been sent and will be sent again.

        Raises:
            ProtocolBroken: it claims to be where it cannot be.
        """
        at = received * self._frame
        if not self._start <= at <= self._end or commands > self._commands:
            raise ProtocolBroken(
                f"the server has {received} samples and {commands} commands, expected "
                f"{self._start // self._frame} to {self._end // self._frame} samples "
                f"and at most {self._commands} commands"
            )
        sent_to = self._sent_to()
        self._start, self._taken = at, commands
        # One that was taken may stand in the middle of the sample that is sent again.
        self._entries = deque(
            each
            for each in self._entries
            if each.number is None or each.number >= commands
        )
        self._sent = len(self._entries)
        self._let_go()
        self._sent = 0
        if self._entries and self._entries[0].at < at:
            cut = self._entries.popleft()
            self._entries.appendleft(_Entry(cut.message[at - cut.at :], at))
        return max(0, sent_to - at) // self._frame

    def _sent_to(self) -> int:
        """Bytes of audio before what is not sent yet."""
        if self._sent == len(self._entries):
            return self._end
        return self._entries[self._sent].at

    def _let_go(self) -> None:
        while self._sent and self._is_done(self._entries[0]):
            self._entries.popleft()
            self._sent -= 1

    def _is_done(self, entry: _Entry) -> bool:
        if entry.number is None:
            return entry.at + len(entry.message) <= self._start
        # One at the very place of the last sample may not have arrived.
        known = max(self._answered, self._taken)
        return entry.number < known or entry.at < self._start

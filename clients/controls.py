"""What the person at the keyboard wants: to mute, or to end.

Single keys where standard input is a terminal, and the signals to end. Knows
nothing of audio.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator

__all__ = ["Controls"]


class Controls:
    """The keys m and q, Ctrl-C and SIGTERM.

    Args:
        end: called when the end is wanted.

    Attributes:
        muted: whether nothing is to be sent.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self.muted = False
        self._end = end

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Heed them inside the block, on the running event loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled)
        try:
            with _single_keys(self._pressed):
                yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        # The first ends in good order. With the handler gone, the next Ctrl-C is
        # Python's own and ends at once.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        self._end()

    def _pressed(self, key: str) -> None:
        match key:
            case "q":
                self._end()
            case "m":
                self.muted = not self.muted
            case _:
                pass


@contextlib.contextmanager
def _single_keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Tell keys as they are pressed, without Enter; nothing where no terminal is."""
    if not sys.stdin.isatty():
        yield
        return
    import termios  # noqa: PLC0415  (Unix only)
    import tty  # noqa: PLC0415

    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    loop.add_reader(sys.stdin, lambda: pressed(sys.stdin.read(1)))
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

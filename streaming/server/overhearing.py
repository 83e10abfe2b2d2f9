"""What is said on connections that take no text back: to the log, event by event.

A telephone's media socket carries a call and no transcript of it. Here its events
are written as the native protocol's, after the connection is gone as well: the last
words of a call are final when it has been hung up.
"""

from __future__ import annotations

import logging

from streaming.events import Final, Finished, Notice, Refused, ServerEvent
from streaming.protocols.native_lines import NativeLines

__all__ = ["Overheard"]

_log = logging.getLogger("wavestitch.calls")

_TOLD = (Final, Finished, Notice, Refused)


class Overheard:
    """The events of one session.

    Args:
        where: path of its dialect.
        label: what the client calls it.
        words: whether finals carry word times and confidences.

    Attributes:
        session: its id, once it has one.
    """

    def __init__(self, where: str, label: str, *, words: bool) -> None:
        self.session = ""
        self._where = where
        self._label = label
        self._lines = NativeLines(words=words)

    def __call__(self, event: ServerEvent) -> None:
        """Write an event down; what only matters while it is said is left out."""
        if isinstance(event, _TOLD):
            line = self._lines.line(event)
            _log.info("%s %s %s %s", self._where, self.session, self._label, line)

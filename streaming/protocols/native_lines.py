"""A session's events as the native protocol's messages, for readers that only read.

What dialects that carry text of the native protocol inside their own answers use, and
whoever delivers the events of dialects that carry none.
"""

from __future__ import annotations

import json

from streaming.events import ServerEvent
from streaming.protocols.native_messages import Fields, fields_of

__all__ = ["NativeLines", "as_json"]


class NativeLines:
    """Numbers the events of one session from 0.

    Args:
        words: whether finals carry word times and confidences.
    """

    def __init__(self, *, words: bool) -> None:
        self._words = words
        self._seq = 0

    def fields(self, event: ServerEvent) -> Fields:
        """An event as the fields of its message."""
        fields = fields_of(event, words=self._words)
        numbered = {"type": fields.pop("type"), "seq": self._seq, **fields}
        self._seq += 1
        return numbered

    def line(self, event: ServerEvent) -> str:
        """An event as one line of JSON, without its end."""
        return as_json(self.fields(event))


def as_json(fields: Fields) -> str:
    """Write a message as compact JSON."""
    return json.dumps(
        fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )

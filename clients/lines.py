"""Records as JSON lines, to a file or to standard output."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from clients.delivery import Record

__all__ = ["JsonLines"]


class JsonLines:
    """Write records to a file, one a line; `-` is standard output.

    Args:
        path: appended to, made where missing.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._file: TextIO = sys.stdout
        if path != "-":
            self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - kept

    def take(self, records: Sequence[Record], stop: threading.Event) -> int:  # noqa: ARG002
        """Write them at once; see `Receiver.take`."""
        try:
            for record in records:
                self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._file.flush()
        except (OSError, ValueError):  # a full disk, a reader that left
            return len(records)
        return 0

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is not sys.stdout:
            self._file.close()

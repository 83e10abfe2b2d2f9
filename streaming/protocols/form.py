"""`multipart/form-data` (RFC 7578), as it comes: small fields, and one recording.

The grammar is python-multipart's; sizes, names and what may come twice are here.
Knows no dialect and keeps no file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from streaming.errors import BadRequest, ProtocolError, TooBig

__all__ = ["Fields", "Form", "boundary_of"]

Fields: TypeAlias = tuple[tuple[str, str], ...]

MAX_FIELDS = 64
MAX_FIELD_BYTES = 65_536

# What peers do wrong is theirs, and told to them.
_quiet = logging.getLogger("wavestitch.multipart")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def boundary_of(content_type: str) -> bytes:
    """What parts the body of a form.

    Raises:
        BadRequest: the body is no form, or does not say it.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise BadRequest(
            f"content-type must be multipart/form-data, got {content_type[:80]!r}"
        )
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise BadRequest("content-type must have a boundary of 1 to 200 characters")
    return boundary


class Form:
    """One form.

    Args:
        boundary: what parts it.
        recording: name of the field whose bytes are handed over as they come.

    Attributes:
        filename: the client's name for the recording; None until it came.
    """

    def __init__(self, boundary: bytes, recording: str = "file") -> None:
        self.filename: str | None = None
        self._recording = recording
        self._fields: list[tuple[str, str]] = []
        self._parts = 0
        self._ended = False
        self._name: list[bytes] = []
        self._value: list[bytes] = []
        self._disposition = b""
        self._field = ""
        self._text = bytearray()
        self._ready: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": lambda data, a, b: self._name.append(data[a:b]),
                "on_header_value": lambda data, a, b: self._value.append(data[a:b]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )
        self._parser.logger = _quiet

    def push(self, data: bytes) -> Iterator[bytes]:
        """Take a piece of the body; yields pieces of the recording.

        Raises:
            ProtocolError: it is no form.
            BadRequest: a part has no name, or two are recordings.
            TooBig: there are too many fields, or one is too long.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise ProtocolError(f"the form is broken: {error}") from None
        ready, self._ready = self._ready, []
        yield from ready

    def close(self) -> Fields:
        """The body has ended; return its fields, in their order.

        Raises:
            ProtocolError: the form has not.
            BadRequest: the recording is missing.
        """
        if not self._ended:
            raise ProtocolError("the form is broken: its last boundary is missing")
        if self.filename is None:
            names = ", ".join(name for name, _ in self._fields)[:200]
            raise BadRequest(
                f"{self._recording} must be sent, got {names or 'nothing'}"
            )
        return tuple(self._fields)

    # --- from the parser -----------------------------------------------------

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise TooBig(f"a form may have {MAX_FIELDS} fields")
        self._disposition = b""

    def _header_end(self) -> None:
        if b"".join(self._name).lower() == b"content-disposition":
            self._disposition = b"".join(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"name")
        if name is None:
            raise BadRequest("a part of the form has no name")
        self._field = name.decode("utf-8", "replace")
        self._text.clear()
        if self._field == self._recording:
            if self.filename is not None:
                raise BadRequest(f"{self._recording} must be one recording, got two")
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == self._recording:
            self._ready.append(data[start:end])
            return
        if len(self._text) + end - start > MAX_FIELD_BYTES:
            name = self._field[:80]
            raise TooBig(f"{name} must have at most {MAX_FIELD_BYTES} bytes, has more")
        self._text += data[start:end]

    def _part_end(self) -> None:
        if self._field != self._recording:
            self._fields.append((self._field, self._text.decode("utf-8", "replace")))

    def _end(self) -> None:
        self._ended = True

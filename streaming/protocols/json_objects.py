"""JSON objects in the messages of dialects, read with the care that strangers need.

Knows sizes and types; not what any field means.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from streaming.errors import ProtocolError, TooBig
from streaming.protocols.native_options import shown

__all__ = ["Fields", "audio_of", "object_at", "object_of", "text_at", "whole_at"]

Fields: TypeAlias = Mapping[str, Any]

# Base64 holds none of these, so that a long message of audio is parsed as fast as it
# is read; a long one of anything else holds the event loop for a second.
_STRUCTURE = ",[{:"
_MOST_STRUCTURE = 4_096
_SHORT = 65_536


def object_of(message: str, most: int = _SHORT) -> dict[str, Any]:
    """Read a JSON object; NaN and infinities are not JSON.

    Args:
        message: its text.
        most: characters that it may have.

    Raises:
        TooBig: it is longer, or long by something else than one long text.
        ProtocolError: it is no JSON object.
    """
    if len(message) > most:
        raise TooBig(f"a message may have {most} characters, got {len(message)}")
    if len(message) > _SHORT:
        parts = sum(map(message.count, _STRUCTURE))
        if parts > _MOST_STRUCTURE:
            raise TooBig(
                f"a message of {len(message)} characters may have {_MOST_STRUCTURE} "
                f"values at most, got {parts}"
            )
    try:
        value = json.loads(message, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            f"a text message must be a JSON object, got {shown(message[:100])}: {error}"
        ) from None
    if not isinstance(value, dict):
        raise ProtocolError(
            f"a text message must be a JSON object, got {shown(message[:100])}"
        )
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def object_at(fields: Fields, name: str) -> dict[str, Any]:
    """The object in this field.

    Raises:
        ProtocolError: there is none.
    """
    value = fields.get(name)
    if not isinstance(value, dict):
        raise ProtocolError(f"{name} must be an object, got {shown(value)}")
    return value


def text_at(fields: Fields, name: str) -> str:
    """The text in this field.

    Raises:
        ProtocolError: there is none.
    """
    value = fields.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"{name} must be a text, got {shown(value)}")
    return value


def whole_at(fields: Fields, name: str) -> int | None:
    """The whole number in this field, which may be written as text; None where none is.

    Raises:
        ProtocolError: something else is there, or more than 15 digits.
    """
    value = fields.get(name)
    if value is None:
        return None
    text = value if isinstance(value, str) else ascii(value)
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,15}", text):
        raise ProtocolError(f"{name} must be a whole number, got {shown(value)}")
    return int(text)


def audio_of(name: str, value: object) -> bytes:
    """Decode base64.

    Raises:
        ProtocolError: it is none.
    """
    if not isinstance(value, str):
        raise ProtocolError(f"{name} must be base64, got {shown(value)}")
    try:
        return binascii.a2b_base64(value.encode(), strict_mode=True)
    except ValueError as error:  # binascii.Error is one
        raise ProtocolError(
            f"{name} must be base64, got {shown(value[:100])}: {error}"
        ) from None

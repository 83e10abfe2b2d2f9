"""Dialects that carry media and no text: their options, errors and silence.

What is heard on them is read elsewhere: the server logs it, and hands the session's
events to whoever asked for them. Knows no message of any of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

from streaming.config import StreamConfig
from streaming.errors import BadRequest
from streaming.protocols.adapter import Offer, Refusal
from streaming.protocols.native_messages import refusal as native_refusal
from streaming.protocols.native_options import parse_query, shown

__all__ = ["FORMAT", "options_of", "own_options", "refusal"]

FORMAT = ("encoding", "sample_rate", "channels")
"""Options of the native protocol that say how audio is written."""

_RESUME = ("session", "token", "after")


def refusal(error: Exception, request: str = "") -> Refusal:  # noqa: ARG001
    """Say an error by an HTTP answer or a close code, never by a message."""
    return replace(native_refusal(error), message=None)


def own_options(query: str, names: Collection[str]) -> tuple[dict[str, str], str]:
    """Take a dialect's own parameters out of a query.

    Returns:
        Those of these names, and the query without them.

    Raises:
        BadRequest: one is given twice.
    """
    own: dict[str, str] = {}
    others = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in names:
            others.append((name, value))
        elif name in own:
            raise BadRequest(f"{name} may be given once, got {shown(value)} as well")
        else:
            own[name] = value
    return own, urlencode(others)


def options_of(query: str, offer: Offer, *, but: Collection[str] = ()) -> StreamConfig:
    """Read the native protocol's options, but those of a resume and these.

    Args:
        query: raw, without the dialect's own parameters.
        offer: what the server can give.
        but: options that the dialect's messages tell instead.

    Raises:
        BadRequest: names the parameter, what came and what is allowed.
    """
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _RESUME or name in but:
            raise BadRequest(f"{name} is no parameter here, got {shown(value)}")
    return parse_query(query, offer)[0]

"""The request that opens a connection, as a dialect sees it.

What of it is a key, `credentials.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Opening"]


@dataclass(frozen=True, slots=True)
class Opening:
    """What a client said before its first message.

    Attributes:
        path: of the request, percent-encoded, without the query.
        query: raw, percent-encoded, without the question mark.
        headers: names in lower case.
        subprotocols: those offered, in order.
        id: a fresh random UUID, for dialects that name their requests.
        at: seconds since 1970 when it came.
    """

    path: str = "/"
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocols: tuple[str, ...] = ()
    id: str = ""
    at: float = 0.0

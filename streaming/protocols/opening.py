"""The request that opens a connection, as a dialect sees it.

What of it is a key, `credentials.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from streaming.protocols.credentials import (
    credential,
    public_query,
    public_subprotocols,
)

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

    def credential(self) -> str | None:
        """The key or token that the client shows, wherever it carries it."""
        return credential(self.headers, self.query, self.subprotocols)

    def public(self) -> Opening:
        """The same without it: what a dialect sees, and may show."""
        headers = {k: v for k, v in self.headers.items() if k != "authorization"}
        return replace(
            self,
            query=public_query(self.query),
            headers=headers,
            subprotocols=public_subprotocols(self.subprotocols),
        )

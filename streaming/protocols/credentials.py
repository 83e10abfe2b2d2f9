"""The key or token that comes with a request, wherever its dialect carries it.

    Authorization: Bearer KEY | Token KEY | KEY      in any case
    Authorization: Basic base64(NAME:KEY)            the password, else the name
    Sec-WebSocket-Protocol: token, KEY | bearer, KEY
    Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.KEY
    ?access_token=KEY  ?token=KEY

The header counts before the subprotocols, these before the query. Beside `session`
the query's `token` is that session's own secret and no key. Knows nothing of keys:
what came is returned as it is, readable or not, and never shown in an error.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping, Sequence
from itertools import pairwise
from urllib.parse import unquote_plus

__all__ = ["credential", "public_query", "public_subprotocols", "session_token"]

_OPENAI = "openai-insecure-api-key."
_SCHEMES = ("bearer", "token")
_BASIC = "basic"


def credential(
    headers: Mapping[str, str], query: str, subprotocols: Sequence[str]
) -> str | None:
    """The key or token of a request; None where it carries none.

    Args:
        headers: by lower-case name.
        query: raw, percent-encoded, without the question mark.
        subprotocols: that a websocket offers, in order.
    """
    found = (
        _of_header(headers.get("authorization", "").strip()),
        _of_subprotocols(subprotocols),
        _of_query(query),
    )
    return next((each for each in found if each), None)


def public_query(query: str) -> str:
    """The same query without what `credential` reads: it may be shown and logged."""
    secret = _secret_names(query)
    kept = (part for part in query.split("&") if _name(part) not in secret)
    return "&".join(kept)


def session_token(query: str) -> str:
    """The secret of a session in the query of who asks for it; empty where none is."""
    return next((_value(p) for p in query.split("&") if _name(p) == "token"), "")


def public_subprotocols(offered: Sequence[str]) -> tuple[str, ...]:
    """Those offered that tell no key: what a server may answer with."""
    secret = _secret_subprotocols(offered)
    return tuple(each for each in offered if each not in secret)


def _of_header(value: str) -> str | None:
    scheme, _, rest = value.partition(" ")
    rest = rest.strip()
    if scheme.lower() in _SCHEMES:
        return rest
    return _password(rest) if scheme.lower() == _BASIC else value


def _password(encoded: str) -> str:
    try:
        name, _, password = b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return encoded  # something came: it is a wrong key, not none
    return password or name


def _of_subprotocols(offered: Sequence[str]) -> str | None:
    found = next(iter(_secret_subprotocols(offered)), None)
    return found and found.removeprefix(_OPENAI)


def _secret_subprotocols(offered: Sequence[str]) -> list[str]:
    return [
        *(each for word, each in pairwise(offered) if word.lower() in _SCHEMES),
        *(each for each in offered if each.startswith(_OPENAI)),
    ]


def _of_query(query: str) -> str | None:
    secret = _secret_names(query)
    found = (_value(part) for part in query.split("&") if _name(part) in secret)
    return next((each for each in found if each), None)


def _secret_names(query: str) -> tuple[str, ...]:
    resumes = any(_name(part) == "session" for part in query.split("&"))
    return ("access_token",) if resumes else ("access_token", "token")


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def _value(part: str) -> str:
    return unquote_plus(part.partition("=")[2])

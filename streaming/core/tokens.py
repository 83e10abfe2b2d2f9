"""Short-lived tokens for browsers, so that no page needs a key.

A JSON Web Token (RFC 7519) signed with HMAC-SHA256, so that any backend that has the
secret can make one with a library of its own:

    sub  the name of the key on whose account it is; removing the key ends the token
    aud  "stream": may open streams; "read": may read one session and nothing else
    sid  that session
    exp  seconds since 1970

Knows neither clock nor secret: both are given.
"""

from __future__ import annotations

import binascii
import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from hmac import compare_digest, digest
from typing import Any

from streaming.errors import Unauthorized

__all__ = ["Claims", "Scope", "is_token", "sign", "verify"]

_HEADER = {"alg": "HS256", "typ": "JWT"}
_LONGEST = 4_096
_LONGEST_WORD = 256


class Scope(Enum):
    """What a token is good for."""

    STREAM = "stream"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says.

    Attributes:
        key: name of the key on whose account it is.
        scope: what it is good for.
        expires_at: seconds since 1970.
        session: the only one that it may read; None for streams.

    Raises:
        ValueError: a session without the scope to read it, or the other way round.
    """

    key: str
    scope: Scope
    expires_at: int
    session: str | None = None

    def __post_init__(self) -> None:
        if (self.scope is Scope.READ) != (self.session is not None):
            raise ValueError("a session goes with the scope read, and only with it")


def is_token(credential: str) -> bool:
    """It looks like a token, good or not; keys have no points."""
    return credential.count(".") == 2


def sign(claims: Claims, secret: bytes) -> str:
    """A token that says so."""
    said: dict[str, object] = {
        "sub": claims.key,
        "aud": claims.scope.value,
        "exp": claims.expires_at,
    }
    if claims.session is not None:
        said["sid"] = claims.session
    body = f"{_encode(_HEADER)}.{_encode(said)}"
    return f"{body}.{_signature(body, secret)}"


def verify(token: str, secret: bytes, now: float) -> Claims:
    """What a token says, where it is ours and still holds.

    Args:
        token: as it came.
        secret: what ours are signed with.
        now: seconds since 1970.

    Raises:
        Unauthorized: it is not ours, says nothing we know, or has expired.
    """
    body, _, signature = token.rpartition(".")
    # As text: of base64 several spellings can mean the same bytes.
    good = len(token) <= _LONGEST and compare_digest(
        _signature(body, secret).encode(), signature.encode(errors="surrogatepass")
    )
    if not good:
        raise Unauthorized("the token is not one of this server")
    try:
        header, said = (_decode(part) for part in body.split("."))
        claims = _claims(said)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        raise Unauthorized("the token is signed, but says nothing known") from None
    if header.get("alg") != _HEADER["alg"]:
        raise Unauthorized("the token must be signed with HS256")
    if now >= claims.expires_at:
        raise Unauthorized(
            f"the token has expired {now - claims.expires_at:.0f} s ago: ask for a "
            "new one"
        )
    return claims


def _claims(said: dict[str, Any]) -> Claims:
    words = [said["sub"], said.get("sid", "-")]
    if not all(isinstance(w, str) and 0 < len(w) <= _LONGEST_WORD for w in words):
        raise ValueError("a word is no word")
    expires = said["exp"]
    if type(expires) not in (int, float) or not math.isfinite(expires):
        raise ValueError("no time")
    return Claims(said["sub"], Scope(said["aud"]), int(expires), said.get("sid"))


def _signature(body: str, secret: bytes) -> str:
    signed = digest(secret, body.encode(errors="surrogatepass"), sha256)
    return urlsafe_b64encode(signed).rstrip(b"=").decode()


def _encode(fields: dict[str, Any]) -> str:
    text = json.dumps(fields, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _decode(part: str) -> dict[str, Any]:
    fields = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    if not isinstance(fields, dict):
        raise ValueError("no object")
    return fields

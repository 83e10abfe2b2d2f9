"""`POST /v1/tokens`: a short-lived token for whoever shows a key.

{"scope": "stream", "life_s": 60}     may open streams: what a web page gets
{"scope": "read", "session": "..."}   may read that session and nothing else
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from typing import Any

from websockets.http11 import Response

from streaming.core.tokens import Scope
from streaming.errors import (
    BadRequest,
    Forbidden,
    IdleTimeout,
    ProtocolError,
    TooBig,
    Unauthorized,
    WavestitchError,
    reason_of,
)
from streaming.protocols.opening import Opening
from streaming.server.access import Access
from streaming.server.exchange import Exchange
from streaming.server.pages import json_answer, refuse

__all__ = ["TOKENS", "issue"]

TOKENS = "/v1/tokens"

_LONGEST = 4_096
_LIFE_S = 60
_FIELDS = ("scope", "session", "life_s")

# error class -> status; the first that fits is taken.
_STATUS: Mapping[type[WavestitchError], int] = {
    Forbidden: 403,
    Unauthorized: 401,
    TooBig: 413,
    IdleTimeout: 408,
    ProtocolError: 400,
}


async def issue(access: Access, exchange: Exchange, opening: Opening) -> Response:
    """A token, or why there is none.

    Args:
        access: knows the keys.
        exchange: the request, whose body is read.
        opening: the same with its key.
    """
    try:
        access.check_origin(opening)
        name = access.expect_key(opening)
        scope, session, life_s = _asked(await _body(exchange))
        token, expires_at = access.token(name, scope, session, life_s)
    except tuple(_STATUS) as error:
        status = next(each for kind, each in _STATUS.items() if isinstance(error, kind))
        answer = refuse(status, reason_of(error), str(error))
        if status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    said = {"token": token, "scope": scope.value, "expires_at": expires_at}
    return json_answer(200, json.dumps(said) + "\n")


async def _body(exchange: Exchange) -> bytes:
    body = b""
    async for piece in exchange.body():
        body += piece
        if len(body) > _LONGEST:
            raise TooBig(f"what a token is for takes {_LONGEST} bytes at most")
    return body


def _asked(body: bytes) -> tuple[Scope, str | None, int]:
    """What the token is for; an empty body asks for one to open streams.

    Raises:
        BadRequest: names the field, what came and what is allowed.
    """
    asked = _object(body)
    for name in asked:
        if name not in _FIELDS:
            raise BadRequest(
                f"there is no field {name[:40]!a}: the fields are {', '.join(_FIELDS)}"
            )
    scopes = [scope.value for scope in Scope]
    scope, session = asked.get("scope", "stream"), asked.get("session")
    if scope not in scopes:
        raise BadRequest(
            f"scope must be {' or '.join(scopes)}, got {str(scope)[:40]!a}"
        )
    named = isinstance(session, str) and 0 < len(session) <= 64
    if not named if scope == "read" else session is not None:
        raise BadRequest("session is that to read with the scope read, and only there")
    life_s = asked.get("life_s", _LIFE_S)
    if type(life_s) not in (int, float) or not 1 <= life_s <= 1e9:
        raise BadRequest(f"life_s must be 1 or more seconds, got {str(life_s)[:40]!a}")
    return Scope(scope), session, ceil(life_s)


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body must be a JSON object: {error}") from None
    if not isinstance(asked, dict):
        raise BadRequest("the body must be a JSON object")
    return asked

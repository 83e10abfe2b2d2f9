"""What a session said, for one who comes back by plain HTTP: its state, the messages.

`GET /v1/sessions/{session}?token=...`: those messages that the client may have missed.
"""

from __future__ import annotations

import json

from websockets.http11 import Response

from streaming.errors import SessionLost
from streaming.protocols.credentials import session_token
from streaming.protocols.native_messages import refusal
from streaming.server.pages import json_answer
from streaming.server.sessions import Sessions

__all__ = ["Results"]

_STEM = "/v1/sessions/"


class Results:
    """Looks sessions up.

    Args:
        sessions: where.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def look(self, target: str) -> Response | None:
        """What there is at a request's target; None where no session is meant."""
        path, _, query = target.partition("?")
        session = path.removeprefix(_STEM)
        if session in (path, "") or "/" in session:
            return None
        try:
            held = self._sessions.find(session, session_token(query))
        except SessionLost as error:
            refused = refusal(error)
            return json_answer(refused.status, refused.body)
        stream = held.stream
        kept = stream.telling.sent.kept
        messages = [json.loads(message) for message in kept if isinstance(message, str)]
        said = {
            "session": session,
            "state": stream.state,
            "received": stream.received,
            "messages": messages,
        }
        return json_answer(200, json.dumps(said, ensure_ascii=False) + "\n")

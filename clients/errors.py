"""What can go wrong for a client, said in one tree.

    ClientError
    |-- CannotConnect        nobody answers at that address, or not as we do
    |-- Rejected             the server said no before the stream was open
    |   |-- BadRequest       a parameter that it does not offer (HTTP 400)
    |   |-- Unauthorized     no key, or a wrong one (HTTP 401)
    |   `-- Overloaded       no room now; try again later (HTTP 503)
    |-- StreamFailed         the server said what was wrong and closed the stream
    |-- ConnectionLost       cut before `finished`, and not resumed
    |   `-- SessionLost      the server does not hold the session any more
    |-- ConfigureRefused     a `configure` that does not hold; the stream goes on
    |-- ProtocolBroken       the server said what no version 1 server says
    |-- EventsUnread         more events wait than this side may keep
    `-- AudioUnavailable     no recording or microphone to read from

Knows nothing of sockets.
"""

from __future__ import annotations

__all__ = [
    "AudioUnavailable",
    "BadRequest",
    "CannotConnect",
    "ClientError",
    "ConfigureRefused",
    "ConnectionLost",
    "EventsUnread",
    "Overloaded",
    "ProtocolBroken",
    "Rejected",
    "SessionLost",
    "StreamFailed",
    "Unauthorized",
]


class ClientError(Exception):
    """Anything this package raises on purpose."""


class CannotConnect(ClientError):
    """Nobody answers there, or something that speaks otherwise does."""


class Rejected(ClientError):
    """The server did not open the stream.

    Attributes:
        code: the server's word for it, such as `bad_request`.
        status: HTTP status; 0 where the refusal came as a message.
        retry_after_s: when to try again, where the server said so.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s


class BadRequest(Rejected):
    """A parameter is unknown or out of range; the message names it."""


class Unauthorized(Rejected):
    """No key, or a wrong one."""


class Overloaded(Rejected):
    """There is no room for this stream now."""


class StreamFailed(ClientError):
    """The server ended the stream and said why.

    Attributes:
        code: the server's word for it.
        close_code: of the websocket (1003, 1008, 1009, 1011, 1013).
    """

    def __init__(self, message: str, *, code: str, close_code: int) -> None:
        super().__init__(message)
        self.code = code
        self.close_code = close_code


class ConnectionLost(ClientError):
    """The connection ended before the stream did.

    Attributes:
        acknowledged: samples that the server had told it took over.
    """

    def __init__(self, message: str, *, acknowledged: int) -> None:
        super().__init__(message)
        self.acknowledged = acknowledged


class SessionLost(ConnectionLost):
    """Whoever came back was told that the session is gone, or came too late.

    Attributes:
        lost: samples that were sent and that no server has heard.
    """

    def __init__(self, message: str, *, acknowledged: int, lost: int) -> None:
        super().__init__(message, acknowledged=acknowledged)
        self.lost = lost


class ConfigureRefused(ClientError):
    """What was to change does not hold; the stream goes on as it was.

    Attributes:
        code: the server's word for it.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class ProtocolBroken(ClientError):
    """A message that version 1 of the protocol does not have."""


class EventsUnread(ClientError):
    """More events wait than may: iterate over the stream."""


class AudioUnavailable(ClientError):
    """There is no recording, or no microphone, to take audio from."""

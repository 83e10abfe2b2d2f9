"""What can go wrong, said in one tree.

    WavestitchError
    |-- ProtocolError        theirs: a message that breaks the protocol
    |   `-- BadRequest       theirs: a parameter that names nothing we offer
    |-- UnsupportedAudio     theirs: audio that is not what it was said to be
    |-- TooBig               theirs: a message or a stream past its limit
    |-- IdleTimeout          theirs: nothing came for too long
    |-- Unresponsive         theirs: answers no pings, or takes no messages
    |-- Unauthorized         theirs: no key, or a wrong one
    |   `-- Forbidden        theirs: what this key or this web page may not do
    |-- SessionLost          ours: the session asked for is not held here
    |-- Overloaded           ours: no room for this stream now
    |   |-- Draining         ours: no new streams, the server is going away
    |   `-- LimitReached     theirs: as many streams or minutes as the key may have
    |-- ConfigError          the operator's: a setting that cannot hold
    `-- ModelError           ours: a checkpoint that cannot be read or run

Messages carry the numbers: what came and what was expected. Each dialect maps
the classes to its own codes in one table.
"""

from __future__ import annotations

import re

__all__ = [
    "BadRequest",
    "ConfigError",
    "Draining",
    "Forbidden",
    "IdleTimeout",
    "LimitReached",
    "ModelError",
    "Overloaded",
    "ProtocolError",
    "SessionLost",
    "TooBig",
    "Unauthorized",
    "Unresponsive",
    "UnsupportedAudio",
    "WavestitchError",
    "reason_of",
]


class WavestitchError(Exception):
    """Anything this package raises on purpose."""


class ProtocolError(WavestitchError):
    """A message breaks the protocol."""


class BadRequest(ProtocolError):
    """A parameter is unknown or out of range; the message names it."""


class UnsupportedAudio(WavestitchError):
    """The audio is not what the stream said it would be."""


class TooBig(WavestitchError):
    """A message or a stream is past its limit."""


class IdleTimeout(WavestitchError):
    """Nothing came for longer than the stream may be idle."""


class Unresponsive(WavestitchError):
    """The client answers no pings, or takes none of its messages."""


class Unauthorized(WavestitchError):
    """No key, or one that is not ours."""


class Forbidden(Unauthorized):
    """Known, but this is not allowed to that key, token or web page."""


class SessionLost(WavestitchError):
    """The session that a client wants to resume is not held here."""


class Overloaded(WavestitchError):
    """There is no room now.

    Attributes:
        retry_after_s: when to try again.
    """

    def __init__(self, message: str, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Draining(Overloaded):
    """The server takes no new streams because it is going away."""


class LimitReached(Overloaded):
    """A key has as many streams, or has sent as much audio, as it may."""


class ConfigError(WavestitchError):
    """A setting cannot hold; the message names it."""


class ModelError(WavestitchError):
    """A checkpoint cannot be read, or does not run here."""


def reason_of(error: Exception) -> str:
    """Its class as a reason in counts and messages: `ModelError` is `model_error`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()

"""The native protocol, version 1: JSON commands and events around binary audio.

`asyncapi.yaml` beside this file documents it for users. Counts are samples per
channel at the input rate, times are seconds since the start of the stream with
three decimals. Knows nothing of sockets and sessions; one adapter speaks for a
session over all its connections.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from streaming.errors import (
    BadRequest,
    ProtocolError,
    TooBig,
)
from streaming.events import (
    Audio,
    ClientEvent,
    Finish,
    Flush,
    Keepalive,
    Ready,
    ServerEvent,
)
from streaming.protocols.adapter import Dialect, Offer, Opening, Refusal
from streaming.protocols.native_messages import ERRORS, Fields, fields_of, refusal
from streaming.protocols.native_options import parse_configure, parse_query, shown

__all__ = ["ERRORS", "MAX_COMMAND_CHARS", "NATIVE", "NativeAdapter"]

# The longest command has four short fields. The limit keeps the parsing of a
# message of many megabytes, which may be audio sent as text, off the event loop.
MAX_COMMAND_CHARS = 65_536


class NativeAdapter:
    """One connection's side of the native protocol.

    Args:
        opening: the request; only its query counts.
        offer: what the server can give.

    Raises:
        BadRequest: a parameter is unknown, repeated or out of range.
    """

    def __init__(self, opening: Opening, offer: Offer) -> None:
        self.config, self.resume = parse_query(opening.query, offer)
        self._offer = offer
        self._seq = 0
        self._commands = 0  # taken; keepalives do not count
        self._finishing = False

    def opened(self) -> Sequence[str]:
        """Nothing: `ready` is an event of the session."""
        return ()

    def receive(self, message: str | bytes) -> tuple[ClientEvent]:
        """Say what a message means; see `Adapter.receive`."""
        if isinstance(message, bytes):
            self._refuse_after_finish("audio")
            return (Audio(message),)
        fields = _object(message)
        kind = fields.pop("type", None)
        self._commands += kind != "keepalive"
        command = _COMMANDS.get(kind) if isinstance(kind, str) else None
        if command is None:
            raise ProtocolError(
                f"type must be one of {', '.join(_COMMANDS)}, got {shown(kind)}"
            )
        event = command(fields, self)
        if not isinstance(event, Keepalive):  # its timer may tick on at the client
            self._refuse_after_finish(str(kind))
        self._finishing = self._finishing or isinstance(event, Finish)
        return (event,)

    def send(self, event: ServerEvent) -> Sequence[str]:
        """Write an event as one text message with the next `seq`.

        The `ready` of one who comes back has the `seq` that it named: what it
        missed goes on from there.
        """
        fields = fields_of(event, words=self.config.words)
        seq, following = self._seq, self._seq + 1
        if isinstance(event, Ready):
            fields["commands"] = self._commands
            if event.after is not None:
                seq, following = event.after, self._seq
        numbered = {"type": fields.pop("type"), "seq": seq, **fields}
        text = json.dumps(
            numbered, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        self._seq = following
        return (text,)

    def _refuse_after_finish(self, what: str) -> None:
        """Not fatal: what was said before the finish is still to be answered."""
        if self._finishing:
            raise BadRequest(f"nothing may follow a finish, got {what}")

    def configure(self, fields: Fields) -> ClientEvent:
        """Validate a change of options against what the server offers."""
        return parse_configure(fields, self.config, self._offer)


def _object(message: str) -> Fields:
    """Read a JSON object; NaN and infinities are not JSON."""
    if len(message) > MAX_COMMAND_CHARS:
        raise TooBig(
            f"a command may have {MAX_COMMAND_CHARS} characters, got {len(message)}: "
            "audio goes in binary messages"
        )
    try:
        value = json.loads(message, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            f"a text message must be a JSON object, got {shown(message)}: {error}"
        ) from None
    if not isinstance(value, dict):
        raise ProtocolError(
            f"a text message must be a JSON object, got {shown(message)}"
        )
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# --- commands --------------------------------------------------------------


def _bare(kind: str, event: ClientEvent) -> _Command:
    def command(fields: Fields, adapter: NativeAdapter) -> ClientEvent:  # noqa: ARG001
        if fields:
            raise BadRequest(f"{kind} takes no fields, got {shown(', '.join(fields))}")
        return event

    return command


def _finish(fields: Fields, adapter: NativeAdapter) -> ClientEvent:
    concealed = fields.pop("concealed", None)
    if fields:
        raise BadRequest(
            f"finish takes concealed alone, got {shown(', '.join(fields))}"
        )
    if concealed is None:
        return Finish()
    channels = adapter.config.audio.channels
    good = isinstance(concealed, list) and len(concealed) == channels
    if not good or any(type(n) is not int or n < 0 for n in concealed):
        raise BadRequest(
            "concealed must be a list of a count of samples for each channel, "
            f"{channels} in all, got {shown(concealed)}"
        )
    return Finish(tuple(concealed))


def _configure(fields: Fields, adapter: NativeAdapter) -> ClientEvent:
    return adapter.configure(fields)


_Command: TypeAlias = Callable[[Fields, NativeAdapter], ClientEvent]

_COMMANDS: Mapping[str, _Command] = {
    "flush": _bare("flush", Flush()),
    "finish": _finish,
    "keepalive": _bare("keepalive", Keepalive()),
    "configure": _configure,
}


def _refusal(error: Exception, request: str = "") -> Refusal:  # noqa: ARG001
    return refusal(error)  # it names no requests


NATIVE = Dialect("/v1/stream", NativeAdapter, _refusal, resumes=True)

"""OpenAI's Realtime API, sessions of type `transcription`: JSON, audio in base64.

The server speaks first. Turns are found by the server (`server_vad`) or committed by
the client. What cannot be done is answered with an `error` event that carries the
client's `event_id`, and the session stays open. Knows no sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from streaming.config import StreamConfig
from streaming.errors import BadRequest, ProtocolError, TooBig, WavestitchError
from streaming.events import (
    Audio,
    Configure,
    Final,
    Flush,
    Flushed,
    Partial,
    Refused,
    ServerEvent,
    SpeechEnded,
    SpeechStarted,
)
from streaming.protocols.adapter import (
    Dialect,
    Heard,
    Offer,
    Opening,
    Refusal,
    Say,
    Start,
)
from streaming.protocols.json_objects import Fields, audio_of, object_of
from streaming.protocols.native_lines import as_json
from streaming.protocols.native_messages import refusal as native_refusal
from streaming.protocols.native_options import shown
from streaming.protocols.openai_settings import Settings, Unfit, updated
from streaming.protocols.openai_spelling import beta_of, nested, shown_settings
from streaming.protocols.openai_turns import Told, Turns

__all__ = ["REALTIME", "RealtimeAdapter", "realtime_refusal"]

# An append may hold 15 MiB of audio, a third more in base64, and a little around it.
_MOST_CHARS = 20 * 1024 * 1024 + 65_536

_LEAST_COMMIT_MS = 100

# Settings that may change while audio comes; a model's other name is the same one.
_CHANGEABLE = ("silence_duration_ms", "model")

_BETA = "realtime=v1"


class RealtimeAdapter:
    """One connection's side of the Realtime API.

    Args:
        opening: the request.
        offer: what the server can give.

    Raises:
        BadRequest: a parameter of the query asks for what is not offered.
    """

    resume = None

    def __init__(self, opening: Opening, offer: Offer) -> None:
        self.config: StreamConfig | None = None
        self._offer = offer
        self._beta = _is_beta(opening)
        self._id = opening.id
        self._settings = Settings(model=_model_of(opening.query))
        self._settings.config(offer)  # raises where that is not offered
        self._events = 0
        self._bytes = 0  # since the last end that the client set
        news = ("created",) if self._beta else ("added", "done")
        self._turns = Turns(
            opening.id, tuple(f"conversation.item.{each}" for each in news)
        )

    # --- in ----------------------------------------------------------------

    def opened(self) -> Sequence[str]:
        """The server speaks first."""
        return [self._write(f"{self._session_name}.created", session=self._session())]

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means; see `Adapter.receive`."""
        if isinstance(message, bytes):
            raise ProtocolError("audio comes in input_audio_buffer.append, in base64")
        event_id: object = None
        try:
            fields = object_of(message, _MOST_CHARS)
            event_id = fields.get("event_id")
            return self._command(fields.get("type"))(fields)
        except TooBig:
            raise
        except ProtocolError as error:
            return (Say(partial(self._complain, error, event_id)),)

    def _command(self, kind: object) -> Callable[[Fields], Sequence[Heard]]:
        commands = {
            f"{self._session_name}.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }
        if not isinstance(kind, str) or kind not in commands:
            raise Unfit(
                f"Invalid value: {shown(kind)}. Supported values are: "
                f"{', '.join(map(repr, commands))}.",
                "invalid_value",
                "type",
            )
        return commands[kind]

    def _update(self, fields: Fields) -> Sequence[Heard]:
        session = fields.get("session")
        if self._beta and isinstance(session, dict):
            session = nested(session)
        before, after = self._settings, updated(self._settings, session, self._offer)
        heard: list[Heard] = []
        if self.config is not None and before != after:
            heard.append(self._reconfigured(before, after))
        self._settings = after
        told = (f"{self._session_name}.updated", {"session": self._session()})
        return [*heard, Say(lambda: self._written([told]))]

    def _reconfigured(self, before: Settings, after: Settings) -> Configure:
        """What a change means once audio has come: some can be made no more."""
        for name in Settings.__dataclass_fields__:
            old, new = getattr(before, name), getattr(after, name)
            if name not in _CHANGEABLE and old != new:
                raise Unfit(
                    f"{name} cannot change once audio has come: it is {shown(old)}, "
                    f"got {shown(new)}.",
                    "unsupported_value",
                    "session",
                )
        return Configure(hangover_ms=after.config(self._offer).gate.hangover_ms)

    def _append(self, fields: Fields) -> Sequence[Heard]:
        data = audio_of("audio", fields.get("audio"))
        self._bytes += len(data)
        if self.config is not None:
            return (Audio(data),)
        self.config = self._settings.config(self._offer)
        return Start(self.config), Audio(data)

    def _commit(self, fields: Fields) -> Sequence[Heard]:  # noqa: ARG002
        audio = self._settings.config(self._offer).audio
        held_ms = 1_000 * self._bytes / (audio.sample_rate * audio.encoding.width)
        if held_ms < _LEAST_COMMIT_MS:
            raise Unfit(
                f"Error committing input audio buffer: buffer too small. Expected at "
                f"least {_LEAST_COMMIT_MS}ms of audio, but buffer only has "
                f"{held_ms:.2f}ms of audio.",
                "input_audio_buffer_commit_empty",
                None,
            )
        self._bytes = 0
        told = self._turns.commit(found=self._settings.turns)
        return Say(lambda: self._written(told)), Flush()

    def _clear(self, fields: Fields) -> Sequence[Heard]:  # noqa: ARG002
        self._bytes = 0
        cleared = Say(lambda: self._written([("input_audio_buffer.cleared", {})]))
        if self.config is None:
            return (cleared,)
        self._turns.clear()
        return cleared, Flush()

    # --- out ---------------------------------------------------------------

    def send(self, event: ServerEvent) -> Sequence[str]:
        """Write an event as messages; see `Adapter.send`."""
        match event:
            case Flushed():
                return self._written(self._turns.settled())
            case Refused(error):
                return self._complain(error, None)
            case Final() if not self._settings.turns:
                self._turns.heard(event)
                return ()
            case SpeechStarted() | Partial() | SpeechEnded() | Final():
                if not self._settings.turns:
                    return ()
                padding_ms = self._settings.config(self._offer).gate.pre_roll_ms
                return self._written(self._turns.found(event, padding_ms))
            case _:
                return ()

    # --- words -------------------------------------------------------------

    @property
    def _session_name(self) -> str:
        return "transcription_session" if self._beta else "session"

    def _session(self) -> dict[str, Any]:
        session = shown_settings(self._settings, self._offer)
        return {
            "id": f"sess_{self._id}",
            "object": "realtime.transcription_session",
            **(beta_of(session) if self._beta else session),
        }

    def _written(self, told: Iterable[Told]) -> list[str]:
        return [self._write(kind, **fields) for kind, fields in told]

    def _complain(self, error: Exception, event_id: object) -> list[str]:
        fields = error_of(error)
        if isinstance(event_id, str):
            # JSON can escape half a character, which no message can carry.
            fields["event_id"] = event_id[:512].encode(errors="replace").decode()
        return [self._write("error", error=fields)]

    def _write(self, kind: str, **fields: Any) -> str:
        self._events += 1
        event_id = f"event_{self._id}_{self._events}"
        return as_json({"type": kind, "event_id": event_id, **fields})


def error_of(error: Exception) -> dict[str, Any]:
    """An error as the object that all of OpenAI's APIs tell it in."""
    plain = native_refusal(error)
    theirs = isinstance(error, WavestitchError) and plain.status < 500
    code, param = plain.code, None
    if isinstance(error, Unfit):
        code, param = error.code, error.param
    message = str(error) if plain.status != 500 else "The server failed."
    return {
        "type": "invalid_request_error" if theirs else "server_error",
        "code": code,
        "message": message,
        "param": param,
        "event_id": None,
    }


def realtime_refusal(error: Exception, request: str = "") -> Refusal:
    """Say an error before a session or at its end."""
    plain = native_refusal(error)
    fields = error_of(error)
    told = {"type": "error", "event_id": f"event_{request}_0", "error": fields}
    return Refusal(
        code=plain.code,
        status=plain.status,
        close=plain.close,
        body=as_json({"error": fields}) + "\n",
        message=as_json(told),
    )


# --- the opening -----------------------------------------------------------


def _model_of(query: str) -> str:
    """The model that is asked for, by any name: this server runs one."""
    asked = dict(parse_qsl(query, keep_blank_values=True))
    for name in asked:
        if name not in ("model", "intent"):
            raise BadRequest(f"there is no parameter {shown(name)}: give model, intent")
    if asked.get("intent", "transcription") != "transcription":
        raise BadRequest(f"intent must be transcription, got {shown(asked['intent'])}")
    return asked.get("model", "")[:256]


def _is_beta(opening: Opening) -> bool:
    offered = any(name.startswith("openai-beta.") for name in opening.subprotocols)
    return offered or _BETA in opening.headers.get("openai-beta", "")


def _agreed(offered: tuple[str, ...]) -> str | None:
    return "realtime" if "realtime" in offered else None


REALTIME = Dialect(
    "/v1/realtime",
    RealtimeAdapter,
    realtime_refusal,
    subprotocol=_agreed,
    # Their sessions live however long the client says nothing, and it says no
    # keepalives; pings tell that it is there.
    idle_timeout_s=600,
)

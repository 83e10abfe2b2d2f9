"""The protocol of vosk-server's websocket: one answer for each message of audio.

A client sends audio and waits for exactly one text before it sends more, so the
answers are not events written as they come: they wait here for the next message,
whose answer they are. The shapes are those of alphacep/vosk-server c2e82f0 and
vosk-api. Knows no sockets; `vosk.md` beside this file is for users.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streaming.config import AudioFormat, Encoding, StreamConfig
from streaming.errors import (
    ConfigError,
    Draining,
    Forbidden,
    IdleTimeout,
    LimitReached,
    Overloaded,
    ProtocolError,
    TooBig,
    Unauthorized,
    Unresponsive,
    UnsupportedAudio,
)
from streaming.events import (
    Audio,
    Final,
    Finish,
    Finished,
    Flush,
    Flushed,
    Partial,
    ServerEvent,
    Word,
)
from streaming.protocols.adapter import (
    Dialect,
    Heard,
    Note,
    Offer,
    Opening,
    Refusal,
    Say,
    Start,
)
from streaming.protocols.json_objects import object_of
from streaming.protocols.native_options import shown
from streaming.protocols.wav import WavReader, may_be_wav

__all__ = ["DEFAULT_RATE", "ERRORS", "VOSK", "VoskAdapter"]

DEFAULT_RATE = 8_000  # the reference server's

# error class -> reason of the close, close code, HTTP status; the first that fits.
# The protocol has no message for errors: one would be taken for the next answer.
ERRORS: tuple[tuple[type[Exception], str, int, int], ...] = (
    (UnsupportedAudio, "unsupported_audio", 1003, 415),
    (ProtocolError, "bad_message", 1003, 400),
    (TooBig, "too_big", 1009, 413),
    (IdleTimeout, "idle_timeout", 1008, 408),
    (Unresponsive, "unresponsive", 1008, 408),
    (Forbidden, "forbidden", 1008, 403),
    (Unauthorized, "unauthorized", 1008, 401),
    (Draining, "draining", 1013, 503),
    (LimitReached, "limit_reached", 1008, 429),
    (Overloaded, "overloaded", 1013, 503),
    (Exception, "internal", 1011, 500),
)

# Keys of a config that would change what is recognised, and are not honoured.
_UNHONOURED = ("phrase_list", "model")

# A client waits for an answer before it sends more, and wants it to be about what
# it sent: with this much audio undecoded its answer waits.
_BACKLOG_S = 1.0


@dataclass(frozen=True, slots=True)
class _Result:
    """Text that is final, and waits to be an answer."""

    text: str
    confidence: float
    words: tuple[Word, ...]


class VoskAdapter:
    """One connection's side of the protocol.

    Args:
        opening: the request; nothing in it counts.
        offer: what the server can give.
    """

    def __init__(self, opening: Opening, offer: Offer) -> None:  # noqa: ARG002
        self.config: StreamConfig | None = None
        self.resume = None
        self._offer = offer
        self._words = True
        self._most_alternatives = 0
        self._rate: int | None = None  # that the client named
        self._head: bytes | None = b""  # audio that may begin with a WAV header
        self._wav: WavReader | None = None
        self._partial = ""
        self._results: deque[_Result] = deque()
        self._finishing = False
        self._answer = Say(self._one_answer)

    def opened(self) -> Sequence[str]:
        """Nothing: the client speaks first."""
        return ()

    # --- from the client ---------------------------------------------------

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means; see `Adapter.receive`."""
        if self._finishing:
            return ()
        if isinstance(message, str):
            return self._command(object_of(message))
        if self._head is None and self._wav is None:
            return (Audio(message), self._answer)
        return (*self._begin(message), self._answer)

    def _command(self, fields: Mapping[str, Any]) -> Sequence[Heard]:
        if isinstance(asked := fields.get("config"), dict):
            return self._configure(asked)
        if fields.get("eof"):
            self._finishing = True
            return (*self._end_of_head(), Finish())
        if fields.get("reset"):
            return (*self._end_of_head(), Flush())
        raise ProtocolError(
            f"a text must hold config, eof or reset, got {shown(', '.join(fields))}"
        )

    def _configure(self, asked: Mapping[str, Any]) -> list[Heard]:
        self._words = bool(asked.get("words", self._words))
        most = asked.get("max_alternatives", self._most_alternatives)
        if not isinstance(most, int | float) or not abs(most) < 1e6:
            raise ProtocolError(f"max_alternatives must be a number, got {shown(most)}")
        self._most_alternatives = int(most)
        heard: list[Heard] = [
            Note(f"{key} is not honoured, got {shown(asked[key])}")
            for key in _UNHONOURED
            if asked.get(key)
        ]
        if "sample_rate" not in asked:
            return heard
        rate = _whole_rate(asked["sample_rate"])
        if self.config is None:
            self._rate = rate
            return [*heard, self._start(rate)]
        if rate != self.config.audio.sample_rate:
            heard.append(Note(f"sample_rate is kept within a stream, got {rate}"))
        return heard

    def _start(self, rate: int) -> Start:
        defaults, least_ms = self._offer.defaults, self._offer.smallest_budget_ms()
        try:
            audio = AudioFormat(Encoding.PCM_S16LE, rate)
        except ConfigError as error:
            raise ProtocolError(str(error)) from None
        self.config = replace(
            defaults,
            audio=audio,
            partials=True,
            words=True,
            budget_ms=max(defaults.budget_ms, least_ms),
        )
        return Start(self.config)

    # --- the first bytes, which may be a file's -----------------------------

    def _begin(self, data: bytes) -> list[Heard]:
        """Take audio while it may be, or is, that of a WAV."""
        if self._wav is None:
            head = (self._head or b"") + data
            if len(head) < 4 and may_be_wav(head):
                self._head = head
                return []
            if not may_be_wav(head):
                return self._end_of_head(data)
            self._head, self._wav, data = None, WavReader(), head
        known = self._wav.audio
        samples = self._wav.push(data)
        if (said := self._wav.audio) is None:
            return []
        heard: list[Heard] = [] if known else self._check_header(said)
        return [*heard, Audio(samples)]

    def _check_header(self, said: AudioFormat) -> list[Heard]:
        """The header counts where no config named a rate."""
        if said.encoding is not Encoding.PCM_S16LE or said.channels != 1:
            raise UnsupportedAudio(
                "expected 16-bit PCM of one channel, the WAV header says "
                f"{said.encoding.value} of {said.channels}"
            )
        if self._rate not in (None, said.sample_rate):
            raise UnsupportedAudio(
                f"the config says {self._rate} Hz, the WAV header {said.sample_rate}"
            )
        return [] if self.config else [self._start(said.sample_rate)]

    def _end_of_head(self, more: bytes = b"") -> list[Heard]:
        """What came is no header, or will be none: begin with it."""
        heard: list[Heard] = [] if self.config else [self._start(DEFAULT_RATE)]
        data, self._head = (self._head or b"") + more, None
        return [*heard, Audio(data)] if data else heard

    # --- to the client -----------------------------------------------------

    def send(self, event: ServerEvent) -> Sequence[str]:
        """Keep what is to be answered; the end of speech on command is told at once."""
        match event:
            case Partial(text=text):
                self._partial = text
            case Final():
                self._partial = ""
                words = event.words if self._words else ()
                self._results.append(_Result(event.text, event.confidence, words))
            case Flushed() | Finished():
                rest, self._results = list(self._results), deque()
                return [self._written(_joined(rest))]
            case _:
                pass
        return ()

    def _one_answer(self) -> Sequence[str]:
        if self._results:
            return [self._written(self._results.popleft())]
        return [_json({"partial": self._partial})]

    def _written(self, result: _Result) -> str:
        said = [_word(word, confidence=True) for word in result.words]
        if self._most_alternatives <= 0:
            return _json({**({"result": said} if said else {}), "text": result.text})
        alternative: dict[str, Any] = {"confidence": round(result.confidence, 6)}
        if said:
            alternative["result"] = [_word(w, confidence=False) for w in result.words]
        return _json({"alternatives": [{**alternative, "text": result.text}]})


def _joined(results: Sequence[_Result]) -> _Result:
    """Several finals as one answer."""
    spoken = [result for result in results if result.text]
    confidence = min((result.confidence for result in spoken), default=1.0)
    words = tuple(word for result in spoken for word in result.words)
    return _Result(" ".join(result.text for result in spoken), confidence, words)


def _word(word: Word, *, confidence: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"conf": round(word.confidence, 6)} if confidence else {}
    times = {"end": round(word.end, 6), "start": round(word.start, 6)}
    return {**fields, **times, "word": word.word}


def _whole_rate(value: object) -> int:
    """Jigasi says 16000.0, and some say it as a text."""
    try:
        rate = float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        rate = 0.0
    if not rate.is_integer() or isinstance(value, bool) or not 0 < rate < 1e6:
        raise ProtocolError(f"sample_rate must be a number of Hz, got {shown(value)}")
    return int(rate)


def _json(fields: Mapping[str, Any]) -> str:
    """As Kaldi's own JSON writer sets it: there are clients that search the text."""
    return json.dumps(
        fields,
        ensure_ascii=False,
        allow_nan=False,
        indent=2,
        separators=(",", " : "),
    )


def _refusal(error: Exception, request: str = "") -> Refusal:  # noqa: ARG001
    kind, code, close, status = next(e for e in ERRORS if isinstance(error, e[0]))
    why = "the server failed; its log says why" if kind is Exception else str(error)
    body = json.dumps({"error": code, "message": why}) + "\n"
    return Refusal(code, status, close, body, None)


# mod_vosk of FreeSWITCH masks no frame, a pong neither: it is sent no pings.
VOSK = Dialect("/", VoskAdapter, _refusal, pings=False, backlog_s=_BACKLOG_S)

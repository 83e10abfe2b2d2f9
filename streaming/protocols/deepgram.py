"""Deepgram's live transcription: JSON results and commands around binary audio.

An utterance is what Deepgram calls the time between two endpoints: its hypotheses
are interim `Results`, its final text is one with `is_final`. Shapes are those that
deepgram-sdk 7.17.0 reads and developers.deepgram.com describes. Knows no sockets;
`deepgram.md` beside this file is for users.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streaming.config import AudioFormat, StreamConfig
from streaming.errors import ProtocolError, TooBig, UnsupportedAudio
from streaming.events import (
    Audio,
    EndReason,
    Final,
    Finish,
    Finished,
    Flush,
    Flushed,
    Keepalive,
    Partial,
    Pass,
    Ready,
    ServerEvent,
    SpeechEnded,
    SpeechStarted,
)
from streaming.protocols import deepgram_messages as messages
from streaming.protocols.adapter import (
    Dialect,
    Heard,
    Note,
    Offer,
    Opening,
    Say,
    Start,
)
from streaming.protocols.deepgram_options import parse_query
from streaming.protocols.json_objects import object_of
from streaming.protocols.native_options import shown
from streaming.protocols.wav import WavReader, may_be_wav

__all__ = ["DEEPGRAM", "IDLE_S", "DeepgramAdapter"]

IDLE_S = 10.0  # neither audio nor KeepAlive: NET-0001

_MOST_ECHOED = 1_000  # characters of a bad text that are sent back


@dataclass(slots=True)
class _Channel:
    """What is known of one channel.

    Attributes:
        speaking: an utterance began whose final has not come.
        reason: why it ended, once it has.
        last_word_end: seconds; None where it was told, or there is no word yet.
        finalized: its final since the last Finalize said `from_finalize`.
    """

    speaking: bool = False
    reason: EndReason | None = None
    last_word_end: float | None = None
    finalized: bool = False


class DeepgramAdapter:
    """One connection's side of the protocol.

    Args:
        opening: the request.
        offer: what the server can give.

    Raises:
        BadRequest: a parameter is out of range, or asks for what is not here.
    """

    def __init__(self, opening: Opening, offer: Offer) -> None:
        self._asked = parse_query(opening.query, offer)
        self.config: StreamConfig | None = None
        self.resume = None
        self._opening = opening
        self._model = ""
        self._wav: WavReader | None = None
        self._head = b""
        if not self._asked.container:
            self._fix(self._asked.config.audio)
        self._notes: list[Heard] = [
            Note(f"{name} is not honoured") for name in self._asked.unhonoured
        ]
        self._sha256 = hashlib.sha256()
        self._bytes = 0
        self._closing = False
        self._check_gaps = Say(self._gaps)

    def opened(self) -> Sequence[str]:
        """Nothing: the client speaks first."""
        return ()

    def _fix(self, audio: AudioFormat) -> StreamConfig:
        self.config = replace(self._asked.config, audio=audio)
        self._rate = audio.sample_rate
        self._byte_rate = audio.sample_rate * audio.channels * audio.encoding.width
        self._channels = [_Channel() for _ in range(audio.channels)]
        return self.config

    # --- from the client ---------------------------------------------------

    def receive(self, message: str | bytes) -> Sequence[Heard]:
        """Say what a message means; see `Adapter.receive`."""
        if self._closing:
            return ()
        notes, self._notes = self._notes, []
        heard = self._audio(message) if isinstance(message, bytes) else ()
        if isinstance(message, str):
            heard = self._text(message)
        return (*notes, *heard) if notes else heard

    def _audio(self, data: bytes) -> Sequence[Heard]:
        if not data:
            return self._close()  # how it was done before CloseStream
        self._sha256.update(data)
        if self._asked.container:
            return self._contained(data)
        return self._samples(data)

    def _samples(self, data: bytes) -> Sequence[Heard]:
        self._bytes += len(data)
        if self._asked.utterance_end_s is not None and self._gapped():
            return (Audio(data), self._check_gaps)
        return (Audio(data),)

    def _contained(self, data: bytes) -> Sequence[Heard]:
        """Take a WAV; its header says the format."""
        if self._wav is None:
            self._head += data
            if not may_be_wav(self._head):
                raise UnsupportedAudio(
                    f"the audio begins with {shown(self._head[:8])}, expected a WAV: "
                    "say encoding and sample_rate of audio without a header"
                )
            if len(self._head) < 4:
                return ()
            self._wav, data = WavReader(), self._head
        samples = self._wav.push(data)
        if self._wav.audio is None:
            return ()
        started: tuple[Heard, ...] = ()
        if self.config is None:
            started = (Start(self._fix(self._checked(self._wav.audio))),)
        return (*started, *(self._samples(samples) if samples else ()))

    def _checked(self, audio: AudioFormat) -> AudioFormat:
        if audio.channels > 1 and not self._asked.multichannel:
            raise UnsupportedAudio(
                f"the WAV header says {audio.channels} channels: ask for "
                "multichannel=true, channels are not mixed here"
            )
        return audio

    def _text(self, message: str) -> Sequence[Heard]:
        try:
            fields = object_of(message)
            kind = fields.get("type")
            match kind:
                case "KeepAlive":
                    return (Keepalive(),) if self.config else ()
                case "Finalize":
                    return (Flush(),) if self.config else ()
                case "CloseStream":
                    return self._close()
                case "Configure":
                    return (self._say(self._configure(fields)),)
                case _:
                    raise ProtocolError(
                        "type must be KeepAlive, Finalize, CloseStream or Configure, "
                        f"got {shown(kind)}"
                    )
        except (ProtocolError, TooBig) as error:
            bad = messages.schema_error(str(error), message[:_MOST_ECHOED])
            return (self._say(bad),)

    def _close(self) -> Sequence[Heard]:
        self._closing = True
        if self.config is not None:
            return (Finish(),)
        return (Start(self._fix(self._asked.config.audio)), Finish())

    def _configure(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = [name for name in ("keyterms", "features") if fields.get(name)]
        if asked:
            return messages.not_configured(self._opening.id, asked)
        return messages.configured(self._opening.id)

    def _say(self, fields: Mapping[str, Any]) -> Say:
        return Say([messages.written(fields)])

    # --- the silence after the last word -----------------------------------

    def _gapped(self) -> bool:
        """Whether some channel has been silent for long enough, so far as is known."""
        now = self._bytes / self._byte_rate
        return any(self._gap_of(each, now) for each in self._channels)

    def _gap_of(self, channel: _Channel, now: float) -> bool:
        gap_s, end = self._asked.utterance_end_s, channel.last_word_end
        return gap_s is not None and end is not None and now - end >= gap_s

    def _gaps(self) -> Sequence[str]:
        """Tell them, now that all that was heard before has been told."""
        told = self._gaps_until(self._bytes / self._byte_rate)
        return [messages.written(fields) for fields in told]

    def _gaps_until(self, now: float) -> list[Mapping[str, Any]]:
        said = []
        for number, each in enumerate(self._channels):
            if not each.speaking and self._gap_of(each, now):
                said.append(self._gap(number))
        return said

    def _gap(self, number: int) -> Mapping[str, Any]:
        channel = self._channels[number]
        end, channel.last_word_end = channel.last_word_end or 0.0, None
        return messages.utterance_end(number, len(self._channels), end)

    # --- to the client -----------------------------------------------------

    def send(self, event: ServerEvent) -> Sequence[str]:
        """Write an event in this protocol's messages."""
        return [messages.written(fields) for fields in self._fields(event)]

    def _fields(self, event: ServerEvent) -> Sequence[Mapping[str, Any]]:
        match event:
            case Ready():
                self._model = event.model
            case SpeechStarted():
                return self._started(event)
            case SpeechEnded():
                self._channels[event.channel].reason = event.reason
            case Partial():
                return [self._results(event)] if self._asked.interim else []
            case Final():
                return [self._final(event)]
            case Flushed():
                return self._flushed(event)
            case Finished():
                end = event.totals[0].received / self._rate
                return [*self._gaps_until(end), self._metadata(event)]
            case _:
                pass
        return []

    def _results(self, event: Partial | Final, **how: bool) -> dict[str, Any]:
        count, request = len(self._channels), self._opening.id
        return messages.results(event, count, self._model, request, **how)

    def _started(self, event: SpeechStarted) -> Sequence[Mapping[str, Any]]:
        channel, count = self._channels[event.channel], len(self._channels)
        # Audio may have come faster than it was decoded: the silence before is news.
        said = [self._gap(event.channel)] if self._gap_of(channel, event.at) else []
        channel.speaking = True
        if self._asked.vad_events:
            said.append(messages.speech_started(event.channel, count, event.at))
        return said

    def _final(self, event: Final) -> dict[str, Any]:
        channel = self._channels[event.channel]
        reason, channel.reason, channel.speaking = channel.reason, None, False
        if event.words:
            channel.last_word_end = event.words[-1].end
        asked_for = reason is EndReason.FLUSH
        channel.finalized = channel.finalized or asked_for
        # Speech that was cut for its length goes on: that is no endpoint.
        ended = self._asked.endpointing and reason is not EndReason.MAX_LENGTH
        return self._results(
            event, is_final=True, speech_final=ended, from_finalize=asked_for
        )

    def _flushed(self, event: Flushed) -> Sequence[Mapping[str, Any]]:
        """Who asked waits for an answer, where nothing was left to finalize too."""
        said: list[Mapping[str, Any]] = []
        at = event.received / self._rate
        for number, channel in enumerate(self._channels):
            if not channel.finalized:
                nothing = Final(number, 0, "", at, at, 0.0, Pass.STITCHED)
                said.append(self._results(nothing, is_final=True, from_finalize=True))
            channel.finalized = False
        return [*said, *self._gaps_until(at)]

    def _metadata(self, event: Finished) -> dict[str, Any]:
        return messages.metadata(
            self._opening.id,
            self._sha256.hexdigest(),
            self._opening.at,
            event.totals[0].received / self._rate,
            len(self._channels),
            self._model,
        )


def _headers(opening: Opening) -> Mapping[str, str]:
    return {"dg-request-id": opening.id}


DEEPGRAM = Dialect(
    "/v1/listen",
    DeepgramAdapter,
    messages.refusal,
    headers=_headers,
    idle_timeout_s=IDLE_S,
)
